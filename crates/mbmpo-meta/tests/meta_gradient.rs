//! The meta-gradient goes through the inner step: it must be that of finite differences in f64, including the
//! second-order part, for the surrogate and for the KL divergence.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{DType, Device};
use mbmpo_core::{Check, Purpose, Streams, Trajectories, is_cpu};
use mbmpo_meta::objective::MetaObjective;
use mbmpo_policy::batch::{Arithmetic, Batch, SurrogateBatch};
use mbmpo_policy::trust_region::{Objective, fisher_product};
use mbmpo_policy::{GaussianMlp, PolicyConfig};
use rand::RngExt;

const TASKS: usize = 2;

struct Problem {
    network: GaussianMlp,
    device: Device,
    theta: Vec<f64>,
    /// Pre- and post-update paths with their advantages.
    tasks: Vec<[(Trajectories, Vec<f64>); 2]>,
}

fn problem() -> Problem {
    // Unequal sizes: a weight per task instead of per sample would show.
    problem_of([[9, 7], [6, 12]])
}

fn problem_of(sizes: [[usize; 2]; TASKS]) -> Problem {
    let config = PolicyConfig {
        hidden: vec![5, 4],
        initial_std: 0.8,
        min_std: 1e-6,
        output_scale: 1.0,
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
        device: Device::flex(),
        theta,
        tasks,
    }
}

impl Problem {
    fn arithmetic(&self) -> Arithmetic<'_> {
        self.arithmetic_in(DType::F64)
    }

    fn arithmetic_in(&self, dtype: DType) -> Arithmetic<'_> {
        Arithmetic {
            network: &self.network,
            device: &self.device,
            dtype,
        }
    }

    fn samples(&self, alpha: f64) -> Vec<(Batch, SurrogateBatch)> {
        self.samples_in(DType::F64, alpha)
    }

    fn samples_in(&self, dtype: DType, alpha: f64) -> Vec<(Batch, SurrogateBatch)> {
        let arithmetic = self.arithmetic_in(dtype);
        self.tasks
            .iter()
            .map(|[(pre, pre_advantages), (post, post_advantages)]| {
                let inner = arithmetic.batch(pre, pre_advantages);
                let adapted = arithmetic.adapt(&self.theta, &inner, alpha).unwrap();
                let share = 1.0 / TASKS as f64;
                let outer = arithmetic.surrogate_batch(post, post_advantages, share, &adapted);
                (inner, outer)
            })
            .collect()
    }

    fn objective(&self, alpha: f64) -> MetaObjective<'_> {
        MetaObjective::new(self.arithmetic(), self.samples(alpha), alpha)
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
            // Fourth order, so that 1e-6 is far above its own error.
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
    let exact = objective.surrogate_gradient(&problem.theta);
    let expected = finite_differences(|theta| objective.evaluate(theta).0, &problem.theta);
    let error = relative_error(&exact, &expected);
    assert!(error < 1e-6, "relative error {error}");
}

/// The first-order part alone is far off, so the test above sees the second-order part.
#[test]
fn dropping_the_second_order_part_would_show() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let expected = finite_differences(|theta| objective.evaluate(theta).0, &problem.theta);
    // g_k: the gradient at θ'_k with no inner step, one task at a time.
    let mut first_order = vec![0.0; problem.theta.len()];
    for (inner, outer) in problem.samples(0.3) {
        let adapted = problem
            .arithmetic()
            .adapt(&problem.theta, &inner, 0.3)
            .unwrap();
        let plain = MetaObjective::new(problem.arithmetic(), vec![(inner, outer)], 0.0);
        let gradient = plain.surrogate_gradient(&adapted);
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
    let exact = objective.kl_gradient(&moved);
    let expected = finite_differences(|theta| objective.evaluate(theta).1, &moved);
    let error = relative_error(&exact, &expected);
    assert!(error < 1e-6, "relative error {error}");
}

/// Fails when a factor of the Gauss-Newton product is missing: finite differences of the whole KL gradient are the judge.
#[test]
fn fisher_products_go_through_the_inner_step() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let v: Vec<f64> = (0..problem.theta.len())
        .map(|i| ((i * 7 % 11) as f64 - 5.0) / 5.0)
        .collect();
    let analytic = objective.fisher_product(&problem.theta, &v, 1e-6);
    let expected = fisher_product(&objective, &problem.theta, &v, 1e-4);
    assert!(relative_error(&analytic, &expected) < 1e-5);
    let without_inner_step = MetaObjective::new(problem.arithmetic(), problem.samples(0.3), 0.0);
    let plain = without_inner_step.fisher_product(&problem.theta, &v, 1e-6);
    assert!(relative_error(&plain, &expected) > 1e-2);
}

/// What runs in production: single precision, on slices, and more samples than a chunk holds. Fails when a
/// chunk is lost, counted twice or added to the wrong task, or when single precision is not enough.
#[test]
fn many_chunks_in_single_precision() {
    let problem = problem_of([[2_300, 1_100], [1_000, 3_001]]);
    let objective = |dtype| {
        MetaObjective::new(
            problem.arithmetic_in(dtype),
            problem.samples_in(dtype, 0.3),
            0.3,
        )
    };
    let (single, double) = (objective(DType::F32), objective(DType::F64));
    let gradient = |objective: &MetaObjective<'_>| objective.surrogate_gradient(&problem.theta);
    assert!(relative_error(&gradient(&single), &gradient(&double)) < 1e-4);
    let v: Vec<f64> = (0..problem.theta.len())
        .map(|i| ((i * 7 % 11) as f64 - 5.0) / 5.0)
        .collect();
    let product =
        |objective: &MetaObjective<'_>, step| objective.fisher_product(&problem.theta, &v, step);
    assert!(relative_error(&product(&single, 1e-2), &product(&double, 1e-6)) < 5e-3);
    // The judge of the chunking: the same samples, summed as a finite difference sees them.
    let direction: Vec<f64> = v.iter().map(|x| x * 1e-4).collect();
    let at = |sign: f64| -> Vec<f64> {
        problem
            .theta
            .iter()
            .zip(&direction)
            .map(|(t, d)| t + sign * d)
            .collect()
    };
    let slope = (double.evaluate(&at(1.0)).0 - double.evaluate(&at(-1.0)).0) / 2.0;
    let expected: f64 = gradient(&double)
        .iter()
        .zip(&direction)
        .map(|(g, d)| g * d)
        .sum();
    assert!((slope - expected).abs() < 1e-5 * expected.abs());
}

/// Fails when a sum of the CPU's own arithmetic differs from the tensors' in double precision, through the inner step
/// and back.
#[test]
fn fused_arithmetic_agrees_with_tensors() {
    let problem = problem_of([[1, 1_001], [1_230, 2_000]]);
    assert!(
        is_cpu(&problem.device),
        "tensors would be compared with tensors"
    );
    let objective = |dtype, alpha| {
        let samples = problem.samples_in(dtype, alpha);
        MetaObjective::new(problem.arithmetic_in(dtype), samples, alpha)
    };
    let (single, double) = (objective(DType::F32, 0.3), objective(DType::F64, 0.3));
    let moved: Vec<f64> = problem.theta.iter().map(|x| x + 0.02).collect();
    let (surrogate, kl) = single.evaluate(&moved);
    let (expected_surrogate, expected_kl) = double.evaluate(&moved);
    let both = [[surrogate, expected_surrogate], [kl, expected_kl]];
    assert!(
        both.iter()
            .all(|[a, e]| relative_error(&[*a], &[*e]) < 1e-4)
    );
    for theta in [&problem.theta, &moved] {
        let gradient = single.surrogate_gradient(theta);
        assert!(relative_error(&gradient, &double.surrogate_gradient(theta)) < 1e-4);
    }
    let gradient = single.kl_gradient(&moved);
    assert!(relative_error(&gradient, &double.kl_gradient(&moved)) < 1e-4);

    // Fisher products go through the inner step by finite differences, whose error α makes small: the paper's is 0.001.
    let v: Vec<f64> = (0..problem.theta.len())
        .map(|i| ((i * 7 % 11) as f64 - 5.0) / 5.0)
        .collect();
    for (alpha, tolerance) in [(0.3, 5e-3), (1e-3, 1e-4)] {
        let (single, double) = (objective(DType::F32, alpha), objective(DType::F64, alpha));
        let product = single.fisher_product(&problem.theta, &v, 1e-2);
        let expected = fisher_product(&double, &problem.theta, &v, 1e-4);
        let error = relative_error(&product, &expected);
        assert!(error < tolerance, "alpha {alpha}: {error}");
    }
}

/// Fails when chunks are added in the order in which threads finish, or a sum depends on how they are dealt out.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let problem = problem_of([[2_300, 1_100], [1_000, 3_001]]);
    let results = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let samples = problem.samples_in(DType::F32, 0.3);
            let objective = MetaObjective::new(problem.arithmetic_in(DType::F32), samples, 0.3);
            let moved: Vec<f64> = problem.theta.iter().map(|x| x + 0.02).collect();
            let gradient = objective.surrogate_gradient(&problem.theta);
            let product = objective.fisher_product(&problem.theta, &gradient, 1e-2);
            let kl = objective.kl_gradient(&moved);
            (gradient, product, kl, objective.evaluate(&moved))
        })
    };
    assert_eq!(results(1), results(2));
}

/// At θ nothing has moved: the divergence and its gradient vanish, and the ratio is 1 for every sample.
#[test]
fn nothing_moves_at_the_old_parameters() {
    let problem = problem();
    let objective = problem.objective(0.3);
    let (surrogate, kl) = objective.evaluate(&problem.theta);
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
            .iter()
            .all(|x| x.abs() < 1e-12)
    );
}

/// Fails when the inner step descends: after it, an action with a positive advantage is likelier. The tests above
/// cannot see the sign, since they differentiate through the same step.
#[test]
fn the_inner_step_makes_good_actions_likelier() {
    let problem = problem();
    let arithmetic = problem.arithmetic();
    let (paths, _) = &problem.tasks[0][0];
    for sign in [1.0, -1.0] {
        let inner = arithmetic.batch(paths, &vec![sign; paths.len()]);
        let adapted = arithmetic.adapt(&problem.theta, &inner, 1e-3).unwrap();
        let step: Vec<f64> = adapted
            .iter()
            .zip(&problem.theta)
            .map(|(a, b)| (a - b) / 1e-3)
            .collect();
        let expected = finite_differences(
            |theta| {
                let policy =
                    problem
                        .network
                        .bind(&GaussianMlp::tensor(theta, DType::F64, &problem.device));
                let data = |x: &[f32], columns: usize| {
                    let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                    let shape = [x.len() / columns, columns];
                    let data = burn::tensor::TensorData::new(x, shape);
                    burn::tensor::Tensor::<2>::from_data(data, (&problem.device, DType::F64))
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
