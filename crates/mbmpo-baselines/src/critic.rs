//! A value network that judges batches of real trajectories.

use mbmpo_core::{Result, Trajectories};
use mbmpo_policy::ValueNetwork;
use mbmpo_policy::advantage::gae;

/// V with its parameters, and how advantages follow from it.
pub(crate) struct Critic {
    pub(crate) network: ValueNetwork,
    pub(crate) parameters: Vec<f64>,
    pub(crate) discount: f64,
    pub(crate) gae_lambda: f64,
    /// Whether an episode that only ran out of time goes on with the value of its last state.
    pub(crate) bootstrap: bool,
}

/// What a critic thinks of a batch.
pub(crate) struct Judgement {
    /// V(s_t) `[n]`
    pub(crate) values: Vec<f64>,
    /// `[n]`
    pub(crate) advantages: Vec<f64>,
    /// What the critic should have said, the sum of the two `[n]`.
    pub(crate) targets: Vec<f64>,
}

impl Critic {
    /// Judges `paths`, whose observations before and after each step are `observations` and `next` `[n, observation]` to
    /// the network.
    pub(crate) fn judge(
        &self,
        paths: &Trajectories,
        observations: &[f32],
        next: &[f32],
    ) -> Result<Judgement> {
        let values = self.network.values(&self.parameters, observations)?;
        let ends = self
            .network
            .end_values(&self.parameters, paths, next, self.bootstrap)?;
        let advantages = gae(paths, &values, &ends, self.discount, self.gae_lambda);
        let sum = |(advantage, value): (&f64, &f64)| advantage + value;
        let targets = advantages.iter().zip(&values).map(sum).collect();
        Ok(Judgement {
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
        let arithmetic = self.network.arithmetic();
        let batch = arithmetic.weighted(observations, &targets, weights);
        self.network.gradient(&self.parameters, &batch)
    }

    /// V(s) `[n]`.
    pub(crate) fn values(&self, observations: &[f32]) -> Result<Vec<f64>> {
        self.network.values(&self.parameters, observations)
    }
}

/// Mean of (V - y)².
pub(crate) fn squared_error(values: &[f64], targets: &[f64]) -> f64 {
    let squares = values.iter().zip(targets).map(|(v, y)| (v - y).powi(2));
    squares.sum::<f64>() / values.len().max(1) as f64
}

/// Rows `[n, dim]` at these places.
pub(crate) fn select_rows(rows: &[f32], dim: usize, indices: &[usize]) -> Vec<f32> {
    let row = |&i: &usize| rows[i * dim..(i + 1) * dim].iter().copied();
    indices.iter().flat_map(row).collect()
}

/// Entries `[n]` at these places.
pub(crate) fn select(entries: &[f64], indices: &[usize]) -> Vec<f64> {
    indices.iter().map(|&i| entries[i]).collect()
}
