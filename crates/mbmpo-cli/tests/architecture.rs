//! Dependencies that a crate must not have, directly or indirectly: physics and tensors meet only
//! in the algorithm crates. And every crate keeps the lints of the workspace.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
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

/// Fails when the environments depend on tensors, policies or models.
#[test]
fn environments_know_no_tensors_and_no_policies() {
    assert_knows_nothing_of("mbmpo-envs", &TENSORS);
    assert_knows_nothing_of(
        "mbmpo-envs",
        &["mbmpo-policy", "mbmpo-models", "mbmpo-meta"],
    );
}

/// Fails when mbmpo-core depends on physics.
#[test]
fn core_does_not_depend_on_physics() {
    assert_knows_nothing_of("mbmpo-core", &PHYSICS);
}

/// Fails when models or policies depend on physics or on each other.
#[test]
fn models_and_policies_know_no_physics_and_not_each_other() {
    assert_knows_nothing_of("mbmpo-models", &PHYSICS);
    assert_knows_nothing_of("mbmpo-models", &["mbmpo-policy"]);
    assert_knows_nothing_of("mbmpo-policy", &PHYSICS);
    assert_knows_nothing_of("mbmpo-policy", &["mbmpo-models"]);
}

/// Fails when an algorithm can read files, draw or parse arguments.
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

/// Fails when the kernels depend on another crate of the workspace or on tensors.
#[test]
fn kernels_stand_alone() {
    let others = ["core", "envs", "models", "policy"].map(|name| format!("mbmpo-{name}"));
    assert_knows_nothing_of("mbmpo-kernels", &others.each_ref().map(String::as_str));
    assert_knows_nothing_of("mbmpo-kernels", &TENSORS);
}

/// Fails when the experiments depend on a library for terminals.
#[test]
fn experiments_know_no_terminal() {
    assert_knows_nothing_of("mbmpo-experiments", &["indicatif", "clap", "crossterm"]);
}

/// Fails for a crate without `[lints] workspace = true`, or that allows unsafe code at its root.
#[test]
fn every_crate_keeps_the_lints_and_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = fs::read_dir(root.join("crates")).unwrap();
    let mut directories: Vec<_> = crates.map(|entry| entry.unwrap().path()).collect();
    directories.push(root.join("xtask"));
    for directory in directories {
        let shown = directory.display();
        let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap();
        let inherits = manifest.contains("\n[lints]\nworkspace = true\n");
        assert!(
            inherits,
            "{shown}/Cargo.toml: add `[lints] workspace = true`"
        );
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| directory.join(file));
        let roots: Vec<_> = roots.iter().filter(|file| file.exists()).collect();
        assert!(
            !roots.is_empty(),
            "{shown} has no crate root that this test knows"
        );
        for file in roots {
            let source = fs::read_to_string(file).unwrap();
            let forbids = source.lines().any(|line| line == "#![forbid(unsafe_code)]");
            assert!(forbids, "{}: add `#![forbid(unsafe_code)]`", file.display());
        }
    }
}
