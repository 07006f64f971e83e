//! Fitting and predicting with the paper's networks for half-cheetah: 23-512-512-17 with weight normalisation, batches
//! of 500. On all threads; `RAYON_NUM_THREADS=1` for one.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::tensor::{Device, Tensor, TensorData};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mbmpo_core::{Check, DynamicsModel, Purpose, Streams, Trajectories};
use mbmpo_models::{Ensemble, EnsembleConfig, Shuffle};
use rand::RngExt;

const OBSERVATION: usize = 17;
const ACTION: usize = 6;
const BATCH: usize = 500;

fn main() {
    divan::main();
}

fn ensemble(members: usize) -> Ensemble {
    let config = EnsembleConfig {
        members,
        hidden: vec![512, 512],
        weight_normalization: true,
        learning_rate: 1e-3,
        adam_epsilon: 1e-8,
        batch_size: BATCH,
        max_epochs: 1,
        validation_share: 0.2,
        rolling_persistence: 0.95,
        rolling_start: 1.5,
        shuffle: Shuffle::Rows,
    };
    let config = config.check().unwrap();
    Ensemble::new(
        config,
        OBSERVATION,
        ACTION,
        &Streams::new(0),
        &Device::flex(),
    )
}

fn random(count: usize) -> Vec<f32> {
    let mut stream = Streams::new(0).stream(Purpose::Test, 0, 0);
    (0..count).map(|_| stream.random_range(-1.0..1.0)).collect()
}

/// An epoch of 16 batches and its validation on 2,000 transitions; items are Adam steps of a member.
#[divan::bench(args = [1, 2, 5], sample_count = 10)]
fn fit(bencher: Bencher, members: usize) {
    const STEPS: usize = 16;
    let rows = STEPS * BATCH * 5 / 4;
    let mut data = Trajectories::new(OBSERVATION, ACTION);
    let numbers = random(rows * (2 * OBSERVATION + ACTION));
    for row in numbers.chunks_exact(2 * OBSERVATION + ACTION) {
        let (s, rest) = row.split_at(OBSERVATION);
        let (a, next) = rest.split_at(ACTION);
        data.push(s, a, next, 0.0);
    }
    data.end_path(false);
    let mut ensemble = ensemble(members);
    let streams = Streams::new(0);
    bencher
        .counter(ItemsCount::new(STEPS * members))
        .bench_local(|| ensemble.fit(&data, &streams, 0));
}

/// One prediction of one member; items are transitions.
#[divan::bench(args = [1, 25, 50, 100, 500])]
fn predict(bencher: Bencher, rows: usize) {
    let model = ensemble(1).predictor();
    let model = model.unwrap();
    let tensor = |dim: usize| {
        let data = TensorData::new(random(rows * dim), [rows, dim]);
        Tensor::<2>::from_data(data, &Device::flex())
    };
    let (observations, actions) = (tensor(OBSERVATION), tensor(ACTION));
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| model.predict(0, black_box(observations.clone()), actions.clone()));
}
