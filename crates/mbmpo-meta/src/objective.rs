//! The inner step and the meta-objective of eq. 3 of the paper, with its exact second-order gradient.
//!
//! With θ'_k(θ) = θ + α ∇J_k(θ), the gradient of any F_k(θ'_k(θ)) is g_k + α H_k g_k, where g_k = ∇F_k at θ'_k and
//! H_k is the Hessian of J_k at θ. Everything is a sum over samples, hence over chunks of them: chunks go to threads,
//! and are added up in a fixed order, so the bits do not depend on the number of threads. What a chunk's sums are made
//! of is in [`mbmpo_policy::batch`].

use mbmpo_core::Result;
use mbmpo_policy::batch::{Arithmetic, Batch, Parameters, SurrogateBatch, SurrogateChunk};
use mbmpo_policy::trust_region::Objective;
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Mean over the tasks of the surrogate for J_k(θ'_k(θ)), and the KL divergence of the adapted policies from those
/// that took the samples, averaged over all samples (the authors constrain the adapted policies).
#[derive(Debug)]
pub struct MetaObjective<'a> {
    arithmetic: Arithmetic<'a>,
    tasks: Vec<(Batch, SurrogateBatch)>,
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
    adapted: Vec<Parameters>,
}

/// A sum over a chunk of samples of a function of the policy, or its gradient.
type Sum = fn(&SurrogateChunk, &Parameters) -> Result<Vec<f64>>;

impl<'a> MetaObjective<'a> {
    /// The objective over these samples of every task, with α for the inner step.
    pub fn new(
        arithmetic: Arithmetic<'a>,
        tasks: Vec<(Batch, SurrogateBatch)>,
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
        let policy = Parameters::new(&self.arithmetic, theta);
        let inner_gradients = self.sum_chunks(
            |(inner, _)| inner.chunks(),
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
            |(_, outer)| outer.chunks(),
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
        let policy = Parameters::new(&self.arithmetic, &at.theta);
        let v = self.bind_all(v);
        self.sum_chunks(
            |(inner, _)| inner.chunks(),
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
            |(inner, _)| inner.chunks(),
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
            |(_, outer)| outer.chunks(),
            |k, chunk| chunk.fisher_product(&at.adapted[k], &directions[k]),
        )?;
        let products = self.through_inner_step(&at, &products, step)?;
        let mut product = total(&products, theta.len());
        product.iter_mut().for_each(|x| *x /= self.sample_count());
        Ok(product)
    }

    fn bind_all(&self, thetas: &[Vec<f64>]) -> Vec<Parameters> {
        let bind = |theta: &Vec<f64>| Parameters::new(&self.arithmetic, theta);
        thetas.iter().map(bind).collect()
    }

    /// The sum of `work` over the chunks of each task; chunks run in parallel and are added in order.
    fn sum_chunks<C: Sync>(
        &self,
        chunks: impl Fn(&(Batch, SurrogateBatch)) -> &[C],
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
        self.tasks.iter().map(|(_, outer)| outer.len() as f64).sum()
    }

    /// A failure to read a tensor back makes the numbers NaN, and the trust region refuses the step.
    fn or_nan(&self, gradient: Result<Vec<f64>>, count: usize) -> Vec<f64> {
        gradient.unwrap_or_else(|_| vec![f64::NAN; count])
    }
}

impl Objective for MetaObjective<'_> {
    fn evaluate(&self, theta: &[f64]) -> (f64, f64) {
        let sums = || {
            let both = self.sum(&*self.at(theta)?, SurrogateChunk::surrogate_and_kl)?;
            Ok::<_, mbmpo_core::Error>(total(&both, 2))
        };
        sums().map_or((f64::NAN, f64::NAN), |sums| {
            (sums[0], sums[1] / self.sample_count())
        })
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Vec<f64> {
        self.or_nan(
            self.gradient(theta, SurrogateChunk::surrogate_gradient),
            theta.len(),
        )
    }

    fn kl_gradient(&self, theta: &[f64]) -> Vec<f64> {
        let mut gradient = self.or_nan(
            self.gradient(theta, SurrogateChunk::kl_gradient),
            theta.len(),
        );
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

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
