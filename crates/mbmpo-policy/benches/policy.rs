//! Mean actions and gradients of the paper's policy for half-cheetah, 17-32-32-6, on tensors and on
//! slices, at the sizes of a block and of a chunk; one thread. Items are samples.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::tensor::{DType, Device, Tensor, TensorData};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mbmpo_core::{Check, Purpose, Streams};
use mbmpo_policy::batch::{Placement, Samples};
use mbmpo_policy::cpu::{Activations, CpuMlp};
use mbmpo_policy::{GaussianMlp, PolicyConfig};
use rand::RngExt;

const OBSERVATION: usize = 17;
const ACTION: usize = 6;

fn main() {
    divan::main();
}

fn policy() -> (GaussianMlp, Vec<f64>) {
    let config = PolicyConfig::default().check().unwrap();
    let network = GaussianMlp::new(&config, OBSERVATION, ACTION);
    let mut stream = Streams::new(0).stream(Purpose::PolicyWeights, 0, 0);
    let theta = network.initial_parameters(&config, &mut stream);
    (network, theta)
}

fn random(count: usize) -> Vec<f32> {
    let mut stream = Streams::new(0).stream(Purpose::Test, 0, 0);
    (0..count).map(|_| stream.random_range(-1.0..1.0)).collect()
}

#[divan::bench(args = [1, 50, 100])]
fn mean_on_tensors(bencher: Bencher, rows: usize) {
    let (network, theta) = policy();
    let device = Device::flex();
    let policy = network.bind(&GaussianMlp::tensor(&theta, DType::F32, &device));
    let data = TensorData::new(random(rows * OBSERVATION), [rows, OBSERVATION]);
    let observations = Tensor::<2>::from_data(data, &device);
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| policy.mean(black_box(observations.clone())));
}

#[divan::bench(args = [1, 50, 100])]
fn mean_on_slices(bencher: Bencher, rows: usize) {
    let (network, theta) = policy();
    let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
    let policy = CpuMlp::new(&network, &theta);
    let observations = random(rows * OBSERVATION);
    let mut activations = Activations::default();
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        black_box(policy.mean(black_box(&observations), &mut activations));
    });
}

#[divan::bench(args = [100, 1000])]
fn gradient_on_tensors(bencher: Bencher, rows: usize) {
    gradient(
        bencher,
        Placement::tensors(&Device::flex(), DType::F32),
        rows,
    );
}

#[divan::bench(args = [100, 1000])]
fn gradient_on_slices(bencher: Bencher, rows: usize) {
    gradient(bencher, Placement::from(&Device::flex()), rows);
}

fn gradient(bencher: Bencher, placement: Placement, rows: usize) {
    let (network, theta) = policy();
    let (observations, actions) = (random(rows * OBSERVATION), random(rows * ACTION));
    let weights: Vec<f64> = random(rows).into_iter().map(f64::from).collect();
    let samples = Samples::weighted(&network, placement, &observations, &actions, &weights);
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| samples.policy_gradient(black_box(&theta)));
}
