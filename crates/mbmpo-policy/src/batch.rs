//! Sums over a batch of samples as functions of θ: the policy gradient, the surrogate and its gradients, mean actions.
//!
//! A batch is cut into chunks, which go to threads and are added up in a fixed order, so the bits do not depend on the
//! number of threads. What a chunk's sums are made of, on tensors and on the CPU, is in `chunks.rs`.

use crate::GaussianMlp;
use crate::chunks::Rows;
pub use crate::chunks::{Chunk, Parameters, SurrogateChunk};
use crate::trust_region::Objective;
use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Result, Trajectories, is_cpu};
use rayon::prelude::*;

/// Samples that a thread takes in one go. For tensors: large enough for the matrix products, small enough that a
/// layer's activations (1,000 x 32 numbers) stay in the cache.
const CHUNK: usize = 1_000;

/// The policy and where its numbers live.
#[derive(Debug, Clone)]
pub struct Arithmetic<'a> {
    /// The policy's architecture.
    pub network: &'a GaussianMlp,
    /// Where the tensors live.
    pub device: &'a Device,
    /// Their precision.
    pub dtype: DType,
}

/// Samples with a weight each, for the vanilla policy gradient.
#[derive(Debug, Clone)]
pub struct Batch {
    chunks: Vec<Chunk>,
}

/// Samples with a weight each, and what the policy that took them thinks of them, for the surrogate.
#[derive(Debug, Clone)]
pub struct SurrogateBatch {
    chunks: Vec<SurrogateChunk>,
    count: usize,
}

impl Batch {
    /// Its parts, in order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }
}

impl SurrogateBatch {
    /// Its parts, in order.
    pub fn chunks(&self) -> &[SurrogateChunk] {
        &self.chunks
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Arithmetic<'_> {
    /// The samples of `paths`, weighted with their `advantages` `[n]` over n.
    pub fn batch(&self, paths: &Trajectories, advantages: &[f64]) -> Batch {
        let weights = scaled(advantages, 1.0 / paths.len() as f64);
        self.weighted(&paths.observations, &paths.actions, &weights)
    }

    /// Samples by their rows: `[n, observation]`, `[n, action]`, `[n]`.
    pub fn weighted(&self, observations: &[f32], actions: &[f32], weights: &[f64]) -> Batch {
        let rows = self.rows(observations, actions, weights);
        Batch {
            chunks: rows.map(|rows| Chunk::new(self, rows)).collect(),
        }
    }

    /// The samples that the policy `theta` took, weighted with their `advantages` `[n]` times `share` over n, and what
    /// `theta` thinks of them. `share` is the weight of the batch in the objective.
    pub fn surrogate_batch(
        &self,
        paths: &Trajectories,
        advantages: &[f64],
        share: f64,
        theta: &[f64],
    ) -> SurrogateBatch {
        let weights = scaled(advantages, share / paths.len() as f64);
        self.surrogate_weighted(&paths.observations, &paths.actions, &weights, theta)
    }

    /// Samples that the policy `theta` took, by their rows: `[n, observation]`, `[n, action]`, `[n]`.
    pub fn surrogate_weighted(
        &self,
        observations: &[f32],
        actions: &[f32],
        weights: &[f64],
        theta: &[f64],
    ) -> SurrogateBatch {
        let policy = Parameters::new(self, theta);
        let rows = self.rows(observations, actions, weights);
        SurrogateBatch {
            chunks: rows
                .map(|rows| SurrogateChunk::new(self, rows, &policy))
                .collect(),
            count: weights.len(),
        }
    }

    /// ∇_θ Σ_i w_i log π_θ(a_i|s_i) `[parameters]`: the vanilla policy gradient (paper, eq. 1 and 3).
    ///
    /// # Errors
    /// When a device does not give it.
    pub fn policy_gradient(&self, theta: &[f64], batch: &Batch) -> Result<Vec<f64>> {
        let policy = Parameters::new(self, theta);
        sum(&batch.chunks, theta.len(), |chunk| {
            chunk.policy_gradient(&policy)
        })
    }

    /// θ' = θ + α ∇J(θ): one step of vanilla policy gradient (line 7 of the paper's Algorithm 1).
    ///
    /// # Errors
    /// As [`Self::policy_gradient`].
    pub fn adapt(&self, theta: &[f64], batch: &Batch, alpha: f64) -> Result<Vec<f64>> {
        let gradient = self.policy_gradient(theta, batch)?;
        Ok(theta
            .iter()
            .zip(&gradient)
            .map(|(theta, gradient)| theta + alpha * gradient)
            .collect())
    }

    /// Gradient at `theta` `[parameters]` of PPO's clipped surrogate (Schulman et al. 2017, eq. 7),
    /// Σ_i min(r_i w_i, clip(r_i, 1 - ε, 1 + ε) w_i) with the ratio r_i of the probabilities of action i.
    ///
    /// # Errors
    /// When a device does not give it.
    pub fn clipped_gradient(
        &self,
        theta: &[f64],
        batch: &SurrogateBatch,
        epsilon: f64,
    ) -> Result<Vec<f64>> {
        let policy = Parameters::new(self, theta);
        sum(&batch.chunks, theta.len(), |chunk| {
            chunk.clipped_gradient(&policy, epsilon)
        })
    }

    /// (Σ_i r_i w_i, mean KL divergence from the policy that took the samples) at `theta`.
    ///
    /// # Errors
    /// When a device does not give them.
    pub fn surrogate_and_kl(&self, theta: &[f64], batch: &SurrogateBatch) -> Result<(f64, f64)> {
        let policy = Parameters::new(self, theta);
        let sums = sum(&batch.chunks, 2, |chunk| chunk.surrogate_and_kl(&policy))?;
        Ok((sums[0], sums[1] / batch.count as f64))
    }

    /// Mean actions `[n, action]` for `observations` `[n, observation]`.
    ///
    /// # Errors
    /// When a device does not give them.
    pub fn means(&self, theta: &[f64], observations: &[f32]) -> Result<Vec<f32>> {
        let policy = Parameters::new(self, theta);
        let chunks = observations.par_chunks(CHUNK * self.network.sizes()[0]);
        let means: Vec<Vec<f32>> = chunks
            .map(|rows| policy.means(self, rows))
            .collect::<Result<_>>()?;
        Ok(means.concat())
    }

    /// Whether sums are taken by fused loops over slices instead of tensors.
    pub(crate) fn is_fused(&self) -> bool {
        self.dtype == DType::F32 && is_cpu(self.device)
    }

    /// Observations, actions and weights as matrices.
    pub(crate) fn matrices(&self, (observations, actions, weights): Rows<'_>) -> [Tensor<2>; 3] {
        [
            self.matrix(observations, self.network.sizes()[0]),
            self.matrix(actions, self.network.action_dim()),
            self.matrix(weights, 1),
        ]
    }

    pub(crate) fn matrix<E: burn::tensor::Element>(
        &self,
        entries: &[E],
        columns: usize,
    ) -> Tensor<2> {
        let shape = [entries.len() / columns, columns];
        let data = TensorData::new(entries.to_vec(), shape).convert_dtype(self.dtype);
        Tensor::from_data(data, (self.device, self.dtype))
    }

    fn rows<'a>(
        &self,
        observations: &'a [f32],
        actions: &'a [f32],
        weights: &'a [f64],
    ) -> impl Iterator<Item = Rows<'a>> {
        let (o, a) = (self.network.sizes()[0], self.network.action_dim());
        observations
            .chunks(CHUNK * o)
            .zip(actions.chunks(CHUNK * a))
            .zip(weights.chunks(CHUNK))
            .map(|((observations, actions), weights)| (observations, actions, weights))
    }
}

/// TRPO's own objective (Schulman et al. 2015, eq. 14): the surrogate of one batch, and the mean KL divergence from the
/// policy that took it.
#[derive(Debug)]
pub struct SurrogateObjective<'a> {
    /// The policy.
    pub arithmetic: Arithmetic<'a>,
    /// The samples.
    pub batch: SurrogateBatch,
}

impl SurrogateObjective<'_> {
    /// A failure to read a tensor back makes the numbers NaN, and the trust region refuses the step.
    fn sum(
        &self,
        theta: &[f64],
        f: impl Fn(&SurrogateChunk, &Parameters) -> Result<Vec<f64>> + Sync,
    ) -> Vec<f64> {
        let policy = Parameters::new(&self.arithmetic, theta);
        sum(&self.batch.chunks, theta.len(), |chunk| f(chunk, &policy))
            .unwrap_or_else(|_| vec![f64::NAN; theta.len()])
    }

    fn mean(&self, sums: Vec<f64>) -> Vec<f64> {
        scaled(&sums, 1.0 / self.batch.count as f64)
    }
}

impl Objective for SurrogateObjective<'_> {
    fn evaluate(&self, theta: &[f64]) -> (f64, f64) {
        self.arithmetic
            .surrogate_and_kl(theta, &self.batch)
            .unwrap_or((f64::NAN, f64::NAN))
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Vec<f64> {
        self.sum(theta, SurrogateChunk::surrogate_gradient)
    }

    fn kl_gradient(&self, theta: &[f64]) -> Vec<f64> {
        self.mean(self.sum(theta, SurrogateChunk::kl_gradient))
    }

    /// Exact: at the old parameters the Hessian of the divergence is the Gaussian's Fisher matrix.
    fn fisher_product(&self, theta: &[f64], v: &[f64], _step: f64) -> Vec<f64> {
        let direction = Parameters::new(&self.arithmetic, v);
        self.mean(self.sum(theta, |chunk, at| chunk.fisher_product(at, &direction)))
    }
}

/// The sum of `work` over the chunks: in parallel, added in order.
fn sum<C: Sync>(
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

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}
