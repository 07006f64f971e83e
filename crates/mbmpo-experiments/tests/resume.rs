//! A run that is stopped and resumed ends with the same bytes as an undisturbed one, for every
//! algorithm, at every point and with any number of threads; to resume with another configuration
//! is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::{Checked, IterationMetrics, Observer, Phase};
use mbmpo_experiments::{
    AlgorithmKind, DeviceKind, Error, ExperimentConfig, Progress, RunDirectory, RunInfo, Safety,
    Selection, Status, preset, run,
};
use std::fs;
use std::path::Path;

const EVERY_PART: Safety = Safety {
    on_nan: mbmpo_experiments::OnNan::Stop,
    checkpoint_seconds: Some(0.0),
};

/// Two short iterations.
fn tiny(algorithm: AlgorithmKind) -> Checked<ExperimentConfig> {
    let tiny = algorithm.tiny();
    let settings = ["real_steps=120", "evaluation_episodes=2"];
    let settings = settings.iter().chain(tiny.settings);
    let settings: Vec<_> = settings.map(|&setting| setting.to_owned()).collect();
    let selection = Selection {
        algorithm: Some(algorithm),
        preset: Some(tiny.preset.to_owned()),
    };
    preset::resolve("point-2d", selection, &settings).unwrap()
}

/// Stops after some parts of iterations.
struct Patience {
    left: std::cell::Cell<usize>,
}

impl Observer for Patience {
    fn at(&mut self, _: Phase, _: usize, _: usize) {}
}

impl Progress for Patience {
    fn iteration(&mut self, _: &IterationMetrics) {}

    fn stopped(&self) -> Option<i32> {
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        (left == 0).then_some(2)
    }
}

fn info(config: &ExperimentConfig, threads: usize) -> RunInfo {
    let name = config.algorithm.kind().name();
    RunInfo::begin("point-2d", name, 3, DeviceKind::Cpu, threads, &[])
}

/// Goes on for this many parts (0: to the end), and returns whether the end was reached.
fn go_on(path: &Path, config: &Checked<ExperimentConfig>, threads: usize, parts: usize) -> bool {
    let mut directory = RunDirectory::resume(Some(path), config, info(config, threads)).unwrap();
    let mut patience = Patience { left: parts.into() };
    match run(config, &mut directory, EVERY_PART, &mut patience) {
        Ok(_) => {
            assert_eq!(directory.info().status, Status::Finished);
            true
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 130, "{error}");
            assert_eq!(directory.info().status, Status::Interrupted);
            false
        }
    }
}

/// The files that a run leaves, without timings.
fn remains(path: &Path) -> Vec<(String, Vec<u8>)> {
    let metrics = fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    let timeless: Vec<_> = metrics
        .lines()
        .map(|line| line.split(",\"seconds\":").next().unwrap())
        .collect();
    let mut states: Vec<_> = fs::read_dir(path.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    states.sort();
    let read = |name: &str| (name.to_owned(), fs::read(path.join(name)).unwrap());
    vec![
        ("metrics".to_owned(), timeless.join("\n").into_bytes()),
        ("state".to_owned(), fs::read(states.pop().unwrap()).unwrap()),
        read("policy.safetensors"),
        read("learning_curve.svg"),
        read("config.ron"),
    ]
}

fn assert_same(what: &str, there: &Path, here: &Path) {
    for ((name, a), (_, b)) in remains(there).iter().zip(&remains(here)) {
        assert!(a == b, "{what}: {name} differs");
    }
}

/// Fails when any number of an algorithm's state is not saved, is saved at the wrong point, or
/// depends on the threads.
#[test]
fn every_algorithm_goes_on_with_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    for algorithm in AlgorithmKind::ALL {
        let config = tiny(algorithm);
        let whole = parent.path().join(format!("{algorithm}-whole"));
        assert!(go_on(&whole, &config, 1, 0));
        for threads in [2, 4] {
            let other = parent.path().join(format!("{algorithm}-{threads}"));
            assert!(go_on(&other, &config, threads, 0));
            assert_same(&format!("{algorithm}, {threads} threads"), &whole, &other);
        }
        // stopped after every part, and after every second
        for parts in [1, 2] {
            let path = parent.path().join(format!("{algorithm}-by-{parts}"));
            let mut times = 1;
            while !go_on(&path, &config, 1 + times % 4, parts) {
                times += 1;
                assert!(times < 20, "{algorithm} does not get on");
            }
            assert!(algorithm != AlgorithmKind::MbMpo || times > 3);
            assert_same(
                &format!("{algorithm}, {parts} parts at a time"),
                &whole,
                &path,
            );
        }
    }
}

/// Fails when a finished run cannot go on with a larger budget, or differs from a run that had it
/// from the start.
#[test]
fn a_run_can_be_prolonged() {
    let parent = tempfile::tempdir().unwrap();
    let short = tiny(AlgorithmKind::MbMpo);
    let mut long = short.clone().into_inner();
    long.real_steps = 240;
    let long = mbmpo_core::Check::check(long).unwrap();
    let [twice, once] = ["twice", "once"].map(|name| parent.path().join(name));
    assert!(go_on(&twice, &short, 1, 0));
    assert!(go_on(&twice, &long, 1, 0));
    assert!(go_on(&once, &long, 1, 0));
    assert_same("prolonged", &once, &twice);
}

/// Fails when a run with another seed or configuration is accepted, or the difference is not named.
#[test]
fn another_run_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let config = tiny(AlgorithmKind::Vpg);
    go_on(&path, &config, 1, 1);
    let refused = |config: &Checked<ExperimentConfig>, info: RunInfo| {
        let error = RunDirectory::resume(Some(&path), config, info).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let seed = RunInfo {
        seed: 4,
        ..info(&config, 1)
    };
    let message = refused(&config, seed);
    assert!(message.contains("the seed there is 3, here 4"), "{message}");
    let changed = ["algorithm.learning_rate=0.125".to_owned()];
    let other = mbmpo_experiments::overrides::apply(config.clone().into_inner(), &changed).unwrap();
    let other = mbmpo_core::Check::check(other).unwrap();
    let message = refused(&other, info(&config, 1));
    assert!(
        message.contains("`algorithm.learning_rate` there is") && message.contains("here 0.125"),
        "{message}"
    );
    // the configuration in the run directory was edited
    let edited = other.to_ron().unwrap();
    fs::write(path.join("config.ron"), edited).unwrap();
    let mut directory = RunDirectory::resume(Some(&path), &other, info(&other, 1)).unwrap();
    let error = run(&other, &mut directory, EVERY_PART, &mut mbmpo_core::Silent).unwrap_err();
    assert!(matches!(error, Error::Differs { .. }), "{error}");
    assert!(
        error.to_string().contains("another configuration"),
        "{error}"
    );
}

/// Fails when two processes write to one run, or when a run is locked for ever.
#[test]
fn a_directory_is_in_use_once() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let config = tiny(AlgorithmKind::Vpg);
    let open = || RunDirectory::resume(Some(&path), &config, info(&config, 1));
    let first = open().unwrap();
    let error = open().unwrap_err();
    let process = format!("in use by process {}", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    drop(first);
    // the id of a killed process does not matter
    fs::write(path.join("lock"), "4194305\n").unwrap();
    open().unwrap();
}
