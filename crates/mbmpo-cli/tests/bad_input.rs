//! Every mistake in an argument or a file gives a message on standard error that names it, exit
//! code 2, and no panic.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use std::path::Path;

fn refused_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::cargo_bin("mbmpo")
        .unwrap()
        .args(arguments)
        .current_dir(directory)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(message.starts_with("error: "), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    message
}

fn refused(arguments: &[&str]) -> String {
    refused_in(tempfile::tempdir().unwrap().path(), arguments)
}

/// Fails when the message does not suggest the similar name or list all.
#[test]
fn unknown_environment() {
    let message = refused(&["train", "half-chetah"]);
    assert!(message.contains("`half-chetah`"), "{message}");
    assert!(
        message.contains("did you mean `half-cheetah`?"),
        "{message}"
    );
    assert!(message.contains("`point-2d`"), "{message}");
}

/// Fails when an unknown preset or a missing file is not named.
#[test]
fn unknown_preset_and_missing_file() {
    let message = refused(&["train", "point-2d", "--preset", "papper"]);
    assert!(message.contains("did you mean `paper`?"), "{message}");
    let message = refused(&["config", "show", "point-2d", "--preset", "absent.ron"]);
    assert!(message.contains("cannot read absent.ron"), "{message}");
}

/// Fails when the message lacks the place, the key or the suggestion.
#[test]
fn unknown_key_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("my.ron"),
        "(\n    environment: (name: \"point-2d\", variant: Paper),\n    real_step: 10,\n)\n",
    )
    .unwrap();
    let message = refused_in(
        directory.path(),
        &["train", "point-2d", "--preset", "my.ron"],
    );
    assert_eq!(
        message,
        "error: my.ron:3:5: unknown key `real_step`, did you mean `real_steps`?\n"
    );
}

/// Fails when the message lacks the key or the suggestion.
#[test]
fn unknown_key_in_an_override() {
    let message = refused(&["train", "point-2d", "--set", "algorithm.meta_step=3"]);
    assert!(
        message.contains("no key `meta_step` in `algorithm`"),
        "{message}"
    );
    assert!(
        message.contains("did you mean `algorithm.meta_steps`?"),
        "{message}"
    );
}

/// Fails when the message lacks the value or the range.
#[test]
fn value_out_of_range() {
    let message = refused(&["train", "point-2d", "--set", "horizon=0"]);
    assert!(
        message.contains("`horizon` is 0, allowed is 1 to 100000"),
        "{message}"
    );
}

/// Fails when a directory that cannot be made is not named.
#[test]
fn unwritable_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let arguments = ["train", "point-2d", "--out", "file/run"];
    let message = refused_in(directory.path(), &arguments);
    assert!(message.contains("cannot write to file/run"), "{message}");
}

/// Fails when a run is overwritten.
#[test]
fn directory_of_another_run() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("run.json"), "{}").unwrap();
    let message = refused_in(directory.path(), &["train", "point-2d", "--out", "."]);
    assert!(
        message.contains(". already holds a run (found run.json)"),
        "{message}"
    );
}

/// Fails when the message about checkpoints without a run does not say what to do.
#[test]
fn remains_of_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoints = directory.path().join("run/checkpoints");
    std::fs::create_dir_all(&checkpoints).unwrap();
    std::fs::write(checkpoints.join("000001.json"), "").unwrap();
    let arguments = ["train", "point-2d", "--resume", "--out", "run"];
    let message = refused_in(directory.path(), &arguments);
    assert!(
        message.contains("run has files of a run, but no run.json")
            && message.contains("another directory with --out, or remove this one"),
        "{message}"
    );
}

/// Fails when the message does not say what is missing.
#[test]
fn missing_run() {
    let message = refused(&["evaluate", "nowhere"]);
    assert!(
        message.contains("nowhere is not a run: there is no such directory"),
        "{message}"
    );
    let message = refused(&["evaluate", "."]);
    assert!(message.contains("there is no config.ron"), "{message}");
}

/// Fails when the message does not name the Cargo feature.
#[test]
fn device_that_is_not_compiled_in() {
    if cfg!(feature = "webgpu") {
        return;
    }
    let message = refused(&["train", "point-2d", "--device", "webgpu"]);
    assert!(message.contains("--features webgpu"), "{message}");
}

/// Fails when an unknown instruction set, or one that this processor lacks, is accepted, or the
/// message does not say which ones there are.
#[test]
fn instructions_that_there_are_not() {
    let unknown = ["train", "point-2d", "--instructions", "avx51"];
    let message = refused(&unknown);
    assert!(message.contains("did you mean `avx512`?"), "{message}");
    for name in ["auto", "avx512", "avx2", "neon", "scalar"] {
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    // no processor has both
    let lacking = if cfg!(target_arch = "aarch64") {
        "avx2"
    } else {
        "neon"
    };
    for command in [&["train", "point-2d"][..], &["adapt", "nowhere"]] {
        let message = refused(&[command, &["--instructions", lacking]].concat());
        let expected = format!("error: this processor has no {lacking} instructions: it has ");
        assert!(message.starts_with(&expected), "{message}");
        assert!(
            message.contains("scalar\nhint: --instructions auto"),
            "{message}"
        );
    }
}

/// Fails when a damaged policy panics or is not named.
#[test]
fn damaged_policy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let shown = Command::cargo_bin("mbmpo")
        .unwrap()
        .args(["config", "show", "point-2d", "--preset", "quick"])
        .output()
        .unwrap();
    std::fs::write(path.join("config.ron"), shown.stdout).unwrap();
    std::fs::write(path.join("policy.safetensors"), "not a policy").unwrap();
    let message = refused_in(path, &["evaluate", "."]);
    assert!(
        message.contains("policy.safetensors: not a safetensors file"),
        "{message}"
    );
}

/// Writes a robot and a task to files and returns the error message of `mbmpo train`.
fn robot_refused(robot: &str, task: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("my.xml"), robot).unwrap();
    std::fs::write(directory.path().join("my_task.ron"), task).unwrap();
    let arguments = ["train", "--robot", "my.xml", "--task", "my_task.ron"];
    let message = refused_in(directory.path(), &arguments);
    assert!(
        !directory.path().join("runs").exists(),
        "nothing is left behind"
    );
    let check = ["env", "check", "--robot", "my.xml", "--task", "my_task.ron"];
    assert_eq!(refused_in(directory.path(), &check), message);
    message
}

const ROBOT: &str = r#"<mujoco model="cart">
    <worldbody>
        <body name="cart">
            <joint name="slider" type="slide" axis="1 0 0"/>
            <geom type="capsule" fromto="-.1 0 0 .1 0 0" size=".05" contype="0" conaffinity="0"/>
        </body>
    </worldbody>
    <actuator><motor joint="slider" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>"#;

const MOTOR: &str = r#"<motor joint="slider" ctrllimited="true" ctrlrange="-1 1"/>"#;

const TASK: &str = "(reward: [Alive(bonus: 1)])";

/// Fails when a mistake in a task file is accepted, or not named with its place.
#[test]
fn task_of_an_own_robot() {
    for (task, expected) in [
        (
            "(\n    rewards: [],\n)",
            "my_task.ron:2:5: unknown key `rewards`, did you mean `reward`?",
        ),
        (
            "(\n    reward: [Alive(bonus: yes)],\n)",
            "my_task.ron:2:27: `reward[0].bonus`: expected a number",
        ),
        (
            "(reward: [Alife(bonus: 1)])",
            "`reward[0]` cannot be `Alife`, did you mean `Alive`?",
        ),
        ("(horizon: 5)", "my_task.ron:1:1: key `reward` is missing"),
        (
            "(\n    reward: [Alive(bonus: 1)],\n    frame_skip: 0,\n    horizon: -1,\n)",
            "my_task.ron:4:14: `horizon`: expected a whole number",
        ),
        (
            "(\n    reward: [Alive(bonus: 1)],\n    horizon: 0, // none\n    frame_skip: 1001,\n)",
            "my_task.ron:4:17: `frame_skip` is 1001, allowed is 1 to 1000\n\
             my_task.ron:3:14: `horizon` is 0, allowed is 1 to 1000000",
        ),
        (
            "(reward: [Alive(bonus: 1)],\n reset: (initial_positions: {\"slider\": inf}))",
            "my_task.ron:2:40: `reset.initial_positions.slider` is inf, allowed is -1000000 to 1000000",
        ),
        (
            "(reward: [Alive(bonus: 1)],\n reset: (initial_positions: {\"slider\": 1, \"slider\": 2}))",
            "my_task.ron:2:43: key `reset.initial_positions.slider` is there twice",
        ),
        (
            "(reward: [Alive(bonus: 1)],\n termination: [Outside(components: [], low: 1, high: 0)])",
            "my_task.ron:2:36: `termination[0].components` is empty, allowed is at least one component\n\
             my_task.ron:2:45: `termination[0].low` is 1 to 0, allowed is a number below `high`",
        ),
        (
            "(reward: [Alive(bonus: inf)])",
            "my_task.ron:1:24: `reward[0].bonus` is inf, allowed is -1000000000 to 1000000000",
        ),
        (
            "(reward: [Alive(bonus: 1)], reset: (position_noise: NaN))",
            "my_task.ron:1:53: `reset.position_noise` is NaN",
        ),
        (
            "(reward: [NextObservation(component: \"slidr\", weight: 1)])",
            "my_task.ron with my.xml: reward or termination: there is no component of the observation `slidr`, \
             did you mean `slider`? (there are `slider`, `slider velocity`)",
        ),
        (
            "(reward: [Alive(bonus: 1)], observation: [Positions(of: Only([\"knee\"]))])",
            "there is no coordinate `knee` (there are `slider`)",
        ),
        ("not ron", "my_task.ron:1:1: "),
        ("", "my_task.ron:1:1: "),
    ] {
        let message = robot_refused(ROBOT, task);
        assert!(
            message.contains(expected),
            "{message}\nshould name\n{expected}"
        );
    }
}

/// Fails when a mistake in a robot file is accepted, or not named.
#[test]
fn own_robot() {
    for (robot, expected) in [
        ("not xml".to_owned(), "my.xml: "),
        (ROBOT.replace("slide\"", "ball\""), "my.xml: MJCF, line 4"),
        (ROBOT.replace(MOTOR, ""), "robot `cart` has no motors"),
        (ROBOT.replace("-1 1\"/>", "1 -1\"/>"), "my.xml: "),
        (ROBOT.replace("-1 1\"/>", "-1 nan\"/>"), "my.xml: "),
    ] {
        let message = robot_refused(&robot, TASK);
        assert!(
            message.contains(expected),
            "{message}\nshould name\n{expected}"
        );
    }
}

/// Fails when missing or contradictory arguments for a robot are accepted.
#[test]
fn files_of_an_own_robot() {
    let missing = ["train", "--robot", "absent.xml", "--task", "absent.ron"];
    assert!(refused(&missing).contains("cannot read absent.xml"));
    assert!(refused(&["train", "--robot", "my.xml"]).contains("--task <FILE.ron>"));
    assert!(refused(&["train", "--task", "my.ron"]).contains("--robot <FILE.xml>"));
    let both = ["train", "hopper", "--robot", "my.xml", "--task", "my.ron"];
    assert!(refused(&both).contains("cannot be used with"));
    assert!(refused(&["train"]).contains("which environment?"));
    assert!(refused(&["env", "check"]).contains("which environment?"));
    assert!(refused(&["env", "check", "hoper"]).contains("did you mean `hopper`?"));
    assert!(refused(&["env", "check", "hopper", "--variant", "papr"]).contains("`authors`"));
}
