//! Deep deterministic policy gradient (Lillicrap et al. 2016), exploring by noise on the parameters
//! of the actor, scaled adaptively to a given deviation of the actions (Plappert et al. 2018), as
//! in OpenAI's baselines.

use crate::replay::{Replay, TensorBatch};
use burn::tensor::{Device, Tensor};
use mbmpo_core::statistics::mean;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Error, Experience, IterationMetrics,
    ModelFreeMetrics, Observer, Persist, Phase, Purpose, Result, Setup, Stream, Trainable, host,
    require_finite,
};
use mbmpo_policy::{Activation, Adam, DeterministicPolicy, Mlp, RunningNormalizer};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::mem;
use std::time::Instant;

/// The parameters of [`Ddpg`]. "Authors" is the script with which DDPG was run for the paper on
/// MB-MPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DdpgConfig {
    /// Cycles of an iteration. Authors: 25.
    pub cycles: usize,
    /// Lower bound on the real steps of a cycle; whole episodes. Authors: 200.
    pub rollout_steps: usize,
    /// Gradient steps of a cycle, of critic and actor alike. Authors: 50.
    pub train_steps: usize,
    /// Sizes of the actor's hidden layers. Authors: `[32, 32]`.
    pub actor_hidden: Vec<usize>,
    /// Activation of the hidden layers of the actor. Authors: tanh.
    pub actor_activation: Activation,
    /// Sizes of the critic's hidden layers; the action is an input of the second. Authors:
    /// `[64, 64]`, ReLU.
    pub critic_hidden: Vec<usize>,
    /// Whether hidden layers have layer normalisation. Authors: yes.
    pub layer_norm: bool,
    /// Step size of the actor's Adam. Authors: 1e-5.
    pub actor_learning_rate: f64,
    /// Step size of the critic's Adam. Authors: 1e-3.
    pub critic_learning_rate: f64,
    /// Weight of the squared weights in the critic's loss. Authors: 0.01.
    pub critic_weight_decay: f64,
    /// γ. Authors: 0.99.
    pub discount: f64,
    /// τ, the rate of the soft updates of the target networks. Authors: 0.01.
    pub target_rate: f64,
    /// Transitions in a minibatch. Authors: 64.
    pub batch_size: usize,
    /// Number of the most recent transitions that are kept. Authors: 1,000,000.
    pub replay_capacity: usize,
    /// Factor on rewards. Authors: 1.
    pub reward_scale: f64,
    /// Normalised observations are clipped to plus or minus this. Authors: 5.
    pub observation_clip: f64,
    /// Initial deviation of the noise on parameters, and the target deviation of the actions.
    /// Authors: 0.2.
    pub parameter_noise: f64,
    /// Gradient steps between two adaptations of the noise. `ddpg`: 50.
    pub noise_interval: usize,
}

impl Default for DdpgConfig {
    /// As it was run for the paper on MB-MPO: the preset `authors`.
    fn default() -> Self {
        Self {
            cycles: 25,
            rollout_steps: 200,
            train_steps: 50,
            actor_hidden: vec![32, 32],
            actor_activation: Activation::Tanh,
            critic_hidden: vec![64, 64],
            layer_norm: true,
            actor_learning_rate: 1e-5,
            critic_learning_rate: 1e-3,
            critic_weight_decay: 0.01,
            discount: 0.99,
            target_rate: 0.01,
            batch_size: 64,
            replay_capacity: 1_000_000,
            reward_scale: 1.0,
            observation_clip: 5.0,
            parameter_noise: 0.2,
            noise_interval: 50,
        }
    }
}

impl Check for DdpgConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("rollout_steps", self.rollout_steps, 2..=10_000_000);
        checker.range("cycles", self.cycles, 1..=10_000);
        checker.range("train_steps", self.train_steps, 0..=10_000);
        checker.layers("actor_hidden", &self.actor_hidden, 4096);
        checker.layers("critic_hidden", &self.critic_hidden, 4096);
        checker.range("actor_learning_rate", self.actor_learning_rate, 0.0..=10.0);
        checker.range(
            "critic_learning_rate",
            self.critic_learning_rate,
            0.0..=10.0,
        );
        checker.range("critic_weight_decay", self.critic_weight_decay, 0.0..=1e6);
        checker.range("discount", self.discount, 0.0..=1.0);
        checker.range("target_rate", self.target_rate, 0.0..=1.0);
        checker.range("batch_size", self.batch_size, 1..=100_000);
        checker.range("replay_capacity", self.replay_capacity, 1..=10_000_000);
        checker.positive("reward_scale", self.reward_scale);
        checker.range("observation_clip", self.observation_clip, 1e-3..=1e6);
        checker.range("parameter_noise", self.parameter_noise, 0.0..=100.0);
        checker.range("noise_interval", self.noise_interval, 1..=1_000_000);
    }
}

/// Factor by which the noise on the parameters adapts.
const NOISE_ADAPTATION: f64 = 1.01;

/// Deep deterministic policy gradient.
pub struct Ddpg {
    config: Checked<DdpgConfig>,
    experience: Experience,
    device: Device,
    /// μ(s|θ^μ)
    actor: Learner,
    /// Q(s, a|θ^Q)
    critic: Learner,
    replay: Replay,
    observations: RunningNormalizer,
    /// Deviation of the noise on the actor's parameters.
    noise: f64,
    train_steps: usize,
    /// Mean return of every cycle of this iteration so far.
    returns: Vec<f64>,
    /// Error of the critic in every gradient step of this iteration so far.
    errors: Vec<f64>,
}

/// A network, its target network and its optimiser.
struct Learner {
    network: Mlp,
    parameters: Vec<f64>,
    /// θ'
    target: Vec<f64>,
    adam: Adam,
}

impl Learner {
    fn new(network: Mlp, learning_rate: f64, stream: &mut Stream) -> Self {
        let parameters = network.initial_parameters(stream);
        Self {
            adam: Adam::new(parameters.len(), learning_rate, 1e-8),
            target: parameters.clone(),
            parameters,
            network,
        }
    }

    /// The output of the target network, without a graph.
    fn target_output(
        &self,
        observations: Tensor<2>,
        actions: Option<Tensor<2>>,
        device: &Device,
    ) -> Tensor<2> {
        let parameters = Mlp::tensor(&self.target, device);
        self.network.forward(&parameters, observations, actions)
    }

    fn ascend(&mut self, gradient: &[f64]) {
        self.adam.ascend(&mut self.parameters, gradient);
    }

    /// θ' ← τθ + (1 - τ)θ'
    fn soft_update(&mut self, rate: f64) {
        for (target, parameter) in self.target.iter_mut().zip(&self.parameters) {
            *target += rate * (parameter - *target);
        }
    }
}

impl Ddpg {
    /// Random networks, and no experience.
    ///
    /// # Errors
    /// Never; it is fallible like the other algorithms.
    pub fn new(config: Checked<DdpgConfig>, setup: Setup, device: &Device) -> Result<Self> {
        let experience = Experience::new(setup);
        let (observation_dim, action_dim) = experience.dims();
        let sizes = |hidden: &[usize], last| {
            let first = std::iter::once(observation_dim);
            first.chain(hidden.iter().copied()).chain([last]).collect()
        };
        let actor = Mlp {
            sizes: sizes(&config.actor_hidden, action_dim),
            joining: 0,
            hidden: config.actor_activation,
            output: Activation::Tanh,
            layer_norm: config.layer_norm,
        };
        let critic = Mlp {
            sizes: sizes(&config.critic_hidden, 1),
            joining: action_dim,
            hidden: Activation::Relu,
            output: Activation::Identity,
            layer_norm: config.layer_norm,
        };
        let stream = |index| {
            experience
                .streams()
                .stream(Purpose::PolicyWeights, 0, index)
        };
        Ok(Self {
            actor: Learner::new(actor, config.actor_learning_rate, &mut stream(0)),
            critic: Learner::new(critic, config.critic_learning_rate, &mut stream(1)),
            replay: Replay::new(observation_dim, action_dim, config.replay_capacity),
            observations: RunningNormalizer::new(observation_dim, config.observation_clip),
            noise: config.parameter_noise,
            train_steps: 0,
            returns: Vec::new(),
            errors: Vec::new(),
            device: device.clone(),
            config,
            experience,
        })
    }

    /// μ with these parameters.
    fn policy_with(&self, parameters: &[f64]) -> DeterministicPolicy {
        DeterministicPolicy {
            network: self.actor.network.clone(),
            parameters: parameters.iter().map(|&x| x as f32).collect(),
            normalizer: self.observations.normalizer(),
        }
    }

    /// The parameters of the actor with noise, except those of layer normalisation.
    fn perturbed(&self, stream: &mut Stream) -> Vec<f64> {
        let affine = self.actor.network.is_affine();
        let parameters = self.actor.parameters.iter().zip(affine);
        parameters
            .map(|(&parameter, affine)| {
                let noise: f64 = stream.sample(StandardNormal);
                parameter + if affine { self.noise * noise } else { 0.0 }
            })
            .collect()
    }

    /// Adds episodes of one actor with noise on its parameters to the replay buffer; returns their
    /// mean return. (Where episodes end early, OpenAI's `ddpg` draws new noise for each.)
    fn explore(&mut self, cycle: usize) -> Result<f64> {
        let iteration = self.experience.iteration() as u64;
        let streams = self.experience.streams();
        let mut stream = streams.stream(Purpose::Exploration, iteration, cycle as u64);
        let policy = self.policy_with(&self.perturbed(&mut stream));
        let steps = self.config.rollout_steps;
        let paths = self
            .experience
            .collect_batch(&policy, steps, cycle as u64)?;
        self.observations.update(&paths.observations);
        self.replay.add(&paths);
        Ok(mean(&paths.returns()))
    }

    /// One gradient step of critic and actor on a minibatch, after which the target networks move;
    /// returns the squared error of the critic.
    fn train_step(&mut self, stream: &mut Stream) -> Result<f64> {
        let batch = self.replay.sample(self.config.batch_size, stream);
        let normalizer = self.observations.normalizer();
        let batch = batch.on(&self.device, &normalizer, self.config.reward_scale);
        let error = self.update_critic(&batch)?;
        self.update_actor(&batch)?;
        self.critic.soft_update(self.config.target_rate);
        self.actor.soft_update(self.config.target_rate);
        self.train_steps += 1;
        if self.train_steps.is_multiple_of(self.config.noise_interval) {
            self.adapt_noise(&batch.observations, stream)?;
        }
        Ok(error)
    }

    /// Minimises Σ (y - Q(s, a))² / N with the targets y = r + γ Q'(s', μ'(s')); returns the loss.
    fn update_critic(&mut self, batch: &TensorBatch) -> Result<f64> {
        let device = &self.device;
        let next = batch.next_observations.clone();
        let next_actions = self.actor.target_output(next.clone(), None, device);
        let next_values = self.critic.target_output(next, Some(next_actions), device);
        let (rewards, ended) = (batch.rewards.clone(), batch.ended.clone());
        let targets = bellman_targets(rewards, ended, next_values, self.config.discount);

        let leaf = leaf(&self.critic.parameters, device);
        let (s, a) = (constant(&batch.observations), constant(&batch.actions));
        let values = self.critic.network.forward(&leaf, s, Some(a));
        let difference = values - Tensor::from_inner(targets);
        let loss = (difference.clone() * difference).mean();
        let error = f64::from(host(loss.clone().inner())?[0]);
        require_finite(&[error], "the loss of DDPG's critic")?;
        let mut gradient = gradient(loss.neg(), &leaf)?;
        // of λ/2 Σ w² (TensorFlow's l2_regularizer)
        let weights = self.critic.network.is_weight();
        let decayed = self.critic.parameters.iter().zip(weights);
        for (g, (parameter, is_weight)) in gradient.iter_mut().zip(decayed) {
            *g -= if is_weight {
                self.config.critic_weight_decay * parameter
            } else {
                0.0
            };
        }
        require_finite(&gradient, "the gradient of DDPG's critic")?;
        self.critic.ascend(&gradient);
        Ok(error)
    }

    /// Maximises Σ Q(s, μ(s)) / N.
    fn update_actor(&mut self, batch: &TensorBatch) -> Result<()> {
        let leaf = leaf(&self.actor.parameters, &self.device);
        let s = constant(&batch.observations);
        let actions = self.actor.network.forward(&leaf, s.clone(), None);
        let critic = Tensor::from_inner(Mlp::tensor(&self.critic.parameters, &self.device));
        let values = self.critic.network.forward(&critic, s, Some(actions));
        let gradient = gradient(values.mean(), &leaf)?;
        require_finite(&gradient, "the gradient of DDPG's actor")?;
        self.actor.ascend(&gradient);
        Ok(())
    }

    /// Increases the noise on the parameters where the deviation of the actions is below the
    /// target, and decreases it where it is above (Plappert et al. 2018, eq. 8).
    fn adapt_noise(&mut self, observations: &Tensor<2>, stream: &mut Stream) -> Result<()> {
        let act = |parameters: &[f64]| {
            let parameters = Mlp::tensor(parameters, &self.device);
            host(
                self.actor
                    .network
                    .forward(&parameters, observations.clone(), None),
            )
        };
        let (clean, noisy) = (act(&self.actor.parameters)?, act(&self.perturbed(stream))?);
        let squares: Vec<f64> = clean
            .iter()
            .zip(&noisy)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .collect();
        if mean(&squares).sqrt() > self.config.parameter_noise {
            self.noise /= NOISE_ADAPTATION;
        } else {
            self.noise *= NOISE_ADAPTATION;
        }
        Ok(())
    }
}

/// Parameters with respect to which an objective is differentiated.
fn leaf(parameters: &[f64], device: &Device) -> Tensor<1> {
    Tensor::from_inner(Mlp::tensor(parameters, device)).require_grad()
}

/// A constant of the autodiff graph.
fn constant(x: &Tensor<2>) -> Tensor<2> {
    Tensor::from_inner(x.clone())
}

/// y = r + γ (1 - d) Q' `[rows, 1]`. d is 1 where the task ended the episode, and 0 where only the
/// time limit did.
fn bellman_targets(
    rewards: Tensor<2>,
    ended: Tensor<2>,
    next_values: Tensor<2>,
    discount: f64,
) -> Tensor<2> {
    rewards + next_values * ended.neg().add_scalar(1.0).mul_scalar(discount)
}

fn gradient(objective: Tensor<1>, leaf: &Tensor<1>) -> Result<Vec<f64>> {
    let gradients = objective.backward();
    let gradient = leaf.grad(&gradients).ok_or_else(|| {
        Error::Description("the objective does not depend on the parameters".to_owned())
    })?;
    Ok(host(gradient)?.into_iter().map(f64::from).collect())
}

impl Algorithm for Ddpg {
    type Policy = DeterministicPolicy;

    /// Algorithm 1 of Lillicrap et al., a cycle at a time: real steps, then gradient steps.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        let (cycle, cycles) = (self.returns.len(), self.config.cycles);
        observer.at(Phase::Update, cycle, cycles);
        let mean_return = self.explore(cycle)?;
        self.returns.push(mean_return);
        let clock = Instant::now();
        let iteration = self.experience.iteration() as u64;
        let streams = self.experience.streams();
        let mut stream = streams.stream(Purpose::Update, iteration, cycle as u64);
        for _ in 0..self.config.train_steps {
            let error = self.train_step(&mut stream)?;
            self.errors.push(error);
        }
        self.experience.seconds_mut().add_since("update", clock);
        if cycle + 1 < cycles {
            return Ok(None);
        }
        let (returns, errors) = (mem::take(&mut self.returns), mem::take(&mut self.errors));
        let learned = ModelFreeMetrics {
            return_collect_mean: mean(&returns),
            gradient_steps: errors.len(),
            policy_kl: None,
            critic_loss: Some(mean(&errors)),
        };
        let policy = self.policy();
        let metrics = self.experience.report(&policy, &[0.0], observer)?;
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

    fn policy(&self) -> DeterministicPolicy {
        self.policy_with(&self.actor.parameters)
    }
}

impl Trainable for Ddpg {
    const NAME: &'static str = "ddpg";
    type Config = DdpgConfig;

    fn build(config: Checked<DdpgConfig>, setup: Setup, device: &Device) -> Result<Self> {
        Self::new(config, setup, device)
    }
}

impl Persist for Ddpg {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.part("actor", &mut self.actor)?;
        archive.part("critic", &mut self.critic)?;
        archive.part("replay", &mut self.replay)?;
        archive.part("observations", &mut self.observations)?;
        archive.number("noise", &mut self.noise)?;
        archive.count("train_steps", &mut self.train_steps)?;
        archive.list("returns", &mut self.returns)?;
        archive.list("errors", &mut self.errors)
    }
}

impl Persist for Learner {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.array("parameters", &mut self.parameters)?;
        archive.array("target", &mut self.target)?;
        archive.part("adam", &mut self.adam)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The task ends the second transition. Fails when termination is bootstrapped, or the discount
    /// is missing.
    #[test]
    fn bellman_targets_by_hand() {
        let ended = [0.0, 1.0, 0.0];
        let device = Device::flex();
        let column = |x: [f32; 3]| Tensor::<2>::from_data([[x[0]], [x[1]], [x[2]]], &device);
        let rewards = column([0.0, 10.0, 5.0]);
        let ended = column(ended);
        let values = column([1.0, 100.0, 3.0]);
        let targets = host(bellman_targets(rewards, ended, values, 0.5)).unwrap();
        assert_eq!(targets, [0.5, 10.0, 6.5]);
    }

    /// Fails when noise that changes the actions too little does not grow, when noise that changes
    /// them too much does not shrink, or when layer normalisation is perturbed.
    #[test]
    fn the_noise_adapts_to_the_deviation_of_the_actions() {
        let config = DdpgConfig {
            actor_hidden: vec![8],
            critic_hidden: vec![8],
            ..DdpgConfig::default()
        };
        let point = mbmpo_envs::make("point-2d", mbmpo_envs::Variant::Paper).unwrap();
        let device = Device::flex();
        let setup = Setup::without_task(point, 1);
        let mut ddpg = Ddpg::new(config.check().unwrap(), setup, &device).unwrap();
        let observations = Tensor::from_data([[1.0, -1.0], [0.5, 2.0]], &device);
        let mut stream = mbmpo_core::Streams::new(1).stream(Purpose::Test, 0, 0);
        for (noise, factor) in [(1e-4, 1.01), (10.0, 1.0 / 1.01)] {
            ddpg.noise = noise;
            let perturbed = ddpg.perturbed(&mut stream);
            let affine = ddpg.actor.network.is_affine();
            let parameters = perturbed.iter().zip(&ddpg.actor.parameters);
            assert!(
                parameters
                    .zip(affine)
                    .all(|((a, b), affine)| (a != b) == affine)
            );
            ddpg.adapt_noise(&observations, &mut stream).unwrap();
            assert!((ddpg.noise / noise - factor).abs() < 1e-12, "{noise}");
        }
    }

    /// Fails when τ and 1 - τ are exchanged.
    #[test]
    fn soft_update_by_hand() {
        let network = Mlp {
            sizes: vec![1, 1],
            joining: 0,
            hidden: Activation::Relu,
            output: Activation::Identity,
            layer_norm: false,
        };
        let mut stream = mbmpo_core::Streams::new(1).stream(Purpose::Test, 0, 0);
        let mut learner = Learner::new(network, 0.1, &mut stream);
        learner.target = vec![1.0, 2.0];
        learner.parameters = vec![3.0, 0.0];
        learner.soft_update(0.1);
        assert_eq!(learner.target, [1.2, 1.8]);
    }
}
