//! Learning regression: MB-MPO from a preset to the policy that a run leaves, on two tasks with
//! three seeds each.
//!
//! Mean returns of 1,000 episodes, whose starts are the same for every policy:
//!
//! | | 2D point | pendulum |
//! |---|---|---|
//! | uniform random actions | -83.6 | -649 |
//! | no action | -80.4 | -611 |
//! | these seeds and six others, worst to best | -15.1 to -15.0 | -95.6 to -94.6 |
//! | best possible, over all starts | -14.7 | -92.3 |
//! | threshold | -15.5 | -105 |
//!
//! The best is known in closed form for the point, from value iteration on a grid for the pendulum.
//! Both were seen to miss their thresholds when the meta-step, or the advantages in it, have the
//! wrong sign; when it does nothing; and when the networks are not fitted, or are always those of
//! the iteration before. The pendulum also does when only the first, random steps are learned from.
//! The sign of the inner step cannot be seen here, as it is that small:
//! `mbmpo-meta/tests/meta_gradient.rs` tests that step itself.
//!
//! The six runs take a minute on one core, and the two tests run side by side.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::Silent;
use mbmpo_experiments::{
    DeviceKind, EnvironmentChoice, RobotFiles, RunDirectory, RunInfo, Safety, evaluate, preset, run,
};
use std::path::Path;

const SEEDS: [u64; 3] = [1, 2, 3];

/// Runs the preset `quick` with these settings and every seed, and asks of the policies that are
/// left that their mean return is above the threshold.
fn assert_learns(environment: &EnvironmentChoice, settings: &[&str], threshold: f64) {
    let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
    let config = preset::resolve(environment.clone(), "quick", &settings).unwrap();
    let name = &config.environment.name;
    for seed in SEEDS {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        // one thread, as the tests of this file run side by side; the results are those of any
        // number
        let info = RunInfo::begin(name, "quick", seed, DeviceKind::Cpu, 1, &[]);
        let mut directory = RunDirectory::create(Some(&path), &config, info).unwrap();
        run(&config, &mut directory, Safety::default(), &mut Silent).unwrap();
        let learned = evaluate(&path, 1_000, 1).unwrap().return_mean();
        println!("{name}, seed {seed}: {learned:.2}");
        assert!(learned > threshold, "{name}, seed {seed}: {learned}");
    }
}

/// Fails when MB-MPO no longer learns the 2D point, see above.
#[test]
fn the_point_goes_to_the_origin() {
    let settings = ["real_steps=3000", "evaluation_episodes=20"];
    assert_learns(&"point-2d".into(), &settings, -15.5);
}

/// A robot that hangs, stands up and stays there.
#[test]
fn the_pendulum_stands_up() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/pendulum");
    let environment = EnvironmentChoice::Files(RobotFiles {
        robot: data.join("pendulum.xml"),
        task: data.join("stand_up.ron"),
    });
    let settings = [
        "real_steps=7500",
        "algorithm.initial_random_steps=1500",
        "algorithm.real_steps_per_iteration=1500",
        "algorithm.imagined_rollouts_per_task=10",
        "algorithm.meta_steps=30",
        "algorithm.ensemble.hidden=[64, 64]",
        "algorithm.ensemble.max_epochs=50",
    ];
    assert_learns(&environment, &settings, -105.0);
}
