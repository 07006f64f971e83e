//! Trust region policy optimization (Schulman et al. 2015): every iteration takes one natural-gradient step on a batch,
//! as long as the constraint on the KL divergence allows.

use crate::experience::{self, Experience, mean};
use burn::tensor::{DType, Device};
use mbmpo_core::{
    Algorithm, Check, Checked, Checker, Environment, IterationMetrics, ModelFreeMetrics, Observer,
    Phase, Purpose, Result,
};
use mbmpo_policy::advantage::{AdvantageConfig, advantages};
use mbmpo_policy::batch::{Arithmetic, SurrogateObjective};
use mbmpo_policy::trust_region::{self, TrustRegionConfig};
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The parameters of [`Trpo`]. "Authors" is the script with which TRPO was run for the paper on MB-MPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrpoConfig {
    /// Length of an episode \[control steps\]; the environment's own where absent. Authors: 200.
    #[serde(default)]
    pub horizon: Option<usize>,
    /// Real steps of an iteration, at least; whole episodes. Authors: 50,000.
    pub batch_steps: usize,
    /// Real episodes in each report; they are neither counted nor learned from.
    pub evaluation_episodes: usize,
    /// The policy network.
    pub policy: PolicyConfig,
    /// Advantage estimation.
    pub advantage: AdvantageConfig,
    /// The step.
    pub trust_region: TrustRegionConfig,
}

impl Check for TrpoConfig {
    fn inspect(&self, checker: &mut Checker) {
        let batch = ("batch_steps", self.batch_steps);
        experience::inspect(checker, self.horizon, batch, self.evaluation_episodes);
        checker.nested("policy", &self.policy);
        checker.nested("advantage", &self.advantage);
        checker.nested("trust_region", &self.trust_region);
    }
}

/// Trust region policy optimization.
pub struct Trpo {
    config: Checked<TrpoConfig>,
    experience: Experience,
    device: Device,
    network: GaussianMlp,
    theta: Vec<f64>,
}

impl Trpo {
    /// A random policy that has seen nothing.
    ///
    /// # Errors
    /// None so far.
    pub fn new(
        config: Checked<TrpoConfig>,
        environment: Box<dyn Environment>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let episodes = config.evaluation_episodes;
        let experience = Experience::new(environment, config.horizon, episodes, seed);
        let policy_config = config.part(|config| &config.policy);
        let (observation_dim, action_dim) = experience.dims();
        let network = GaussianMlp::new(&policy_config, observation_dim, action_dim);
        let mut stream = experience.streams.stream(Purpose::PolicyWeights, 0, 0);
        let theta = network.initial_parameters(&policy_config, &mut stream);
        Ok(Self {
            config,
            experience,
            device: device.clone(),
            network,
            theta,
        })
    }
}

impl Algorithm for Trpo {
    type Policy = GaussianPolicy;

    fn iterate(&mut self, observer: &mut dyn Observer) -> Result<IterationMetrics> {
        // Section 5, step 1: a batch of trajectories ("single path"), with estimates of their advantages
        observer.begin(Phase::Collect, 0);
        let policy = self.policy();
        let paths = self
            .experience
            .collect(&policy, self.config.batch_steps, 0)?;

        observer.begin(Phase::Update, 0);
        let clock = Instant::now();
        let advantage_config = self.config.part(|config| &config.advantage);
        let advantages = advantages(&advantage_config, &paths);
        let arithmetic = Arithmetic {
            network: &self.network,
            device: &self.device,
            dtype: DType::F32,
        };
        // Step 2: the surrogate and its constraint (eq. 14)
        let batch = arithmetic.surrogate_batch(&paths, &advantages, 1.0, &self.theta);
        let objective = SurrogateObjective { arithmetic, batch };
        // Step 3: conjugate gradients, then a line search (appendix C)
        let trust_region = self.config.part(|config| &config.trust_region);
        let outcome = trust_region::step(&trust_region, &objective, &self.theta);
        self.theta = outcome.theta;
        self.experience.count_update(clock);

        let learned = ModelFreeMetrics {
            return_collect_mean: mean(&paths.returns()),
            gradient_steps: usize::from(outcome.accepted),
            policy_kl: Some(outcome.kl),
            critic_loss: None,
        };
        let policy = self.policy();
        self.experience
            .report(&policy, &policy.std(), learned, observer)
    }

    fn real_steps(&self) -> usize {
        self.experience.real_steps
    }

    fn policy(&self) -> GaussianPolicy {
        GaussianPolicy::new(self.network.clone(), &self.theta)
    }
}
