//! Transitions a second that the paper's ensemble predicts: 5 networks 23-512-512-17, one task a member.
//!
//! `cargo run --release -p mbmpo-models --example imagine_speed`

use burn::tensor::{Device, Tensor};
use mbmpo_core::{Check, DynamicsModel, Streams};
use mbmpo_models::{Ensemble, EnsembleConfig, Shuffle};
use rayon::prelude::*;
use std::time::Instant;

const STEPS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = EnsembleConfig {
        members: 5,
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
    let device = Device::flex();
    let model = Ensemble::new(config.check()?, 17, 6, &Streams::new(0), &device).predictor();
    for rows in [20, 100, 500, 1000] {
        let mut rates = Vec::new();
        for _ in 0..7 {
            let start = Instant::now();
            (0..model.members())
                .into_par_iter()
                .with_max_len(1)
                .for_each(|member| {
                    let actions = Tensor::<2>::ones([rows, 6], &device);
                    let mut observations = Tensor::<2>::zeros([rows, 17], &device);
                    for _ in 0..STEPS {
                        observations = model
                            .predict(member, observations, actions.clone())
                            .clamp(-1.0, 1.0);
                    }
                });
            rates.push((model.members() * rows * STEPS) as f64 / start.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        let (median, best) = (rates[rates.len() / 2] / 1e3, rates[rates.len() - 1] / 1e3);
        println!("5 x {rows} rows: median {median:.0}k transitions/s, best {best:.0}k");
    }
    Ok(())
}
