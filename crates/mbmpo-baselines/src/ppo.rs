//! Proximal policy optimization (Schulman et al. 2017): several epochs of minibatch steps on a
//! clipped surrogate, with a value network. Observations and rewards are normalised as in OpenAI's
//! baselines, with which it was run for the paper on MB-MPO.

use crate::critic::{self, Critic, EstimatedBatch, squared_error};
use crate::initial;
use crate::reward_scale::RewardScale;
use burn::tensor::Device;
use mbmpo_core::statistics::mean;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Experience, IterationMetrics, ModelFreeMetrics,
    Observer, Persist, Phase, Purpose, Result, Setup, Trainable, require_finite,
};
use mbmpo_policy::advantage::standardize;
use mbmpo_policy::batch::Samples;
use mbmpo_policy::{Adam, GaussianMlp, GaussianPolicy, PolicyConfig, RunningNormalizer};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The parameters of [`Ppo`]. "Authors" is the script with which PPO was run for the paper on
/// MB-MPO; where it is silent, the defaults of OpenAI's `ppo2` hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PpoConfig {
    /// Lower bound on the real steps of an iteration; whole episodes. Authors: 50,000.
    pub batch_steps: usize,
    /// The policy network.
    pub policy: PolicyConfig,
    /// Sizes of the tanh layers of the value network. Authors: `[32, 32]`.
    pub value_hidden: Vec<usize>,
    /// γ. Authors: 0.99.
    pub discount: f64,
    /// λ of generalised advantage estimation. Authors: 0.95.
    pub gae_lambda: f64,
    /// Whether the value of the last state is added where only the time limit ended an episode.
    /// Authors: no.
    pub bootstrap: bool,
    /// Epochs K on a batch. Authors: 10.
    pub epochs: usize,
    /// Gradient steps of an epoch. Authors: 25.
    pub minibatches: usize,
    /// Step size of Adam. Authors: 3e-4.
    pub learning_rate: f64,
    /// Adam's ε. `ppo2`: 1e-5.
    pub adam_epsilon: f64,
    /// ε, the clip of the ratio of probabilities. Authors: 0.2.
    pub clip: f64,
    /// Clip of the change of a value in an iteration; no clip where absent. `ppo2`: as `clip`.
    pub value_clip: Option<f64>,
    /// c₁, the weight of the squared error of the values, before halving. Authors: 0.5.
    pub value_coefficient: f64,
    /// c₂, the weight of the entropy of the policy. Authors: 0.
    pub entropy_coefficient: f64,
    /// Largest norm of the gradient of policy and value network together. Authors: 0.5.
    pub max_gradient_norm: f64,
    /// Normalised observations are clipped to plus or minus this. `VecNormalize`: 10.
    pub observation_clip: f64,
    /// Rewards, in units of the deviation of the discounted return, are clipped to plus or minus
    /// this. `VecNormalize`: 10.
    pub reward_clip: f64,
}

impl Default for PpoConfig {
    /// As it was run for the paper on MB-MPO: the preset `authors`.
    fn default() -> Self {
        Self {
            batch_steps: 50_000,
            policy: PolicyConfig {
                output_scale: 0.01,
                ..PolicyConfig::default()
            },
            value_hidden: vec![32, 32],
            discount: 0.99,
            gae_lambda: 0.95,
            bootstrap: false,
            epochs: 10,
            minibatches: 25,
            learning_rate: 3e-4,
            adam_epsilon: 1e-5,
            clip: 0.2,
            value_clip: Some(0.2),
            value_coefficient: 0.5,
            entropy_coefficient: 0.0,
            max_gradient_norm: 0.5,
            observation_clip: 10.0,
            reward_clip: 10.0,
        }
    }
}

impl Check for PpoConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("batch_steps", self.batch_steps, 2..=10_000_000);
        checker.nested("policy", &self.policy);
        checker.layers("value_hidden", &self.value_hidden, 4096);
        checker.range("discount", self.discount, 0.0..=1.0);
        checker.range("gae_lambda", self.gae_lambda, 0.0..=1.0);
        checker.range("epochs", self.epochs, 1..=1000);
        checker.range("minibatches", self.minibatches, 1..=5_000_000);
        // advantages are standardised in each
        let filled = self.minibatches <= self.batch_steps / 2;
        let allowed = "at most half of `batch_steps`";
        checker.demand_together("minibatches", self.minibatches, filled, allowed);
        checker.range("learning_rate", self.learning_rate, 0.0..=10.0);
        checker.positive("adam_epsilon", self.adam_epsilon);
        checker.positive("clip", self.clip);
        checker.positive("value_clip", self.value_clip.unwrap_or(1.0));
        checker.range("value_coefficient", self.value_coefficient, 0.0..=1e6);
        checker.range("entropy_coefficient", self.entropy_coefficient, 0.0..=1e6);
        checker.positive("max_gradient_norm", self.max_gradient_norm);
        checker.range("observation_clip", self.observation_clip, 1e-3..=1e6);
        checker.range("reward_clip", self.reward_clip, 1e-3..=1e6);
    }
}

/// Proximal policy optimization.
pub struct Ppo {
    config: Checked<PpoConfig>,
    experience: Experience,
    device: Device,
    network: GaussianMlp,
    theta: Vec<f64>,
    critic: Critic,
    /// Optimisers of policy and critic.
    adams: [Adam; 2],
    observations: RunningNormalizer,
    rewards: RewardScale,
}

impl Algorithm for Ppo {
    type Policy = GaussianPolicy;

    /// An iteration of Algorithm 1: a batch of the old policy, then K epochs on it.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        observer.at(Phase::Collect, 0, 0);
        let policy = self.policy();
        let (batch, return_collect_mean) = critic::collect(
            &mut self.experience,
            &policy,
            self.config.batch_steps,
            &mut self.observations,
            Some(&mut self.rewards),
            &self.critic,
        )?;

        observer.at(Phase::Update, 0, 0);
        let start = Instant::now();
        let old_policy = self.theta.clone();
        let (gradient_steps, critic_loss) = self.optimize(&batch, &old_policy)?;
        let samples = self.samples(&batch, &batch.advantages);
        let kl = samples.surrogate(&old_policy).mean_kl(&self.theta)?;
        self.experience.seconds_mut().add_since("update", start);

        let policy = self.policy();
        let metrics = self.experience.report(&policy, &policy.std(), observer)?;
        Ok(Some(IterationMetrics {
            model_free: Some(ModelFreeMetrics {
                return_collect_mean,
                gradient_steps,
                policy_kl: Some(kl),
                critic_loss: Some(critic_loss),
            }),
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
            .with_normalizer(self.observations.normalizer())
            .with_return_std(self.rewards.std() as f32)
    }
}

impl Ppo {
    /// Random networks, and no experience.
    ///
    /// # Errors
    /// When a layer is out of range.
    pub fn new(config: Checked<PpoConfig>, setup: Setup, device: &Device) -> Result<Self> {
        let experience = Experience::new(setup);
        let (observation_dim, _) = experience.dims();
        let (network, theta) = initial::policy(&experience, &config.part(|config| &config.policy));
        let (value, of_value) = initial::values(&experience, &config.value_hidden, device)?;
        let adam = |count| Adam::new(count, config.learning_rate, config.adam_epsilon);
        Ok(Self {
            adams: [adam(theta.len()), adam(of_value.len())],
            critic: Critic {
                network: value,
                parameters: of_value,
                discount: config.discount,
                gae_lambda: config.gae_lambda,
                bootstrap: config.bootstrap,
            },
            observations: RunningNormalizer::new(observation_dim, config.observation_clip),
            rewards: RewardScale::new(config.discount, config.reward_clip),
            device: device.clone(),
            config,
            experience,
            network,
            theta,
        })
    }

    /// K epochs of minibatch steps (Algorithm 1, "optimize surrogate L"); returns their number and
    /// the mean squared error of the values in the last epoch.
    fn optimize(&mut self, batch: &EstimatedBatch, old_policy: &[f64]) -> Result<(usize, f64)> {
        let iteration = self.experience.iteration() as u64;
        let streams = self.experience.streams();
        let mut stream = streams.stream(Purpose::Update, iteration, 0);
        let n = batch.advantages.len();
        let minibatches = self.config.minibatches.min(n / 2).max(1);
        let mut order: Vec<usize> = (0..n).collect();
        let mut errors = Vec::new();
        for _ in 0..self.config.epochs {
            order.shuffle(&mut stream);
            errors.clear();
            for i in 0..minibatches {
                let indices = &order[i * n / minibatches..(i + 1) * n / minibatches];
                let minibatch = batch.select(indices);
                let values = self.critic.values(&minibatch.observations)?;
                errors.push(squared_error(&values, &minibatch.targets));
                let [by_theta, by_value] = self.gradient(&minibatch, old_policy, &values)?;
                let [of_policy, of_critic] = &mut self.adams;
                of_policy.ascend(&mut self.theta, &by_theta);
                of_critic.ascend(&mut self.critic.parameters, &by_value);
            }
        }
        Ok((self.config.epochs * errors.len(), mean(&errors)))
    }

    /// Gradient of L = L^CLIP - c₁ L^VF + c₂ S (eq. 9) on a minibatch, whose present values are
    /// `values` `[n]`, with respect to the parameters of policy and critic, together clipped in
    /// length.
    fn gradient(
        &self,
        minibatch: &EstimatedBatch,
        old_policy: &[f64],
        values: &[f64],
    ) -> Result<[Vec<f64>; 2]> {
        let config = &self.config;
        let (c1, c2) = (config.value_coefficient, config.entropy_coefficient);
        let mut gradient = [
            sum(
                self.clip_gradient(minibatch, old_policy)?,
                &self.entropy_gradient(c2),
            ),
            self.value_gradient(minibatch, values, c1)?,
        ];
        let squares = gradient.iter().flatten().map(|x| x * x);
        let norm = squares.sum::<f64>().sqrt();
        require_finite(&[norm], "the gradient of PPO's objective")?;
        let scale = (config.max_gradient_norm / (norm + 1e-6)).min(1.0);
        gradient.iter_mut().flatten().for_each(|x| *x *= scale);
        Ok(gradient)
    }

    /// Gradient of L^CLIP (eq. 7), with the advantages standardised over the minibatch.
    fn clip_gradient(&self, minibatch: &EstimatedBatch, old_policy: &[f64]) -> Result<Vec<f64>> {
        let n = minibatch.advantages.len() as f64;
        let mut weights = minibatch.advantages.clone();
        standardize(&mut weights);
        weights.iter_mut().for_each(|weight| *weight /= n);
        let surrogate = self.samples(minibatch, &weights).surrogate(old_policy);
        surrogate.clipped_gradient(&self.theta, self.config.clip)
    }

    /// Gradient of c₂ S: the entropy of a Gaussian is Σ log σ and a constant.
    fn entropy_gradient(&self, c2: f64) -> Vec<f64> {
        let network = self.theta.len() - self.network.action_dim();
        let (of_mean, of_log_std) = (vec![0.0; network], vec![c2; self.network.action_dim()]);
        [of_mean, of_log_std].concat()
    }

    /// Gradient of -c₁ L^VF, with the error of clipped values as in `ppo2`.
    fn value_gradient(
        &self,
        minibatch: &EstimatedBatch,
        values: &[f64],
        c1: f64,
    ) -> Result<Vec<f64>> {
        let mut weights = minibatch.value_weights(values, self.config.value_clip);
        for weight in &mut weights {
            *weight *= c1 / values.len() as f64;
        }
        let (observations, targets) = (&minibatch.observations, &minibatch.targets);
        self.critic.gradient(observations, targets, &weights)
    }

    fn samples(&self, batch: &EstimatedBatch, weights: &[f64]) -> Samples {
        let (observations, actions) = (&batch.observations, &batch.actions);
        Samples::weighted(&self.network, &self.device, observations, actions, weights)
    }
}

impl EstimatedBatch {
    /// Weights `[n]` of the squared errors of `values`: 0 where a value has moved from the old one
    /// by more than the clip and away from its target (there `ppo2`'s max((V - y)², (V_clipped -
    /// y)²) is constant), else 1.
    fn value_weights(&self, values: &[f64], clip: Option<f64>) -> Vec<f64> {
        let old = self.values.iter().zip(&self.targets);
        let weight = |(new, (old, target)): (&f64, (&f64, &f64))| {
            let clipped = clip.map_or(*new, |clip| new.clamp(old - clip, old + clip));
            if (clipped - target).abs() > (new - target).abs() {
                0.0
            } else {
                1.0
            }
        };
        values.iter().zip(old).map(weight).collect()
    }
}

/// a + b
fn sum(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

impl Trainable for Ppo {
    const NAME: &'static str = "ppo";
    type Config = PpoConfig;

    fn build(config: Checked<PpoConfig>, setup: Setup, device: &Device) -> Result<Self> {
        Self::new(config, setup, device)
    }
}

impl Persist for Ppo {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("theta", &mut self.theta)?;
        archive.array("critic", &mut self.critic.parameters)?;
        let [of_policy, of_critic] = &mut self.adams;
        archive.part("theta.adam", of_policy)?;
        archive.part("critic.adam", of_critic)?;
        archive.part("observations", &mut self.observations)?;
        archive.part("rewards", &mut self.rewards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ppo2`'s clipped value loss by finite differences of max((V - y)², (V_clipped - y)²). Fails
    /// when other rows are left out.
    #[test]
    fn value_clip_by_hand() {
        let values = [0.5, 0.5, 0.5, 0.5, 0.1];
        let old = [0.0, 0.0, 1.0, 1.0, 0.0];
        let targets = [1.0, -1.0, 0.0, 2.0, 3.0];
        let batch = EstimatedBatch {
            observation_dim: 1,
            action_dim: 1,
            observations: vec![0.0; 5],
            actions: vec![0.0; 5],
            advantages: vec![0.0; 5],
            values: old.to_vec(),
            targets: targets.to_vec(),
        };
        let weights = batch.value_weights(&values, Some(0.2));
        for i in 0..5 {
            let loss = |v: f64| {
                let clipped = v.clamp(old[i] - 0.2, old[i] + 0.2);
                (v - targets[i]).powi(2).max((clipped - targets[i]).powi(2))
            };
            let slope = (loss(values[i] + 1e-6) - loss(values[i] - 1e-6)) / 2e-6;
            let expected = 2.0 * weights[i] * (values[i] - targets[i]);
            assert!(
                (slope - expected).abs() < 1e-5,
                "row {i}: {slope} {expected}"
            );
        }
        assert_eq!(weights, [0.0, 1.0, 0.0, 1.0, 1.0]);
        assert_eq!(batch.value_weights(&values, None), [1.0; 5]);
    }
}
