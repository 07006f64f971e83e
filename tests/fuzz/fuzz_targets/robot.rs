//! An MJCF document; where it is a robot, its first steps and its picture.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_core::{Checked, Environment, Purpose, Snapshot, Streams};
use mbmpo_envs::{RobotDescription, RobotEnvironment, TaskDescription, picture};
use std::sync::LazyLock;

static TASK: LazyLock<Checked<TaskDescription>> = LazyLock::new(|| {
    TaskDescription::from_ron("(reward: [Alive(bonus: 1)])", "task.ron").unwrap()
});

fuzz_target!(|xml: &str| {
    let Ok(robot) = RobotDescription::from_mjcf(xml) else {
        return;
    };
    assert!(robot.total_mass().is_finite());
    let Ok(mut environment) = RobotEnvironment::new("robot", &robot, TASK.clone()) else {
        return;
    };
    let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
    environment.reset(&mut stream);
    let action = vec![1.0; environment.action_dim()];
    for _ in 0..2 {
        // a robot may diverge, which is an error
        if environment.step(&action).is_err() {
            break;
        }
    }
    picture(&robot, &[environment.frame()]);
    let snapshot = environment.snapshot();
    let _ = environment.restore(&snapshot);
});
