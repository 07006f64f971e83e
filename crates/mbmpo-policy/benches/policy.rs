//! The paper's policy for half-cheetah, 17-32-32-6, on tensors and on slices; one thread. Items are samples.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::tensor::{Device, Tensor, TensorData};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mbmpo_core::{Check, Purpose, Streams};
use mbmpo_policy::cpu::{Activations, CpuMlp, Samples, Workspace};
use mbmpo_policy::{BoundMlp, GaussianMlp, PolicyConfig};
use rand::RngExt;

const OBSERVATION: usize = 17;
const ACTION: usize = 6;

fn main() {
    divan::main();
}

fn policy() -> (GaussianMlp, Vec<f64>) {
    let config = PolicyConfig {
        hidden: vec![32, 32],
        initial_std: 1.0,
        min_std: 1e-6,
        output_scale: 1.0,
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, OBSERVATION, ACTION);
    let mut stream = Streams::new(0).stream(Purpose::PolicyWeights, 0, 0);
    let theta = network.initial_parameters(&config, &mut stream);
    (network, theta)
}

fn tensors() -> BoundMlp {
    let (network, theta) = policy();
    network.bind(&GaussianMlp::tensor(
        &theta,
        burn::tensor::DType::F32,
        &Device::flex(),
    ))
}

fn slices() -> CpuMlp {
    let (network, theta) = policy();
    let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
    CpuMlp::new(&network, &theta)
}

fn random(count: usize) -> Vec<f32> {
    let mut stream = Streams::new(0).stream(Purpose::Test, 0, 0);
    (0..count).map(|_| stream.random_range(-1.0..1.0)).collect()
}

fn tensor(rows: usize, columns: usize) -> Tensor<2> {
    let data = TensorData::new(random(rows * columns), [rows, columns]);
    Tensor::from_data(data, &Device::flex())
}

#[divan::bench(args = [1, 50, 100])]
fn mean_on_tensors(bencher: Bencher, rows: usize) {
    let (policy, observations) = (tensors(), tensor(rows, OBSERVATION));
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| policy.mean(black_box(observations.clone())));
}

#[divan::bench(args = [1, 50, 100])]
fn mean_on_slices(bencher: Bencher, rows: usize) {
    let (policy, observations) = (slices(), random(rows * OBSERVATION));
    let mut activations = Activations::default();
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        black_box(policy.mean(black_box(&observations), &mut activations));
    });
}

#[divan::bench(args = [100, 1000])]
fn gradient_on_tensors(bencher: Bencher, rows: usize) {
    let policy = tensors();
    let [observations, actions, weights] =
        [OBSERVATION, ACTION, 1].map(|columns| tensor(rows, columns));
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        let forward = policy.forward(black_box(observations.clone()));
        forward.policy_gradient(actions.clone(), weights.clone())
    });
}

#[divan::bench(args = [100, 1000])]
fn gradient_on_slices(bencher: Bencher, rows: usize) {
    let policy = slices();
    let samples = Samples {
        observations: random(rows * OBSERVATION),
        actions: random(rows * ACTION),
        weights: random(rows),
    };
    let mut workspace = Workspace::default();
    let mut gradient = vec![0.0; policy.parameter_count()];
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        black_box(&samples).policy_gradient(&policy, &mut workspace, &mut gradient);
    });
}
