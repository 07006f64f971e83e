//! Batches of samples and their sums as functions of θ: the policy gradient, the surrogate
//! objective and the KL divergence with their derivatives, and mean actions.
//!
//! A batch computes on slices in single precision on the CPU and on tensors elsewhere; both give
//! the same sums, and callers do not see which it is.

use crate::GaussianMlp;
use crate::cpu::{self, SliceSamples};
use crate::sums::{Rows, SampleSums, SurrogateSums};
use crate::tensors::{TensorSamples, Tensors};
use crate::trust_region::Objective;
use burn::tensor::{DType, Device};
use mbmpo_core::{Result, Trajectories, is_cpu};
use std::sync::Arc;

/// Where a batch computes, and in which precision. A `&Device` stands for single precision on that
/// device, which is what algorithms use; tests choose another precision with [`Self::tensors`].
#[derive(Debug, Clone)]
pub struct Placement(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Slices,
    Tensors(Tensors),
}

impl From<&Device> for Placement {
    fn from(device: &Device) -> Self {
        if is_cpu(device) {
            Self(Kind::Slices)
        } else {
            Self::tensors(device, DType::F32)
        }
    }
}

impl Placement {
    /// On tensors of `device` with precision `dtype`, also where slices would be faster.
    pub fn tensors(device: &Device, dtype: DType) -> Self {
        Self(Kind::Tensors(Tensors::new(device, dtype)))
    }
}

/// Samples with a weight w_i each, for the vanilla policy gradient of
/// J(θ) = Σ_i w_i log π_θ(a_i|s_i). A clone shares the samples.
#[derive(Debug, Clone)]
pub struct Samples {
    sums: Arc<dyn SampleSums>,
    count: usize,
}

impl Samples {
    /// The samples of `paths`; the weights are their `advantages` `[n]` over n.
    pub fn new(
        network: &GaussianMlp,
        placement: impl Into<Placement>,
        paths: &Trajectories,
        advantages: &[f64],
    ) -> Self {
        Self::with_share(network, placement, paths, advantages, 1.0)
    }

    /// The samples of `paths`; the weights are their `advantages` `[n]` times `share` over n, where
    /// `share` is the weight of the batch in an objective over several.
    pub fn with_share(
        network: &GaussianMlp,
        placement: impl Into<Placement>,
        paths: &Trajectories,
        advantages: &[f64],
        share: f64,
    ) -> Self {
        let weights = scaled(advantages, share / paths.len() as f64);
        let (observations, actions) = (&paths.observations, &paths.actions);
        Self::weighted(network, placement, observations, actions, &weights)
    }

    /// Samples by their rows: `observations` `[n, observation]`, `actions` `[n, action]` and
    /// `weights` `[n]`.
    pub fn weighted(
        network: &GaussianMlp,
        placement: impl Into<Placement>,
        observations: &[f32],
        actions: &[f32],
        weights: &[f64],
    ) -> Self {
        let rows = Rows {
            observations,
            actions,
            weights,
        };
        let sums: Arc<dyn SampleSums> = match placement.into().0 {
            Kind::Slices => Arc::new(SliceSamples::new(network, rows)),
            Kind::Tensors(tensors) => Arc::new(TensorSamples::new(network, tensors, rows)),
        };
        let count = weights.len();
        Self { sums, count }
    }

    /// ∇J(θ) `[parameters]`: the vanilla policy gradient (paper, eq. 1 and 3) where the weights are
    /// advantages over n.
    ///
    /// # Errors
    /// When a result cannot be read back from the device.
    pub fn policy_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sums.policy_gradient(theta)
    }

    /// H v `[parameters]` with the exact Hessian H of J at θ.
    ///
    /// # Errors
    /// As [`Self::policy_gradient`].
    pub fn hessian_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        self.sums.hessian_product(theta, v)
    }

    /// θ' = θ + α ∇J(θ): one step of vanilla policy gradient (line 7 of the paper's Algorithm 1).
    ///
    /// # Errors
    /// As [`Self::policy_gradient`].
    pub fn adapt(&self, theta: &[f64], alpha: f64) -> Result<Vec<f64>> {
        let gradient = self.policy_gradient(theta)?;
        Ok(theta
            .iter()
            .zip(&gradient)
            .map(|(theta, gradient)| theta + alpha * gradient)
            .collect())
    }

    /// The same samples with the means and log-probabilities of π_θ, the policy that took them.
    pub fn surrogate(&self, theta: &[f64]) -> Surrogate {
        Surrogate {
            sums: self.sums.surrogate(theta),
            count: self.count,
        }
    }
}

/// Samples with a weight w_i each, and the means and log-probabilities of the policy that took them
/// (the old policy), for the surrogate objective and the KL divergence. Everything is a sum over
/// the samples, except [`Self::mean_kl`] and the methods of [`Objective`]. A clone shares the
/// samples.
#[derive(Debug, Clone)]
pub struct Surrogate {
    sums: Arc<dyn SurrogateSums>,
    count: usize,
}

impl Surrogate {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// At θ, the surrogate objective Σ_i r_i w_i (Schulman et al. 2015, eq. 14) with the ratio r_i
    /// of the probabilities of action i under the new and the old policy, and Σ_i KL_i, the KL
    /// divergences of the new policy from the old.
    ///
    /// # Errors
    /// When a result cannot be read back from the device.
    pub fn surrogate_and_kl(&self, theta: &[f64]) -> Result<(f64, f64)> {
        let sums = self.sums.surrogate_and_kl(theta)?;
        Ok((sums[0], sums[1]))
    }

    /// Mean KL divergence of π_θ from the old policy.
    ///
    /// # Errors
    /// As [`Self::surrogate_and_kl`].
    pub fn mean_kl(&self, theta: &[f64]) -> Result<f64> {
        let (_, kl) = self.surrogate_and_kl(theta)?;
        Ok(kl / self.count as f64)
    }

    /// Gradient of the surrogate objective at θ `[parameters]`.
    ///
    /// # Errors
    /// As [`Self::surrogate_and_kl`].
    pub fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sums.surrogate_gradient(theta)
    }

    /// Gradient at θ `[parameters]` of PPO's clipped surrogate (Schulman et al. 2017, eq. 7),
    /// Σ_i min(r_i w_i, clip(r_i, 1 - ε, 1 + ε) w_i).
    ///
    /// # Errors
    /// As [`Self::surrogate_and_kl`].
    pub fn clipped_gradient(&self, theta: &[f64], epsilon: f64) -> Result<Vec<f64>> {
        self.sums.clipped_gradient(theta, epsilon)
    }

    /// Gradient of Σ_i KL_i at θ `[parameters]`.
    ///
    /// # Errors
    /// As [`Self::surrogate_and_kl`].
    pub fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sums.kl_gradient(theta)
    }

    /// Σ_i F_i v `[parameters]` with the Fisher matrix F_i of the Gaussian of sample i at θ; at the
    /// old parameters Σ_i F_i is the Hessian of Σ_i KL_i.
    ///
    /// # Errors
    /// As [`Self::surrogate_and_kl`].
    pub fn fisher_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        self.sums.fisher_product(theta, v)
    }

    fn mean(&self, sums: &[f64]) -> Vec<f64> {
        scaled(sums, 1.0 / self.count as f64)
    }
}

/// TRPO's objective (Schulman et al. 2015, eq. 14): the surrogate, constrained by the mean KL
/// divergence from the old policy.
impl Objective for Surrogate {
    fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)> {
        let (surrogate, kl) = self.surrogate_and_kl(theta)?;
        Ok((surrogate, kl / self.count as f64))
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sums.surrogate_gradient(theta)
    }

    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        Ok(self.mean(&self.sums.kl_gradient(theta)?))
    }

    /// Exact: at the old parameters the Hessian of the divergence is the Gaussian's Fisher matrix.
    fn fisher_product(&self, theta: &[f64], v: &[f64], _step: f64) -> Result<Vec<f64>> {
        Ok(self.mean(&self.sums.fisher_product(theta, v)?))
    }
}

/// Mean actions `[n, action]` of π_θ for `observations` `[n, observation]`.
///
/// # Errors
/// When they cannot be read back from the device.
pub fn means(
    network: &GaussianMlp,
    placement: impl Into<Placement>,
    theta: &[f64],
    observations: &[f32],
) -> Result<Vec<f32>> {
    match placement.into().0 {
        Kind::Slices => Ok(cpu::means(network, theta, observations)),
        Kind::Tensors(tensors) => tensors.means(network, theta, observations),
    }
}

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}
