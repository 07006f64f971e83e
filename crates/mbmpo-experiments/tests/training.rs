//! The trainer and the run directory, around an algorithm that does nothing: the loop ends where the budget does,
//! what is written is complete after each iteration, and a failure is noted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::{Algorithm, Check, IterationMetrics, Observer, Purpose, Result, Silent, Streams};
use mbmpo_experiments::{
    DeviceKind, Error, RunDirectory, RunInfo, Sink, Status, preset, read_metrics, train,
};
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
use std::path::Path;

/// Takes ten steps an iteration and fails at the iteration given.
struct Idle {
    steps: usize,
    fails_at: usize,
}

impl Algorithm for Idle {
    type Policy = GaussianPolicy;

    fn iterate(&mut self, _observer: &mut dyn Observer) -> Result<IterationMetrics> {
        if self.steps == 10 * self.fails_at {
            return Err(mbmpo_core::Error::NotFinite {
                what: "the loss".to_owned(),
            });
        }
        self.steps += 10;
        Ok(IterationMetrics {
            iteration: self.steps / 10 - 1,
            real_steps: self.steps,
            return_pre_mean: self.steps as f64 / 3.0,
            ..IterationMetrics::default()
        })
    }

    fn real_steps(&self) -> usize {
        self.steps
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

#[test]
fn training_stops_with_the_iteration_that_uses_up_the_budget() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deeper/run");
    let mut directory = create(&path).unwrap();
    assert_eq!(status(&path).status, Status::Running);

    let mut idle = Idle {
        steps: 0,
        fails_at: usize::MAX,
    };
    let sinks: &mut [&mut dyn Sink<GaussianPolicy>] = &mut [&mut directory];
    let last = train(&mut idle, 25, sinks, &mut Silent).unwrap();
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

#[test]
fn a_failure_leaves_what_was_done_and_is_noted() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = create(parent.path()).unwrap();
    let mut idle = Idle {
        steps: 0,
        fails_at: 1,
    };
    let sinks: &mut [&mut dyn Sink<GaussianPolicy>] = &mut [&mut directory];
    let error = train(&mut idle, 25, sinks, &mut Silent).unwrap_err();
    assert!(!error.is_input());
    directory.finish(Err(&error)).unwrap();
    assert_eq!(read_metrics(parent.path()).unwrap().len(), 1);
    let info = status(parent.path());
    assert_eq!(info.status, Status::Failed);
    assert!(info.error.unwrap().contains("the loss is not finite"));
}

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
