//! Surrogate objective and KL divergence of samples against the policy that took them, on tensors.

use crate::{BoundMlp, Forward};
use burn::tensor::Tensor;

/// Actions sampled from an old policy, and its statistics; rows may be any part of a larger batch.
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
    /// Samples that `policy` took: `observations` `[rows, observation]`, `actions` `[rows, action]`
    /// and `weights` `[rows, 1]`.
    pub fn new(
        policy: &BoundMlp,
        observations: Tensor<2>,
        actions: Tensor<2>,
        weights: Tensor<2>,
    ) -> Self {
        let old = policy.forward(observations.clone());
        Self {
            old_log_likelihood: old.log_likelihood(actions.clone()),
            old_log_std: policy.log_std.clone(),
            old_mean: old.mean,
            observations,
            actions,
            weights,
        }
    }

    /// Σ_i w_i π(a_i|s_i) / π_old(a_i|s_i) `[1]`: the surrogate of Schulman et al. 2015, eq. 14.
    pub fn surrogate(&self, new: &Forward<'_>) -> Tensor<1> {
        self.weighted_ratio(new).sum()
    }

    /// Gradient of [`Self::surrogate`] by θ `[parameters]`.
    pub fn surrogate_gradient(&self, new: &Forward<'_>) -> Tensor<1> {
        new.policy_gradient(self.actions.clone(), self.weighted_ratio(new))
    }

    /// Gradient by θ `[parameters]` of PPO's clipped surrogate (Schulman et al. 2017, eq. 7),
    /// Σ_i min(r_i w_i, clip(r_i, 1 - ε, 1 + ε) w_i): that of [`Self::surrogate`] without the rows
    /// where the minimum is the clipped term, which is constant in θ.
    pub fn clipped_gradient(&self, new: &Forward<'_>, epsilon: f64) -> Tensor<1> {
        let weighted = self.weighted_ratio(new);
        let gain = weighted.clone() - self.weights.clone();
        let clipped = gain.greater(self.weights.clone().abs().mul_scalar(epsilon));
        new.policy_gradient(self.actions.clone(), weighted.mask_fill(clipped, 0.0))
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

    /// Gradient of [`Self::kl`] by θ `[parameters]`.
    pub fn kl_gradient(&self, new: &Forward<'_>) -> Tensor<1> {
        let [rows, _] = self.old_mean.dims();
        let precision = new.network.log_std.clone().mul_scalar(-2.0).exp();
        let old_variance = self.old_log_std.clone().mul_scalar(2.0).exp();
        let difference = new.mean.clone() - self.old_mean.clone();
        let by_mean = difference.clone() * precision.clone();
        // 1 - (σ² + (μ - μ')²) / σ'², summed over the rows
        let by_log_std = (old_variance * precision)
            .sub_scalar(1.0)
            .mul_scalar(-(rows as f64))
            - (difference * by_mean.clone()).sum_dim(0);
        new.vjp(by_mean, by_log_std)
    }

    /// Σ_i F_i v `[parameters]`: the Fisher matrix of each row's Gaussian, Jᵀ diag(1/σ², 2) J with
    /// the Jacobian J of (mean, log σ) by θ, times the parameters bound in `direction`. It is the
    /// Hessian of [`Self::kl`] at the old parameters.
    pub fn fisher_product(&self, at: &Forward<'_>, direction: &BoundMlp) -> Tensor<1> {
        let [rows, _] = self.old_mean.dims();
        let precision = at.network.log_std.clone().mul_scalar(-2.0).exp();
        let (of_mean, of_log_std) = at.jvp(direction);
        at.vjp(
            of_mean * precision,
            of_log_std.mul_scalar(2.0 * rows as f64),
        )
    }

    /// w_i π(a_i|s_i) / π_old(a_i|s_i) `[rows, 1]`.
    fn weighted_ratio(&self, new: &Forward<'_>) -> Tensor<2> {
        let log_ratio = new.log_likelihood(self.actions.clone()) - self.old_log_likelihood.clone();
        log_ratio.exp() * self.weights.clone()
    }
}
