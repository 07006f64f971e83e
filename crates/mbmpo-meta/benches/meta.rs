//! Imagination and the parts of the meta-update at the paper's sizes for half-cheetah, one task; all threads. Items are
//! transitions, or samples before and after adapting. `cargo xtask bench` measures whole steps with every task.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::tensor::{DType, Device};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mbmpo_core::{Check, Environment, Policy, Purpose, Streams, Trajectories};
use mbmpo_envs::{Variant, make};
use mbmpo_meta::imagine::{Imagination, Randomness};
use mbmpo_meta::objective::MetaObjective;
use mbmpo_models::{Ensemble, EnsembleConfig, Shuffle};
use mbmpo_policy::batch::Arithmetic;
use mbmpo_policy::trust_region::Objective;
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};

const HORIZON: usize = 200;
const ROLLOUTS: usize = 50;
const ALPHA: f64 = 1e-3;

fn main() {
    divan::main();
}

fn half_cheetah() -> Box<dyn Environment> {
    make("half-cheetah", Variant::Paper).unwrap()
}

fn policy(environment: &dyn Environment) -> (GaussianMlp, Vec<f64>) {
    let config = PolicyConfig {
        hidden: vec![32, 32],
        initial_std: 1.0,
        min_std: 1e-6,
        output_scale: 1.0,
    };
    let config = config.check().unwrap();
    let actions = environment.action_space().dim();
    let network = GaussianMlp::new(&config, environment.observation_dim(), actions);
    let mut stream = Streams::new(0).stream(Purpose::PolicyWeights, 0, 0);
    let theta = network.initial_parameters(&config, &mut stream);
    (network, theta)
}

#[divan::bench(sample_count = 10)]
fn imagination(bencher: Bencher) {
    let mut environment = half_cheetah();
    let (network, theta) = policy(environment.as_ref());
    let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
    let config = EnsembleConfig {
        members: 1,
        hidden: vec![512, 512],
        weight_normalization: true,
        learning_rate: 1e-3,
        adam_epsilon: 1e-8,
        batch_size: 500,
        max_epochs: 1,
        validation_share: 0.2,
        rolling_persistence: 0.95,
        rolling_start: 1.5,
        shuffle: Shuffle::Rows,
    };
    let config = config.check().unwrap();
    let (observations, actions) = (environment.observation_dim(), network.action_dim());
    let (streams, device) = (Streams::new(0), Device::flex());
    let ensemble = Ensemble::new(config, observations, actions, &streams, &device);
    let model = ensemble.predictor().unwrap();
    let task = environment.task().clone();
    let imagination = Imagination {
        network: &network,
        task: &task,
        horizon: HORIZON,
        rollouts: ROLLOUTS,
        observation_clip: 10.0, // what an untrained model says has no bounds
        device: &device,
    };
    bencher
        .counter(ItemsCount::new(HORIZON * ROLLOUTS))
        .bench_local(|| {
            let randomness = Randomness {
                starts: streams.stream(Purpose::ImaginedStart, 0, 0),
                actions: streams.stream(Purpose::ImaginedAction, 0, 0),
            };
            imagination.rollouts(&model, 0, &theta, environment.as_mut(), randomness)
        });
}

/// Runs `work` on the meta-objective of 10,000 samples before and 10,000 after adapting.
fn with_objective<T>(bencher: Bencher, work: impl Fn(&MetaObjective<'_>, &[f64]) -> T) {
    let environment = half_cheetah();
    let (network, theta) = policy(environment.as_ref());
    let device = Device::flex();
    let arithmetic = Arithmetic {
        network: &network,
        device: &device,
        dtype: DType::F32,
    };
    let samples = |index| {
        let mut stream = Streams::new(0).stream(Purpose::Test, 0, index);
        let policy = GaussianPolicy::new(network.clone(), &theta);
        let mut paths = Trajectories::new(environment.observation_dim(), network.action_dim());
        for _ in 0..HORIZON * ROLLOUTS {
            let observation = environment.boxed_clone().reset(&mut stream);
            let action = policy.act(&observation, &mut stream);
            paths.push(&observation, &action, &observation, 0.0);
        }
        paths.end_path(false);
        let advantages: Vec<f64> = (0..paths.len()).map(|i| (i as f64).sin()).collect();
        (paths, advantages)
    };
    let (pre, advantages) = samples(0);
    let inner = arithmetic.batch(&pre, &advantages);
    let (post, advantages) = samples(1);
    let outer = arithmetic.surrogate_batch(&post, &advantages, 1.0, &theta);
    let objective = MetaObjective::new(arithmetic, vec![(inner, outer)], ALPHA);
    // the objective remembers what it knows of the last θ, so it is asked at two in turn
    let moved: Vec<f64> = theta.iter().map(|x| x + 1e-4).collect();
    let mut thetas = [theta, moved];
    bencher
        .counter(ItemsCount::new(2 * HORIZON * ROLLOUTS))
        .bench_local(|| {
            thetas.swap(0, 1);
            work(&objective, black_box(&thetas[0]))
        });
}

#[divan::bench]
fn surrogate_gradient(bencher: Bencher) {
    with_objective(bencher, |objective, theta| {
        objective.surrogate_gradient(theta)
    });
}

#[divan::bench]
fn fisher_product(bencher: Bencher) {
    with_objective(bencher, |objective, theta| {
        objective.fisher_product(theta, theta, 1e-2)
    });
}

#[divan::bench]
fn evaluation(bencher: Bencher) {
    with_objective(bencher, |objective, theta| objective.evaluate(theta));
}
