//! Value estimates for batches of real trajectories, shared by TRPO, PPO and ACKTR.

use crate::reward_scale::RewardScale;
use mbmpo_core::statistics::mean;
use mbmpo_core::{Experience, Policy, Result, Trajectories};
use mbmpo_policy::advantage::gae;
use mbmpo_policy::{RunningNormalizer, ValueNetwork};
use std::time::Instant;

/// A value network with its parameters, and the settings of generalised advantage estimation.
pub(crate) struct Critic {
    pub(crate) network: ValueNetwork,
    pub(crate) parameters: Vec<f64>,
    pub(crate) discount: f64,
    pub(crate) gae_lambda: f64,
    /// Whether the value of the last state is added where only the time limit ended an episode.
    pub(crate) bootstrap: bool,
}

/// Estimates for each step of a batch.
pub(crate) struct ValueEstimates {
    /// V(s_t) `[n]`
    pub(crate) values: Vec<f64>,
    /// `[n]`
    pub(crate) advantages: Vec<f64>,
    /// TD(λ) targets of the critic, the sum of the two `[n]`.
    pub(crate) targets: Vec<f64>,
}

impl Critic {
    /// Estimates for `paths`, whose normalised observations before and after each step are
    /// `observations` and `next` `[n, observation]`.
    pub(crate) fn estimate(
        &self,
        paths: &Trajectories,
        observations: &[f32],
        next: &[f32],
    ) -> Result<ValueEstimates> {
        let values = self.network.values(&self.parameters, observations)?;
        let ends = self
            .network
            .end_values(&self.parameters, paths, next, self.bootstrap)?;
        let advantages = gae(paths, &values, &ends, self.discount, self.gae_lambda);
        let sum = |(advantage, value): (&f64, &f64)| advantage + value;
        let targets = advantages.iter().zip(&values).map(sum).collect();
        Ok(ValueEstimates {
            values,
            advantages,
            targets,
        })
    }

    /// Gradient `[parameters]` of -½ Σ_i w_i (V(s_i) - y_i)².
    pub(crate) fn gradient(
        &self,
        observations: &[f32],
        targets: &[f64],
        weights: &[f64],
    ) -> Result<Vec<f64>> {
        let targets: Vec<f32> = targets.iter().map(|&x| x as f32).collect();
        self.network
            .gradient(&self.parameters, observations, &targets, weights)
    }

    /// V(s) `[n]`.
    pub(crate) fn values(&self, observations: &[f32]) -> Result<Vec<f64>> {
        self.network.values(&self.parameters, observations)
    }
}

/// A batch to train actor and critic on, with normalised observations and scaled rewards.
pub(crate) struct EstimatedBatch {
    pub(crate) observation_dim: usize,
    pub(crate) action_dim: usize,
    /// Normalised `[n, observation]`.
    pub(crate) observations: Vec<f32>,
    /// `[n, action]`
    pub(crate) actions: Vec<f32>,
    /// V(s_t) of the critic before the update of this iteration `[n]`.
    pub(crate) values: Vec<f64>,
    /// `[n]`
    pub(crate) advantages: Vec<f64>,
    /// TD(λ) targets of the critic `[n]`.
    pub(crate) targets: Vec<f64>,
}

/// Collects a batch and estimates its values and advantages; returns the mean return of its
/// episodes as well.
pub(crate) fn collect(
    experience: &mut Experience,
    policy: &dyn Policy,
    min_steps: usize,
    normalizer: &mut RunningNormalizer,
    rewards: Option<&mut RewardScale>,
    critic: &Critic,
) -> Result<(EstimatedBatch, f64)> {
    let mut paths = experience.collect_batch(policy, min_steps, 0)?;
    let clock = Instant::now();
    let return_collect_mean = mean(&paths.returns());
    if let Some(scale) = rewards {
        scale.apply(&mut paths);
    }
    // Normalises with the statistics that the policy used, and updates them for the next batch. The
    // first batch, for which there were none, is normalised with its own.
    let first = experience.iteration() == 0;
    let seen = normalizer.clone();
    normalizer.update(&paths.observations);
    let now = if first {
        normalizer.normalizer()
    } else {
        seen.normalizer()
    };
    let observations = now.apply(&paths.observations);
    let next = now.apply(&paths.next_observations);
    let estimates = critic.estimate(&paths, &observations, &next)?;
    experience.seconds_mut().add_since("update", clock);
    let batch = EstimatedBatch {
        observation_dim: paths.observation_dim,
        action_dim: paths.action_dim,
        observations,
        actions: paths.actions,
        values: estimates.values,
        advantages: estimates.advantages,
        targets: estimates.targets,
    };
    Ok((batch, return_collect_mean))
}

/// Mean of (V - y)².
pub(crate) fn squared_error(values: &[f64], targets: &[f64]) -> f64 {
    let squares = values.iter().zip(targets).map(|(v, y)| (v - y).powi(2));
    squares.sum::<f64>() / values.len().max(1) as f64
}

impl EstimatedBatch {
    /// The rows with these indices.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        Self {
            observations: select_rows(&self.observations, self.observation_dim, indices),
            actions: select_rows(&self.actions, self.action_dim, indices),
            advantages: select(&self.advantages, indices),
            values: select(&self.values, indices),
            targets: select(&self.targets, indices),
            ..*self
        }
    }
}

/// Rows of `[n, dim]` with these indices.
pub(crate) fn select_rows(rows: &[f32], dim: usize, indices: &[usize]) -> Vec<f32> {
    let row = |&i: &usize| rows[i * dim..(i + 1) * dim].iter().copied();
    indices.iter().flat_map(row).collect()
}

/// Entries of `[n]` with these indices.
pub(crate) fn select(entries: &[f64], indices: &[usize]) -> Vec<f64> {
    indices.iter().map(|&i| entries[i]).collect()
}
