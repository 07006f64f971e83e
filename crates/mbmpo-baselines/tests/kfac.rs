//! The factors are second moments, their product is the Fisher matrix where the approximation is
//! exact, and a step is that of the explicit matrix.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::Device;
use mbmpo_baselines::kfac::{Factors, Kfac, KfacConfig, factors};
use mbmpo_core::{Check, Purpose, Stream, Streams};
use mbmpo_policy::{GaussianMlp, PolicyConfig};
use nalgebra::{DMatrix, DVector};
use rand::RngExt;
use rand_distr::StandardNormal;

const ACTION: usize = 2;

fn stream(index: u64) -> Stream {
    Streams::new(9).stream(Purpose::Test, 0, index)
}

fn draw(stream: &mut Stream, n: usize) -> Vec<f64> {
    (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
}

struct Problem {
    network: GaussianMlp,
    theta: Vec<f64>,
    /// `[n, 3]`
    observations: Vec<f32>,
}

fn problem(hidden: &[usize], rows: usize) -> Problem {
    let config = PolicyConfig {
        hidden: hidden.to_vec(),
        initial_std: 0.7,
        min_std: 0.5,
        output_scale: 1.0,
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, 3, ACTION);
    let mut stream = stream(0);
    let mut theta = network.initial_parameters(&config, &mut stream);
    theta
        .iter_mut()
        .for_each(|x| *x += stream.random_range(-0.3..0.3));
    let log_std = theta.len() - ACTION;
    // the second rests on its floor of ln 0.5
    theta[log_std..].copy_from_slice(&[0.4, -5.0]);
    let observations = draw(&mut stream, rows * 3);
    Problem {
        network,
        theta,
        observations: observations.iter().map(|&x| x as f32).collect(),
    }
}

impl Problem {
    fn factors(&self) -> Vec<Factors> {
        let (network, observations) = (&self.network, &self.observations);
        factors(
            network,
            &self.theta,
            observations,
            &Device::flex(),
            &mut stream(1),
        )
        .unwrap()
    }

    fn std() -> [f64; ACTION] {
        [0.4_f64.exp(), 0.5]
    }

    fn layers(&self) -> Vec<[DMatrix<f64>; 2]> {
        let mut start = 0;
        let sizes = self.network.sizes().windows(2);
        sizes
            .map(|pair| {
                let mut take = |rows: usize, columns: usize| {
                    let part = &self.theta[start..start + rows * columns];
                    start += rows * columns;
                    DMatrix::from_row_slice(rows, columns, part)
                };
                [take(pair[0], pair[1]), take(1, pair[1])]
            })
            .collect()
    }
}

fn assert_close(actual: &DMatrix<f64>, expected: &DMatrix<f64>, tolerance: f64, what: &str) {
    assert_eq!(actual.shape(), expected.shape(), "{what}");
    let error = (actual - expected).norm() / expected.norm();
    assert!(error <= tolerance, "{what}: relative error {error}");
}

/// Row by row, with the noise of the same stream: a forward pass, and a backward pass of ε/σ, the
/// gradient of the log likelihood with respect to the mean. Fails when the input of a layer lacks
/// its 1, when deltas are taken after tanh instead of before, when σ is missing, squared or below
/// its floor, when moments are sums, or when layers are out of order.
#[test]
fn factors_are_moments_by_hand() {
    let rows = 50;
    let p = problem(&[4, 3], rows);
    let layers = p.layers();
    let mut noise = stream(1);
    let sizes = p.network.sizes().windows(2);
    let mut expected: Vec<Factors> = sizes
        .map(|pair| Factors {
            inputs: DMatrix::zeros(pair[0] + 1, pair[0] + 1),
            deltas: DMatrix::zeros(pair[1], pair[1]),
        })
        .collect();
    for observation in p.observations.chunks(3) {
        // inputs of every layer
        let observation = observation.iter().map(|&x| f64::from(x));
        let mut inputs = vec![DVector::from_iterator(3, observation)];
        for [weights, biases] in &layers[..layers.len() - 1] {
            let sums = weights.transpose() * inputs.last().unwrap() + biases.transpose();
            inputs.push(sums.map(f64::tanh));
        }
        let mut signal = DVector::from_fn(ACTION, |j, _| {
            let epsilon: f32 = noise.sample(StandardNormal);
            f64::from(epsilon) / Problem::std()[j]
        });
        for layer in (0..layers.len()).rev() {
            let input = &inputs[layer];
            let with_one = input.clone().push(1.0);
            expected[layer].inputs += &with_one * with_one.transpose() / rows as f64;
            expected[layer].deltas += &signal * signal.transpose() / rows as f64;
            let by_input = &layers[layer][0] * &signal;
            signal = by_input.component_mul(&input.map(|y| 1.0 - y * y));
        }
    }
    let actual = p.factors();
    assert_eq!(actual.len(), 3);
    for (i, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        assert_close(&actual.inputs, &expected.inputs, 1e-5, &format!("A {i}"));
        assert_close(&actual.deltas, &expected.deltas, 1e-5, &format!("G {i}"));
    }
}

/// For a linear network the product of the factors is the Fisher matrix, up to the sampling error
/// of the actions: with 40,000 of them a percent. The matrix is the mean of Jᵀ diag(1/σ²) J, with
/// the Jacobian of the mean by finite differences. Fails when weights and biases are in another
/// order than in θ, when the actions are not drawn from the policy, or when a factor is off by a
/// constant.
#[test]
fn a_linear_network_has_the_fisher_matrix() {
    let rows = 40_000;
    let p = problem(&[], rows);
    let count = p.theta.len() - ACTION;
    let mean = |theta: &[f64], observation: &[f32], j: usize| {
        let terms = observation.iter().enumerate();
        let sum: f64 = terms
            .map(|(i, x)| f64::from(*x) * theta[i * ACTION + j])
            .sum();
        sum + theta[3 * ACTION + j]
    };
    let mut fisher = DMatrix::zeros(count, count);
    for observation in p.observations.chunks(3) {
        for (j, std) in Problem::std().into_iter().enumerate() {
            let derivative = |i: usize| {
                let at = |by: f64| {
                    let mut theta = p.theta.clone();
                    theta[i] += by;
                    mean(&theta, observation, j)
                };
                (at(0.5) - at(-0.5)) / 1.0
            };
            let row = DVector::from_fn(count, |i, _| derivative(i));
            fisher.ger(1.0 / (std * std * rows as f64), &row, &row, 1.0);
        }
    }
    let Factors { inputs, deltas } = &p.factors()[0];
    let diagonal = Problem::std().map(|std| 1.0 / (std * std));
    let diagonal = DMatrix::from_diagonal(&DVector::from_row_slice(&diagonal));
    assert_close(deltas, &diagonal, 0.02, "G");
    // with G as it is in expectation the product is exact
    assert_close(&inputs.kronecker(&diagonal), &fisher, 1e-5, "exact");
    assert_close(&inputs.kronecker(deltas), &fisher, 0.02, "drawn");
}

/// A positive definite matrix.
fn moment(dim: usize, stream: &mut Stream) -> DMatrix<f64> {
    let root = DMatrix::from_vec(dim, dim, draw(stream, dim * dim));
    &root * root.transpose() + DMatrix::identity(dim, dim) * 0.1
}

/// Blocks of a network of 3 inputs, 4 units and 2 outputs.
fn blocks(stream: &mut Stream) -> Vec<Factors> {
    [(3, 4), (4, 2)]
        .map(|(inputs, outputs)| Factors {
            inputs: moment(inputs + 1, stream),
            deltas: moment(outputs, stream),
        })
        .to_vec()
}

/// Weights, biases, and two log σ.
const PARAMETERS: usize = (3 * 4 + 4) + (4 * 2 + 2) + 2;

/// (F̂ + damping)⁻¹ g with the explicit F̂: A ⊗ G of every layer, in the order of θ, and 2 for log
/// σ.
fn solved(blocks: &[Factors], damping: f64, gradient: &[f64]) -> Vec<f64> {
    let mut matrix = DMatrix::identity(PARAMETERS, PARAMETERS) * damping;
    let mut start = 0;
    for Factors { inputs, deltas } in blocks {
        let (rows, columns) = (inputs.nrows(), deltas.nrows());
        let position = |i: usize, j: usize| start + i * columns + j;
        for (i, k) in (0..rows).flat_map(|i| (0..rows).map(move |k| (i, k))) {
            for (j, l) in (0..columns).flat_map(|j| (0..columns).map(move |l| (j, l))) {
                matrix[(position(i, j), position(k, l))] += inputs[(i, k)] * deltas[(j, l)];
            }
        }
        start += rows * columns;
    }
    for i in start..PARAMETERS {
        matrix[(i, i)] += 2.0;
    }
    let gradient = DVector::from_column_slice(gradient);
    matrix.lu().solve(&gradient).unwrap().as_slice().to_vec()
}

fn config() -> KfacConfig {
    KfacConfig {
        decay: 0.9,
        damping: 0.05,
        momentum: 0.8,
        trust_region: 0.01,
    }
}

fn assert_vectors(actual: &[f64], expected: &[f64], what: &str) {
    let vector = |x: &[f64]| DMatrix::from_column_slice(x.len(), 1, x);
    assert_close(&vector(actual), &vector(expected), 1e-9, what);
}

/// Fails when a block is solved transposed, in another order than that of θ, without damping or
/// with damping of the factors instead of the product, or when log σ has another curvature than 2.
#[test]
fn the_natural_gradient_solves_the_explicit_system() {
    let mut stream = stream(2);
    let blocks = blocks(&mut stream);
    let gradient = draw(&mut stream, PARAMETERS);
    for damping in [1e-6, 0.05, 10.0] {
        let mut kfac = Kfac::new(&KfacConfig {
            damping,
            ..config()
        });
        kfac.observe(blocks.clone());
        let natural = kfac.natural_gradient(&gradient);
        let expected = solved(&blocks, damping, &gradient);
        assert_vectors(&natural, &expected, &format!("damping {damping}"));
    }
}

/// Fails when the first factors are averaged with zeros, or when the weights of old and new are
/// swapped.
#[test]
fn factors_are_averaged() {
    let mut stream = stream(3);
    let (first, second) = (blocks(&mut stream), blocks(&mut stream));
    let gradient = draw(&mut stream, PARAMETERS);
    let mut kfac = Kfac::new(&config());
    kfac.observe(first.clone());
    kfac.observe(second.clone());
    let mixed: Vec<Factors> = first
        .iter()
        .zip(&second)
        .map(|(old, new)| Factors {
            inputs: &old.inputs * 0.9 + &new.inputs * 0.1,
            deltas: &old.deltas * 0.9 + &new.deltas * 0.1,
        })
        .collect();
    let natural = kfac.natural_gradient(&gradient);
    assert_vectors(&natural, &solved(&mixed, 0.05, &gradient), "average");
}

/// Two steps with different gradients: the trust region limits the first, the largest rate the
/// second. Fails when the factor 2 or the root is missing, when the longer rate is taken, when
/// momentum is left out, lengthens steps, or applies to the gradient instead of the step.
#[test]
fn two_steps_by_hand() {
    let mut stream = stream(4);
    let blocks = blocks(&mut stream);
    let gradients = [
        draw(&mut stream, PARAMETERS),
        draw(&mut stream, PARAMETERS)
            .into_iter()
            .map(|x| 1e-3 * x)
            .collect(),
    ];
    let start = draw(&mut stream, PARAMETERS);
    let largest = 0.2;
    let mut kfac = Kfac::new(&config());
    kfac.observe(blocks.clone());
    let mut theta = start.clone();
    let mut expected = start;
    let mut velocity = vec![0.0; PARAMETERS];
    for (i, gradient) in gradients.iter().enumerate() {
        kfac.ascend(&mut theta, gradient, largest);
        let direction = solved(&blocks, 0.05, gradient);
        let slope: f64 = direction.iter().zip(gradient).map(|(d, g)| d * g).sum();
        let bound = (2.0 * 0.01 / slope).sqrt();
        assert_eq!(bound < largest, i == 0, "step {i}: {bound}");
        let rate = bound.min(largest);
        for j in 0..PARAMETERS {
            velocity[j] = 0.8 * velocity[j] + 0.2 * rate * direction[j];
            expected[j] += velocity[j];
        }
        assert_vectors(&theta, &expected, &format!("step {i}"));
    }
}

/// Fails when a gradient of zeros, whose curvature is 0, gives NaN.
#[test]
fn no_gradient_is_no_step() {
    let mut kfac = Kfac::new(&config());
    kfac.observe(blocks(&mut stream(5)));
    let mut theta = vec![1.0; PARAMETERS];
    kfac.ascend(&mut theta, &[0.0; PARAMETERS], 0.2);
    assert_eq!(theta, [1.0; PARAMETERS]);
}
