//! Vanilla policy gradient (section 5 of the paper on MB-MPO): θ ← θ + α ∇J(θ) on real trajectories, from scratch or from
//! a policy that another algorithm trained. It is the inner step of MB-MPO, again and again.

use crate::experience::{self, Experience, mean, require_finite};
use burn::tensor::Device;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Environment, Error, IterationMetrics,
    ModelFreeMetrics, Observer, Persist, Phase, Purpose, Result,
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
    /// Length of an episode \[control steps\]; the environment's own where absent.
    #[serde(default)]
    pub horizon: Option<usize>,
    /// Real steps of an iteration, at least; whole episodes.
    pub batch_steps: usize,
    /// Real episodes in each report; they are neither counted nor learned from.
    pub evaluation_episodes: usize,
    /// α
    pub learning_rate: f64,
    /// The policy network, of a policy from scratch.
    pub policy: PolicyConfig,
    /// Advantage estimation.
    pub advantage: AdvantageConfig,
}

impl Check for VpgConfig {
    fn inspect(&self, checker: &mut Checker) {
        let batch = ("batch_steps", self.batch_steps);
        experience::inspect(checker, self.horizon, batch, self.evaluation_episodes);
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
    /// What the policy came with, apart from its parameters.
    start: GaussianPolicy,
}

impl Vpg {
    /// From a random policy.
    ///
    /// # Errors
    /// None so far.
    pub fn new(
        config: Checked<VpgConfig>,
        environment: Box<dyn Environment>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let policy_config = config.part(|config| &config.policy);
        let observation_dim = environment.observation_dim();
        let action_dim = environment.action_space().dim();
        let network = GaussianMlp::new(&policy_config, observation_dim, action_dim);
        let mut stream = mbmpo_core::Streams::new(seed).stream(Purpose::PolicyWeights, 0, 0);
        let theta = network.initial_parameters(&policy_config, &mut stream);
        let policy = GaussianPolicy::new(network, &theta);
        Self::from_policy(config, environment, seed, device, &policy)
    }

    /// From `policy`; `config.policy` has no effect.
    ///
    /// # Errors
    /// When the policy is not one for this environment.
    pub fn from_policy(
        config: Checked<VpgConfig>,
        environment: Box<dyn Environment>,
        seed: u64,
        device: &Device,
        policy: &GaussianPolicy,
    ) -> Result<Self> {
        let episodes = config.evaluation_episodes;
        let experience = Experience::new(environment, config.horizon, episodes, seed);
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
        let mut paths = self.experience.collect(&policy, batch_steps, 0)?;
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
        self.experience.count_update(clock);

        let learned = ModelFreeMetrics {
            return_collect_mean,
            gradient_steps: 1,
            policy_kl: Some(kl),
            critic_loss: None,
        };
        let policy = self.policy();
        let metrics = self
            .experience
            .report(&policy, &policy.std(), learned, observer)?;
        Ok(Some(metrics))
    }

    fn redraw(&mut self) {
        self.experience.streams.redraw();
    }

    fn real_steps(&self) -> usize {
        self.experience.real_steps
    }

    fn policy(&self) -> GaussianPolicy {
        self.start.with_parameters(&self.theta)
    }
}

impl Persist for Vpg {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("theta", &mut self.theta)
    }
}
