//! Sums on slices in single precision must agree with those on tensors in double precision.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod by_hand;

use burn::tensor::{DType, Device};
use by_hand::assert_close;
use mbmpo_core::{Check, Purpose, Stream, Streams, is_cpu};
use mbmpo_policy::batch::{Placement, Samples, Surrogate, means};
use mbmpo_policy::{GaussianMlp, PolicyConfig};
use rand::RngExt;

const OBSERVATION: usize = 5;
const ACTION: usize = 3;
const TOLERANCE: f64 = 1e-5;

/// A policy and samples of it.
struct Problem {
    network: GaussianMlp,
    theta: Vec<f64>,
    /// Parameters near `theta`, and a direction.
    moved: Vec<f64>,
    direction: Vec<f64>,
    observations: Vec<f32>,
    actions: Vec<f32>,
    weights: Vec<f64>,
}

/// Networks of different shapes, layers wider than a panel among them, with one row, with a number of rows that is not a multiple of a
/// tile of a matrix product, and with more rows than a block, the last of which is not full.
fn problems() -> Vec<Problem> {
    let hidden: [&[usize]; 6] = [&[], &[19], &[32, 32], &[7, 33, 16], &[67, 9], &[9, 130]];
    let rows = [1, 6, 101, 250];
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
        ..PolicyConfig::default()
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, OBSERVATION, ACTION);
    let mut stream = Streams::new(3).stream(Purpose::Test, 0, 0);
    let mut theta = network.initial_parameters(&config, &mut stream);
    // biases away from their initial values
    theta
        .iter_mut()
        .for_each(|x| *x = single(*x + stream.random_range(-0.1..0.1)));
    // log σ of the first component is below its lower bound, that of the others is not
    let log_std = theta.len() - ACTION;
    theta[log_std..].copy_from_slice(&[-3.0, -0.2, 0.1].map(single));
    let shift = wide(&draw(&mut stream, theta.len()));
    let moved = theta.iter().zip(shift).map(|(x, by)| single(x + 0.05 * by));
    let moved: Vec<f64> = moved.collect();
    Problem {
        observations: draw(&mut stream, rows * OBSERVATION),
        actions: draw(&mut stream, rows * ACTION),
        weights: wide(&draw(&mut stream, rows)),
        direction: wide(&draw(&mut stream, theta.len())),
        network,
        theta,
        moved,
    }
}

fn draw(stream: &mut Stream, n: usize) -> Vec<f32> {
    (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// Rounded to single precision, so that both precisions have the same problem.
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Double precision on tensors.
fn tensors() -> Placement {
    Placement::tensors(&Device::flex(), DType::F64)
}

/// Single precision on slices.
fn slices() -> Placement {
    let device = Device::flex();
    assert!(is_cpu(&device), "tensors would be compared with tensors");
    Placement::from(&device)
}

impl Problem {
    fn samples(&self, placement: Placement) -> Samples {
        let (observations, actions) = (&self.observations, &self.actions);
        Samples::weighted(
            &self.network,
            placement,
            observations,
            actions,
            &self.weights,
        )
    }

    /// `f` of the samples on slices must be that on tensors.
    fn compare_samples(&self, what: &str, f: impl Fn(&Samples) -> Vec<f64>) {
        let [actual, expected] = [slices(), tensors()].map(|placement| f(&self.samples(placement)));
        assert_close(&actual, &expected, TOLERANCE, what);
    }

    /// `f` of the samples as those of the policy `theta`: on slices as on tensors.
    fn compare_surrogates(&self, what: &str, f: impl Fn(&Surrogate) -> Vec<f64>) {
        self.compare_samples(what, |samples| f(&samples.surrogate(&self.theta)));
    }
}

/// Fails when a layer, a bias or tanh is left out, or when a buffer keeps entries of an earlier
/// block.
#[test]
fn means_are_those_of_tensors() {
    for p in problems() {
        let [actual, expected] = [slices(), tensors()].map(|placement| {
            wide(&means(&p.network, placement, &p.theta, &p.observations).unwrap())
        });
        assert_close(&actual, &expected, TOLERANCE, "mean");
    }
}

/// Fails when a layer's part of the backward pass is wrong or out of order, when the lower bound of
/// log σ is ignored, or when a buffer keeps entries of an earlier block.
#[test]
fn gradients_are_those_of_tensors() {
    for p in problems() {
        p.compare_samples("policy gradient", |samples| {
            samples.policy_gradient(&p.moved).unwrap()
        });
        p.compare_surrogates("surrogate", |surrogate| {
            surrogate.surrogate_gradient(&p.moved).unwrap()
        });
        p.compare_surrogates("KL divergence", |surrogate| {
            surrogate.kl_gradient(&p.moved).unwrap()
        });
    }
}

/// Fails when a term of the density or of the divergence is missing or not counted for every row.
#[test]
fn surrogate_and_divergence_are_those_of_tensors() {
    for p in problems() {
        let sums = |surrogate: &Surrogate| surrogate.surrogate_and_kl(&p.moved).unwrap();
        p.compare_surrogates("surrogate", |surrogate| vec![sums(surrogate).0]);
        p.compare_surrogates("KL divergence", |surrogate| vec![sums(surrogate).1]);
    }
}

/// Fails when a factor of Jᵀ diag(1/σ², 2) J is missing, or when log σ moves where it is clamped.
#[test]
fn fisher_products_are_those_of_tensors() {
    for p in problems() {
        p.compare_surrogates("Fisher product", |surrogate| {
            surrogate.fisher_product(&p.theta, &p.direction).unwrap()
        });
    }
}

/// Fails when a term of the derivative of the backward pass is missing (a layer's input, delta,
/// weights or curvature, log σ). The reference is a finite difference of the gradient on tensors in
/// double precision.
#[test]
fn hessian_products_are_those_of_finite_differences() {
    for p in problems() {
        let product = p.samples(slices()).hessian_product(&p.theta, &p.direction);
        let samples = p.samples(tensors());
        let gradient = |shift: f64| {
            let theta = p.theta.iter().zip(&p.direction);
            let theta: Vec<f64> = theta.map(|(x, d)| x + shift * d).collect();
            samples.policy_gradient(&theta).unwrap()
        };
        let step = 1e-5;
        let expected = gradient(step).into_iter().zip(gradient(-step));
        let expected: Vec<f64> = expected.map(|(a, b)| (a - b) / (2.0 * step)).collect();
        assert_close(&product.unwrap(), &expected, TOLERANCE, "Hessian product");
    }
}

/// Fails when a NaN in a weight or in log σ gives a finite surrogate or divergence.
#[test]
fn nan_propagates() {
    let p = problem(&[19], 6);
    let surrogate = p.samples(slices()).surrogate(&p.theta);
    for poisoned in [0, p.theta.len() - 1] {
        let mut theta = p.theta.clone();
        theta[poisoned] = f64::NAN;
        let (surrogate, kl) = surrogate.surrogate_and_kl(&theta).unwrap();
        assert!(surrogate.is_nan() && kl.is_nan(), "{surrogate}, {kl}");
    }
}
