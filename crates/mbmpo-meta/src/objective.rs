//! The inner step and the meta-objective of eq. 3 of the paper, with its exact second-order
//! gradient.
//!
//! With θ'_k(θ) = θ + α ∇J_k(θ), the gradient of any F_k(θ'_k(θ)) is g_k + α H_k g_k, where
//! g_k = ∇F_k at θ'_k and H_k is the Hessian of J_k at θ. All of these are sums over samples
//! ([`mbmpo_policy::batch`]), computed for the tasks in parallel and added in order.

use mbmpo_core::Result;
use mbmpo_policy::batch::{Samples, Surrogate};
use mbmpo_policy::trust_region::Objective;
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Mean over the tasks of the surrogate for J_k(θ'_k(θ)), and the KL divergence of the adapted
/// policies from those that took the samples, averaged over all samples (the authors constrain the
/// adapted policies).
#[derive(Debug)]
pub struct MetaObjective {
    /// Samples of the pre-update policy and of the adapted policy of every task.
    tasks: Vec<(Samples, Surrogate)>,
    /// α
    inner_learning_rate: f64,
    /// The last result of [`Self::inner_step`].
    last: Mutex<Option<Arc<InnerStep>>>,
}

/// The inner step from one θ, for every task.
#[derive(Debug)]
struct InnerStep {
    theta: Vec<f64>,
    /// ∇J_k(θ)
    gradients: Vec<Vec<f64>>,
    /// θ'_k
    adapted: Vec<Vec<f64>>,
}

/// Gradient by θ of a sum over samples.
type Gradient = fn(&Surrogate, &[f64]) -> Result<Vec<f64>>;

impl MetaObjective {
    /// The objective over these samples of every task, with α for the inner step: those of the
    /// pre-update policy, weighted with advantages over their number, and those of the adapted
    /// policy, weighted with advantages over their number and over the number of tasks.
    pub fn new(tasks: Vec<(Samples, Surrogate)>, inner_learning_rate: f64) -> Self {
        Self {
            tasks,
            inner_learning_rate,
            last: Mutex::default(),
        }
    }

    /// The inner step from `theta`. The last one is remembered, because a trust-region step
    /// evaluates the objective many times at one θ.
    fn inner_step(&self, theta: &[f64]) -> Result<Arc<InnerStep>> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = last().as_ref().filter(|step| step.theta == theta) {
            return Ok(Arc::clone(step));
        }
        let gradients = self.for_each_task(|_, (pre, _)| pre.policy_gradient(theta))?;
        let alpha = self.inner_learning_rate;
        let step = Arc::new(InnerStep {
            theta: theta.to_vec(),
            adapted: gradients
                .iter()
                .map(|gradient| moved(theta, alpha, gradient))
                .collect(),
            gradients,
        });
        *last() = Some(Arc::clone(&step));
        Ok(step)
    }

    /// ∇_θ Σ_k F_k(θ'_k(θ)) from ∇F_k as a function of θ'_k, through the inner step.
    fn gradient(&self, theta: &[f64], outer: Gradient) -> Result<Vec<f64>> {
        let step = self.inner_step(theta)?;
        let outer = self.for_each_task(|k, (_, post)| outer(post, &step.adapted[k]))?;
        let mut gradient = total(&outer, theta.len());
        if self.inner_learning_rate != 0.0 {
            let products =
                self.for_each_task(|k, (pre, _)| pre.hessian_product(theta, &outer[k]))?;
            let second_order = total(&products, theta.len());
            add(&mut gradient, self.inner_learning_rate, &second_order);
        }
        Ok(gradient)
    }

    /// (I + α H_k) v_k of every task, by a finite difference of the inner gradient with `step`.
    /// Only conjugate gradients use it: there the factor α keeps its error far below that of the
    /// quadratic model, and it costs less than half of an exact H_k v_k.
    fn through_inner_step(
        &self,
        at: &InnerStep,
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
        let ahead = self.for_each_task(|k, (pre, _)| {
            pre.policy_gradient(&moved(&at.theta, epsilons[k], &v[k]))
        })?;
        for (k, image) in images.iter_mut().enumerate() {
            let scale = self.inner_learning_rate / epsilons[k];
            add(image, scale, &ahead[k]);
            add(image, -scale, &at.gradients[k]);
        }
        Ok(images)
    }

    /// `work` for every task, in parallel.
    fn for_each_task<T: Send>(
        &self,
        work: impl Fn(usize, &(Samples, Surrogate)) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let tasks = self.tasks.par_iter().enumerate();
        tasks.map(|(k, task)| work(k, task)).collect()
    }

    /// Number of samples of the adapted policies.
    fn sample_count(&self) -> f64 {
        self.tasks.iter().map(|(_, post)| post.len() as f64).sum()
    }
}

impl Objective for MetaObjective {
    fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)> {
        let step = self.inner_step(theta)?;
        let sums = self.for_each_task(|k, (_, post)| {
            let (surrogate, kl) = post.surrogate_and_kl(&step.adapted[k])?;
            Ok(vec![surrogate, kl])
        })?;
        let sums = total(&sums, 2);
        Ok((sums[0], sums[1] / self.sample_count()))
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.gradient(theta, Surrogate::surrogate_gradient)
    }

    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let mut gradient = self.gradient(theta, Surrogate::kl_gradient)?;
        gradient.iter_mut().for_each(|x| *x /= self.sample_count());
        Ok(gradient)
    }

    /// Σ_k (I + α H_k) F_k (I + α H_k) v / n with the Fisher matrices F_k of the Gaussians at θ'_k:
    /// the Hessian at the old parameters, where the first derivatives of the divergence vanish.
    fn fisher_product(&self, theta: &[f64], v: &[f64], step: f64) -> Result<Vec<f64>> {
        let at = self.inner_step(theta)?;
        let v = vec![v.to_vec(); self.tasks.len()];
        let directions = self.through_inner_step(&at, &v, step)?;
        let products =
            self.for_each_task(|k, (_, post)| post.fisher_product(&at.adapted[k], &directions[k]))?;
        let products = self.through_inner_step(&at, &products, step)?;
        let mut product = total(&products, theta.len());
        product.iter_mut().for_each(|x| *x /= self.sample_count());
        Ok(product)
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
