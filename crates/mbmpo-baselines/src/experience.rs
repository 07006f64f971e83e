//! What all algorithms here have in common: acting in the real environment, counting its steps, and reporting.

use burn::tensor::Device;
use mbmpo_core::collect::{Plan, collect_batch};
use mbmpo_core::{
    Archive, Checked, Checker, Environment, Error, IterationMetrics, ModelFreeMetrics, Observer,
    Persist, Phase, PhaseSeconds, Policy, Purpose, Result, Streams, Trajectories,
};
use mbmpo_policy::{GaussianMlp, PolicyConfig, RunningNormalizer, ValueNetwork};
use std::time::Instant;

/// An environment to act in, and a count of what was used.
pub(crate) struct Experience {
    pub(crate) environment: Box<dyn Environment>,
    pub(crate) horizon: usize,
    pub(crate) streams: Streams,
    pub(crate) evaluation_episodes: usize,
    pub(crate) iteration: usize,
    pub(crate) real_steps: usize,
    seconds: PhaseSeconds,
}

impl Experience {
    pub(crate) fn new(
        environment: Box<dyn Environment>,
        horizon: Option<usize>,
        evaluation_episodes: usize,
        seed: u64,
    ) -> Self {
        Self {
            horizon: horizon.unwrap_or_else(|| environment.horizon()).max(1),
            environment,
            streams: Streams::new(seed),
            evaluation_episodes,
            iteration: 0,
            real_steps: 0,
            seconds: PhaseSeconds::default(),
        }
    }

    /// Number of components of an observation and of an action.
    pub(crate) fn dims(&self) -> (usize, usize) {
        (
            self.environment.observation_dim(),
            self.environment.action_space().dim(),
        )
    }

    /// A random policy for the environment: its architecture and θ.
    pub(crate) fn random_policy(&self, config: &Checked<PolicyConfig>) -> (GaussianMlp, Vec<f64>) {
        let (observation_dim, action_dim) = self.dims();
        let network = GaussianMlp::new(config, observation_dim, action_dim);
        let mut stream = self.streams.stream(Purpose::PolicyWeights, 0, 0);
        let theta = network.initial_parameters(config, &mut stream);
        (network, theta)
    }

    /// A random value network with these tanh layers for the environment, and its parameters.
    pub(crate) fn random_values(
        &self,
        hidden: &[usize],
        device: &Device,
    ) -> Result<(ValueNetwork, Vec<f64>)> {
        let mut stream = self.streams.stream(Purpose::PolicyWeights, 0, 1);
        let (observation_dim, _) = self.dims();
        Ok(ValueNetwork::new(
            hidden,
            observation_dim,
            device,
            &mut stream,
        )?)
    }

    /// Episodes that are counted: at least `min_steps` transitions. `part` tells several batches of an iteration apart.
    pub(crate) fn collect(
        &mut self,
        policy: &dyn Policy,
        min_steps: usize,
        part: u64,
    ) -> Result<Trajectories> {
        let clock = Instant::now();
        // the streams of a part, of which an iteration has less than a million
        let iteration = 1_000_000 * self.iteration as u64 + part;
        let plan = Plan {
            horizon: self.horizon,
            min_steps,
            purpose: Purpose::Collect,
            iteration,
        };
        let paths = collect_batch(self.environment.as_ref(), policy, plan, &self.streams)?;
        self.real_steps += paths.len();
        self.seconds.collect += clock.elapsed().as_secs_f64();
        Ok(paths)
    }

    /// What was done since `clock` was learning.
    pub(crate) fn count_update(&mut self, clock: Instant) {
        self.seconds.update += clock.elapsed().as_secs_f64();
    }

    /// Measures `policy` over episodes that are neither counted nor learned from, and closes the iteration.
    pub(crate) fn report(
        &mut self,
        policy: &dyn Policy,
        std: &[f32],
        learned: ModelFreeMetrics,
        observer: &mut dyn Observer,
    ) -> Result<IterationMetrics> {
        observer.at(Phase::Evaluate, 0, 0);
        let clock = Instant::now();
        let policies = vec![policy; self.evaluation_episodes];
        let plan = Plan {
            horizon: self.horizon,
            min_steps: 0,
            purpose: Purpose::Evaluate,
            iteration: self.iteration as u64,
        };
        let environment = self.environment.as_ref();
        let paths = mbmpo_core::collect::collect(environment, &policies, plan, &self.streams)?;
        let mut seconds = std::mem::take(&mut self.seconds);
        seconds.evaluate = clock.elapsed().as_secs_f64();
        let returns = paths.returns();
        let center = mean(&returns);
        let squares: Vec<f64> = returns.iter().map(|x| (x - center).powi(2)).collect();
        let metrics = IterationMetrics {
            iteration: self.iteration,
            real_steps: self.real_steps,
            return_pre_mean: center,
            return_pre_std: mean(&squares).sqrt(),
            episode_length_mean: paths.len() as f64 / returns.len() as f64,
            policy_std_mean: mean(&std.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()),
            model_free: Some(learned),
            seconds,
            ..IterationMetrics::default()
        };
        self.iteration += 1;
        Ok(metrics)
    }
}

impl Persist for Experience {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("streams", &mut self.streams)?;
        archive.count("iteration", &mut self.iteration)?;
        archive.count("real_steps", &mut self.real_steps)?;
        archive.part("seconds", &mut self.seconds)
    }
}

/// Ranges of what every configuration has.
pub(crate) fn inspect(
    checker: &mut Checker,
    horizon: Option<usize>,
    batch: (&str, usize),
    evaluation_episodes: usize,
) {
    let horizon = horizon.unwrap_or(1);
    checker.range("horizon", horizon, 1..=100_000);
    checker.range(batch.0, batch.1, 2..=10_000_000);
    checker.range("evaluation_episodes", evaluation_episodes, 1..=100_000);
    // the transitions of a report are in memory at once
    checker.demand_together(
        "evaluation_episodes",
        evaluation_episodes,
        evaluation_episodes.saturating_mul(horizon) <= 10_000_000,
        "at most 10,000,000 steps a report (episodes times horizon)",
    );
}

/// Learning stops where parameters are no numbers any more.
pub(crate) fn require_finite(parameters: &[f64], what: &str) -> Result<()> {
    if parameters.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    let what = what.to_owned();
    Err(Error::NotFinite { what })
}

/// Rewards in units of the standard deviation of the discounted return so far, clipped (the `VecNormalize` of OpenAI's
/// baselines): the return of step t is r_t + γ times that of step t - 1.
pub(crate) struct RewardScale {
    returns: RunningNormalizer,
    discount: f64,
    clip: f64,
}

impl RewardScale {
    pub(crate) fn new(discount: f64, clip: f64) -> Self {
        Self {
            returns: RunningNormalizer::new(1, clip),
            discount,
            clip,
        }
    }

    /// What rewards are divided by now.
    pub(crate) fn std(&self) -> f64 {
        self.returns.std()[0]
    }

    /// Counts `paths` in, then scales their rewards.
    pub(crate) fn apply(&mut self, paths: &mut Trajectories) {
        let mut past = Vec::with_capacity(paths.len());
        for path in paths.paths() {
            let mut sum = 0.0;
            for &reward in &paths.rewards[path] {
                sum = f64::from(reward) + self.discount * sum;
                past.push(sum as f32);
            }
        }
        self.returns.update(&past);
        let scale = 1.0 / self.std();
        let clip = self.clip;
        for reward in &mut paths.rewards {
            *reward = (f64::from(*reward) * scale).clamp(-clip, clip) as f32;
        }
    }
}

impl Persist for RewardScale {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        self.returns.persist(archive)
    }
}

/// 0 for no numbers.
pub(crate) fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand; fails when the discounted return runs on into the next path, when the batch is scaled before it is
    /// counted, or when the clip is missing.
    #[test]
    fn rewards_are_scaled_by_the_deviation_of_the_return() {
        let mut paths = Trajectories::new(1, 1);
        for path in [&[1.0, 3.0][..], &[0.0, 0.0, 90.0]] {
            for &reward in path {
                paths.push(&[0.0], &[0.0], &[0.0], reward);
            }
            paths.end_path(false);
        }
        // discounted sums so far: 1, 3.5 and 0, 0, 90
        let sums = [1.0, 3.5, 0.0, 0.0, 90.0];
        let mean = sums.iter().sum::<f64>() / 5.0;
        let variance = sums.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 5.0;
        let mut scale = RewardScale::new(0.5, 2.0);
        scale.apply(&mut paths);
        assert!((scale.std() - variance.sqrt()).abs() < 1e-6);
        let expected = [1.0, 3.0, 0.0, 0.0].map(|reward| (reward / variance.sqrt()) as f32);
        for (scaled, expected) in paths.rewards.iter().zip(expected) {
            assert!((scaled - expected).abs() < 1e-6);
        }
        assert_eq!(paths.rewards[4], 2.0);
    }
}
