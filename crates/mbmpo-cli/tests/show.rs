//! `mbmpo env show` draws every robot twice, and refuses environments without a robot.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use std::fs;

fn mbmpo(arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("mbmpo")
        .unwrap()
        .args(["env", "show"])
        .args(arguments)
        .assert()
}

/// Fails when a picture is missing, or has another number of frames than asked for.
#[test]
fn portrait_and_strip() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("new/directory");
    let out = path.to_str().unwrap();
    mbmpo(&["ant", "--frames", "3", "--steps", "20", "--out", out]).success();
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../assets/inverted_pendulum"
    );
    let (robot, task) = (format!("{root}.xml"), format!("{root}.ron"));
    mbmpo(&[
        "--robot", &robot, "--task", &task, "--frames", "3", "--out", out,
    ])
    .success();
    for name in ["ant", "inverted_pendulum"] {
        let frames = |file: String| {
            let svg = fs::read_to_string(path.join(file)).unwrap();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
            svg.matches("class=\"frame\"").count()
        };
        assert_eq!(frames(format!("{name}.svg")), 1);
        assert_eq!(frames(format!("{name}-rollout.svg")), 3);
    }
}

/// Fails when a message does not name the wrong argument, or with another exit code than 2.
#[test]
fn refusals() {
    for (arguments, word) in [
        (&["point-2d"][..], "no robot"),
        (&["hoper"], "did you mean `hopper`"),
        (&["hopper", "--frames", "0"], "--frames"),
        (&["--run", "nowhere"], "nowhere is not a run"),
        (&["hopper", "--run", "nowhere"], "cannot be used with"),
        (&[], "which environment?"),
    ] {
        let refused = mbmpo(arguments).code(2);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
