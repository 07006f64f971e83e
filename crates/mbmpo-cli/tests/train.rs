//! A tiny run from end to end: the run directory is complete, and the seed alone decides the
//! metrics.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use mbmpo_experiments::Instructions;
use serde_json::Value;
use std::fs;
use std::path::Path;

const TINY: [&str; 10] = [
    "real_steps=100",
    "algorithm.initial_random_steps=60",
    "algorithm.real_steps_per_iteration=60",
    "algorithm.imagined_rollouts_per_task=4",
    "algorithm.meta_steps=2",
    "evaluation_episodes=3",
    "algorithm.policy.hidden=[8]",
    "algorithm.ensemble.members=2",
    "algorithm.ensemble.hidden=[16]",
    "algorithm.ensemble.max_epochs=3",
];

/// The keys of the first line of metrics, sorted.
const KEYS: [&str; 34] = [
    "adaptation_kl",
    "disagreement_first",
    "disagreement_last",
    "episode_length_mean",
    "imagined_clipped",
    "imagined_minus_real",
    "imagined_return_first",
    "imagined_return_max",
    "imagined_return_median",
    "imagined_return_min",
    "imagined_return_post",
    "imagined_return_pre",
    "imagined_return_q05",
    "imagined_return_q95",
    "imagined_steps",
    "iteration",
    "meta_accepted",
    "meta_kl",
    "meta_steps",
    "meta_surrogate_gain",
    "model_epochs",
    "model_train_loss",
    "model_validation_loss",
    "policy_std",
    "policy_std_mean",
    "real_steps",
    "return_collect_mean",
    "return_post_mean",
    "return_pre_mean",
    "return_pre_std",
    "return_without_noise",
    "saturated_units",
    "seconds",
    "wall_seconds",
];

/// What later lines have besides: there are models to be tested on the new data.
const LATER_KEYS: [&str; 2] = ["model_error_1", "model_error_25"];

fn mbmpo(arguments: &[&str]) -> String {
    let output = Command::cargo_bin("mbmpo")
        .unwrap()
        .args(arguments)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {message}");
    assert!(message.is_empty(), "{message}");
    String::from_utf8(output.stdout).unwrap()
}

fn train(out: &Path, arguments: &[&str]) -> String {
    let mut all = vec![
        "train",
        "point-2d",
        "--preset",
        "quick",
        "--out",
        out.to_str().unwrap(),
    ];
    all.extend(TINY.iter().flat_map(|change| ["--set", change]));
    all.extend(arguments);
    mbmpo(&all)
}

/// The lines of `metrics.jsonl` without the timings, which come last.
fn metrics_without_timings(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let cut = |line: &str| line.split(",\"seconds\":").next().unwrap().to_owned();
    text.lines().map(cut).collect()
}

/// Fails when a file of a run, or a key of its metrics, is missing or wrong.
#[test]
fn a_run_directory_is_complete() {
    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    let shown = train(&run, &["--seed", "3", "--threads", "1"]);
    // not a terminal: one line for each iteration, then the result
    assert_eq!(
        shown
            .lines()
            .filter(|line| line.starts_with("iteration "))
            .count(),
        2,
        "{shown}"
    );
    assert!(shown.trim_end().ends_with(run.to_str().unwrap()), "{shown}");

    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for (i, line) in metrics.lines().enumerate() {
        let value: Value = serde_json::from_str(line).unwrap();
        let object = value.as_object().unwrap();
        let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut expected = KEYS.to_vec();
        expected.extend(LATER_KEYS.iter().filter(|_| i > 0));
        expected.sort_unstable();
        assert_eq!(keys, expected);
        let mut phases: Vec<_> = value["seconds"].as_object().unwrap().keys().collect();
        phases.sort_unstable();
        assert_eq!(
            phases,
            [
                "adapt",
                "collect",
                "evaluate",
                "fit",
                "imagine",
                "meta_update"
            ]
        );
        for array in ["model_train_loss", "model_validation_loss", "model_epochs"] {
            assert_eq!(value[array].as_array().unwrap().len(), 2, "{array}");
        }
        assert_eq!(value["iteration"], i);
        assert_eq!(value["real_steps"], 60 * (i + 1));
        // two tasks, two meta-steps, before and after adapting
        assert_eq!(value["imagined_steps"], 2 * 2 * 2 * 4 * 30);
        assert!(object.values().all(|value| !value.is_null()), "{line}");
    }

    let info: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    assert_eq!(info["status"], "finished");
    assert_eq!(info["seed"], 3);
    assert_eq!(info["threads"], 1);
    assert_eq!(info["device"], "cpu");
    assert_eq!(info["instructions"], Instructions::in_use().name());
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        fs::read_to_string(run.join("learning_curve.svg"))
            .unwrap()
            .starts_with("<svg")
    );

    let path = run.to_str().unwrap();
    let evaluation = mbmpo(&["evaluate", path, "--episodes", "4", "--seed", "5"]);
    assert!(evaluation.starts_with("point-2d: return -"), "{evaluation}");
    assert_eq!(
        evaluation,
        mbmpo(&["evaluate", path, "--episodes", "4", "--seed", "5"])
    );
}

/// Fails when the bytes of a run depend on anything but the seed and the configuration: repeated,
/// with two threads, and from the configuration that the first run left.
#[test]
fn the_seed_alone_decides_the_metrics() {
    let parent = tempfile::tempdir().unwrap();
    let run = |name: &str, arguments: &[&str]| {
        let path = parent.path().join(name);
        let shown = train(&path, &[arguments, &["--quiet"]].concat());
        assert_eq!(shown, "", "--quiet");
        (
            metrics_without_timings(&path),
            fs::read(path.join("policy.safetensors")).unwrap(),
        )
    };
    let first = run("first", &["--seed", "3", "--threads", "1"]);
    assert_eq!(first.0.len(), 2);
    assert!(first == run("again", &["--seed", "3", "--threads", "1"]));
    assert!(first == run("two", &["--seed", "3", "--threads", "2"]));
    assert!(first != run("other", &["--seed", "4", "--threads", "1"]));

    let config = parent.path().join("first/config.ron");
    let repeated = parent.path().join("repeated");
    let [config, out] = [&config, &repeated].map(|path| path.to_str().unwrap());
    mbmpo(&[
        "train", "point-2d", "--preset", config, "--seed", "3", "--out", out, "--quiet",
    ]);
    assert_eq!(first.0, metrics_without_timings(&repeated));
}

/// Fails when an environment is not listed, or a configuration is shown without its sources or
/// overrides.
#[test]
fn lists_environments_and_shows_configurations() {
    let list = mbmpo(&["env", "list"]);
    assert!(
        list.contains("point-2d") && list.contains("half-cheetah"),
        "{list}"
    );
    for name in ["swimmer", "hopper", "walker2d", "ant", "pr2-reacher"] {
        assert!(list.contains(name), "{list}");
    }
    let deeper = mbmpo(&["config", "show", "ant"]);
    assert!(deeper.contains("[512, 512, 512], // paper A.3"), "{deeper}");
    let commented = mbmpo(&["config", "show", "half-cheetah"]);
    assert!(commented.contains("// paper A.3"), "{commented}");
    let changed = mbmpo(&["config", "show", "half-cheetah", "--set", "horizon=7"]);
    assert!(changed.contains("horizon: 7,"), "{changed}");
}

/// Fails when the robot of the tutorial cannot be checked, learned with, or evaluated from the
/// copies in its run.
#[test]
fn a_robot_of_ones_own() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let [robot, task] = ["inverted_pendulum.xml", "inverted_pendulum.ron"]
        .map(|file| assets.join(file).display().to_string());
    let report = mbmpo(&["env", "check", "--robot", &robot, "--task", &task]);
    assert!(!report.contains("FAIL"), "{report}");
    assert!(
        report.contains("ok    the task is the same on tensors"),
        "{report}"
    );
    assert!(report.contains("13 of 13 checks passed"), "{report}");

    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run").display().to_string();
    let mut arguments = vec![
        "train", "--robot", &robot, "--task", &task, "--preset", "quick",
    ];
    arguments.extend(["--out", &run]);
    arguments.extend(TINY.iter().flat_map(|change| ["--set", change]));
    let shown = mbmpo(&arguments);
    assert!(
        shown.contains("inverted_pendulum-quick-seed1: return "),
        "{shown}"
    );
    let evaluation = mbmpo(&["evaluate", &run, "--episodes", "2"]);
    assert!(
        evaluation.starts_with("inverted_pendulum: return "),
        "{evaluation}"
    );
}

/// Fails when a failed check counts as wrong input (exit code 2 instead of 1).
#[test]
fn a_robot_that_diverges_fails_the_checks() {
    let parent = tempfile::tempdir().unwrap();
    let [robot, task] = ["wild.xml", "wild.ron"].map(|file| parent.path().join(file));
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let pendulum = fs::read_to_string(assets.join("inverted_pendulum.xml")).unwrap();
    fs::write(&robot, pendulum.replace("gear=\"10\"", "gear=\"1e7\"")).unwrap();
    fs::copy(assets.join("inverted_pendulum.ron"), &task).unwrap();
    let output = Command::cargo_bin("mbmpo")
        .unwrap()
        .args(["env", "check", "--robot"])
        .arg(&robot)
        .arg("--task")
        .arg(&task)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(
        report.contains("FAIL  finite under random actions: step "),
        "{report}"
    );
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: wild fails "), "{message}");
}
