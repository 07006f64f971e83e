//! Surrogate objective and KL divergence of a batch against the policy that sampled it.

use crate::Forward;
use burn::tensor::Tensor;

/// Actions taken by an old policy and what is known about them; rows may be any part of a larger batch.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// `[rows, observation]`
    pub observations: Tensor<2>,
    /// `[rows, action]`
    pub actions: Tensor<2>,
    /// Advantage times the row's share of the objective: `[rows, 1]`.
    pub weights: Tensor<2>,
    /// Mean action of the old policy: `[rows, action]`.
    pub old_mean: Tensor<2>,
    /// log σ of the old policy: `[1, action]`.
    pub old_log_std: Tensor<2>,
    /// log π_old(a|s): `[rows, 1]`.
    pub old_log_likelihood: Tensor<2>,
}

impl Sampled {
    /// The same rows as constants of an autodiff graph.
    pub fn constants(&self) -> Self {
        let lift = |x: &Tensor<2>| Tensor::from_inner(x.clone());
        Self {
            observations: lift(&self.observations),
            actions: lift(&self.actions),
            weights: lift(&self.weights),
            old_mean: lift(&self.old_mean),
            old_log_std: lift(&self.old_log_std),
            old_log_likelihood: lift(&self.old_log_likelihood),
        }
    }

    /// Σ_i w_i π(a_i|s_i) / π_old(a_i|s_i) `[1]`: the surrogate of Schulman et al. 2015, eq. 14.
    pub fn surrogate(&self, new: &Forward<'_>) -> Tensor<1> {
        let ratio = (new.log_likelihood(self.actions.clone()) - self.old_log_likelihood.clone()).exp();
        (ratio * self.weights.clone()).sum()
    }

    /// Σ_i KL( π_old(·|s_i) ‖ π(·|s_i) ) `[1]`.
    pub fn kl(&self, new: &Forward<'_>) -> Tensor<1> {
        let [rows, _] = self.old_mean.dims();
        let log_std = &new.network.log_std;
        let difference = self.old_mean.clone() - new.mean.clone();
        let precision = log_std.clone().mul_scalar(-2.0).exp();
        let old_variance = self.old_log_std.clone().mul_scalar(2.0).exp();
        let per_row = (difference.clone() * difference * precision.clone()).mul_scalar(0.5);
        // The same for all rows: log σ'/σ + σ²/2σ'² - 1/2.
        let common = (log_std.clone() - self.old_log_std.clone())
            + (old_variance * precision).sub_scalar(1.0).mul_scalar(0.5);
        per_row.sum() + common.sum().mul_scalar(rows as f64)
    }
}
