//! The whole loop in small: it learns, counts what it should, and gives the same bits at any number of threads.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::Device;
use mbmpo_core::{
    Algorithm, BoxSpace, Check, Environment, IterationMetrics, PhaseSeconds, Result, Silent, Step,
    Stream, Task,
};
use mbmpo_envs::{Variant, make};
use mbmpo_meta::{MbMpo, MbMpoConfig};
use mbmpo_models::{EnsembleConfig, Shuffle};
use mbmpo_policy::PolicyConfig;
use mbmpo_policy::advantage::AdvantageConfig;
use mbmpo_policy::trust_region::{FisherProducts, TrustRegionConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config(horizon: usize) -> MbMpoConfig {
    MbMpoConfig {
        horizon: Some(horizon),
        initial_random_steps: 600,
        real_steps_per_iteration: 300,
        buffer_capacity: 300_000,
        tasks_per_model: 2,
        imagined_rollouts_per_task: 20,
        meta_steps: 30,
        inner_learning_rate: 0.001,
        observation_clip: 1000.0,
        evaluation_episodes: 100,
        policy: PolicyConfig {
            hidden: vec![16, 16],
            initial_std: 1.0,
            min_std: 1e-6,
            output_scale: 1.0,
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
            members: 2,
            hidden: vec![32, 32],
            weight_normalization: true,
            learning_rate: 1e-3,
            adam_epsilon: 1e-8,
            batch_size: 50,
            max_epochs: 40,
            validation_share: 0.2,
            rolling_persistence: 0.95,
            rolling_start: 1.5,
            shuffle: Shuffle::Rows,
        },
    }
}

fn iterate(
    config: MbMpoConfig,
    environment: Box<dyn Environment>,
    count: usize,
) -> Vec<IterationMetrics> {
    let mut algorithm =
        MbMpo::new(config.check().unwrap(), environment, 7, &Device::flex()).unwrap();
    (0..count)
        .map(|_| algorithm.iterate(&mut Silent).unwrap())
        .collect()
}

/// Doing nothing gives about -80 and the optimum is about -15. Fails when any link of the loop is broken: a sign, the
/// adaptation, the model's normalisation, a policy that is not the one that was trained.
#[test]
fn it_learns_the_point() {
    let untrained = MbMpoConfig {
        meta_steps: 0,
        ..config(30)
    };
    let before =
        iterate(untrained, make("point-2d", Variant::Paper).unwrap(), 1)[0].return_pre_mean;
    let after = iterate(config(30), make("point-2d", Variant::Paper).unwrap(), 3);
    let last = after.last().unwrap();
    assert!(before < -60.0, "{before}");
    assert!(last.return_pre_mean > -25.0, "{last:?}");
    let adapted = last.meta.as_ref().unwrap().return_post_mean;
    assert!(adapted > -25.0, "{last:?}");
}

/// Tasks that are cut into several chunks, matrix products that are split among threads. Fails when work is divided by
/// the number of threads, or added up in the order in which it is done.
#[test]
fn same_bits_at_any_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut config = config(100);
            config.meta_steps = 2;
            config.evaluation_episodes = 4;
            config.ensemble.hidden = vec![256, 256];
            config.ensemble.max_epochs = 2;
            let metrics = iterate(config, make("half-cheetah", Variant::Paper).unwrap(), 2);
            metrics
                .into_iter()
                .map(|metrics| IterationMetrics {
                    seconds: PhaseSeconds::default(),
                    ..metrics
                })
                .collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

/// An environment that counts the steps anybody takes in it, and may spoil them.
struct Counting {
    inner: Box<dyn Environment>,
    steps: Arc<AtomicUsize>,
    spoil: fn(&mut Step),
}

impl Environment for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn observation_dim(&self) -> usize {
        self.inner.observation_dim()
    }
    fn action_space(&self) -> &BoxSpace {
        self.inner.action_space()
    }
    fn horizon(&self) -> usize {
        self.inner.horizon()
    }
    fn control_time_step(&self) -> f64 {
        self.inner.control_time_step()
    }
    fn task(&self) -> &Task {
        self.inner.task()
    }
    fn reset(&mut self, stream: &mut Stream) -> Vec<f32> {
        self.inner.reset(stream)
    }
    fn step(&mut self, action: &[f32]) -> Result<Step> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let mut step = self.inner.step(action)?;
        (self.spoil)(&mut step);
        Ok(step)
    }
    fn snapshot(&self) -> Vec<u8> {
        self.inner.snapshot()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        self.inner.restore(snapshot)
    }
    fn boxed_clone(&self) -> Box<dyn Environment> {
        Box::new(Self {
            inner: self.inner.boxed_clone(),
            steps: Arc::clone(&self.steps),
            spoil: self.spoil,
        })
    }
}

/// Fails when evaluation episodes are counted or learned from, when imagination touches the real environment, or when
/// the first iteration takes as many steps as the later ones.
#[test]
fn only_data_counts_as_real_steps() {
    let steps = Arc::new(AtomicUsize::new(0));
    let environment = Box::new(Counting {
        inner: make("point-2d", Variant::Paper).unwrap(),
        steps: Arc::clone(&steps),
        spoil: |_| {},
    });
    let mut config = config(30);
    config.meta_steps = 1;
    config.evaluation_episodes = 5;
    let metrics = iterate(config, environment, 2);
    // 600 and 300 steps are 5 and 3 rounds of four policies.
    assert_eq!(metrics[0].real_steps, 600);
    assert_eq!(metrics[1].real_steps, 600 + 360);
    assert_eq!(steps.load(Ordering::Relaxed), 960 + 2 * 2 * 5 * 30);
    // 4 tasks, 20 rollouts of 30 steps, before and after adapting
    assert_eq!(
        metrics[0].meta.as_ref().unwrap().imagined_steps,
        2 * 4 * 20 * 30
    );
    assert_eq!(metrics[0].episode_length_mean, 30.0);
}

/// Fails when a number that is none gets into the data, or is not called by its name.
#[test]
fn what_an_environment_must_not_give_is_an_error() {
    type Spoil = fn(&mut Step);
    let spoiled: [(Spoil, &str); 2] = [
        (|step| step.reward = f32::NAN, "the reward is NaN"),
        (
            |step| step.observation[1] = f32::INFINITY,
            "component 1 of the observation is inf",
        ),
    ];
    for (spoil, name) in spoiled {
        let environment = Box::new(Counting {
            inner: make("point-2d", Variant::Paper).unwrap(),
            steps: Arc::default(),
            spoil,
        });
        let config = config(30).check().unwrap();
        let mut algorithm = MbMpo::new(config, environment, 7, &Device::flex()).unwrap();
        let message = algorithm.iterate(&mut Silent).unwrap_err().to_string();
        assert!(
            message.starts_with("point-2d: ") && message.contains(name),
            "{message}"
        );
    }
}
