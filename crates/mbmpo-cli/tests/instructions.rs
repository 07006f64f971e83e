//! Every set of vector instructions gives the same bytes, also where a run goes on with another
//! one; `run.json` names the set; a set that the processor lacks is refused.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use mbmpo_experiments::{AlgorithmKind, Instructions};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The sets of this processor, the fastest first. Says which ones are not tested here.
fn available() -> Vec<Instructions> {
    let missing: Vec<_> = missing().map(Instructions::name).collect();
    println!("not on this machine: {}", missing.join(", "));
    Instructions::available().collect()
}

fn missing() -> impl Iterator<Item = Instructions> {
    let has: Vec<_> = Instructions::available().collect();
    Instructions::ALL
        .into_iter()
        .filter(move |set| !has.contains(set))
}

/// A run of one iteration for each 60 real steps. The networks are wider than the largest panel of
/// the kernels, and no multiple of a vector.
fn train(
    algorithm: AlgorithmKind,
    real_steps: usize,
    out: &Path,
    more: &[&str],
) -> Result<(), String> {
    let wide: &[&str] = match algorithm {
        AlgorithmKind::MbMpo => &[
            "algorithm.policy.hidden=[67]",
            "algorithm.ensemble.hidden=[67, 9]",
        ],
        AlgorithmKind::Ddpg => &["algorithm.actor_hidden=[67, 9]"],
        _ => &["algorithm.policy.hidden=[67, 9]"],
    };
    let tiny = algorithm.tiny();
    let own = tiny.settings.iter().chain(wide);
    // of two values for a key the last one counts
    let settings = own.flat_map(|setting| ["--set", setting]);
    let budget = format!("real_steps={real_steps}");
    let output = Command::cargo_bin("mbmpo")
        .unwrap()
        .args(["train", "point-2d", "--algorithm", algorithm.name()])
        .args(["--preset", tiny.preset])
        .args(settings)
        .args(["--set", &budget, "--set", "evaluation_episodes=3"])
        .args(["--quiet", "--out"])
        .arg(out)
        .args(more)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => Ok(()),
        // a wrong argument, and no panic
        Some(2) => Err(message),
        code => panic!("{more:?}: {code:?}: {message}"),
    }
}

/// The metrics without their timings, which come last, then the bytes of the policy and of the
/// training state.
fn results(run: &Path) -> (Vec<String>, [Vec<u8>; 2]) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let cut = |line: &str| line.split(",\"seconds\":").next().unwrap().to_owned();
    let states = fs::read_dir(run.join("checkpoints")).unwrap();
    let states = states.map(|entry| entry.unwrap().path());
    let states = states.filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
    let files = [run.join("policy.safetensors"), states.max().unwrap()];
    (
        metrics.lines().map(cut).collect(),
        files.map(|file| fs::read(file).unwrap()),
    )
}

fn info(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// Fails when a result depends on the instructions, those of the command line are not used, or
/// `run.json` does not name them.
#[test]
fn every_set_gives_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    let sets = available();
    for algorithm in AlgorithmKind::ALL {
        let run = |name: &str, arguments: &[&str]| {
            let path = parent.path().join(format!("{algorithm}-{name}"));
            train(algorithm, 120, &path, arguments).unwrap();
            (results(&path), info(&path)["instructions"].clone())
        };
        let (expected, used) = run("default", &[]);
        assert_eq!(expected.0.len(), 2, "{algorithm}");
        assert_eq!(used, sets[0].name(), "the fastest");
        let (auto, used) = run("auto", &["--instructions", "auto", "--threads", "2"]);
        assert!(auto == expected, "{algorithm}: auto");
        assert_eq!(used, sets[0].name(), "the fastest");
        for set in sets.iter().map(|set| set.name()) {
            let (result, used) = run(set, &["--instructions", set]);
            assert_eq!(result.0, expected.0, "{algorithm}: {set}");
            assert!(
                result.1 == expected.1,
                "{algorithm}: {set}: another policy or state"
            );
            assert_eq!(used, set);
        }
    }
}

/// Fails when a run that goes on with another set ends with other bytes, is refused, or keeps the
/// name of the old set in `run.json`.
#[test]
fn resuming_with_another_set_gives_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    let sets: Vec<_> = available().into_iter().map(Instructions::name).collect();
    for algorithm in [AlgorithmKind::MbMpo, AlgorithmKind::Trpo] {
        let path = |name: &str| parent.path().join(format!("{algorithm}-{name}"));
        train(algorithm, 180, &path("whole"), &[]).unwrap();
        for (i, first) in sets.iter().enumerate() {
            let then = sets[(i + 1) % sets.len()];
            let run = path(first);
            train(algorithm, 60, &run, &["--instructions", first]).unwrap();
            assert_eq!(info(&run)["instructions"], *first);
            train(algorithm, 120, &run, &["--resume", "--instructions", then]).unwrap();
            assert_eq!(info(&run)["instructions"], then);
            train(algorithm, 180, &run, &["--resume"]).unwrap();
            assert_eq!(info(&run)["instructions"], sets[0], "the fastest again");
            assert_eq!(info(&run)["resumed"], 2);
            let (whole, parts) = (results(&path("whole")), results(&run));
            assert_eq!(parts.0, whole.0, "{algorithm}: {first}, then {then}");
            assert!(
                parts.1 == whole.1,
                "{algorithm}: {first}, then {then}: another policy or state"
            );
        }
    }
}

/// Fails when a run whose `run.json` has no instructions, or those of another machine, cannot be
/// resumed, or a set that this processor lacks is accepted to go on with.
#[test]
fn runs_of_other_versions_and_machines_go_on() {
    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    let algorithm = AlgorithmKind::Trpo;
    train(algorithm, 60, &run, &[]).unwrap();
    for (steps, there) in [(120, None), (180, Some("sve2"))] {
        let mut old = info(&run);
        old.as_object_mut().unwrap().remove("instructions");
        if let Some(there) = there {
            old["instructions"] = there.into();
        }
        let text = serde_json::to_string(&old).unwrap();
        fs::write(run.join("run.json"), &text).unwrap();

        let lacking = missing().next().unwrap().name();
        let refused = train(
            algorithm,
            steps,
            &run,
            &["--resume", "--instructions", lacking],
        );
        let message = refused.unwrap_err();
        assert!(message.contains("--instructions auto"), "{message}");
        let unchanged = fs::read_to_string(run.join("run.json")).unwrap();
        assert_eq!(unchanged, text, "a refused command changes nothing");

        train(algorithm, steps, &run, &["--resume"]).unwrap();
        assert_eq!(info(&run)["instructions"], Instructions::in_use().name());
    }
}
