//! Iterations of half-cheetah with the paper's sizes, by phase: `cargo run -p mbmpo-meta --example iteration [N]`.

use burn::tensor::Device;
use mbmpo_core::{Algorithm, Check, Silent};
use mbmpo_meta::{MbMpo, MbMpoConfig};
use mbmpo_models::{EnsembleConfig, Shuffle};
use mbmpo_policy::PolicyConfig;
use mbmpo_policy::advantage::AdvantageConfig;
use mbmpo_policy::trust_region::{FisherProducts, TrustRegionConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let iterations = std::env::args().nth(1).map_or(Ok(2), |n| n.parse())?;
    let config = MbMpoConfig {
        horizon: 200,
        initial_random_steps: 4000,
        real_steps_per_iteration: 4000,
        buffer_capacity: 300_000,
        tasks_per_model: 1,
        imagined_rollouts_per_task: 50,
        meta_steps: 30,
        inner_learning_rate: 1e-3,
        observation_clip: 1000.0,
        evaluation_episodes: 20,
        policy: PolicyConfig {
            hidden: vec![32, 32],
            initial_std: 1.0,
            min_std: 1e-6,
        },
        advantage: AdvantageConfig {
            discount: 0.99,
            gae_lambda: 1.0,
            baseline_ridge: 1e-5,
        },
        trust_region: TrustRegionConfig {
            max_kl: 0.01,
            cg_iterations: 10,
            cg_tolerance: 1e-10,
            cg_damping: 1e-5,
            fisher: FisherProducts::Analytic,
            fisher_step: 0.01,
            backtrack_ratio: 0.8,
            max_backtracks: 15,
        },
        ensemble: EnsembleConfig {
            members: 5,
            hidden: vec![512, 512],
            weight_normalization: true,
            learning_rate: 1e-3,
            adam_epsilon: 1e-8,
            batch_size: 500,
            max_epochs: 500,
            validation_share: 0.2,
            rolling_persistence: 0.95,
            rolling_start: 1.5,
            shuffle: Shuffle::Rows,
        },
    };
    let environment = mbmpo_envs::make("half-cheetah", mbmpo_envs::Variant::Paper)?;
    let mut algorithm = MbMpo::new(config.check()?, environment, 1, &Device::flex())?;
    for _ in 0..iterations {
        println!("{:#?}", algorithm.iterate(&mut Silent)?);
    }
    Ok(())
}
