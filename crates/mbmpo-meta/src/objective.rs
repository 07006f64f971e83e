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
use mbmpo_policy::{BoundMlp, Forward, GaussianMlp};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

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
            add(
                &mut sum,
                1.0,
                &read(forward.policy_gradient(actions.clone(), weights.clone()))?,
            );
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
    arithmetic: Arithmetic<'a>,
    tasks: Vec<(InnerSamples, OuterSamples)>,
    /// α
    inner_learning_rate: f64,
    /// See [`Self::inner_gradients`].
    remembered: Mutex<Option<Arc<InnerGradients>>>,
}

/// ∇J_k of every task, and where.
#[derive(Debug)]
struct InnerGradients {
    theta: Vec<f64>,
    tasks: Vec<Vec<f64>>,
}

/// A sum over samples of a function of the policy, or its gradient.
type Sum = fn(&Sampled, &Forward<'_>) -> Tensor<1>;

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

    fn adapt_all(&self, theta: &[f64]) -> Result<Vec<Vec<f64>>> {
        Ok(self.adapt_along(theta, &self.inner_gradients(theta)?.tasks))
    }

    fn adapt_along(&self, theta: &[f64], gradients: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let adapt = |gradient: &Vec<f64>| {
            let mut adapted = theta.to_vec();
            add(&mut adapted, self.inner_learning_rate, gradient);
            adapted
        };
        gradients.iter().map(adapt).collect()
    }

    /// ∇J_k(θ) of every task. The last ones are remembered: a trust-region step asks many times at one θ.
    fn inner_gradients(&self, theta: &[f64]) -> Result<Arc<InnerGradients>> {
        let memory = || {
            self.remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = memory().as_ref().filter(|known| known.theta == theta) {
            return Ok(Arc::clone(known));
        }
        let thetas = vec![theta.to_vec(); self.tasks.len()];
        let gradients = Arc::new(InnerGradients {
            theta: theta.to_vec(),
            tasks: self.inner_gradients_at(&thetas)?,
        });
        *memory() = Some(Arc::clone(&gradients));
        Ok(gradients)
    }

    /// ∇J_k at each task's own parameters.
    fn inner_gradients_at(&self, thetas: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let policies = self.bind_all(thetas);
        self.sum_chunks(
            |(inner, _)| &inner.chunks,
            |k, [observations, actions, weights]| {
                let forward = policies[k].forward(observations.clone());
                read(forward.policy_gradient(actions.clone(), weights.clone()))
            },
        )
    }

    /// Σ_i f of every task, at its parameters.
    fn sum(&self, thetas: &[Vec<f64>], f: Sum) -> Result<Vec<Vec<f64>>> {
        let policies = self.bind_all(thetas);
        self.sum_chunks(
            |(_, outer)| &outer.chunks,
            |k, sampled| {
                read(f(
                    sampled,
                    &policies[k].forward(sampled.observations.clone()),
                ))
            },
        )
    }

    /// ∇_θ Σ_k F_k(θ'_k(θ)) from ∇F_k as a function of θ'_k, through the inner step.
    fn gradient(&self, theta: &[f64], outer_gradient: Sum) -> Result<Vec<f64>> {
        let outer = self.sum(&self.adapt_all(theta)?, outer_gradient)?;
        let mut gradient = total(&outer, theta.len());
        if self.inner_learning_rate != 0.0 {
            let second_order = total(&self.inner_hessian_products(theta, &outer)?, theta.len());
            add(&mut gradient, self.inner_learning_rate, &second_order);
        }
        Ok(gradient)
    }

    /// H_k g_k of every task, exactly: by automatic differentiation of ⟨∇J_k(θ), g_k⟩.
    fn inner_hessian_products(&self, theta: &[f64], g: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        self.sum_chunks(
            |(inner, _)| &inner.chunks,
            |k, chunk| {
                let leaf = self.arithmetic.leaf(theta);
                let [observations, actions, weights] = chunk.clone().map(Tensor::from_inner);
                let direction = Tensor::from_inner(self.arithmetic.parameters(&g[k]));
                let policy = self.network().bind(&leaf);
                let inner_gradient = policy
                    .forward(observations)
                    .policy_gradient(actions, weights);
                let gradients = (inner_gradient * direction).sum().backward();
                leaf.grad(&gradients)
                    .map_or_else(|| Ok(vec![0.0; theta.len()]), read)
            },
        )
    }

    /// (I + α H_k) v_k of every task, with `inner` = ∇J_k(θ), by a finite difference of the inner gradient. It serves
    /// conjugate gradients only, where α keeps its error far below that of the quadratic model.
    fn through_inner_step(
        &self,
        theta: &[f64],
        inner: &[Vec<f64>],
        v: &[Vec<f64>],
        step: f64,
    ) -> Result<Vec<Vec<f64>>> {
        let mut images = v.to_vec();
        if self.inner_learning_rate == 0.0 {
            return Ok(images);
        }
        let epsilons: Vec<f64> = v
            .iter()
            .map(|v| step / norm(v).max(f64::MIN_POSITIVE))
            .collect();
        let shifted: Vec<Vec<f64>> = v
            .iter()
            .zip(&epsilons)
            .map(|(v, &epsilon)| {
                let mut shifted = theta.to_vec();
                add(&mut shifted, epsilon, v);
                shifted
            })
            .collect();
        let ahead = self.inner_gradients_at(&shifted)?;
        for (k, image) in images.iter_mut().enumerate() {
            let scale = self.inner_learning_rate / epsilons[k];
            add(image, scale, &ahead[k]);
            add(image, -scale, &inner[k]);
        }
        Ok(images)
    }

    /// Σ_k (I + α H_k) F_k (I + α H_k) v / n: the Hessian of the mean KL divergence at the old parameters, where its
    /// first derivatives vanish, so that only the Gaussians' Fisher matrices F_k at θ'_k remain.
    fn gauss_newton_product(&self, theta: &[f64], v: &[f64], step: f64) -> Result<Vec<f64>> {
        let gradients = self.inner_gradients(theta)?;
        let inner = &gradients.tasks;
        let v = vec![v.to_vec(); self.tasks.len()];
        let directions = self.bind_all(&self.through_inner_step(theta, inner, &v, step)?);
        let policies = self.bind_all(&self.adapt_along(theta, inner));
        let products = self.sum_chunks(
            |(_, outer)| &outer.chunks,
            |k, sampled| {
                let at = policies[k].forward(sampled.observations.clone());
                read(sampled.fisher_product(&at, &directions[k]))
            },
        )?;
        let products = self.through_inner_step(theta, inner, &products, step)?;
        let mut product = total(&products, theta.len());
        product.iter_mut().for_each(|x| *x /= self.sample_count());
        Ok(product)
    }

    fn bind_all(&self, thetas: &[Vec<f64>]) -> Vec<BoundMlp> {
        let bind = |theta: &Vec<f64>| self.network().bind(&self.arithmetic.parameters(theta));
        thetas.iter().map(bind).collect()
    }

    fn network(&self) -> &GaussianMlp {
        self.arithmetic.network
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
        let both: Sum =
            |sampled, new| Tensor::cat(vec![sampled.surrogate(new), sampled.kl(new)], 0);
        let sums =
            || Ok::<_, mbmpo_core::Error>(total(&self.sum(&self.adapt_all(theta)?, both)?, 2));
        sums().map_or((f64::NAN, f64::NAN), |sums| {
            (sums[0], sums[1] / self.sample_count())
        })
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Vec<f64> {
        self.or_nan(
            self.gradient(theta, Sampled::surrogate_gradient),
            theta.len(),
        )
    }

    fn kl_gradient(&self, theta: &[f64]) -> Vec<f64> {
        let mut gradient = self.or_nan(self.gradient(theta, Sampled::kl_gradient), theta.len());
        gradient.iter_mut().for_each(|x| *x /= self.sample_count());
        gradient
    }

    fn fisher_product(&self, theta: &[f64], v: &[f64], step: f64) -> Vec<f64> {
        self.or_nan(self.gauss_newton_product(theta, v, step), theta.len())
    }
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
    sum.iter_mut()
        .zip(x)
        .for_each(|(sum, x)| *sum += factor * x);
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
