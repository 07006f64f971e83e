//! The outer step: gradient through the inner step, conjugate gradients, line search.

use super::workload::{F32, HotLoop, Sample, Workload, normal};
use anyhow::Result;
use mbmpo_core::{Checked, Policy, Result as CoreResult, Trajectories};
use mbmpo_meta::objective::MetaObjective;
use mbmpo_policy::GaussianPolicy;
use mbmpo_policy::batch::{Samples, Surrogate};
use mbmpo_policy::trust_region::{self, Objective, TrustRegionConfig};
use std::cell::Cell;
use std::ops::{Add, Mul};
use std::time::Instant;

/// A trust-region step on samples of every task, before and after adapting; standard normal
/// observations and advantages.
pub struct MetaUpdate {
    theta: Vec<f64>,
    samples: Vec<(Samples, Surrogate)>,
    /// Samples of all tasks before adapting; there are as many after.
    count: usize,
    inner_learning_rate: f64,
    trust_region: Checked<TrustRegionConfig>,
    cost: Cost,
}

impl MetaUpdate {
    /// `rollouts` of the paper's horizon before and again after adapting, in each of `tasks`.
    pub fn new(workload: &Workload, tasks: usize, rollouts: usize) -> Result<Self> {
        let (network, device) = (&workload.network, &workload.device);
        let alpha = workload.config.inner_learning_rate;
        let theta = &workload.theta;
        let share = 1.0 / tasks as f64;
        let samples = (0..tasks).map(|k| {
            let (pre, advantages) = sampled(workload, theta, 2 * k + 1, rollouts);
            let inner = Samples::new(network, device, &pre, &advantages);
            let adapted = inner.adapt(theta, alpha)?;
            let (post, advantages) = sampled(workload, &adapted, 2 * k + 2, rollouts);
            let outer = Samples::with_share(network, device, &post, &advantages, share);
            Ok((inner, outer.surrogate(&adapted)))
        });
        let samples = samples.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            samples,
            theta: theta.clone(),
            count: tasks * rollouts * workload.horizon,
            inner_learning_rate: alpha,
            trust_region: workload.config.part(|config| &config.trust_region),
            cost: Cost::new(
                &workload.policy_layers(),
                workload.environment.observation_dim(),
                workload.network.action_dim(),
            ),
        })
    }
}

impl HotLoop for MetaUpdate {
    fn unit(&self) -> &'static str {
        "samples"
    }

    fn run(&mut self) -> Result<Sample> {
        let samples = self.samples.clone();
        let clock = Instant::now();
        let objective = Timed {
            objective: MetaObjective::new(samples, self.inner_learning_rate),
            gradients: Meter::default(),
            products: Meter::default(),
            evaluations: Meter::default(),
        };
        trust_region::step(&self.trust_region, &objective, &self.theta)?;
        let seconds = clock.elapsed().as_secs_f64();
        let (products, evaluations) = (objective.products.calls(), objective.evaluations.calls());
        let work = self.cost.total(products, evaluations) * self.count as f64;
        Ok(Sample {
            seconds,
            flop: work.plain + work.transposed,
            narrow: [work.plain, work.transposed],
            bytes: work.bytes,
            units: 2.0 * self.count as f64,
            parts: vec![
                ("gradient", objective.gradients.seconds()),
                ("Fisher products", objective.products.seconds()),
                ("line search", objective.evaluations.seconds()),
            ],
        })
    }
}

/// What the policy `theta` does where observations are standard normal numbers, and advantages.
fn sampled(
    workload: &Workload,
    theta: &[f64],
    index: usize,
    rollouts: usize,
) -> (Trajectories, Vec<f64>) {
    let (o, a) = (
        workload.environment.observation_dim(),
        workload.network.action_dim(),
    );
    let mut stream = workload.stream(index);
    let policy = GaussianPolicy::new(workload.network.clone(), theta);
    let mut paths = Trajectories::new(o, a);
    for _ in 0..rollouts {
        for _ in 0..workload.horizon {
            let observation = normal(&mut stream, o);
            let action = policy.act(&observation, &mut stream);
            paths.push(&observation, &action, &observation, 0.0);
        }
        paths.end_path(false);
    }
    let advantages = normal(&mut stream, paths.len());
    (paths, advantages.into_iter().map(f64::from).collect())
}

/// What one sample before adapting and one after cost together.
struct Cost {
    gradient: Work,
    product: Work,
    /// At θ, where the adapted parameters are known.
    first_evaluation: Work,
    evaluation: Work,
}

/// Floating-point operations of matrix products, and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Work {
    /// Operations of A B.
    plain: f64,
    /// Operations of Aᵀ B: gradients by weights.
    transposed: f64,
    bytes: f64,
}

impl Cost {
    /// For a policy with so many multiplications by layer.
    fn new(layers: &[f64], observation_dim: usize, action_dim: usize) -> Self {
        let work = |plain, transposed| Work {
            plain,
            transposed,
            bytes: 0.0,
        };
        // a pass through the network, or the gradient by its weights
        let pass = 2.0 * layers.iter().sum::<f64>();
        // the gradient by the input of all layers but the first
        let back = pass - 2.0 * layers[0];
        let forward = work(pass, 0.0);
        let gradient = work(pass + back, pass);
        // forward and backward, and the derivative of both along a direction
        let hessian_product = work(2.0 * pass + 4.0 * back, pass + back);
        // forward, its derivative along a direction, and backward
        let gaussian_product = work(2.0 * pass + 2.0 * back, pass);
        // The model of the bytes: everything that is computed on the way stays in a core's cache,
        // but samples are read anew in every pass over them, which has observation, action and
        // weight of each; those after adapting come with the old mean and log-likelihood.
        let sample = (observation_dim + action_dim + 1) as f64;
        let read = |numbers| Work {
            bytes: F32 * numbers,
            ..Work::default()
        };
        let before = read(sample);
        let after = read(sample + (action_dim + 1) as f64);
        Self {
            gradient: gradient * 2.0 + hessian_product + before * 2.0 + after,
            // through the inner step and back, each by one more inner gradient
            product: gaussian_product + gradient * 2.0 + before * 2.0 + after,
            first_evaluation: forward + after,
            evaluation: gradient + forward + before + after,
        }
    }

    fn total(&self, products: usize, evaluations: usize) -> Work {
        let trials = evaluations.saturating_sub(1) as f64;
        self.gradient
            + self.product * products as f64
            + self.first_evaluation
            + self.evaluation * trials
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            plain: self.plain + other.plain,
            transposed: self.transposed + other.transposed,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Mul<f64> for Work {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self {
            plain: self.plain * factor,
            transposed: self.transposed * factor,
            bytes: self.bytes * factor,
        }
    }
}

/// Calls, and how long they took together.
#[derive(Debug, Default)]
struct Meter(Cell<(usize, f64)>);

impl Meter {
    fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let clock = Instant::now();
        let result = work();
        let (calls, seconds) = self.0.get();
        self.0
            .set((calls + 1, seconds + clock.elapsed().as_secs_f64()));
        result
    }

    fn calls(&self) -> usize {
        self.0.get().0
    }

    fn seconds(&self) -> f64 {
        self.0.get().1
    }
}

/// An objective that notes what the trust region asks of it.
struct Timed<O> {
    objective: O,
    gradients: Meter,
    products: Meter,
    evaluations: Meter,
}

impl<O: Objective> Objective for Timed<O> {
    fn evaluate(&self, theta: &[f64]) -> CoreResult<(f64, f64)> {
        self.evaluations.time(|| self.objective.evaluate(theta))
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> CoreResult<Vec<f64>> {
        self.gradients
            .time(|| self.objective.surrogate_gradient(theta))
    }

    fn kl_gradient(&self, theta: &[f64]) -> CoreResult<Vec<f64>> {
        self.products.time(|| self.objective.kl_gradient(theta))
    }

    fn fisher_product(&self, theta: &[f64], v: &[f64], step: f64) -> CoreResult<Vec<f64>> {
        self.products
            .time(|| self.objective.fisher_product(theta, v, step))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cost, Work};

    /// Fails when a product is counted in the wrong kind, or a pass over the samples is forgotten.
    #[test]
    fn costs_of_a_small_policy() {
        // 2-3-1: a pass is 18 operations, the way back through its second layer 6
        let cost = Cost::new(&[6.0, 3.0], 2, 1);
        let (pass, back) = (18.0, 6.0);
        let (before, after) = (4.0 * 4.0, 4.0 * 6.0);
        let flop = |work: Work| work.plain + work.transposed;
        let gradient = 2.0 * pass + back;
        let hessian = 3.0 * pass + 5.0 * back;
        assert_eq!(flop(cost.gradient), 2.0 * gradient + hessian);
        assert_eq!(cost.gradient.transposed, 3.0 * pass + back);
        let gaussian = 3.0 * pass + 2.0 * back;
        assert_eq!(flop(cost.product), gaussian + 2.0 * gradient);
        assert_eq!(cost.product.transposed, 3.0 * pass);
        assert_eq!(cost.product.bytes, 2.0 * before + after);
        // two products, and the line search tries once
        let total = cost.total(2, 2);
        let products = 2.0 * flop(cost.product);
        let evaluations = pass + gradient + pass;
        assert_eq!(flop(total), flop(cost.gradient) + products + evaluations);
        assert_eq!(total.bytes, 7.0 * before + 5.0 * after);
    }
}
