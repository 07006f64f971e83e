//! Actor critic using Kronecker-factored trust region (Wu et al. 2017): natural gradients of actor
//! and critic, from the curvature of [`kfac`](crate::kfac), with a step size that holds to a trust
//! region.

use crate::critic::{self, Critic, EstimatedBatch, squared_error};
use crate::initial;
use crate::kfac::{Kfac, KfacConfig, factors};
use crate::reward_scale::RewardScale;
use burn::tensor::Device;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Experience, IterationMetrics, ModelFreeMetrics,
    Observer, Persist, Phase, Purpose, Result, Setup, Stream, Trainable, require_finite,
};
use mbmpo_policy::advantage::standardize;
use mbmpo_policy::batch::Samples;
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig, RunningNormalizer};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The parameters of [`Acktr`]. "Authors" is the script with which ACKTR was run for the paper on
/// MB-MPO, which is OpenAI's `acktr_cont`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcktrConfig {
    /// Lower bound on the real steps of an iteration; whole episodes. Authors: 5,000.
    pub batch_steps: usize,
    /// The policy network. Authors: `[32, 32]`, on this observation and the one before.
    pub policy: PolicyConfig,
    /// Sizes of the tanh layers of the critic. Authors: `[64, 64]`, with ELU.
    pub critic_hidden: Vec<usize>,
    /// γ. Authors: 0.99.
    pub discount: f64,
    /// λ of generalised advantage estimation. Authors: 0.97.
    pub gae_lambda: f64,
    /// Whether the value of the last state is added where only the time limit ended an episode.
    /// Authors: yes.
    pub bootstrap: bool,
    /// Largest step size of the actor at the start. Authors: 0.03.
    pub step_size: f64,
    /// Target of the KL divergence of an iteration: the largest step size changes by a factor of
    /// 1.5 where the divergence is above twice or below half of it. Authors: 0.002.
    pub desired_kl: f64,
    /// Curvature of the actor.
    pub actor_kfac: KfacConfig,
    /// Largest step size of the critic. `acktr_cont`: 0.001.
    pub critic_step_size: f64,
    /// Steps of the critic in an iteration, each on the whole batch. `acktr_cont`: 25.
    pub critic_steps: usize,
    /// Curvature of the critic as the mean of a Gaussian with σ = 1 (section 3.2).
    pub critic_kfac: KfacConfig,
    /// Normalised observations are clipped to plus or minus this. `ZFilter`: 10.
    pub observation_clip: f64,
    /// Rewards, in units of the deviation of the discounted return, are clipped to plus or minus
    /// this; where absent they are not scaled. Authors: absent.
    pub reward_clip: Option<f64>,
}

impl Default for AcktrConfig {
    /// As it was run for the paper on MB-MPO: the preset `authors`.
    fn default() -> Self {
        Self {
            batch_steps: 5_000,
            policy: PolicyConfig {
                output_scale: 0.1,
                ..PolicyConfig::default()
            },
            critic_hidden: vec![64, 64],
            discount: 0.99,
            gae_lambda: 0.97,
            bootstrap: true,
            step_size: 0.03,
            desired_kl: 0.002,
            actor_kfac: KfacConfig::default(),
            critic_step_size: 0.001,
            critic_steps: 25,
            critic_kfac: KfacConfig {
                decay: 0.95,
                damping: 0.1,
                momentum: 0.9,
                trust_region: 0.15,
            },
            observation_clip: 10.0,
            reward_clip: None,
        }
    }
}

impl Check for AcktrConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("batch_steps", self.batch_steps, 2..=10_000_000);
        checker.nested("policy", &self.policy);
        // each step takes all eigenvectors of matrices of these sizes
        let widest = self.policy.hidden.iter().copied().max().unwrap_or(1);
        checker.demand_together(
            "policy.hidden",
            format!("up to {widest} units"),
            widest <= 1024,
            "at most 1024 units a layer",
        );
        checker.layers("critic_hidden", &self.critic_hidden, 1024);
        checker.range("discount", self.discount, 0.0..=1.0);
        checker.range("gae_lambda", self.gae_lambda, 0.0..=1.0);
        checker.positive("step_size", self.step_size);
        checker.positive("desired_kl", self.desired_kl);
        checker.nested("actor_kfac", &self.actor_kfac);
        checker.positive("critic_step_size", self.critic_step_size);
        checker.range("critic_steps", self.critic_steps, 0..=10_000);
        checker.nested("critic_kfac", &self.critic_kfac);
        checker.range("observation_clip", self.observation_clip, 1e-3..=1e6);
        checker.range("reward_clip", self.reward_clip.unwrap_or(1.0), 1e-3..=1e6);
    }
}

/// Actor critic using Kronecker-factored trust region.
pub struct Acktr {
    config: Checked<AcktrConfig>,
    experience: Experience,
    device: Device,
    network: GaussianMlp,
    theta: Vec<f64>,
    actor_kfac: Kfac,
    /// η_max of the actor.
    step_size: f64,
    critic: Critic,
    critic_kfac: Kfac,
    observations: RunningNormalizer,
    rewards: Option<RewardScale>,
}

impl Acktr {
    /// Random networks, and no experience.
    ///
    /// # Errors
    /// When a layer is out of range.
    pub fn new(config: Checked<AcktrConfig>, setup: Setup, device: &Device) -> Result<Self> {
        let experience = Experience::new(setup);
        let (observation_dim, _) = experience.dims();
        let (network, theta) = initial::policy(&experience, &config.part(|config| &config.policy));
        let (value, of_value) = initial::values(&experience, &config.critic_hidden, device)?;
        let scale = |clip| RewardScale::new(config.discount, clip);
        Ok(Self {
            actor_kfac: Kfac::new(&config.actor_kfac),
            step_size: config.step_size,
            critic: Critic {
                network: value,
                parameters: of_value,
                discount: config.discount,
                gae_lambda: config.gae_lambda,
                bootstrap: config.bootstrap,
            },
            critic_kfac: Kfac::new(&config.critic_kfac),
            observations: RunningNormalizer::new(observation_dim, config.observation_clip),
            rewards: config.reward_clip.map(scale),
            device: device.clone(),
            config,
            experience,
            network,
            theta,
        })
    }

    /// Natural-gradient steps on the squared error of the critic (section 3.2); returns the error
    /// before the last.
    fn fit_critic(&mut self, batch: &EstimatedBatch, stream: &mut Stream) -> Result<f64> {
        let n = batch.targets.len() as f64;
        let observations = &batch.observations;
        // -½ Σ (V - y)² / n is the mean log likelihood of the Gaussian whose curvature this is
        let weights = vec![1.0 / n; batch.targets.len()];
        let mut error = 0.0;
        for _ in 0..self.config.critic_steps {
            let (network, parameters) = (self.critic.network.gaussian(), &self.critic.parameters);
            let seen = factors(network, parameters, observations, &self.device, stream)?;
            self.critic_kfac.observe(seen);
            error = squared_error(&self.critic.values(observations)?, &batch.targets);
            let gradient = self
                .critic
                .gradient(observations, &batch.targets, &weights)?;
            let (largest, parameters) = (self.config.critic_step_size, &mut self.critic.parameters);
            self.critic_kfac.ascend(parameters, &gradient, largest);
            require_finite(parameters, "the critic of ACKTR")?;
        }
        Ok(error)
    }

    /// One natural-gradient step of the actor (section 3.1); returns its mean KL divergence.
    fn step_actor(&mut self, batch: &EstimatedBatch, stream: &mut Stream) -> Result<f64> {
        let (network, device) = (&self.network, &self.device);
        let observations = &batch.observations;
        let seen = factors(network, &self.theta, observations, device, stream)?;
        self.actor_kfac.observe(seen);
        let n = batch.advantages.len() as f64;
        let weights: Vec<f64> = batch.advantages.iter().map(|x| x / n).collect();
        let samples = Samples::weighted(network, device, observations, &batch.actions, &weights);
        let gradient = samples.policy_gradient(&self.theta)?;
        let old = samples.surrogate(&self.theta);
        self.actor_kfac
            .ascend(&mut self.theta, &gradient, self.step_size);
        require_finite(&self.theta, "the policy of ACKTR")?;
        let kl = old.mean_kl(&self.theta)?;
        let desired = self.config.desired_kl;
        if kl > 2.0 * desired {
            self.step_size = (self.step_size / 1.5).max(1e-8);
        } else if kl < desired / 2.0 {
            self.step_size = (self.step_size * 1.5).min(1.0);
        }
        Ok(kl)
    }
}

impl Algorithm for Acktr {
    type Policy = GaussianPolicy;

    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        observer.at(Phase::Collect, 0, 0);
        let policy = self.policy();
        let (mut batch, return_collect_mean) = critic::collect(
            &mut self.experience,
            &policy,
            self.config.batch_steps,
            &mut self.observations,
            self.rewards.as_mut(),
            &self.critic,
        )?;
        standardize(&mut batch.advantages);

        observer.at(Phase::Update, 0, 0);
        let clock = Instant::now();
        let iteration = self.experience.iteration() as u64;
        let streams = self.experience.streams();
        let mut stream = streams.stream(Purpose::Update, iteration, 0);
        let critic_loss = self.fit_critic(&batch, &mut stream)?;
        let kl = self.step_actor(&batch, &mut stream)?;
        self.experience.seconds_mut().add_since("update", clock);

        let learned = ModelFreeMetrics {
            return_collect_mean,
            gradient_steps: 1,
            policy_kl: Some(kl),
            critic_loss: Some(critic_loss),
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
        let policy = GaussianPolicy::new(self.network.clone(), &self.theta)
            .with_normalizer(self.observations.normalizer());
        match &self.rewards {
            Some(scale) => policy.with_return_std(scale.std() as f32),
            None => policy,
        }
    }
}

impl Trainable for Acktr {
    const NAME: &'static str = "acktr";
    type Config = AcktrConfig;

    fn build(config: Checked<AcktrConfig>, setup: Setup, device: &Device) -> Result<Self> {
        Self::new(config, setup, device)
    }
}

impl Persist for Acktr {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("theta", &mut self.theta)?;
        archive.part("theta.kfac", &mut self.actor_kfac)?;
        archive.number("step_size", &mut self.step_size)?;
        archive.array("critic", &mut self.critic.parameters)?;
        archive.part("critic.kfac", &mut self.critic_kfac)?;
        let (actor, critic) = (&self.network, self.critic.network.gaussian());
        (self.actor_kfac).require_fit(archive, actor.sizes(), self.theta.len())?;
        let parameters = self.critic.parameters.len();
        (self.critic_kfac).require_fit(archive, critic.sizes(), parameters)?;
        archive.part("observations", &mut self.observations)?;
        if let Some(rewards) = &mut self.rewards {
            archive.part("rewards", rewards)?;
        }
        Ok(())
    }
}
