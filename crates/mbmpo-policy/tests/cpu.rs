//! Fused arithmetic on slices must say what the tensors say in double precision.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Check, Purpose, Stream, Streams};
use mbmpo_policy::cpu::{Activations, CpuMlp, Sampled, Samples, Workspace};
use mbmpo_policy::surrogate;
use mbmpo_policy::{BoundMlp, GaussianMlp, PolicyConfig};
use rand::RngExt;

const OBSERVATION: usize = 5;
const ACTION: usize = 3;

/// A policy and rows, once more as tensors.
struct Problem {
    network: GaussianMlp,
    theta: Vec<f32>,
    /// Parameters near `theta`, and a direction.
    moved: Vec<f32>,
    direction: Vec<f32>,
    samples: Samples,
}

/// Every shape and row count: one row, not a multiple of a tile, more than a block of rows of a product.
fn problems() -> Vec<Problem> {
    let hidden: [&[usize]; 4] = [&[], &[19], &[32, 32], &[7, 33, 16]];
    let rows = [1, 6, 101];
    let pairs = hidden
        .iter()
        .flat_map(|&hidden| rows.map(|rows| (hidden, rows)));
    pairs.map(|(hidden, rows)| problem(hidden, rows)).collect()
}

fn problem(hidden: &[usize], rows: usize) -> Problem {
    let config = PolicyConfig {
        hidden: hidden.to_vec(),
        initial_std: 0.7,
        min_std: 0.6,
        output_scale: 1.0,
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, OBSERVATION, ACTION);
    let mut stream = Streams::new(3).stream(Purpose::Test, 0, 0);
    let mut theta: Vec<f32> = network
        .initial_parameters(&config, &mut stream)
        .iter()
        .map(|&x| x as f32)
        .collect();
    // Biases away from their starting values.
    theta
        .iter_mut()
        .for_each(|x| *x += stream.random_range(-0.1..0.1));
    // The first component of the action rests on the floor, the second does not.
    let log_std = theta.len() - ACTION;
    theta[log_std..].copy_from_slice(&[-3.0, -0.2, 0.1]);
    let shift = draw(&mut stream, theta.len());
    let moved = theta.iter().zip(shift).map(|(x, by)| x + 0.05 * by);
    let moved: Vec<f32> = moved.collect();
    let samples = Samples {
        observations: draw(&mut stream, rows * OBSERVATION),
        actions: draw(&mut stream, rows * ACTION),
        weights: draw(&mut stream, rows),
    };
    Problem {
        direction: draw(&mut stream, theta.len()),
        network,
        theta,
        moved,
        samples,
    }
}

fn draw(stream: &mut Stream, n: usize) -> Vec<f32> {
    (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
}

fn matrix(data: &[f32], columns: usize) -> Tensor<2> {
    let data: Vec<f64> = data.iter().map(|&x| f64::from(x)).collect();
    let shape = [data.len() / columns, columns];
    Tensor::from_data(TensorData::new(data, shape), (&Device::flex(), DType::F64))
}

impl Problem {
    fn tensors(&self, theta: &[f32]) -> BoundMlp {
        let theta: Vec<f64> = theta.iter().map(|&x| f64::from(x)).collect();
        let theta = GaussianMlp::tensor(&theta, DType::F64, &Device::flex());
        self.network.bind(&theta)
    }

    fn slices(&self, theta: &[f32]) -> CpuMlp {
        CpuMlp::new(&self.network, theta)
    }

    fn observations(&self) -> Tensor<2> {
        matrix(&self.samples.observations, OBSERVATION)
    }

    fn actions(&self) -> Tensor<2> {
        matrix(&self.samples.actions, ACTION)
    }

    /// The samples as those of the policy `theta`.
    fn sampled(&self) -> surrogate::Sampled {
        let policy = self.tensors(&self.theta);
        let old = policy.forward(self.observations());
        surrogate::Sampled {
            old_log_likelihood: old.log_likelihood(self.actions()),
            observations: self.observations(),
            actions: self.actions(),
            weights: matrix(&self.samples.weights, 1),
            old_log_std: policy.log_std.clone(),
            old_mean: old.mean,
        }
    }

    /// What `add` adds to a sum over θ.
    fn added(&self, add: impl FnOnce(&mut [f32])) -> Vec<f32> {
        let mut sum = vec![0.0; self.theta.len()];
        add(&mut sum);
        sum
    }
}

fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    tensor.try_into_vec_as().unwrap()
}

fn assert_close(actual: &[f32], expected: &[f64], what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = actual.iter().zip(expected).map(|(a, e)| f64::from(*a) - e);
    let error = norm(&mut { difference });
    let scale = norm(&mut expected.iter().copied());
    assert!(error <= 1e-5 * scale, "{what}: {error} of {scale}");
}

/// Fails when a layer, a bias or tanh is left out, or a buffer's earlier contents show.
#[test]
fn the_mean_is_that_of_tensors() {
    let mut activations = Activations::default();
    for p in problems() {
        let policy = p.slices(&p.theta);
        let mean = policy.mean(&p.samples.observations, &mut activations);
        let expected = p.tensors(&p.theta).mean(p.observations());
        assert_close(mean, &numbers(expected.flatten(0, 1)), "mean");
    }
}

/// Fails when a layer's part of the backward pass is wrong or out of order, when the floor of log σ is ignored, or a
/// buffer's earlier contents show.
#[test]
fn the_gradients_are_those_of_tensors() {
    let mut workspace = Workspace::default();
    for p in problems() {
        let (old, new) = (p.slices(&p.theta), p.slices(&p.moved));
        let tensors = p.tensors(&p.moved);
        let expected = tensors.forward(p.observations());
        let sampled = Sampled::new(p.samples.clone(), &old);

        let gradient = p.added(|sum| p.samples.policy_gradient(&new, &mut workspace, sum));
        let by_tensors = expected.policy_gradient(p.actions(), matrix(&p.samples.weights, 1));
        assert_close(&gradient, &numbers(by_tensors), "policy gradient");

        let gradient = p.added(|sum| sampled.surrogate_gradient(&new, &mut workspace, sum));
        let by_tensors = p.sampled().surrogate_gradient(&expected);
        assert_close(&gradient, &numbers(by_tensors), "surrogate");

        let gradient = p.added(|sum| sampled.kl_gradient(&new, &mut workspace, sum));
        let by_tensors = p.sampled().kl_gradient(&expected);
        assert_close(&gradient, &numbers(by_tensors), "KL divergence");
    }
}

/// Fails when a term of the density or of the divergence is missing or not counted for every row.
#[test]
fn surrogate_and_divergence_are_those_of_tensors() {
    let mut workspace = Workspace::default();
    for p in problems() {
        let sampled = Sampled::new(p.samples.clone(), &p.slices(&p.theta));
        let [surrogate, kl] = sampled.surrogate_and_kl(&p.slices(&p.moved), &mut workspace);
        let tensors = p.tensors(&p.moved);
        let expected = tensors.forward(p.observations());
        let by_tensors = p.sampled();
        let by_tensors = [by_tensors.surrogate(&expected), by_tensors.kl(&expected)];
        let by_tensors = by_tensors.map(|x| numbers(x)[0]);
        assert_close(&[surrogate], &by_tensors[..1], "surrogate");
        assert_close(&[kl], &by_tensors[1..], "KL divergence");
    }
}

/// Fails when a factor of Jᵀ diag(1/σ², 2) J is missing, or log σ moves below its floor.
#[test]
fn fisher_products_are_those_of_tensors() {
    let mut workspace = Workspace::default();
    for p in problems() {
        let policy = p.slices(&p.theta);
        let sampled = Sampled::new(p.samples.clone(), &policy);
        let direction = p.slices(&p.direction);
        let product = p.added(|sum| {
            sampled.fisher_product(&policy, &direction, &mut workspace, sum);
        });
        let tensors = p.tensors(&p.theta);
        let at = tensors.forward(p.observations());
        let expected = p.sampled().fisher_product(&at, &p.tensors(&p.direction));
        assert_close(&product, &numbers(expected), "Fisher product");
    }
}

/// Fails when a term of the derivative of the backward pass is missing (a layer's input, signal, weights or curvature,
/// log σ): finite differences of the tensors' gradient in double precision are the judge.
#[test]
fn hessian_products_are_those_of_finite_differences() {
    let mut workspace = Workspace::default();
    for p in problems() {
        let policy = p.slices(&p.theta);
        let direction = p.slices(&p.direction);
        let product = p.added(|sum| {
            let samples = &p.samples;
            samples.hessian_product(&policy, &direction, &mut workspace, sum);
        });
        let gradient = |shift: f64| {
            let theta = p.theta.iter().zip(&p.direction);
            let theta: Vec<f64> = theta
                .map(|(x, d)| f64::from(*x) + shift * f64::from(*d))
                .collect();
            let theta = GaussianMlp::tensor(&theta, DType::F64, &Device::flex());
            let policy = p.network.bind(&theta);
            let forward = policy.forward(p.observations());
            numbers(forward.policy_gradient(p.actions(), matrix(&p.samples.weights, 1)))
        };
        let step = 1e-5;
        let expected = gradient(step).into_iter().zip(gradient(-step));
        let expected: Vec<f64> = expected.map(|(a, b)| (a - b) / (2.0 * step)).collect();
        assert_close(&product, &expected, "Hessian product");
    }
}

/// Fails when a weight or log σ that is not a number gives a density or an action that is one.
#[test]
fn not_a_number_comes_through() {
    let mut workspace = Workspace::default();
    let p = problem(&[19], 6);
    for poisoned in [0, p.theta.len() - 1] {
        let old = p.slices(&p.theta);
        let mut theta = p.theta.clone();
        theta[poisoned] = f32::NAN;
        let new = p.slices(&theta);
        let sampled = Sampled::new(p.samples.clone(), &old);
        let [surrogate, kl] = sampled.surrogate_and_kl(&new, &mut workspace);
        assert!(surrogate.is_nan() && kl.is_nan(), "{surrogate}, {kl}");
    }
}
