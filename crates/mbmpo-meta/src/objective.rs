//! The inner step and the meta-objective of eq. 3 of the paper, with its exact second-order gradient.
//!
//! With θ'_k(θ) = θ + α ∇J_k(θ), the gradient of any F_k(θ'_k(θ)) is g_k + α H_k g_k, where g_k = ∇F_k at θ'_k and
//! H_k is the Hessian of J_k at θ. The inner gradient is written out as an expression
//! ([`Forward::policy_gradient`]), so H_k g_k is the ordinary gradient of ⟨∇J_k(θ), g_k⟩ with g_k held fixed. Both
//! sums run over samples, hence over chunks of them: chunks go to threads, and are added up in a fixed order, so
//! the bits do not depend on the number of threads.

use crate::imagine::host;
use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Result, Trajectories};
use mbmpo_policy::surrogate::Sampled;
use mbmpo_policy::trust_region::Objective;
use mbmpo_policy::{Forward, GaussianMlp};
use rayon::prelude::*;

/// Samples that are differentiated in one go: large enough for the matrix products, small enough that a layer's
/// activations (1,000 x 32 numbers) stay in the cache and below the size from which the system's allocator goes to
/// the kernel for every tensor.
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
    /// observations, actions, advantages / n
    chunks: Vec<[Tensor<2>; 3]>,
}

/// Samples of an adapted policy in its task, for the meta-update.
#[derive(Debug, Clone)]
pub struct OuterSamples {
    chunks: Vec<Sampled>,
    count: usize,
}

impl Arithmetic<'_> {
    /// Puts the pre-update samples of a task on the device, with their `advantages` `[n]`.
    pub fn inner_samples(&self, paths: &Trajectories, advantages: &[f64]) -> InnerSamples {
        let share = 1.0 / paths.len() as f64;
        InnerSamples {
            chunks: self.chunks(paths, advantages, share),
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
        let policy = self.network.bind(&self.parameters(theta));
        let share = share / paths.len() as f64;
        let chunks = self
            .chunks(paths, advantages, share)
            .into_iter()
            .map(|[observations, actions, weights]| {
                let old = policy.forward(observations.clone());
                Sampled {
                    old_log_likelihood: old.log_likelihood(actions.clone()),
                    old_log_std: policy.log_std.clone(),
                    old_mean: old.mean,
                    observations,
                    actions,
                    weights,
                }
            })
            .collect();
        OuterSamples {
            chunks,
            count: paths.len(),
        }
    }

    /// ∇J_k(θ) `[parameters]`: the vanilla policy gradient of a task.
    pub fn inner_gradient(&self, theta: &[f64], samples: &InnerSamples) -> Result<Vec<f64>> {
        let policy = self.network.bind(&self.parameters(theta));
        let mut sum = vec![0.0; theta.len()];
        for [observations, actions, weights] in &samples.chunks {
            let forward = policy.forward(observations.clone());
            add(&mut sum, 1.0, &read(forward.policy_gradient(actions.clone(), weights.clone()))?);
        }
        Ok(sum)
    }

    /// θ'_k = θ + α ∇J_k(θ) (line 7 of Algorithm 1).
    pub fn adapt(&self, theta: &[f64], samples: &InnerSamples, alpha: f64) -> Result<Vec<f64>> {
        let mut adapted = theta.to_vec();
        add(&mut adapted, alpha, &self.inner_gradient(theta, samples)?);
        Ok(adapted)
    }

    fn chunks(&self, paths: &Trajectories, advantages: &[f64], share: f64) -> Vec<[Tensor<2>; 3]> {
        let (o, a) = (paths.observation_dim, paths.action_dim);
        let weights: Vec<f64> = advantages.iter().map(|x| x * share).collect();
        (0..paths.len())
            .step_by(CHUNK)
            .map(|start| {
                let end = paths.len().min(start + CHUNK);
                [
                    self.matrix(&paths.observations[start * o..end * o], o),
                    self.matrix(&paths.actions[start * a..end * a], a),
                    self.matrix(&weights[start..end], 1),
                ]
            })
            .collect()
    }

    fn matrix<E: burn::tensor::Element>(&self, entries: &[E], columns: usize) -> Tensor<2> {
        let shape = [entries.len() / columns, columns];
        let data = TensorData::new(entries.to_vec(), shape).convert_dtype(self.dtype);
        Tensor::from_data(data, (self.device, self.dtype))
    }

    fn parameters(&self, theta: &[f64]) -> Tensor<1> {
        GaussianMlp::tensor(theta, self.dtype, self.device)
    }

    /// θ as the leaf of a fresh graph.
    fn leaf(&self, theta: &[f64]) -> Tensor<1> {
        Tensor::from_inner(self.parameters(theta)).require_grad()
    }
}

/// Mean over the tasks of the surrogate for J_k(θ'_k(θ)), and the KL divergence of the adapted policies from those
/// that took the samples, averaged over all samples (the authors constrain the adapted policies).
#[derive(Debug)]
pub struct MetaObjective<'a> {
    /// The policy and where its numbers live.
    pub arithmetic: Arithmetic<'a>,
    /// The samples of every task.
    pub tasks: Vec<(InnerSamples, OuterSamples)>,
    /// α
    pub inner_learning_rate: f64,
}

/// A sum over samples of a function of the policy.
type Sum = fn(&Sampled, &Forward<'_>) -> Tensor<1>;

impl MetaObjective<'_> {
    fn adapt_all(&self, theta: &[f64]) -> Result<Vec<Vec<f64>>> {
        self.tasks
            .par_iter()
            .map(|(inner, _)| self.arithmetic.adapt(theta, inner, self.inner_learning_rate))
            .collect()
    }

    /// Σ_k Σ_i f at θ'_k(θ).
    fn value(&self, adapted: &[Vec<f64>], f: Sum) -> Result<f64> {
        let parts = self.map_chunks(
            |(_, outer)| &outer.chunks,
            |k, sampled| {
                let policy = self.network().bind(&self.arithmetic.parameters(&adapted[k]));
                read(f(sampled, &policy.forward(sampled.observations.clone())))
            },
        )?;
        Ok(parts.iter().flatten().flatten().sum())
    }

    /// ∇_θ Σ_k Σ_i f at θ'_k(θ), through the inner step.
    pub fn gradient(&self, theta: &[f64], f: Sum) -> Result<Vec<f64>> {
        let adapted = self.adapt_all(theta)?;
        // g_k
        let outer = self.map_chunks(
            |(_, outer)| &outer.chunks,
            |k, sampled| {
                let leaf = self.arithmetic.leaf(&adapted[k]);
                let sampled = sampled.constants();
                let policy = self.network().bind(&leaf);
                let sum = f(&sampled, &policy.forward(sampled.observations.clone()));
                gradient_of(sum, &leaf)
            },
        )?;
        let outer: Vec<Vec<f64>> = outer.iter().map(|parts| total(parts, theta.len())).collect();
        let mut gradient = total(&outer, theta.len());
        if self.inner_learning_rate == 0.0 {
            return Ok(gradient);
        }
        // H_k g_k
        let second_order = self.map_chunks(
            |(inner, _)| &inner.chunks,
            |k, chunk| {
                let leaf = self.arithmetic.leaf(theta);
                let [observations, actions, weights] = chunk.clone().map(Tensor::from_inner);
                let direction = Tensor::from_inner(self.arithmetic.parameters(&outer[k]));
                let policy = self.network().bind(&leaf);
                let inner_gradient = policy.forward(observations).policy_gradient(actions, weights);
                gradient_of((inner_gradient * direction).sum(), &leaf)
            },
        )?;
        for parts in &second_order {
            add(&mut gradient, self.inner_learning_rate, &total(parts, theta.len()));
        }
        Ok(gradient)
    }

    fn network(&self) -> &GaussianMlp {
        self.arithmetic.network
    }

    /// `work` on every chunk of every task in parallel: results `[tasks][chunks]`.
    fn map_chunks<C: Sync, R: Send>(
        &self,
        chunks: impl Fn(&(InnerSamples, OuterSamples)) -> &Vec<C>,
        work: impl Fn(usize, &C) -> Result<R> + Sync,
    ) -> Result<Vec<Vec<R>>> {
        let flat: Vec<(usize, &C)> = self
            .tasks
            .iter()
            .enumerate()
            .flat_map(|(k, task)| chunks(task).iter().map(move |chunk| (k, chunk)))
            .collect();
        let results: Vec<R> = flat
            .par_iter()
            .map(|&(k, chunk)| work(k, chunk))
            .collect::<Result<_>>()?;
        let mut results = results.into_iter();
        Ok(self
            .tasks
            .iter()
            .map(|task| results.by_ref().take(chunks(task).len()).collect())
            .collect())
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
        let values = || {
            let adapted = self.adapt_all(theta)?;
            let kl = self.value(&adapted, Sampled::kl)? / self.sample_count();
            Ok::<_, mbmpo_core::Error>((self.value(&adapted, Sampled::surrogate)?, kl))
        };
        values().unwrap_or((f64::NAN, f64::NAN))
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Vec<f64> {
        self.or_nan(self.gradient(theta, Sampled::surrogate), theta.len())
    }

    fn kl_gradient(&self, theta: &[f64]) -> Vec<f64> {
        let mut gradient = self.or_nan(self.gradient(theta, Sampled::kl), theta.len());
        let scale = 1.0 / self.sample_count();
        gradient.iter_mut().for_each(|x| *x *= scale);
        gradient
    }
}

/// The gradient `[parameters]` of a scalar by the leaf of its graph.
fn gradient_of(scalar: Tensor<1>, leaf: &Tensor<1>) -> Result<Vec<f64>> {
    let gradients = scalar.backward();
    leaf.grad(&gradients)
        .map_or_else(|| Ok(vec![0.0; leaf.dims()[0]]), read)
}

fn read(tensor: Tensor<1>) -> Result<Vec<f64>> {
    match tensor.dtype() {
        DType::F64 => tensor.try_into_vec_as::<f64>().map_err(|error| {
            mbmpo_core::Error::Description(format!("a tensor could not be read back: {error}"))
        }),
        _ => Ok(host(tensor)?.into_iter().map(f64::from).collect()),
    }
}

fn total(parts: &[Vec<f64>], count: usize) -> Vec<f64> {
    let mut sum = vec![0.0; count];
    parts.iter().for_each(|part| add(&mut sum, 1.0, part));
    sum
}

/// sum += factor * x
fn add(sum: &mut [f64], factor: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
}
