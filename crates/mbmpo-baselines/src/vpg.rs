//! Vanilla policy gradient (section 5 of the paper on MB-MPO): θ ← θ + α ∇J(θ) on real
//! trajectories, from scratch or from a trained policy. Its step is the inner step of MB-MPO.

use crate::initial;
use burn::tensor::Device;
use mbmpo_core::statistics::mean;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Error, Experience, IterationMetrics,
    ModelFreeMetrics, Observer, Persist, Phase, Result, Setup, Trainable, require_finite,
};
use mbmpo_policy::advantage::{AdvantageConfig, advantages};
use mbmpo_policy::batch::Samples;
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The parameters of [`Vpg`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpgConfig {
    /// Lower bound on the real steps of an iteration; whole episodes.
    pub batch_steps: usize,
    /// α
    pub learning_rate: f64,
    /// The policy network, for a policy from scratch.
    pub policy: PolicyConfig,
    /// Advantage estimation.
    pub advantage: AdvantageConfig,
}

impl Default for VpgConfig {
    /// The preset `tuned`: the paper does not name its parameters.
    fn default() -> Self {
        Self {
            batch_steps: 4_000,
            learning_rate: 0.01,
            policy: PolicyConfig {
                output_scale: 0.01,
                ..PolicyConfig::default()
            },
            advantage: AdvantageConfig::default(),
        }
    }
}

impl Check for VpgConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("batch_steps", self.batch_steps, 2..=10_000_000);
        checker.range("learning_rate", self.learning_rate, 0.0..=10.0);
        checker.nested("policy", &self.policy);
        checker.nested("advantage", &self.advantage);
    }
}

/// Vanilla policy gradient.
pub struct Vpg {
    config: Checked<VpgConfig>,
    experience: Experience,
    device: Device,
    network: GaussianMlp,
    theta: Vec<f64>,
    /// The initial policy, with its normaliser.
    start: GaussianPolicy,
}

impl Vpg {
    /// From a random policy.
    ///
    /// # Errors
    /// Never; it is fallible like the other algorithms.
    pub fn new(config: Checked<VpgConfig>, setup: Setup, device: &Device) -> Result<Self> {
        let experience = Experience::new(setup);
        let (network, theta) = initial::policy(&experience, &config.part(|config| &config.policy));
        let policy = GaussianPolicy::new(network, &theta);
        Self::start(config, experience, device, &policy)
    }

    /// From `policy`; `config.policy` has no effect.
    ///
    /// # Errors
    /// When the policy is not one for this environment.
    pub fn from_policy(
        config: Checked<VpgConfig>,
        setup: Setup,
        device: &Device,
        policy: &GaussianPolicy,
    ) -> Result<Self> {
        Self::start(config, Experience::new(setup), device, policy)
    }

    fn start(
        config: Checked<VpgConfig>,
        experience: Experience,
        device: &Device,
        policy: &GaussianPolicy,
    ) -> Result<Self> {
        let (observation_dim, action_dim) = experience.dims();
        let network = policy.network().clone();
        let observed = network.sizes()[0];
        Error::check_shape("observations of the policy", observation_dim, observed)?;
        Error::check_shape("actions of the policy", action_dim, network.action_dim())?;
        Ok(Self {
            config,
            experience,
            device: device.clone(),
            theta: policy.parameters().iter().map(|&x| x.into()).collect(),
            start: policy.clone(),
            network,
        })
    }
}

impl Algorithm for Vpg {
    type Policy = GaussianPolicy;

    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        observer.at(Phase::Collect, 0, 0);
        let policy = self.policy();
        let batch_steps = self.config.batch_steps;
        let mut paths = self.experience.collect_batch(&policy, batch_steps, 0)?;
        let return_collect_mean = mean(&paths.returns());

        observer.at(Phase::Update, 0, 0);
        let clock = Instant::now();
        let advantage_config = self.config.part(|config| &config.advantage);
        let advantages = advantages(&advantage_config, &paths);
        if let Some(normalizer) = self.start.normalizer() {
            paths.observations = normalizer.apply(&paths.observations);
        }
        let samples = Samples::new(&self.network, &self.device, &paths, &advantages);
        let theta = samples.adapt(&self.theta, self.config.learning_rate)?;
        let kl = samples.surrogate(&self.theta).mean_kl(&theta)?;
        require_finite(&theta, "the policy after a step of policy gradient")?;
        self.theta = theta;
        self.experience.seconds_mut().add_since("update", clock);

        let learned = ModelFreeMetrics {
            return_collect_mean,
            gradient_steps: 1,
            policy_kl: Some(kl),
            critic_loss: None,
        };
        let policy = self.policy();
        let metrics = self.experience.report(&policy, &policy.std(), observer)?;
        Ok(Some(IterationMetrics {
            model_free: Some(learned),
            ..metrics
        }))
    }

    fn reseed(&mut self) {
        self.experience.reseed();
    }

    fn real_steps(&self) -> usize {
        self.experience.real_steps()
    }

    fn policy(&self) -> GaussianPolicy {
        self.start.with_parameters(&self.theta)
    }
}

impl Trainable for Vpg {
    const NAME: &'static str = "vpg";
    type Config = VpgConfig;

    fn build(config: Checked<VpgConfig>, setup: Setup, device: &Device) -> Result<Self> {
        Self::new(config, setup, device)
    }
}

impl Persist for Vpg {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("theta", &mut self.theta)
    }
}
