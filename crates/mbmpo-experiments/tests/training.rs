//! The training loop and the run directory with an algorithm that does nothing: the loop ends with
//! the budget, the files are complete after each iteration, and a failure is noted or tried again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::{
    Algorithm, Archive, Check, IterationMetrics, Observer, Persist, Phase, Purpose, Result, Silent,
    Streams,
};
use mbmpo_experiments::{
    ATTEMPTS, AdaptationOptions, DeviceKind, Error, OnNan, Progress, RunDirectory, RunInfo, Safety,
    Status, adapt, preset, read_metrics, run, train,
};
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
use std::path::Path;

/// Takes ten steps an iteration, in two parts, and fails in the second part of one iteration until
/// it was reseeded often enough.
struct Idle {
    parts: usize,
    fails_at: usize,
    reseeds: usize,
    needed: usize,
}

impl Idle {
    fn failing(fails_at: usize, needed: usize) -> Self {
        Self {
            parts: 0,
            fails_at,
            reseeds: 0,
            needed,
        }
    }
}

impl Persist for Idle {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.count("parts", &mut self.parts)?;
        archive.count("reseeds", &mut self.reseeds)
    }
}

impl Algorithm for Idle {
    type Policy = GaussianPolicy;

    fn advance(&mut self, _observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        if self.parts == 2 * self.fails_at + 1 && self.reseeds < self.needed {
            return Err(mbmpo_core::Error::NotFinite {
                what: "the loss".to_owned(),
            });
        }
        self.parts += 1;
        Ok(self.parts.is_multiple_of(2).then(|| IterationMetrics {
            iteration: self.parts / 2 - 1,
            real_steps: self.real_steps(),
            return_pre_mean: self.parts as f64 / 3.0,
            ..IterationMetrics::default()
        }))
    }

    fn reseed(&mut self) {
        self.reseeds += 1;
    }

    fn real_steps(&self) -> usize {
        5 * self.parts
    }

    fn policy(&self) -> GaussianPolicy {
        let config = PolicyConfig {
            hidden: vec![4],
            initial_std: 1.0,
            min_std: 1e-6,
            output_scale: 1.0,
        };
        let config = config.check().unwrap();
        let network = GaussianMlp::new(&config, 2, 2);
        let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
        let theta = network.initial_parameters(&config, &mut stream);
        GaussianPolicy::new(network, &theta)
    }
}

fn create(path: &Path) -> mbmpo_experiments::Result<RunDirectory> {
    let config = preset::resolve("point-2d", "quick", &[]).unwrap();
    let info = RunInfo::begin("point-2d", "quick", 7, DeviceKind::Cpu, 1, &[]);
    RunDirectory::create(Some(path), &config, info)
}

fn status(path: &Path) -> RunInfo {
    serde_json::from_slice(&std::fs::read(path.join("run.json")).unwrap()).unwrap()
}

/// Fails when training ends an iteration too early or too late, or a file of the run is missing or
/// wrong.
#[test]
fn training_stops_with_the_iteration_that_uses_up_the_budget() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deeper/run");
    let mut directory = create(&path).unwrap();
    assert_eq!(status(&path).status, Status::Running);

    let mut idle = Idle::failing(usize::MAX / 4, 0);
    let last = train(
        &mut idle,
        25,
        &mut directory,
        Safety::default(),
        &mut Silent,
    )
    .unwrap();
    assert_eq!(last.real_steps, 30);
    directory.finish(Ok(())).unwrap();

    let metrics = read_metrics(&path).unwrap();
    assert_eq!(metrics.len(), 3);
    assert_eq!(metrics[2], last);
    assert!(metrics[0].wall_seconds > 0.0 && metrics[0].wall_seconds < metrics[2].wall_seconds);
    let info = status(&path);
    assert_eq!(
        (info.status, info.seed, info.threads),
        (Status::Finished, 7, 1)
    );
    let curve = std::fs::read_to_string(path.join("learning_curve.svg")).unwrap();
    assert!(curve.starts_with("<svg") && curve.contains("point-2d-quick-seed7"));
    // the config is a preset, the policy acts
    let config = path.join("config.ron").display().to_string();
    assert!(preset::resolve("point-2d", &config, &[]).is_ok());
    let evaluation = mbmpo_experiments::evaluate(&path, 3, 1).unwrap();
    assert_eq!(evaluation.returns.len(), 3);
    assert_eq!(evaluation.lengths, [30; 3]);
    assert_eq!(
        evaluation,
        mbmpo_experiments::evaluate(&path, 3, 1).unwrap()
    );
    assert_ne!(
        evaluation,
        mbmpo_experiments::evaluate(&path, 3, 2).unwrap()
    );
}

/// Fails when a failure loses the iterations before it, or its message lacks what is needed to go
/// on.
#[test]
fn a_failure_keeps_the_iterations_before_it() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = create(parent.path()).unwrap();
    let mut idle = Idle::failing(1, 1);
    let error = train(
        &mut idle,
        25,
        &mut directory,
        Safety::default(),
        &mut Silent,
    )
    .unwrap_err();
    assert_eq!(error.exit_code(), 1);
    // the iteration, the seed, the error, the checkpoint that is left
    let message = error.to_string();
    for part in [
        "iteration 1",
        "seed 7",
        "the loss is not finite",
        "checkpoints/000001.json",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    directory.finish(Err(&error)).unwrap();
    assert_eq!(read_metrics(parent.path()).unwrap().len(), 1);
    let info = status(parent.path());
    assert_eq!(info.status, Status::Failed);
    assert!(info.error.unwrap().contains("the loss is not finite"));
}

/// A configuration without a horizon is valid on its own. Fails when it is not checked with the
/// length of the environment's episodes before the run, or the failure is not noted.
#[test]
fn a_run_checks_the_horizon_of_its_environment() {
    let parent = tempfile::tempdir().unwrap();
    let config = preset::resolve("half-cheetah", "quick", &[]).unwrap();
    let mut config = config.into_inner();
    config.horizon = None;
    config.evaluation_episodes = 100_000;
    let config = config.check().unwrap();
    let info = RunInfo::begin("half-cheetah", "quick", 7, DeviceKind::Cpu, 1, &[]);
    let mut directory = RunDirectory::create(Some(parent.path()), &config, info).unwrap();
    let error = run(&config, &mut directory, Safety::default(), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("config.ron: `evaluation_episodes`"),
        "{message}"
    );
    let info = status(parent.path());
    assert_eq!(info.status, Status::Failed);
    assert!(info.error.unwrap().contains("`evaluation_episodes`"));
}

/// Fails when an error before the first update of a fine-tuning leaves its status at running.
#[test]
fn a_failure_before_the_first_update_is_noted() {
    let absent = |device: &DeviceKind| device.device().is_err();
    let Some(device) = DeviceKind::ALL.into_iter().find(absent) else {
        return;
    };
    let parent = tempfile::tempdir().unwrap();
    let [trained, out] = ["trained", "out"].map(|name| parent.path().join(name));
    let mut idle = Idle::failing(usize::MAX / 4, 0);
    let mut directory = create(&trained).unwrap();
    train(
        &mut idle,
        10,
        &mut directory,
        Safety::default(),
        &mut Silent,
    )
    .unwrap();
    let options = AdaptationOptions {
        runs: vec![trained],
        steps: Some(60),
        overrides: vec![],
        seed: 1,
        device,
        threads: 1,
        out: Some(out.clone()),
        command: vec![],
        resume: false,
        safety: Safety::default(),
    };
    let error = adapt(&options, |_, _| Silent).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    assert_eq!(status(&out.join("1-trained")).status, Status::Failed);
}

/// Collects the notices, and stops the run after some parts.
#[derive(Default)]
struct Notices(Vec<String>, Option<std::cell::Cell<usize>>);

impl Observer for Notices {
    fn at(&mut self, _: Phase, _: usize, _: usize) {}
}

impl Progress for Notices {
    fn iteration(&mut self, _: &IterationMetrics) {}

    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn stopped(&self) -> Option<i32> {
        let left = self.1.as_ref()?;
        left.set(left.get().saturating_sub(1));
        (left.get() == 0).then_some(15)
    }
}

const ROLLBACK: Safety = Safety {
    on_nan: OnNan::Rollback,
    checkpoint_seconds: Some(0.0),
};

/// Fails when a retry goes on with a half-done iteration, does not change the random numbers, or
/// writes a line twice.
#[test]
fn a_failure_can_be_tried_again_with_other_random_numbers() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = create(parent.path()).unwrap();
    let mut notices = Notices::default();
    let mut idle = Idle::failing(1, 2);
    train(&mut idle, 25, &mut directory, ROLLBACK, &mut notices).unwrap();
    // two retries, each of the whole iteration
    assert_eq!((idle.parts, idle.reseeds), (6, 2));
    assert_eq!(notices.0.len(), 2, "{:?}", notices.0);
    assert!(notices.0[1].contains("(2 of 3)"), "{:?}", notices.0);
    let iterations: Vec<_> = directory.history().iter().map(|m| m.iteration).collect();
    assert_eq!(iterations, [0, 1, 2]);
}

/// Stops the run repeatedly, also between a failure and its retry. Fails when a retry is forgotten
/// or counted twice, so that the random numbers differ from those without a stop.
#[test]
fn retry_count_survives_resume() {
    for parts in 3..8 {
        let parent = tempfile::tempdir().unwrap();
        let mut times = 0;
        let (idle, history) = loop {
            times += 1;
            assert!(times < 20, "{parts} parts at a time do not get on");
            let config = preset::resolve("point-2d", "quick", &[]).unwrap();
            let info = RunInfo::begin("point-2d", "quick", 7, DeviceKind::Cpu, 1, &[]);
            let mut directory = RunDirectory::resume(Some(parent.path()), &config, info).unwrap();
            let mut idle = Idle::failing(1, 2);
            let mut notices = Notices(vec![], Some(parts.into()));
            match train(&mut idle, 25, &mut directory, ROLLBACK, &mut notices) {
                Ok(_) => break (idle, directory.history().to_vec()),
                Err(error) => assert_eq!(error.exit_code(), 143, "{error}"),
            }
        };
        assert_eq!(
            (idle.parts, idle.reseeds),
            (6, 2),
            "{parts} parts at a time"
        );
        let iterations: Vec<_> = history.iter().map(|m| m.iteration).collect();
        assert_eq!(iterations, [0, 1, 2]);
    }
}

/// Fails when a run that always fails goes on for ever, or ends one retry early.
#[test]
fn attempts_come_to_an_end() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = create(parent.path()).unwrap();
    let mut notices = Notices::default();
    let mut idle = Idle::failing(0, usize::MAX);
    let error = train(&mut idle, 25, &mut directory, ROLLBACK, &mut notices).unwrap_err();
    assert!(matches!(error, Error::Failed { iteration: 0, .. }));
    assert_eq!((notices.0.len(), idle.reseeds), (ATTEMPTS, ATTEMPTS));
}

/// Fails when a run overwrites another one, or other files in its directory.
#[test]
fn a_directory_with_a_run_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("notes.txt"), "mine").unwrap();
    create(parent.path()).unwrap();
    assert!(matches!(
        create(parent.path()),
        Err(Error::RunExists { .. })
    ));
    assert!(parent.path().join("notes.txt").exists());
}
