//! Trust region policy optimization (Schulman et al. 2015): every iteration takes one
//! natural-gradient step on a batch, as long as the constraint on the KL divergence allows.

use crate::critic::{Critic, select, select_rows, squared_error};
use crate::initial;
use burn::tensor::Device;
use mbmpo_core::statistics::mean;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Experience, IterationMetrics, ModelFreeMetrics,
    Observer, Persist, Phase, Purpose, Result, Setup, Trainable, Trajectories, require_finite,
};
use mbmpo_policy::advantage::{AdvantageConfig, advantages, standardize};
use mbmpo_policy::batch::Samples;
use mbmpo_policy::trust_region::{self, TrustRegionConfig};
use mbmpo_policy::{Adam, GaussianMlp, GaussianPolicy, PolicyConfig};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The parameters of [`Trpo`]. "Authors" is the script with which TRPO was run for the paper on
/// MB-MPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrpoConfig {
    /// Lower bound on the real steps of an iteration; whole episodes. Authors: 50,000.
    pub batch_steps: usize,
    /// The policy network.
    pub policy: PolicyConfig,
    /// Advantage estimation.
    pub advantage: AdvantageConfig,
    /// The step.
    pub trust_region: TrustRegionConfig,
    /// A value network in place of the linear baseline. Authors: absent.
    #[serde(default)]
    pub critic: Option<CriticConfig>,
}

/// A value network that is fitted to every batch after its advantages were estimated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticConfig {
    /// Sizes of the tanh layers.
    pub hidden: Vec<usize>,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Epochs on a batch.
    pub epochs: usize,
    /// Transitions in a gradient step.
    pub batch_size: usize,
    /// Whether the value of the last state is added where only the time limit ended an episode.
    pub bootstrap: bool,
}

impl Default for CriticConfig {
    /// The preset `tuned`, after Stable-Baselines3: TRPO was run without a critic for the paper.
    fn default() -> Self {
        Self {
            hidden: vec![32, 32],
            learning_rate: 1e-3,
            epochs: 10,
            batch_size: 125,
            bootstrap: true,
        }
    }
}

impl Check for CriticConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.layers("hidden", &self.hidden, 4096);
        checker.range("learning_rate", self.learning_rate, 0.0..=10.0);
        checker.range("epochs", self.epochs, 1..=1000);
        checker.range("batch_size", self.batch_size, 1..=1_000_000);
    }
}

impl Default for TrpoConfig {
    /// As it was run for the paper on MB-MPO: the preset `authors`.
    fn default() -> Self {
        Self {
            batch_steps: 50_000,
            policy: PolicyConfig::default(),
            advantage: AdvantageConfig::default(),
            trust_region: TrustRegionConfig::default(),
            critic: None,
        }
    }
}

impl Check for TrpoConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("batch_steps", self.batch_steps, 2..=10_000_000);
        checker.nested("policy", &self.policy);
        checker.nested("advantage", &self.advantage);
        checker.nested("trust_region", &self.trust_region);
        if let Some(critic) = &self.critic {
            checker.nested("critic", critic);
        }
    }
}

/// Trust region policy optimization.
pub struct Trpo {
    config: Checked<TrpoConfig>,
    experience: Experience,
    device: Device,
    network: GaussianMlp,
    theta: Vec<f64>,
    critic: Option<(Critic, Adam)>,
}

impl Trpo {
    /// Random networks, and no experience.
    ///
    /// # Errors
    /// When a layer is out of range.
    pub fn new(config: Checked<TrpoConfig>, setup: Setup, device: &Device) -> Result<Self> {
        let experience = Experience::new(setup);
        let (network, theta) = initial::policy(&experience, &config.part(|config| &config.policy));
        let critic = match &config.critic {
            None => None,
            Some(own) => {
                let (value, parameters) = initial::values(&experience, &own.hidden, device)?;
                let adam = Adam::new(parameters.len(), own.learning_rate, 1e-8);
                let critic = Critic {
                    network: value,
                    parameters,
                    discount: config.advantage.discount,
                    gae_lambda: config.advantage.gae_lambda,
                    bootstrap: own.bootstrap,
                };
                Some((critic, adam))
            }
        };
        Ok(Self {
            config,
            experience,
            device: device.clone(),
            network,
            theta,
            critic,
        })
    }

    /// Advantages of a batch, by the linear baseline or by the critic, which is then trained on the
    /// batch; also the mean squared error of the critic before that.
    fn advantages(&mut self, paths: &Trajectories) -> Result<(Vec<f64>, Option<f64>)> {
        let (Some((critic, adam)), Some(config)) = (&mut self.critic, &self.config.critic) else {
            let config = self.config.part(|config| &config.advantage);
            return Ok((advantages(&config, paths), None));
        };
        let estimates = critic.estimate(paths, &paths.observations, &paths.next_observations)?;
        let error = squared_error(&estimates.values, &estimates.targets);
        let iteration = self.experience.iteration() as u64;
        let streams = self.experience.streams();
        let mut stream = streams.stream(Purpose::Update, iteration, 0);
        let mut order: Vec<usize> = (0..paths.len()).collect();
        for _ in 0..config.epochs {
            order.shuffle(&mut stream);
            for indices in order.chunks(config.batch_size) {
                let rows = select_rows(&paths.observations, paths.observation_dim, indices);
                let targets = select(&estimates.targets, indices);
                let weights = vec![2.0 / indices.len() as f64; indices.len()];
                let gradient = critic.gradient(&rows, &targets, &weights)?;
                adam.ascend(&mut critic.parameters, &gradient);
            }
        }
        require_finite(&critic.parameters, "the critic of TRPO")?;
        let mut advantages = estimates.advantages;
        standardize(&mut advantages);
        Ok((advantages, Some(error)))
    }
}

impl Algorithm for Trpo {
    type Policy = GaussianPolicy;

    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        // Section 5, step 1: a batch of trajectories ("single path"), with estimates of their
        // advantages
        observer.at(Phase::Collect, 0, 0);
        let policy = self.policy();
        let paths = self
            .experience
            .collect_batch(&policy, self.config.batch_steps, 0)?;

        observer.at(Phase::Update, 0, 0);
        let clock = Instant::now();
        let (advantages, critic_loss) = self.advantages(&paths)?;
        // Step 2: the surrogate and its constraint (eq. 14)
        let samples = Samples::new(&self.network, &self.device, &paths, &advantages);
        let objective = samples.surrogate(&self.theta);
        // Step 3: conjugate gradients, then a line search (appendix C)
        let trust_region = self.config.part(|config| &config.trust_region);
        let outcome = trust_region::step(&trust_region, &objective, &self.theta)?;
        self.theta = outcome.theta;
        self.experience.seconds_mut().add_since("update", clock);

        let learned = ModelFreeMetrics {
            return_collect_mean: mean(&paths.returns()),
            gradient_steps: 1,
            policy_kl: Some(outcome.kl),
            critic_loss,
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
        GaussianPolicy::new(self.network.clone(), &self.theta)
    }
}

impl Trainable for Trpo {
    const NAME: &'static str = "trpo";
    type Config = TrpoConfig;

    fn build(config: Checked<TrpoConfig>, setup: Setup, device: &Device) -> Result<Self> {
        Self::new(config, setup, device)
    }
}

impl Persist for Trpo {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("theta", &mut self.theta)?;
        if let Some((critic, adam)) = &mut self.critic {
            archive.array("critic", &mut critic.parameters)?;
            archive.part("critic.adam", adam)?;
        }
        Ok(())
    }
}
