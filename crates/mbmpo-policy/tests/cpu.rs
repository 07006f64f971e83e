//! Fused arithmetic on slices must say what the tensors say in double precision.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Check, Purpose, Stream, Streams};
use mbmpo_policy::cpu::{Activations, CpuMlp};
use mbmpo_policy::{BoundMlp, GaussianMlp, PolicyConfig};
use rand::RngExt;

const OBSERVATION: usize = 5;
const ACTION: usize = 3;

/// A policy and rows, once more as tensors.
struct Problem {
    network: GaussianMlp,
    theta: Vec<f32>,
    observations: Vec<f32>,
}

/// Every shape and row count: one row, not a multiple of a tile, more than a block of rows of a product.
fn problems() -> Vec<Problem> {
    let hidden: [&[usize]; 3] = [&[19], &[32, 32], &[7, 33, 16]];
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
    let observations = draw(&mut stream, rows * OBSERVATION);
    Problem {
        network,
        theta,
        observations,
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
}

fn assert_close(actual: &[f32], expected: Tensor<2>, what: &str) {
    let expected: Vec<f64> = expected.flatten::<1>(0, 1).try_into_vec_as().unwrap();
    assert_eq!(actual.len(), expected.len(), "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = actual.iter().zip(&expected).map(|(a, e)| f64::from(*a) - e);
    let error = norm(&mut difference.into_iter());
    let scale = norm(&mut expected.iter().copied());
    assert!(error <= 1e-5 * scale, "{what}: {error} of {scale}");
}

/// Fails when a layer, a bias or tanh is left out, or a buffer's earlier contents show.
#[test]
fn the_mean_is_that_of_tensors() {
    let mut activations = Activations::default();
    for p in problems() {
        let mean = p.slices(&p.theta);
        let mean = mean.mean(&p.observations, &mut activations);
        let expected = p
            .tensors(&p.theta)
            .mean(matrix(&p.observations, OBSERVATION));
        assert_close(mean, expected, "mean");
    }
}
