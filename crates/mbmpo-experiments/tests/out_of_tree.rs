//! An algorithm of another crate gets the same run support without changes here. The example is
//! killed and resumed, and a policy that is no network, a planner, is saved and evaluated.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../examples/cross_entropy_method.rs"]
#[allow(dead_code, reason = "its main function")]
mod cross_entropy_method;

use burn::tensor::Device;
use cross_entropy_method::{CrossEntropyConfig, experiment};
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Error, Experience, IterationMetrics, Observer,
    Persist, Policy, Result, SavedPolicy, Setup, Silent, Stream, Trainable, UniformPolicy,
};
use mbmpo_experiments::{
    AlgorithmChoice, AlgorithmVisitor, DeviceKind, ExperimentConfig, RunDirectory, RunInfo, Safety,
    evaluate_run, overrides, read_metrics, run,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The variable with the run directory of [`child`].
const DIRECTORY: &str = "MBMPO_OUT_OF_TREE";

/// Begins the example in a directory, or goes on with it, and saves after every candidate.
fn go_on(path: &Path, threads: usize) {
    let config = experiment().unwrap();
    let info = RunInfo::begin("point-2d", "cem", 4, DeviceKind::Cpu, threads, &[]);
    let mut directory = RunDirectory::resume(Some(path), &config, info).unwrap();
    let safety = Safety {
        checkpoint_seconds: Some(0.0),
        ..Safety::default()
    };
    run(&config, &mut directory, safety, &mut Silent).unwrap();
}

/// The process that is killed; not a test on its own.
#[test]
#[ignore = "run by the test below"]
fn child() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        go_on(&PathBuf::from(path), 1);
    }
}

fn start(path: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored"])
        .env(DIRECTORY, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The number of the newest checkpoint.
fn newest(path: &Path) -> u64 {
    let entries = fs::read_dir(path.join("checkpoints")).into_iter().flatten();
    let numbers = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".json")?.parse().ok()
    });
    numbers.max().unwrap_or(0)
}

/// Everything that a run leaves, without its timings.
fn remains(path: &Path) -> Vec<Vec<u8>> {
    let metrics = fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    let timeless = metrics
        .lines()
        .map(|line| line.split(",\"seconds\":").next().unwrap());
    let timeless = timeless.collect::<Vec<_>>().join("\n").into_bytes();
    let state = format!("checkpoints/{:06}.safetensors", newest(path));
    let files = ["policy.safetensors", "learning_curve.svg", "config.ron"];
    let files = files.into_iter().chain([state.as_str()]);
    let files = files.map(|name| fs::read(path.join(name)).unwrap());
    std::iter::once(timeless).chain(files).collect()
}

/// Fails when a user's algorithm, killed at any point and resumed, ends with other bytes than
/// undisturbed, or when the one of the example does not learn: no action gives -80, the best policy
/// -14.7.
#[test]
fn a_users_algorithm_is_killed_and_resumed() {
    let parent = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| parent.path().join(name));
    go_on(&whole, 2);
    let mut kills = 0;
    for checkpoints in [1, 9, 30, 60] {
        let mut process = start(&killed);
        while newest(&killed) < checkpoints && process.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        kills += usize::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert!(kills >= 3, "only {kills} kills");
    assert!(start(&killed).wait().unwrap().success());
    assert!(remains(&whole) == remains(&killed));

    let metrics = read_metrics(&killed).unwrap();
    let (first, last) = (&metrics[0], &metrics[metrics.len() - 1]);
    assert!(first.own.get("parameter_std").unwrap() > last.own.get("parameter_std").unwrap());
    let learned = evaluate_run::<CrossEntropyConfig>(&killed, 1000, 1).unwrap();
    assert!(learned.return_mean() > -16.0, "{}", learned.return_mean());
}

/// Fails when a user's configuration is not checked, or its overrides and errors are not those of
/// ours.
#[test]
fn a_users_configuration_is_checked() {
    let config = experiment().unwrap();
    let set = |text: &str| overrides::apply(config.clone().into_inner(), &[text.to_owned()]);
    assert_eq!(set("algorithm.elites=3").unwrap().algorithm.elites, 3);
    let message = set("algorithm.elite=3").unwrap_err().to_string();
    assert!(
        message.ends_with("did you mean `algorithm.elites`?"),
        "{message}"
    );
    let wrong = set("algorithm.elites=21").unwrap().check().unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "`algorithm.elites` is 21, allowed is 1 to 20"
    );
    let text = config.to_ron().unwrap();
    let again = ExperimentConfig::<CrossEntropyConfig>::from_ron(&text, "config.ron").unwrap();
    assert_eq!(again, config);
}

/// Plans by random shooting in the model s' = s + g a, whose reward is -‖s'‖².
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Planner {
    gain: f64,
    plans: usize,
    horizon: usize,
}

impl Policy for Planner {
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        let mut best = (f64::NEG_INFINITY, Vec::new());
        for _ in 0..self.plans {
            let mut draw = || -> Vec<f32> {
                let action = observation.iter().map(|_| stream.random_range(-1.0..=1.0));
                action.collect()
            };
            let first = draw();
            let (mut state, mut value) = (observation.to_vec(), 0.0);
            for step in 0..self.horizon {
                let action = if step == 0 { first.clone() } else { draw() };
                for (s, a) in state.iter_mut().zip(action) {
                    *s += self.gain as f32 * a;
                    value -= f64::from(*s).powi(2);
                }
            }
            if value > best.0 {
                best = (value, first);
            }
        }
        best.1
    }
}

impl SavedPolicy for Planner {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::Description(error.to_string()))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::Description(error.to_string()))
    }

    fn dims(&self) -> (usize, usize) {
        (2, 2)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanningConfig {
    plans: usize,
}

impl Check for PlanningConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("plans", self.plans, 1..=1000);
    }
}

impl AlgorithmChoice for PlanningConfig {
    fn visit<V: AlgorithmVisitor>(&self, visitor: V) -> V::Output {
        visitor.visit::<Planning>(self)
    }
}

/// Fits the gain of the planner's model to random steps, by least squares.
struct Planning {
    config: Checked<PlanningConfig>,
    experience: Experience,
    gain: f64,
}

impl Algorithm for Planning {
    type Policy = Planner;

    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        let random = UniformPolicy {
            action_dim: self.experience.dims().1,
        };
        let paths = self.experience.collect_batch(&random, 30, 0)?;
        let (mut above, mut below) = (0.0, 0.0);
        for (i, &action) in paths.actions.iter().enumerate() {
            let change = paths.next_observations[i] - paths.observations[i];
            above += f64::from(change * action);
            below += f64::from(action * action);
        }
        self.gain = above / below;
        let policy = self.policy();
        self.experience
            .report(&policy, &[0.0; 2], observer)
            .map(Some)
    }

    fn reseed(&mut self) {
        self.experience.reseed();
    }

    fn real_steps(&self) -> usize {
        self.experience.real_steps()
    }

    fn policy(&self) -> Planner {
        Planner {
            gain: self.gain,
            plans: self.config.plans,
            horizon: 2,
        }
    }
}

impl Persist for Planning {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.number("gain", &mut self.gain)
    }
}

impl Trainable for Planning {
    const NAME: &'static str = "planning";
    type Config = PlanningConfig;

    fn build(config: Checked<PlanningConfig>, setup: Setup, _device: &Device) -> Result<Self> {
        Ok(Self {
            config,
            experience: Experience::new(setup),
            gain: 0.0,
        })
    }
}

/// Fails when a run can only have a network for a policy: in its directory, or where it is read
/// again.
#[test]
fn a_planner_is_saved_and_evaluated() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let text = "(
        environment: (name: \"point-2d\", variant: Paper),
        real_steps: 30,
        algorithm: (plans: 50),
    )";
    let config = ExperimentConfig::<PlanningConfig>::from_ron(text, "planning").unwrap();
    let info = RunInfo::begin("point-2d", "planning", 1, DeviceKind::Cpu, 1, &[]);
    let mut directory = RunDirectory::create(Some(&path), &config, info).unwrap();
    run(&config, &mut directory, Safety::default(), &mut Silent).unwrap();

    let bytes = fs::read(path.join("policy.safetensors")).unwrap();
    let planner = Planner::from_bytes(&bytes).unwrap();
    assert!((planner.gain - 0.1).abs() < 1e-6, "{}", planner.gain);
    let evaluation = evaluate_run::<PlanningConfig>(&path, 100, 1).unwrap();
    assert!(
        evaluation.return_mean() > -25.0,
        "{}",
        evaluation.return_mean()
    );
    let again = evaluate_run::<PlanningConfig>(&path, 100, 1).unwrap();
    assert_eq!(evaluation, again);
}
