//! A task file, for a cart with a free ball and a site.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_core::{Environment, Purpose, Snapshot, Streams};
use mbmpo_envs::{RobotDescription, RobotEnvironment, TaskDescription};
use std::sync::LazyLock;

static ROBOT: LazyLock<RobotDescription> = LazyLock::new(|| {
    let xml = r#"<mujoco>
        <worldbody>
            <body name="cart">
                <joint name="slider" type="slide" axis="1 0 0"/>
                <geom type="capsule" fromto="-.1 0 0 .1 0 0" size=".05" contype="0" conaffinity="0"/>
                <site name="tip" pos="0 0 .5"/>
            </body>
            <body name="ball"><freejoint name="root"/><geom type="sphere" size=".1"/></body>
        </worldbody>
        <actuator><motor joint="slider" gear="10" ctrllimited="true" ctrlrange="-1 1"/></actuator>
    </mujoco>"#;
    RobotDescription::from_mjcf(xml).unwrap()
});

fuzz_target!(|text: &str| {
    let Ok(task) = TaskDescription::from_ron(text, "task.ron") else {
        return;
    };
    let steps = if task.frame_skip > 5 { 1 } else { 3 };
    if let Ok(mut environment) = RobotEnvironment::new("cart", &ROBOT, task) {
        let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
        let observation = environment.reset(&mut stream);
        assert_eq!(observation.len(), environment.observation_dim());
        for _ in 0..steps {
            // a task may begin where the simulation diverges, which is an error
            let Ok(step) = environment.step(&[1.0]) else {
                break;
            };
            assert_eq!(step.observation.len(), environment.observation_dim());
            assert!(step.reward.is_finite());
        }
        let snapshot = environment.snapshot();
        let _ = environment.restore(&snapshot);
    }
});
