//! Training that is stopped by a signal, runs out of disk space, or shares its directory with a
//! second process: nothing is lost, the exit code tells the cause, and the message says what to do.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A run of many short iterations that saves after each.
fn train(out: &Path, real_steps: &str) -> Vec<String> {
    let settings = [
        "algorithm.initial_random_steps=60",
        "algorithm.real_steps_per_iteration=60",
        "algorithm.imagined_rollouts_per_task=3",
        "algorithm.meta_steps=2",
        "evaluation_episodes=2",
        "algorithm.policy.hidden=[8]",
        "algorithm.ensemble.members=2",
        "algorithm.ensemble.hidden=[16]",
        "algorithm.ensemble.max_epochs=3",
    ];
    let mut arguments = vec!["train", "point-2d", "--preset", "quick"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    arguments.extend(["--set", real_steps, "--checkpoint-seconds", "0", "--out"]);
    arguments.push(out.to_str().unwrap());
    arguments.into_iter().map(str::to_owned).collect()
}

fn mbmpo() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mbmpo"))
}

fn start(arguments: &[String]) -> Child {
    let mut command = mbmpo();
    command.args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn message(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn wait_for(file: &Path) {
    let start = Instant::now();
    while !file.exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "no {}",
            file.display()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The newest state, and the metrics without timings.
fn remains(run: &Path) -> (Vec<u8>, Vec<String>) {
    let mut states: Vec<_> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    states.sort();
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| line.split(",\"seconds\":").next().unwrap().to_owned();
    (
        fs::read(states.pop().unwrap()).unwrap(),
        metrics.lines().map(timeless).collect(),
    )
}

/// Fails when a signal ends a run without saving it, or with another exit code than shells expect,
/// and when a second process can have the directory meanwhile.
#[test]
fn signals_save_and_stop() {
    let parent = tempfile::tempdir().unwrap();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let run = parent.path().join(signal);
        // a budget that is not reached before the signal
        let arguments = train(&run, "real_steps=1000000000");
        let child = start(&arguments);
        wait_for(&run.join("checkpoints/000001.json"));

        let resumed = [&arguments[..], &["--resume".to_owned()]].concat();
        let second = mbmpo().args(&resumed).output().unwrap();
        assert_eq!(second.status.code(), Some(2));
        let expected = format!("in use by process {}", child.id());
        assert!(message(&second).contains(&expected), "{}", message(&second));

        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", message(&output));
        let said = message(&output);
        assert!(
            said.starts_with("stopped after") && said.contains("--resume"),
            "{said}"
        );
        let info = fs::read_to_string(run.join("run.json")).unwrap();
        assert!(info.contains("\"interrupted\""), "{info}");
        let stopped_at = remains(&run).1.len();

        // resumed, two iterations further
        let steps = format!("real_steps={}", 60 * (stopped_at + 2));
        let further = [&train(&run, &steps)[..], &["--resume".to_owned()]].concat();
        let output = mbmpo().args(&further).output().unwrap();
        assert!(output.status.success(), "{}", message(&output));
        let whole = parent.path().join(format!("{signal}-whole"));
        let output = mbmpo().args(train(&whole, &steps)).output().unwrap();
        assert!(output.status.success(), "{}", message(&output));
        assert_eq!(remains(&run).1, remains(&whole).1);
        assert!(remains(&run).0 == remains(&whole).0);
    }
}

/// Fails when a full disk harms the latest checkpoint, the message does not name it, or the run,
/// resumed with room again, ends with other bytes than an undisturbed one.
#[test]
fn a_full_disk_keeps_the_last_checkpoint() {
    let parent = tempfile::tempdir().unwrap();
    let [run, whole] = ["run", "whole"].map(|name| parent.path().join(name));
    let arguments = train(&run, "real_steps=600");
    // files end at 20 KiB (POSIX counts blocks of 512 bytes), which the state has outgrown before
    // the end
    let limited = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_mbmpo")])
        .args(&arguments)
        .output()
        .unwrap();
    let said = message(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("cannot write") && said.contains(".json is as it was"),
        "{said}"
    );
    assert!(said.contains("repeat the command with --resume"), "{said}");
    assert!(remains(&run).1.len() > 1);

    let resumed = [&arguments[..], &["--resume".to_owned()]].concat();
    let output = mbmpo().args(&resumed).output().unwrap();
    assert!(output.status.success(), "{}", message(&output));
    let output = mbmpo()
        .args(train(&whole, "real_steps=600"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(remains(&run).1, remains(&whole).1);
    assert!(remains(&run).0 == remains(&whole).0);
}

/// Fails when a command with `--resume` does not begin a run, or changes a finished one.
#[test]
fn the_same_command_again() {
    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    let mut arguments = train(&run, "real_steps=120");
    arguments.push("--resume".to_owned());
    for _ in 0..2 {
        let output = mbmpo().args(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", message(&output));
        assert_eq!(remains(&run).1.len(), 2);
    }
    // without --resume the run is left alone, and the message names the flag
    arguments.pop();
    let output = mbmpo().args(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        message(&output).contains("--resume"),
        "{}",
        message(&output)
    );
}
