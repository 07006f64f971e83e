//! The meta-gradient goes through the inner step: it must be that of finite differences in f64,
//! including the second-order part, for the surrogate and for the KL divergence.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Check, Purpose, Streams, Trajectories, is_cpu};
use mbmpo_meta::objective::MetaObjective;
use mbmpo_policy::batch::{Placement, Samples, Surrogate};
use mbmpo_policy::trust_region::{Objective, fisher_product};
use mbmpo_policy::{GaussianMlp, PolicyConfig};
use rand::RngExt;

const TASKS: usize = 2;

struct Problem {
    network: GaussianMlp,
    theta: Vec<f64>,
    /// Pre- and post-update paths with their advantages.
    tasks: Vec<[(Trajectories, Vec<f64>); 2]>,
}

fn problem() -> Problem {
    // Unequal sizes, so that a mean over tasks differs from a mean over samples.
    problem_of([[9, 7], [6, 12]])
}

fn problem_of(sizes: [[usize; 2]; TASKS]) -> Problem {
    let config = PolicyConfig {
        hidden: vec![5, 4],
        initial_std: 0.8,
        ..PolicyConfig::default()
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, 3, 2);
    let mut stream = Streams::new(11).stream(Purpose::Test, 0, 0);
    let theta = network.initial_parameters(&config, &mut stream);
    let mut samples = |n: usize| {
        let mut draw =
            |n: usize| -> Vec<f32> { (0..n).map(|_| stream.random_range(-1.5..1.5)).collect() };
        let mut paths = Trajectories::new(3, 2);
        for _ in 0..n {
            paths.push(&draw(3), &draw(2), &[0.0; 3], 0.0);
        }
        paths.end_path(false);
        let advantages = draw(n).into_iter().map(f64::from).collect();
        (paths, advantages)
    };
    let tasks = sizes.map(|sizes| sizes.map(&mut samples)).to_vec();
    Problem {
        network,
        theta,
        tasks,
    }
}

/// Double precision, on tensors.
fn double() -> Placement {
    Placement::tensors(&Device::flex(), DType::F64)
}

/// Single precision, on slices.
fn single() -> Placement {
    let device = Device::flex();
    assert!(is_cpu(&device), "tensors would be compared with tensors");
    Placement::from(&device)
}

impl Problem {
    fn samples(&self, placement: &Placement, alpha: f64) -> Vec<(Samples, Surrogate)> {
        let network = &self.network;
        self.tasks
            .iter()
            .map(|[(pre, pre_advantages), (post, post_advantages)]| {
                let inner = Samples::new(network, placement.clone(), pre, pre_advantages);
                let adapted = inner.adapt(&self.theta, alpha).unwrap();
                let (on, share) = (placement.clone(), 1.0 / TASKS as f64);
                let outer = Samples::with_share(network, on, post, post_advantages, share);
                (inner, outer.surrogate(&adapted))
            })
            .collect()
    }

    fn objective_on(&self, placement: &Placement, alpha: f64) -> MetaObjective {
        MetaObjective::new(self.samples(placement, alpha), alpha)
    }

    fn objective(&self, alpha: f64) -> MetaObjective {
        self.objective_on(&double(), alpha)
    }

    /// Some direction in the space of parameters.
    fn direction(&self) -> Vec<f64> {
        (0..self.theta.len())
            .map(|i| ((i * 7 % 11) as f64 - 5.0) / 5.0)
            .collect()
    }
}

fn finite_differences(f: impl Fn(&[f64]) -> f64, theta: &[f64]) -> Vec<f64> {
    (0..theta.len())
        .map(|i| {
            let at = |by: f64| {
                let mut theta = theta.to_vec();
                theta[i] += by;
                f(&theta)
            };
            // Fourth order: its error is far below the tolerance of 1e-6.
            let h = 1e-3;
            (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
        })
        .collect()
}

fn relative_error(actual: &[f64], expected: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut actual.iter().zip(expected).map(|(a, e)| a - e)) / norm(&mut expected.iter().copied())
}

/// Fails when the Hessian term is dropped, mis-scaled by α, or taken at the wrong parameters.
#[test]
fn the_surrogate_gradient_is_that_of_finite_differences() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let exact = objective.surrogate_gradient(&problem.theta).unwrap();
    let surrogate = |theta: &[f64]| objective.evaluate(theta).unwrap().0;
    let expected = finite_differences(surrogate, &problem.theta);
    let error = relative_error(&exact, &expected);
    assert!(error < 1e-6, "relative error {error}");
}

/// Fails when the test above could not detect a missing second-order part: the first-order part
/// alone must be far from the gradient.
#[test]
fn the_first_order_part_alone_is_different() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let surrogate = |theta: &[f64]| objective.evaluate(theta).unwrap().0;
    let expected = finite_differences(surrogate, &problem.theta);
    // g_k: the gradient at θ'_k without an inner step, task by task
    let mut first_order = vec![0.0; problem.theta.len()];
    for (inner, outer) in problem.samples(&double(), 0.3) {
        let adapted = inner.adapt(&problem.theta, 0.3).unwrap();
        let plain = MetaObjective::new(vec![(inner, outer)], 0.0);
        let gradient = plain.surrogate_gradient(&adapted).unwrap();
        first_order
            .iter_mut()
            .zip(gradient)
            .for_each(|(sum, g)| *sum += g);
    }
    let error = relative_error(&first_order, &expected);
    assert!(error > 1e-2, "relative error {error}");
}

/// Fails when the KL gradient ignores the inner step or averages over tasks instead of samples.
#[test]
fn the_kl_gradient_is_that_of_finite_differences() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let moved: Vec<f64> = problem.theta.iter().map(|x| x + 0.02).collect();
    let exact = objective.kl_gradient(&moved).unwrap();
    let expected = finite_differences(|theta| objective.evaluate(theta).unwrap().1, &moved);
    let error = relative_error(&exact, &expected);
    assert!(error < 1e-6, "relative error {error}");
}

/// Fails when a factor of the Gauss-Newton product is missing. The reference is finite differences
/// of the gradient of the KL divergence.
#[test]
fn fisher_products_go_through_the_inner_step() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let v = problem.direction();
    let analytic = objective.fisher_product(&problem.theta, &v, 1e-6).unwrap();
    let expected = fisher_product(&objective, &problem.theta, &v, 1e-4).unwrap();
    assert!(relative_error(&analytic, &expected) < 1e-5);
    let without_inner_step = MetaObjective::new(problem.samples(&double(), 0.3), 0.0);
    let plain = without_inner_step.fisher_product(&problem.theta, &v, 1e-6);
    assert!(relative_error(&plain.unwrap(), &expected) > 1e-2);
}

/// As in training: single precision, on slices, and more samples than a chunk holds. Fails when a
/// chunk is left out, counted twice or added to the wrong task, or when single precision is not
/// enough.
#[test]
fn many_chunks_in_single_precision() {
    let problem = problem_of([[2_300, 1_100], [1_000, 3_001]]);
    let single = problem.objective_on(&single(), 0.3);
    let double = problem.objective(0.3);
    let gradient = |objective: &MetaObjective| {
        let gradient = objective.surrogate_gradient(&problem.theta);
        gradient.unwrap()
    };
    assert!(relative_error(&gradient(&single), &gradient(&double)) < 1e-4);
    let v = problem.direction();
    let product = |objective: &MetaObjective, step| {
        let product = objective.fisher_product(&problem.theta, &v, step);
        product.unwrap()
    };
    assert!(relative_error(&product(&single, 1e-2), &product(&double, 1e-6)) < 5e-3);
    // A finite difference of the objective tests the gradient's sum over the chunks.
    let direction: Vec<f64> = v.iter().map(|x| x * 1e-4).collect();
    let at = |sign: f64| -> Vec<f64> {
        problem
            .theta
            .iter()
            .zip(&direction)
            .map(|(t, d)| t + sign * d)
            .collect()
    };
    let [ahead, behind] = [1.0, -1.0].map(|sign| double.evaluate(&at(sign)).unwrap().0);
    let slope = (ahead - behind) / 2.0;
    let expected: f64 = gradient(&double)
        .iter()
        .zip(&direction)
        .map(|(g, d)| g * d)
        .sum();
    assert!((slope - expected).abs() < 1e-5 * expected.abs());
}

/// Fails when a sum on slices differs from that on tensors in double precision, through the inner
/// step and back.
#[test]
fn slices_agree_with_tensors() {
    let problem = problem_of([[1, 1_001], [1_230, 2_000]]);
    let objectives = |alpha| {
        let single = problem.objective_on(&single(), alpha);
        (single, problem.objective(alpha))
    };
    let (single, double) = objectives(0.3);
    let moved: Vec<f64> = problem.theta.iter().map(|x| x + 0.02).collect();
    let (surrogate, kl) = single.evaluate(&moved).unwrap();
    let (expected_surrogate, expected_kl) = double.evaluate(&moved).unwrap();
    let both = [[surrogate, expected_surrogate], [kl, expected_kl]];
    assert!(
        both.iter()
            .all(|[a, e]| relative_error(&[*a], &[*e]) < 1e-4)
    );
    for theta in [&problem.theta, &moved] {
        let [actual, expected] =
            [&single, &double].map(|objective| objective.surrogate_gradient(theta).unwrap());
        assert!(relative_error(&actual, &expected) < 1e-4);
    }
    let [actual, expected] =
        [&single, &double].map(|objective| objective.kl_gradient(&moved).unwrap());
    assert!(relative_error(&actual, &expected) < 1e-4);

    // Fisher products go through the inner step by finite differences, whose error has the factor
    // α; the paper's α is 0.001.
    let v = problem.direction();
    for (alpha, tolerance) in [(0.3, 5e-3), (1e-3, 1e-4)] {
        let (single, double) = objectives(alpha);
        let product = single.fisher_product(&problem.theta, &v, 1e-2).unwrap();
        let expected = fisher_product(&double, &problem.theta, &v, 1e-4).unwrap();
        let error = relative_error(&product, &expected);
        assert!(error < tolerance, "alpha {alpha}: {error}");
    }
}

/// Fails when chunks are added in the order in which threads finish, or when a sum depends on which
/// thread computes which chunk.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let problem = problem_of([[2_300, 1_100], [1_000, 3_001]]);
    let results = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let objective = problem.objective_on(&single(), 0.3);
            let moved: Vec<f64> = problem.theta.iter().map(|x| x + 0.02).collect();
            let gradient = objective.surrogate_gradient(&problem.theta).unwrap();
            let product = objective.fisher_product(&problem.theta, &gradient, 1e-2);
            let kl = objective.kl_gradient(&moved).unwrap();
            let values = objective.evaluate(&moved).unwrap();
            (gradient, product.unwrap(), kl, values)
        })
    };
    assert_eq!(results(1), results(2));
}

/// Fails when the old policies are not the adapted ones: at θ the divergence and its gradient must
/// be 0, and the ratio 1 for every sample.
#[test]
fn divergence_is_zero_at_the_old_parameters() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let (surrogate, kl) = objective.evaluate(&problem.theta).unwrap();
    let expected: f64 = problem
        .tasks
        .iter()
        .map(|[_, (_, advantages)]| advantages.iter().sum::<f64>() / advantages.len() as f64)
        .sum::<f64>()
        / TASKS as f64;
    assert!((surrogate - expected).abs() < 1e-12);
    assert!(kl.abs() < 1e-14);
    assert!(
        objective
            .kl_gradient(&problem.theta)
            .unwrap()
            .iter()
            .all(|x| x.abs() < 1e-12)
    );
}

/// Fails when the inner step decreases the probability of actions with a positive advantage. The
/// tests above do not depend on the sign, since they differentiate through the same step.
#[test]
fn the_inner_step_makes_good_actions_likelier() {
    let problem = problem();
    let (paths, _) = &problem.tasks[0][0];
    for sign in [1.0, -1.0] {
        let advantages = vec![sign; paths.len()];
        let inner = Samples::new(&problem.network, double(), paths, &advantages);
        let adapted = inner.adapt(&problem.theta, 1e-3).unwrap();
        let step: Vec<f64> = adapted
            .iter()
            .zip(&problem.theta)
            .map(|(a, b)| (a - b) / 1e-3)
            .collect();
        let expected = finite_differences(
            |theta| {
                let device = Device::flex();
                let theta = GaussianMlp::tensor(theta, DType::F64, &device);
                let policy = problem.network.bind(&theta);
                let data = |x: &[f32], columns: usize| {
                    let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                    let shape = [x.len() / columns, columns];
                    let data = TensorData::new(x, shape);
                    Tensor::<2>::from_data(data, (&device, DType::F64))
                };
                let forward = policy.forward(data(&paths.observations, 3));
                let log_likelihood = forward.log_likelihood(data(&paths.actions, 2));
                sign * log_likelihood.mean().into_scalar::<f64>()
            },
            &problem.theta,
        );
        assert!(relative_error(&step, &expected) < 1e-6);
    }
}
