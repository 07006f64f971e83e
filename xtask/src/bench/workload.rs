//! What the loops work on: the sizes of half-cheetah in the paper, and numbers drawn at random.

use anyhow::{Context, Result};
use burn::tensor::Device;
use mbmpo_core::{Check, Checked, Purpose, Stream, Streams, Trajectories};
use mbmpo_envs::Simulated;
use mbmpo_experiments::{DeviceKind, preset};
use mbmpo_meta::MbMpoConfig;
use mbmpo_models::{Ensemble, EnsembleConfig};
use mbmpo_policy::GaussianMlp;
use rand::RngExt;
use rand_distr::StandardNormal;

/// A loop at one size that can be run again and again.
pub trait HotLoop {
    /// What [`Sample::units`] counts.
    fn unit(&self) -> &'static str;

    /// Does the work once, and measures itself.
    fn run(&mut self) -> Result<Sample>;
}

/// One measurement.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Wall-clock time \[s\].
    pub seconds: f64,
    /// Floating-point operations of the matrix products that the shapes ask for.
    pub flop: f64,
    /// Of these, the ones in products that are as narrow as the policy, where there are no others:
    /// A B, and Aᵀ B.
    pub narrow: [f64; 2],
    /// Bytes that must come from beyond a core's own cache or go there, in a model that stands
    /// beside each loop.
    pub bytes: f64,
    /// How much was done in that time.
    pub units: f64,
    /// Seconds of the parts that it can be divided into.
    pub parts: Vec<(&'static str, f64)>,
}

/// The `paper` preset of half-cheetah and where everything runs.
pub struct Workload {
    pub config: Checked<MbMpoConfig>,
    pub environment: Box<dyn Simulated>,
    /// Length of a rollout \[control steps\].
    pub horizon: usize,
    pub device: Device,
    pub network: GaussianMlp,
    /// θ, freshly drawn.
    pub theta: Vec<f64>,
    pub streams: Streams,
}

impl Workload {
    pub fn new() -> Result<Self> {
        let config = preset::resolve("half-cheetah", "paper", &[])?;
        let environment = config.make_environment()?;
        let horizon = config.horizon.unwrap_or(environment.horizon());
        let config = config
            .algorithm
            .mb_mpo()
            .context("the preset is for MB-MPO")?;
        let config = config.clone().check()?;
        let policy = config.part(|config| &config.policy);
        let actions = environment.action_dim();
        let network = GaussianMlp::new(&policy, environment.observation_dim(), actions);
        let streams = Streams::new(0);
        let mut weights = streams.stream(Purpose::PolicyWeights, 0, 0);
        Ok(Self {
            theta: network.initial_parameters(&policy, &mut weights),
            device: DeviceKind::Cpu.device()?,
            config,
            environment,
            horizon,
            network,
            streams,
        })
    }

    /// Networks of the ensemble.
    pub fn members(&self) -> usize {
        self.config.ensemble.members
    }

    /// Random numbers for one purpose; the same in every run.
    pub fn stream(&self, index: usize) -> Stream {
        self.streams.stream(Purpose::Test, 0, index as u64)
    }

    /// Width of the input and of each layer of a dynamics network.
    pub fn model_sizes(&self) -> Vec<usize> {
        let outputs = self.environment.observation_dim();
        let mut sizes = vec![outputs + self.network.action_dim()];
        sizes.extend(&self.config.ensemble.hidden);
        sizes.push(outputs);
        sizes
    }

    /// Multiplications of a pass through a dynamics network, for one transition, by layer.
    pub fn model_layers(&self) -> Vec<f64> {
        multiplications(&self.model_sizes())
    }

    /// Multiplications of a pass through the policy, for one sample, by layer.
    pub fn policy_layers(&self) -> Vec<f64> {
        multiplications(self.network.sizes())
    }

    /// An untrained ensemble that passes once over the data in a fit and holds out one per cent of
    /// them.
    pub fn ensemble(&self, members: usize) -> Result<Ensemble> {
        let config = EnsembleConfig {
            members,
            max_epochs: 1,
            validation_share: VALIDATION_SHARE,
            ..self.config.ensemble.clone()
        };
        Ok(Ensemble::new(
            config.check()?,
            self.environment.observation_dim(),
            self.network.action_dim(),
            &self.streams,
            &self.device,
        ))
    }

    /// Transitions of which [`Self::ensemble`] trains on `batches` full batches.
    pub fn transitions(&self, batches: usize) -> Trajectories {
        let train = batches * self.config.ensemble.batch_size;
        let rows = (train as f64 / (1.0 - VALIDATION_SHARE)) as usize + 1;
        let (o, a) = (
            self.environment.observation_dim(),
            self.network.action_dim(),
        );
        let mut stream = self.stream(0);
        let mut data = Trajectories::new(o, a);
        for _ in 0..rows {
            let observation = normal(&mut stream, o);
            let change = normal(&mut stream, o);
            let next: Vec<f32> = observation
                .iter()
                .zip(change)
                .map(|(s, change)| s + 0.1 * change)
                .collect();
            data.push(&observation, &normal(&mut stream, a), &next, 0.0);
        }
        data.end_path(false);
        data
    }
}

/// Bytes of a number in single precision.
pub const F32: f64 = size_of::<f32>() as f64;

const VALIDATION_SHARE: f64 = 0.01;

/// Standard normal numbers.
pub fn normal(stream: &mut Stream, count: usize) -> Vec<f32> {
    (0..count).map(|_| stream.sample(StandardNormal)).collect()
}

fn multiplications(sizes: &[usize]) -> Vec<f64> {
    let layers = sizes.windows(2);
    layers.map(|pair| (pair[0] * pair[1]) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::multiplications;

    /// Fails when a layer's products are counted with the wrong neighbour.
    #[test]
    fn multiplications_of_the_policy() {
        assert_eq!(multiplications(&[17, 32, 32, 6]), [544.0, 1024.0, 192.0]);
    }
}
