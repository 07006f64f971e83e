use crate::batch::{Samples, means};
use crate::{GaussianMlp, PolicyConfig};
use burn::tensor::Device;
use mbmpo_core::{Check, Result, Stream, Trajectories, Violations};

/// A value function V(s), a tanh network. It is the mean of a Gaussian with σ = 1: increasing the
/// likelihood of targets is least squares, so the batches of policies compute its gradients.
#[derive(Debug, Clone)]
pub struct ValueNetwork {
    network: GaussianMlp,
    device: Device,
}

impl ValueNetwork {
    /// The architecture with tanh layers of sizes `hidden`, and its initial parameters.
    ///
    /// # Errors
    /// When a layer is out of range.
    pub fn new(
        hidden: &[usize],
        observation_dim: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Result<(Self, Vec<f64>), Violations> {
        // the default standard deviation is 1
        let config = PolicyConfig {
            hidden: hidden.to_vec(),
            ..PolicyConfig::default()
        };
        let config = config.check()?;
        let network = GaussianMlp::new(&config, observation_dim, 1);
        let parameters = network.initial_parameters(&config, stream);
        let device = device.clone();
        Ok((Self { network, device }, parameters))
    }

    /// The Gaussian whose mean is V.
    pub fn gaussian(&self) -> &GaussianMlp {
        &self.network
    }

    /// V(s) `[n]` of `observations` `[n, observation]`.
    ///
    /// # Errors
    /// When they cannot be read back from the device.
    pub fn values(&self, parameters: &[f64], observations: &[f32]) -> Result<Vec<f64>> {
        let values = means(&self.network, &self.device, parameters, observations)?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// V of the states after the last step of each path `[paths]`, from the `next` observations
    /// `[n, observation]`: 0 where the task terminated the path, and without `bootstrap` also where
    /// the time limit ended it.
    ///
    /// # Errors
    /// When they cannot be read back from the device.
    pub fn end_values(
        &self,
        parameters: &[f64],
        paths: &Trajectories,
        next: &[f32],
        bootstrap: bool,
    ) -> Result<Vec<f64>> {
        let dim = paths.observation_dim;
        let last: Vec<f32> = paths
            .paths()
            .flat_map(|path| next[(path.end - 1) * dim..path.end * dim].to_vec())
            .collect();
        let values = self.values(parameters, &last)?.into_iter();
        Ok(values
            .zip(&paths.terminated)
            .map(
                |(value, &terminated)| {
                    if bootstrap && !terminated { value } else { 0.0 }
                },
            )
            .collect())
    }

    /// Gradient `[parameters]` of -½ Σ_i w_i (V(s_i) - y_i)² with `observations` `[n,
    /// observation]`, `targets` y `[n]` and `weights` w `[n]`.
    ///
    /// # Errors
    /// When it cannot be read back from the device.
    pub fn gradient(
        &self,
        parameters: &[f64],
        observations: &[f32],
        targets: &[f32],
        weights: &[f64],
    ) -> Result<Vec<f64>> {
        let (network, device) = (&self.network, &self.device);
        let samples = Samples::weighted(network, device, observations, targets, weights);
        let mut gradient = samples.policy_gradient(parameters)?;
        // σ is constant
        gradient.pop();
        gradient.push(0.0);
        Ok(gradient)
    }
}
