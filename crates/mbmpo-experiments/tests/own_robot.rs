//! A user's robot, from its two files to a run that needs nothing but its directory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::Silent;
use mbmpo_experiments::{
    DeviceKind, EnvironmentChoice, RobotFiles, RunDirectory, RunInfo, Safety, Variant,
    check_environment, evaluate, preset, run,
};
use std::fs;
use std::path::Path;

const ROBOT: &str = r#"<mujoco model="cart">
    <option gravity="0 0 0"/>
    <worldbody>
        <body name="cart">
            <joint name="slider" type="slide" axis="1 0 0" damping="1"/>
            <geom type="capsule" fromto="-.1 0 0 .1 0 0" size=".05" contype="0" conaffinity="0"/>
        </body>
    </worldbody>
    <actuator><motor joint="slider" gear="10" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>"#;

const TASK: &str = r#"(
    horizon: 12,
    reward: [Distance(components: ["slider"], of: After, norm: Squared, weight: 1)],
    termination: [Outside(components: ["slider"], low: -1, high: 1)],
)"#;

const TINY: [&str; 9] = [
    "real_steps=60",
    "algorithm.initial_random_steps=60",
    "algorithm.real_steps_per_iteration=30",
    "algorithm.imagined_rollouts_per_task=2",
    "algorithm.meta_steps=1",
    "evaluation_episodes=3",
    "algorithm.ensemble.members=2",
    "algorithm.ensemble.hidden=[8]",
    "algorithm.ensemble.max_epochs=2",
];

fn files(directory: &Path) -> EnvironmentChoice {
    let files = RobotFiles {
        robot: directory.join("cart.xml"),
        task: directory.join("push.ron"),
    };
    fs::write(&files.robot, ROBOT).unwrap();
    fs::write(&files.task, TASK).unwrap();
    EnvironmentChoice::Files(files)
}

fn tiny() -> Vec<String> {
    TINY.map(str::to_owned).to_vec()
}

/// Fails when a run needs the files of its robot after it began, or cannot be moved or repeated.
#[test]
fn a_run_needs_nothing_but_its_directory() {
    let parent = tempfile::tempdir().unwrap();
    let mine = parent.path().join("mine");
    fs::create_dir(&mine).unwrap();
    let config = preset::resolve(files(&mine), "quick", &tiny()).unwrap();
    assert_eq!(config.environment.name, "cart");
    assert_eq!(config.horizon, Some(12), "the task's");

    let path = parent.path().join("run");
    let info = RunInfo::begin("cart", "quick", 1, DeviceKind::Cpu, 1, &[]);
    let mut directory = RunDirectory::create(Some(&path), &config, info).unwrap();
    // the run uses the copies
    fs::remove_dir_all(&mine).unwrap();
    run(&config, &mut directory, Safety::default(), &mut Silent).unwrap();
    assert_eq!(fs::read_to_string(path.join("robot.xml")).unwrap(), ROBOT);
    assert_eq!(fs::read_to_string(path.join("task.ron")).unwrap(), TASK);

    let moved = parent.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    let evaluation = evaluate(&moved, 4, 1).unwrap();
    assert_eq!(evaluation.environment, "cart");
    assert!(evaluation.lengths.iter().all(|&length| length <= 12));

    // and it can be repeated
    let again = moved.join("config.ron").display().to_string();
    let repeated = preset::resolve(EnvironmentChoice::OfPreset, &again, &[]).unwrap();
    assert_eq!(repeated.algorithm, config.algorithm);
    let info = RunInfo::begin("cart", "config", 1, DeviceKind::Cpu, 1, &[]);
    let second = parent.path().join("second");
    let mut directory = RunDirectory::create(Some(&second), &repeated, info).unwrap();
    run(&repeated, &mut directory, Safety::default(), &mut Silent).unwrap();
    let policy = |path: &Path| fs::read(path.join("policy.safetensors")).unwrap();
    assert!(policy(&moved) == policy(&second));
}

/// Fails when a preset for another environment is accepted, or one without any.
#[test]
fn its_preset_may_be_for_no_other_environment() {
    let parent = tempfile::tempdir().unwrap();
    let choice = files(parent.path());
    let config = preset::resolve("half-cheetah", "quick", &tiny()).unwrap();
    let other = parent.path().join("other.ron");
    fs::write(&other, config.to_ron().unwrap()).unwrap();
    let error = preset::resolve(choice, &other.display().to_string(), &[]).unwrap_err();
    assert!(error.is_input());
    let message = error.to_string();
    assert!(
        message.contains("for `half-cheetah`") && message.contains("is `cart`"),
        "{message}"
    );
    let error = preset::resolve(EnvironmentChoice::OfPreset, "quick", &[]).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("which environment?"));
}

/// Fails when a user's robot fails the checks, or they leave out the tensors.
#[test]
fn it_passes_the_checks_on_tensors_too() {
    let parent = tempfile::tempdir().unwrap();
    let environment = files(parent.path()).make(Variant::Paper).unwrap();
    let report = check_environment(environment.as_ref()).unwrap();
    assert_eq!(report.failures(), 0, "{report}");
    let last = report.checks.last().unwrap();
    assert_eq!(last.name, "the task is the same on tensors");
}

/// Fails when reward or termination of an environment differ between slices and tensors.
#[test]
fn every_environment_means_the_same_on_tensors() {
    for info in mbmpo_experiments::environments().unwrap() {
        let environment = EnvironmentChoice::from(info.name)
            .make(Variant::Paper)
            .unwrap();
        let report = check_environment(environment.as_ref()).unwrap();
        let last = report.checks.last().unwrap();
        assert_eq!(last.failure, None, "{}", info.name);
    }
}
