//! The inner step and the meta-objective of eq. 3 of the paper, with its exact second-order gradient.
//!
//! With θ'_k(θ) = θ + α ∇J_k(θ), the gradient of any F_k(θ'_k(θ)) is g_k + α H_k g_k, where g_k = ∇F_k at θ'_k and
//! H_k is the Hessian of J_k at θ. Everything is a sum over samples, hence over chunks of them: chunks go to threads,
//! and are added up in a fixed order, so the bits do not depend on the number of threads. What a chunk's sums are made
//! of, on tensors and on the CPU, is in `chunks.rs`.

use crate::chunks::{InnerChunk, OuterChunk, Policy, Rows};
use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Result, Trajectories, is_cpu};
use mbmpo_policy::GaussianMlp;
use mbmpo_policy::trust_region::Objective;
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Samples of the pre-update policy in one task, for the inner step.
#[derive(Debug, Clone)]
pub struct InnerSamples {
    /// Weights are advantages / n.
    chunks: Vec<InnerChunk>,
}

/// Samples of an adapted policy in its task, for the meta-update.
#[derive(Debug, Clone)]
pub struct OuterSamples {
    chunks: Vec<OuterChunk>,
    count: usize,
}

impl Arithmetic<'_> {
    /// Puts the pre-update samples of a task on the device, with their `advantages` `[n]`.
    pub fn inner_samples(&self, paths: &Trajectories, advantages: &[f64]) -> InnerSamples {
        let share = 1.0 / paths.len() as f64;
        let weights = scaled(advantages, share);
        let chunk = |rows| InnerChunk::new(self, rows);
        InnerSamples {
            chunks: chunks(paths, &weights).map(chunk).collect(),
        }
    }

    /// Puts the samples that the policy `theta` took on the device, with their `advantages` `[n]` and what `theta`
    /// thinks of them. `share` is the weight of the task in the objective.
    pub fn outer_samples(
        &self,
        paths: &Trajectories,
        advantages: &[f64],
        share: f64,
        theta: &[f64],
    ) -> OuterSamples {
        let policy = Policy::new(self, theta);
        let weights = scaled(advantages, share / paths.len() as f64);
        let chunk = |rows| OuterChunk::new(self, rows, &policy);
        OuterSamples {
            chunks: chunks(paths, &weights).map(chunk).collect(),
            count: paths.len(),
        }
    }

    /// ∇J_k(θ) `[parameters]`: the vanilla policy gradient of a task.
    pub fn inner_gradient(&self, theta: &[f64], samples: &InnerSamples) -> Result<Vec<f64>> {
        let policy = Policy::new(self, theta);
        let mut sum = vec![0.0; theta.len()];
        for chunk in &samples.chunks {
            add(&mut sum, 1.0, &chunk.policy_gradient(&policy)?);
        }
        Ok(sum)
    }

    /// θ'_k = θ + α ∇J_k(θ) (line 7 of Algorithm 1).
    pub fn adapt(&self, theta: &[f64], samples: &InnerSamples, alpha: f64) -> Result<Vec<f64>> {
        Ok(moved(theta, alpha, &self.inner_gradient(theta, samples)?))
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

    fn matrix<E: burn::tensor::Element>(&self, entries: &[E], columns: usize) -> Tensor<2> {
        let shape = [entries.len() / columns, columns];
        let data = TensorData::new(entries.to_vec(), shape).convert_dtype(self.dtype);
        Tensor::from_data(data, (self.device, self.dtype))
    }
}

/// The rows of `paths`, with their `weights` `[n]`.
fn chunks<'a>(paths: &'a Trajectories, weights: &'a [f64]) -> impl Iterator<Item = Rows<'a>> {
    let (o, a) = (paths.observation_dim, paths.action_dim);
    (0..paths.len()).step_by(CHUNK).map(move |start| {
        let end = paths.len().min(start + CHUNK);
        (
            &paths.observations[start * o..end * o],
            &paths.actions[start * a..end * a],
            &weights[start..end],
        )
    })
}

/// Mean over the tasks of the surrogate for J_k(θ'_k(θ)), and the KL divergence of the adapted policies from those
/// that took the samples, averaged over all samples (the authors constrain the adapted policies).
#[derive(Debug)]
pub struct MetaObjective<'a> {
    arithmetic: Arithmetic<'a>,
    tasks: Vec<(InnerSamples, OuterSamples)>,
    /// α
    inner_learning_rate: f64,
    /// See [`Self::at`].
    remembered: Mutex<Option<Arc<At>>>,
}

/// What is known at one θ, for every task.
#[derive(Debug)]
struct At {
    theta: Vec<f64>,
    /// ∇J_k(θ)
    inner_gradients: Vec<Vec<f64>>,
    /// θ'_k
    adapted: Vec<Policy>,
}

/// A sum over a chunk of samples of a function of the policy, or its gradient.
type Sum = fn(&OuterChunk, &Policy) -> Result<Vec<f64>>;

impl<'a> MetaObjective<'a> {
    /// The objective over these samples of every task, with α for the inner step.
    pub fn new(
        arithmetic: Arithmetic<'a>,
        tasks: Vec<(InnerSamples, OuterSamples)>,
        inner_learning_rate: f64,
    ) -> Self {
        Self {
            arithmetic,
            tasks,
            inner_learning_rate,
            remembered: Mutex::default(),
        }
    }

    /// What is known at `theta`. The last is remembered: a trust-region step asks many times at one θ.
    fn at(&self, theta: &[f64]) -> Result<Arc<At>> {
        let memory = || {
            self.remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = memory().as_ref().filter(|known| known.theta == theta) {
            return Ok(Arc::clone(known));
        }
        let policy = Policy::new(&self.arithmetic, theta);
        let inner_gradients = self.sum_chunks(
            |(inner, _)| &inner.chunks,
            |_, chunk| chunk.policy_gradient(&policy),
        )?;
        let alpha = self.inner_learning_rate;
        let adapted: Vec<Vec<f64>> = inner_gradients
            .iter()
            .map(|gradient| moved(theta, alpha, gradient))
            .collect();
        let at = Arc::new(At {
            theta: theta.to_vec(),
            inner_gradients,
            adapted: self.bind_all(&adapted),
        });
        *memory() = Some(Arc::clone(&at));
        Ok(at)
    }

    /// Σ_i f of every task at θ'_k.
    fn sum(&self, at: &At, f: Sum) -> Result<Vec<Vec<f64>>> {
        self.sum_chunks(
            |(_, outer)| &outer.chunks,
            |k, chunk| f(chunk, &at.adapted[k]),
        )
    }

    /// ∇_θ Σ_k F_k(θ'_k(θ)) from ∇F_k as a function of θ'_k, through the inner step.
    fn gradient(&self, theta: &[f64], outer_gradient: Sum) -> Result<Vec<f64>> {
        let at = self.at(theta)?;
        let outer = self.sum(&at, outer_gradient)?;
        let mut gradient = total(&outer, theta.len());
        if self.inner_learning_rate != 0.0 {
            let second_order = total(&self.inner_hessian_products(&at, &outer)?, theta.len());
            add(&mut gradient, self.inner_learning_rate, &second_order);
        }
        Ok(gradient)
    }

    /// H_k v_k of every task, exactly.
    fn inner_hessian_products(&self, at: &At, v: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let policy = Policy::new(&self.arithmetic, &at.theta);
        let v = self.bind_all(v);
        self.sum_chunks(
            |(inner, _)| &inner.chunks,
            |k, chunk| chunk.hessian_product(&policy, &v[k]),
        )
    }

    /// (I + α H_k) v_k of every task, by a finite difference of the inner gradient with `step`. It serves conjugate
    /// gradients only, where α keeps its error far below that of the quadratic model, and costs less than half of an exact H_k v_k.
    fn through_inner_step(&self, at: &At, v: &[Vec<f64>], step: f64) -> Result<Vec<Vec<f64>>> {
        let mut images = v.to_vec();
        if self.inner_learning_rate == 0.0 {
            return Ok(images);
        }
        let epsilons: Vec<f64> = v
            .iter()
            .map(|v| step / norm(v).max(f64::MIN_POSITIVE))
            .collect();
        let shifted: Vec<_> = v
            .iter()
            .zip(&epsilons)
            .map(|(v, &epsilon)| moved(&at.theta, epsilon, v))
            .collect();
        let shifted = self.bind_all(&shifted);
        let ahead = self.sum_chunks(
            |(inner, _)| &inner.chunks,
            |k, chunk| chunk.policy_gradient(&shifted[k]),
        )?;
        for (k, image) in images.iter_mut().enumerate() {
            let scale = self.inner_learning_rate / epsilons[k];
            add(image, scale, &ahead[k]);
            add(image, -scale, &at.inner_gradients[k]);
        }
        Ok(images)
    }

    /// Σ_k (I + α H_k) F_k (I + α H_k) v / n: the Hessian of the mean KL divergence at the old parameters, where its
    /// first derivatives vanish, so that only the Gaussians' Fisher matrices F_k at θ'_k remain.
    fn gauss_newton_product(&self, theta: &[f64], v: &[f64], step: f64) -> Result<Vec<f64>> {
        let at = self.at(theta)?;
        let v = vec![v.to_vec(); self.tasks.len()];
        let directions = self.bind_all(&self.through_inner_step(&at, &v, step)?);
        let products = self.sum_chunks(
            |(_, outer)| &outer.chunks,
            |k, chunk| chunk.fisher_product(&at.adapted[k], &directions[k]),
        )?;
        let products = self.through_inner_step(&at, &products, step)?;
        let mut product = total(&products, theta.len());
        product.iter_mut().for_each(|x| *x /= self.sample_count());
        Ok(product)
    }

    fn bind_all(&self, thetas: &[Vec<f64>]) -> Vec<Policy> {
        let bind = |theta: &Vec<f64>| Policy::new(&self.arithmetic, theta);
        thetas.iter().map(bind).collect()
    }

    /// The sum of `work` over the chunks of each task; chunks run in parallel and are added in order.
    fn sum_chunks<C: Sync>(
        &self,
        chunks: impl Fn(&(InnerSamples, OuterSamples)) -> &Vec<C>,
        work: impl Fn(usize, &C) -> Result<Vec<f64>> + Sync,
    ) -> Result<Vec<Vec<f64>>> {
        let flat: Vec<(usize, &C)> = self
            .tasks
            .iter()
            .enumerate()
            .flat_map(|(k, task)| chunks(task).iter().map(move |chunk| (k, chunk)))
            .collect();
        let results: Vec<Vec<f64>> = flat
            .par_iter()
            .map(|&(k, chunk)| work(k, chunk))
            .collect::<Result<_>>()?;
        let mut sums = vec![Vec::new(); self.tasks.len()];
        for ((k, _), part) in flat.iter().zip(results) {
            if sums[*k].is_empty() {
                sums[*k] = part;
            } else {
                add(&mut sums[*k], 1.0, &part);
            }
        }
        Ok(sums)
    }

    fn sample_count(&self) -> f64 {
        self.tasks.iter().map(|(_, outer)| outer.count as f64).sum()
    }

    /// A failure to read a tensor back makes the numbers NaN, and the trust region refuses the step.
    fn or_nan(&self, gradient: Result<Vec<f64>>, count: usize) -> Vec<f64> {
        gradient.unwrap_or_else(|_| vec![f64::NAN; count])
    }
}

impl Objective for MetaObjective<'_> {
    fn evaluate(&self, theta: &[f64]) -> (f64, f64) {
        let sums = || {
            let both = self.sum(&*self.at(theta)?, OuterChunk::surrogate_and_kl)?;
            Ok::<_, mbmpo_core::Error>(total(&both, 2))
        };
        sums().map_or((f64::NAN, f64::NAN), |sums| {
            (sums[0], sums[1] / self.sample_count())
        })
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Vec<f64> {
        self.or_nan(
            self.gradient(theta, OuterChunk::surrogate_gradient),
            theta.len(),
        )
    }

    fn kl_gradient(&self, theta: &[f64]) -> Vec<f64> {
        let mut gradient = self.or_nan(self.gradient(theta, OuterChunk::kl_gradient), theta.len());
        gradient.iter_mut().for_each(|x| *x /= self.sample_count());
        gradient
    }

    fn fisher_product(&self, theta: &[f64], v: &[f64], step: f64) -> Vec<f64> {
        self.or_nan(self.gauss_newton_product(theta, v, step), theta.len())
    }
}

fn total(parts: &[Vec<f64>], count: usize) -> Vec<f64> {
    let mut sum = vec![0.0; count];
    parts.iter().for_each(|part| add(&mut sum, 1.0, part));
    sum
}

/// sum += factor * x
fn add(sum: &mut [f64], factor: f64, x: &[f64]) {
    sum.iter_mut()
        .zip(x)
        .for_each(|(sum, x)| *sum += factor * x);
}

/// x + factor * direction
fn moved(x: &[f64], factor: f64, direction: &[f64]) -> Vec<f64> {
    let mut moved = x.to_vec();
    add(&mut moved, factor, direction);
    moved
}

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
