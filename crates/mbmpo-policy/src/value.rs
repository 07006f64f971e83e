use crate::batch::{Arithmetic, Batch};
use crate::{GaussianMlp, PolicyConfig};
use burn::tensor::{DType, Device};
use mbmpo_core::{Check, Result, Stream, Trajectories, Violations};

/// V(s) by a tanh network: the mean of a Gaussian with σ = 1, so that raising the likelihood of targets is least squares,
/// and the batches of policies serve it, too.
#[derive(Debug, Clone)]
pub struct ValueNetwork {
    network: GaussianMlp,
    device: Device,
}

impl ValueNetwork {
    /// The architecture, with these tanh layers, and its initial parameters.
    ///
    /// # Errors
    /// When a layer is out of range.
    pub fn new(
        hidden: &[usize],
        observation_dim: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Result<(Self, Vec<f64>), Violations> {
        let config = PolicyConfig {
            hidden: hidden.to_vec(),
            initial_std: 1.0,
            min_std: 1e-6,
            output_scale: 1.0,
        };
        let config = config.check()?;
        let network = GaussianMlp::new(&config, observation_dim, 1);
        let parameters = network.initial_parameters(&config, stream);
        let device = device.clone();
        Ok((Self { network, device }, parameters))
    }

    /// The Gaussian behind it.
    pub fn gaussian(&self) -> &GaussianMlp {
        &self.network
    }

    /// Where and how it computes.
    pub fn arithmetic(&self) -> Arithmetic<'_> {
        Arithmetic {
            network: &self.network,
            device: &self.device,
            dtype: DType::F32,
        }
    }

    /// V(s) `[n]` of `observations` `[n, observation]`.
    ///
    /// # Errors
    /// When a device does not give them.
    pub fn values(&self, parameters: &[f64], observations: &[f32]) -> Result<Vec<f64>> {
        let values = self.arithmetic().means(parameters, observations)?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// V of the states after the last step of each path `[paths]`, whose next observations are `next` `[n, observation]`: 0
    /// where the task ended the path, and without `bootstrap` also where the time ran out.
    ///
    /// # Errors
    /// When a device does not give them.
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

    /// Gradient `[parameters]` of -½ Σ_i w_i (V(s_i) - y_i)² for a batch whose actions are the targets y.
    ///
    /// # Errors
    /// When a device does not give it.
    pub fn gradient(&self, parameters: &[f64], batch: &Batch) -> Result<Vec<f64>> {
        let mut gradient = self.arithmetic().policy_gradient(parameters, batch)?;
        // σ stays 1
        gradient.pop();
        gradient.push(0.0);
        Ok(gradient)
    }
}
