//! Time of one Adam step of every member of the paper's ensemble, 5 networks 23-512-512-17, batch 500.
//!
//! `cargo run --release -p mbmpo-models --example step_time`
//!
//! Each sample is a fit of one epoch of 20 steps, divided by 20; the little validation and standardisation that a
//! fit brings along are in it.

use burn::tensor::Device;
use mbmpo_core::{Check, Purpose, Streams, Trajectories};
use mbmpo_models::{Ensemble, EnsembleConfig, Shuffle};
use rand::RngExt;
use std::time::Instant;

const STEPS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let streams = Streams::new(0);
    let mut random = streams.stream(Purpose::Test, 0, 0);
    let mut data = Trajectories::new(17, 6);
    // 1 % of 10,102 validate, 10,000 train
    for _ in 0..10_102 {
        let mut row = |n: usize| {
            (0..n)
                .map(|_| random.random_range(-1.0..1.0))
                .collect::<Vec<f32>>()
        };
        data.push(&row(17), &row(6), &row(17), 0.0);
    }
    data.end_path(false);

    for (members, weight_normalization) in [(5, true), (5, false), (1, true), (5, true)] {
        let config = EnsembleConfig {
            members,
            hidden: vec![512, 512],
            weight_normalization,
            learning_rate: 1e-3,
            adam_epsilon: 1e-8,
            batch_size: 500,
            max_epochs: 1,
            validation_share: 0.01,
            rolling_persistence: 0.95,
            rolling_start: 1.5,
            shuffle: Shuffle::Rows,
        };
        let mut ensemble = Ensemble::new(config.check()?, 17, 6, &streams, &Device::flex());
        let mut times = Vec::new();
        for iteration in 0..12 {
            let start = Instant::now();
            ensemble.fit(&data, &streams, iteration)?;
            times.push(start.elapsed().as_secs_f64() * 1e3 / STEPS as f64);
        }
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[times.len() / 2]);
        println!(
            "{members} members, weight normalisation {weight_normalization}: median {median:.1} ms a step, best {best:.1} ms"
        );
    }
    Ok(())
}
