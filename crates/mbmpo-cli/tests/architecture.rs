//! Physics and tensors never meet outside the algorithm crates: what each crate must not have in its tree of
//! dependencies, however far down.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

/// Names of all crates that `package` needs, built on its own with default features.
fn tree(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let text = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.split(' ').next().unwrap().to_owned();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(name)
        .collect()
}

fn assert_knows_nothing_of(package: &str, forbidden: &[&str]) {
    let tree = tree(package);
    assert!(tree.iter().any(|name| name == package), "{tree:?}");
    for name in &tree {
        let related = |root: &&&str| name == **root || name.starts_with(&format!("{root}-"));
        let found = forbidden.iter().find(related);
        assert!(found.is_none(), "{package} must not depend on {name}");
    }
}

const PHYSICS: [&str; 5] = ["rapier3d", "parry3d", "mjcf", "nphysics", "mbmpo-envs"];
const TENSORS: [&str; 3] = ["burn", "cubecl", "ndarray"];

#[test]
fn environments_know_no_tensors_and_no_policies() {
    assert_knows_nothing_of("mbmpo-envs", &TENSORS);
    assert_knows_nothing_of(
        "mbmpo-envs",
        &["mbmpo-policy", "mbmpo-models", "mbmpo-meta"],
    );
}

#[test]
fn the_shared_words_know_no_physics() {
    assert_knows_nothing_of("mbmpo-core", &PHYSICS);
}

#[test]
fn models_and_policies_know_no_physics_and_not_each_other() {
    assert_knows_nothing_of("mbmpo-models", &PHYSICS);
    assert_knows_nothing_of("mbmpo-models", &["mbmpo-policy"]);
    assert_knows_nothing_of("mbmpo-policy", &PHYSICS);
    assert_knows_nothing_of("mbmpo-policy", &["mbmpo-models"]);
}

#[test]
fn algorithms_know_no_files_and_no_command_line() {
    let outside = [
        "mbmpo-experiments",
        "mbmpo-cli",
        "clap",
        "indicatif",
        "kuva",
        "ron",
    ];
    for package in ["mbmpo-meta", "mbmpo-baselines"] {
        assert_knows_nothing_of(package, &PHYSICS);
        assert_knows_nothing_of(package, &outside);
    }
}

#[test]
fn experiments_know_no_terminal() {
    assert_knows_nothing_of("mbmpo-experiments", &["indicatif", "clap", "crossterm"]);
}
