//! The sums over samples that a batch computes, as an interface with two implementations: on slices
//! ([`crate::cpu`]) and on tensors ([`crate::tensors`]). Each cuts its samples into chunks, which
//! run in parallel and are added in order, so the bits do not depend on the number of threads.

use mbmpo_core::Result;
use rayon::prelude::*;
use std::fmt::Debug;
use std::sync::Arc;

/// Samples, row by row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// `[n, observation]`
    pub(crate) observations: &'a [f32],
    /// `[n, action]`
    pub(crate) actions: &'a [f32],
    /// `[n]`
    pub(crate) weights: &'a [f64],
}

/// Weighted samples; [`crate::batch::Samples`] documents the sums.
pub(crate) trait SampleSums: Debug + Send + Sync {
    fn policy_gradient(&self, theta: &[f64]) -> Result<Vec<f64>>;
    fn hessian_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>>;
    fn surrogate(&self, theta: &[f64]) -> Arc<dyn SurrogateSums>;
}

/// Weighted samples with the statistics of the old policy; [`crate::batch::Surrogate`] documents
/// the sums.
pub(crate) trait SurrogateSums: Debug + Send + Sync {
    /// Surrogate and sum of the KL divergences `[2]`.
    fn surrogate_and_kl(&self, theta: &[f64]) -> Result<Vec<f64>>;
    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>>;
    fn clipped_gradient(&self, theta: &[f64], epsilon: f64) -> Result<Vec<f64>>;
    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>>;
    fn fisher_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>>;
}

impl<'a> Rows<'a> {
    /// Parts of `size` rows; the last may be shorter.
    pub(crate) fn chunks(
        self,
        size: usize,
        observation_dim: usize,
        action_dim: usize,
    ) -> impl Iterator<Item = Self> {
        // the whole batch, when `size` is larger
        let size = size.min(self.weights.len()).max(1);
        self.observations
            .chunks(size * observation_dim)
            .zip(self.actions.chunks(size * action_dim))
            .zip(self.weights.chunks(size))
            .map(|((observations, actions), weights)| Rows {
                observations,
                actions,
                weights,
            })
    }
}

/// The sum `[count]` of `work` over the chunks: in parallel, added in order.
pub(crate) fn sum<C: Sync>(
    chunks: &[C],
    count: usize,
    work: impl Fn(&C) -> Result<Vec<f64>> + Sync,
) -> Result<Vec<f64>> {
    let parts: Vec<Vec<f64>> = chunks.par_iter().map(&work).collect::<Result<_>>()?;
    let mut total = vec![0.0; count];
    for part in &parts {
        total.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    Ok(total)
}
