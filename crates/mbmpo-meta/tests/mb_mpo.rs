//! The whole loop with small settings: it learns, counts real steps, and gives the same bits at any
//! number of threads.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor};
use mbmpo_core::{
    Algorithm, Archive, Array, Check, DynamicsModel, Environment, FitReport, IterationMetrics,
    LearnedModel, Persist, Result, Seconds, Setup, Silent, State, Step, Stream, Streams, Task,
    Tasked, Trajectories,
};
use mbmpo_envs::{Variant, make};
use mbmpo_meta::{MbMpo, MbMpoConfig};
use mbmpo_models::EnsembleConfig;
use mbmpo_policy::PolicyConfig;
use rand::RngExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config() -> MbMpoConfig {
    MbMpoConfig {
        initial_random_steps: 600,
        real_steps_per_iteration: 300,
        tasks_per_model: 2,
        imagined_rollouts_per_task: 20,
        policy: PolicyConfig {
            hidden: vec![16, 16],
            ..PolicyConfig::default()
        },
        ensemble: EnsembleConfig {
            members: 2,
            hidden: vec![32, 32],
            batch_size: 50,
            max_epochs: 40,
            ..EnsembleConfig::default()
        },
        ..MbMpoConfig::default()
    }
}

fn setup(environment: Box<dyn Tasked>, evaluation_episodes: usize) -> Setup {
    Setup {
        evaluation_episodes,
        ..Setup::new(environment, 7)
    }
}

fn point() -> Box<dyn Tasked> {
    make("point-2d", Variant::Paper).unwrap()
}

fn iterate(config: MbMpoConfig, setup: Setup, count: usize) -> Vec<IterationMetrics> {
    let mut algorithm = MbMpo::new(config.check().unwrap(), setup, &Device::flex()).unwrap();
    (0..count)
        .map(|_| algorithm.iterate(&mut Silent).unwrap())
        .collect()
}

/// An untrained policy gives about -80 and the optimum is about -15. Fails when any part of the
/// loop is broken: a sign, the adaptation, the normalisation of the model, the choice of the
/// reported policy.
#[test]
fn it_learns_the_point() {
    let untrained = MbMpoConfig {
        meta_steps: 0,
        ..config()
    };
    let before = iterate(untrained, setup(point(), 100), 1)[0].return_pre_mean;
    let after = iterate(config(), setup(point(), 100), 3);
    let last = after.last().unwrap();
    assert!(before < -60.0, "{before}");
    assert!(last.return_pre_mean > -25.0, "{last:?}");
    let adapted = last.return_post_mean.unwrap();
    assert!(adapted > -25.0, "{last:?}");
}

/// With tasks of several chunks and matrix products that are split among threads. Fails when work
/// is divided by the number of threads, or when sums are taken in order of completion.
#[test]
fn same_bits_at_any_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut config = config();
            config.meta_steps = 2;
            config.ensemble.hidden = vec![256, 256];
            config.ensemble.max_epochs = 2;
            let setup = Setup {
                horizon: 100,
                ..setup(make("half-cheetah", Variant::Paper).unwrap(), 4)
            };
            let metrics = iterate(config, setup, 2);
            metrics
                .into_iter()
                .map(|metrics| IterationMetrics {
                    seconds: Seconds::default(),
                    ..metrics
                })
                .collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

/// The 2D point, which counts all steps taken in it and may spoil them.
struct Counting {
    inner: Box<dyn Environment>,
    task: Task,
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
    fn action_dim(&self) -> usize {
        self.inner.action_dim()
    }
    fn horizon(&self) -> usize {
        self.inner.horizon()
    }
    fn control_time_step(&self) -> f64 {
        self.inner.control_time_step()
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
    fn boxed_clone(&self) -> Box<dyn Environment> {
        Box::new(Self {
            inner: self.inner.boxed_clone(),
            task: self.task.clone(),
            steps: Arc::clone(&self.steps),
            spoil: self.spoil,
        })
    }
}

impl Tasked for Counting {
    fn task(&self) -> &Task {
        &self.task
    }
}

fn counting(spoil: fn(&mut Step)) -> (Box<dyn Tasked>, Arc<AtomicUsize>) {
    let (inner, steps) = (point(), Arc::default());
    let counting = Counting {
        task: inner.task().clone(),
        inner,
        steps: Arc::clone(&steps),
        spoil,
    };
    (Box::new(counting), steps)
}

/// Fails when evaluation episodes are counted or learned from, when imagination touches the real
/// environment, or when the first iteration takes as many steps as the later ones.
#[test]
fn only_data_counts_as_real_steps() {
    let (environment, steps) = counting(|_| {});
    let mut config = config();
    config.meta_steps = 1;
    let metrics = iterate(config, setup(environment, 5), 2);
    // 600 and 300 steps are 5 and 3 rounds of four policies.
    assert_eq!(metrics[0].real_steps, 600);
    assert_eq!(metrics[1].real_steps, 600 + 360);
    assert_eq!(steps.load(Ordering::Relaxed), 960 + 2 * 3 * 5 * 30);
    // 4 tasks, 20 rollouts of 30 steps, before and after adapting
    assert_eq!(
        metrics[0].model.as_ref().unwrap().imagined_steps,
        2 * 4 * 20 * 30
    );
    assert_eq!(metrics[0].episode_length_mean, 30.0);
}

/// Fails when a NaN or an infinity gets into the data, or the error does not say where it is.
#[test]
fn numbers_of_an_environment_that_are_not_finite_are_an_error() {
    type Spoil = fn(&mut Step);
    let spoiled: [(Spoil, &str); 2] = [
        (|step| step.reward = f32::NAN, "the reward is NaN"),
        (
            |step| step.observation[1] = f32::INFINITY,
            "component 1 of the observation is inf",
        ),
    ];
    for (spoil, name) in spoiled {
        let (environment, _) = counting(spoil);
        let config = config().check().unwrap();
        let setup = setup(environment, 5);
        let mut algorithm = MbMpo::new(config, setup, &Device::flex()).unwrap();
        let message = algorithm.iterate(&mut Silent).unwrap_err().to_string();
        assert!(
            message.starts_with("point-2d: ") && message.contains(name),
            "{message}"
        );
    }
}

/// Noisy dynamics of the 2D point, s' = s + gain · a + noise, of which a fit learns the gain by least
/// squares. Actions must come as the environment applies them.
struct Gain {
    gain: f64,
}

struct FrozenGain(f64);

impl Persist for Gain {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.number("gain", &mut self.gain)
    }
}

impl LearnedModel for Gain {
    type Frozen = FrozenGain;

    fn members(&self) -> usize {
        2
    }

    fn fit(&mut self, data: &Trajectories, _: &Streams, _: u64) -> Result<FitReport> {
        let pairs = (0..data.len()).flat_map(|i| {
            let change = data.next_observation(i).iter().zip(data.observation(i));
            let change = change.map(|(next, s)| f64::from(next - s));
            let actions = data.action(i).iter().map(|&a| f64::from(a));
            actions.zip(change).collect::<Vec<_>>()
        });
        let sums = pairs.fold([0.0; 2], |[aa, ab], (a, b)| [aa + a * a, ab + a * b]);
        self.gain = sums[1] / sums[0];
        Ok(FitReport {
            train_loss: vec![0.0; 2],
            validation_loss: vec![0.0; 2],
            epochs: vec![1; 2],
        })
    }

    fn freeze(&self) -> Result<FrozenGain> {
        Ok(FrozenGain(self.gain))
    }
}

impl DynamicsModel for FrozenGain {
    fn members(&self) -> usize {
        2
    }

    fn step(&self, _: usize, s: Tensor<2>, a: Tensor<2>, noise: &mut Stream) -> Result<Tensor<2>> {
        let shift: f64 = noise.random_range(-0.01..0.01);
        assert!(a.clone().abs().max().into_scalar::<f32>() <= 1.0);
        Ok(s + a * self.0 + shift)
    }
}

/// Fails when MB-MPO depends on the ensemble of networks, does not save the model, or does not give
/// a stochastic model its own random numbers.
#[test]
fn mb_mpo_is_generic_over_the_model() {
    let make = || {
        let config = config().check().unwrap();
        let model = Gain { gain: 0.0 };
        MbMpo::with_model(config, model, setup(point(), 100), &Device::flex()).unwrap()
    };
    let mut algorithm = make();
    // in the middle of the second iteration
    algorithm.iterate(&mut Silent).unwrap();
    for _ in 0..5 {
        algorithm.advance(&mut Silent).unwrap();
    }
    let saved = State::of(&mut algorithm).unwrap();
    let mut other = make();
    saved.restore(&mut other).unwrap();
    let last = algorithm.iterate(&mut Silent).unwrap();
    assert!(last.return_pre_mean > -25.0, "{last:?}");
    let untimed = |metrics: IterationMetrics| IterationMetrics {
        seconds: Seconds::default(),
        ..metrics
    };
    let again = other.iterate(&mut Silent).unwrap();
    assert_eq!(untimed(again), untimed(last));
}

/// Fails when the fit sees actions beyond those that the environment applies: the gain is then
/// learned too small.
#[test]
fn models_learn_from_actions_as_they_are_applied() {
    let model = Gain { gain: 0.0 };
    let (config, device) = (config().check().unwrap(), Device::flex());
    let setup = setup(point(), 5);
    let mut algorithm = MbMpo::with_model(config, model, setup, &device).unwrap();
    for _ in 0..2 {
        let metrics = algorithm.iterate(&mut Silent).unwrap();
        assert!(metrics.policy_std[0] > 0.5, "many actions are beyond 1");
    }
    let state = State::of(&mut algorithm).unwrap();
    let Array::F64(gain) = &state.arrays["model.gain"] else {
        panic!("the gain is a number");
    };
    assert!((gain[0] - 0.1).abs() < 1e-4, "{gain:?}");
}

/// Fails when trust does not end an iteration, ends it before the fewest meta-steps, or counts a
/// meta-step that was not made.
#[test]
fn an_iteration_ends_where_the_models_are_not_trusted() {
    let meta_steps = |trust, trust_after| {
        let config = MbMpoConfig {
            meta_steps: 6,
            trust,
            trust_after,
            ..config()
        };
        let metrics = iterate(config, setup(point(), 5), 2);
        let own = |name| metrics[1].own.get(name).unwrap();
        let imagined = metrics[1].model.clone().unwrap().imagined_steps as f64;
        let per_step = 2.0 * 4.0 * 20.0 * 30.0; // tasks, rollouts, horizon, before and after
        assert_eq!(imagined, own("meta_steps") * per_step);
        (own("meta_steps"), own("disagreement_last"))
    };
    assert_eq!(meta_steps(None, 1).0, 6.0);
    assert_eq!(meta_steps(Some(1e6), 1).0, 6.0);
    let (_, reached) = meta_steps(None, 1);
    // the policy of the point stays within its data: no limit below what it reaches lets it go on
    let (steps, last) = meta_steps(Some(1.0), 2);
    assert!(
        (2.0..6.0).contains(&steps),
        "{steps} steps, {reached} without a limit"
    );
    assert!(last <= 1.0 || steps == 2.0, "{last}");
}

/// Fails when an instrument is missing, or does not hold what its name says.
#[test]
fn instruments_of_an_iteration() {
    let metrics = iterate(config(), setup(point(), 40), 3);
    for (iteration, line) in metrics.iter().enumerate() {
        let own = |name: &str| line.own.get(name).unwrap_or_else(|| panic!("no {name}"));
        let order =
            ["min", "q05", "median", "q95", "max"].map(|q| own(&format!("imagined_return_{q}")));
        assert!(order.is_sorted(), "{order:?}");
        assert!((order[0]..=order[4]).contains(&own("imagined_return_pre")));
        let gap = own("imagined_return_post") - line.return_post_mean.unwrap();
        assert_eq!(own("imagined_minus_real"), gap);
        for share in ["imagined_clipped", "saturated_units", "meta_accepted"] {
            assert!((0.0..=1.0).contains(&own(share)), "{share}");
        }
        assert!(own("adaptation_kl") > 0.0 && own("disagreement_first") > 0.0);
        assert_eq!(line.policy_std.len(), 2);
        // the first models have seen nothing that they could be tested on
        for error in ["model_error_1", "model_error_25"] {
            assert_eq!(line.own.get(error).is_some(), iteration > 0, "{error}");
        }
    }
    let first = &metrics[0];
    assert!(
        first.own.get("imagined_return_pre") > first.own.get("imagined_return_first"),
        "the first meta-steps raise the return"
    );
    let last = &metrics[2];
    assert!(last.own.get("model_error_1").unwrap() < 0.1);
    assert!(last.own.get("return_without_noise").unwrap() > last.return_pre_mean);
    // the adapted policies of an iteration collect the data of the next one
    let collected = last.own.get("return_collect_mean").unwrap();
    let evaluated = metrics[1].return_post_mean.unwrap();
    assert!(
        (collected - evaluated).abs() < 15.0,
        "{collected} {evaluated}"
    );
}

/// Fails when the first layer is standardised by other data than the first random ones, or at
/// another time than before the first meta-step.
#[test]
fn the_first_layer_begins_standardized() {
    let saturated = |standardized_start| {
        let config = MbMpoConfig {
            meta_steps: 0,
            standardized_start,
            ..config()
        };
        let setup = Setup {
            horizon: 50,
            ..setup(make("half-cheetah", Variant::Paper).unwrap(), 4)
        };
        let metrics = iterate(config, setup, 1);
        metrics[0].own.get("saturated_units").unwrap()
    };
    let (before, after) = (saturated(false), saturated(true));
    assert!(before > 0.2 && after < 0.5 * before, "{before} {after}");
}

/// Fails when an environment without a task is accepted, or the error does not say what is missing.
#[test]
fn imagination_needs_a_task() {
    let config = config().check().unwrap();
    let setup = Setup::without_task(point(), 7);
    let error = MbMpo::new(config, setup, &Device::flex()).err().unwrap();
    assert!(error.to_string().contains("needs a task"), "{error}");
}

/// Fails when the limits on memory are those of `config.ensemble`, which another model replaces.
#[test]
fn limits_are_those_of_the_model_in_use() {
    let config = MbMpoConfig {
        imagined_rollouts_per_task: 1000,
        ..config()
    };
    let with = |members| {
        let config = MbMpoConfig {
            ensemble: EnsembleConfig {
                members,
                ..config.ensemble.clone()
            },
            ..config.clone()
        };
        let model = Gain { gain: 0.0 };
        let setup = Setup {
            horizon: 1000,
            ..setup(point(), 5)
        };
        MbMpo::with_model(config.check().unwrap(), model, setup, &Device::flex())
    };
    // two members with two tasks each: 4,000,000 steps; a thousand members would have 2e9
    assert!(with(1000).is_ok());
    let config = MbMpoConfig {
        imagined_rollouts_per_task: 3000,
        ..config.clone()
    };
    let model = Gain { gain: 0.0 };
    let setup = Setup {
        horizon: 1000,
        ..setup(point(), 5)
    };
    let error = MbMpo::with_model(config.check().unwrap(), model, setup, &Device::flex());
    let error = error.err().unwrap().to_string();
    assert!(error.contains("imagined_rollouts_per_task"), "{error}");
}
