//! A robot with a task: observations, initial states, the effect of actions, and mistakes that are
//! refused.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::stream;
use mbmpo_core::Environment;
use mbmpo_envs::{RobotEnvironment, TaskDescription};

/// Two slides and a motor whose controls are from 1 to 5.
const ROBOT: &str = r#"<mujoco>
    <option gravity="0 0 0"/>
    <worldbody>
        <body name="cart">
            <joint name="slider" type="slide" axis="1 0 0"/>
            <joint name="lift" type="slide" axis="0 0 1"/>
            <geom type="capsule" fromto="-.1 0 0 .1 0 0" size=".05" contype="0" conaffinity="0"/>
        </body>
    </worldbody>
    <actuator><motor joint="slider" ctrllimited="true" ctrlrange="1 5"/></actuator>
</mujoco>"#;

fn make(task: &str) -> mbmpo_core::Result<RobotEnvironment> {
    RobotEnvironment::from_text("cart", ROBOT, task)
}

fn refused(task: &str) -> String {
    make(task)
        .err()
        .unwrap_or_else(|| panic!("accepted: {task}"))
        .to_string()
}

/// Fails when a selection has other components, another order or other labels.
#[test]
fn selections_choose_and_name_components() {
    let labels = |observation: &str| {
        let task = format!("(observation: [{observation}], reward: [Alive(bonus: 1)])");
        make(&task).unwrap().labels().to_vec()
    };
    assert_eq!(
        labels("Positions(of: Only([\"lift\", \"slider\"]))"),
        ["lift", "slider"]
    );
    assert_eq!(
        labels("Velocities(of: AllBut([\"slider\"]))"),
        ["lift velocity"]
    );
    assert_eq!(
        labels("Velocities(), Positions(of: AllBut([\"lift\"]))"),
        ["slider velocity", "lift velocity", "slider",]
    );
    let default = make("(reward: [Alive(bonus: 1)])").unwrap();
    assert_eq!(
        default.labels(),
        ["slider", "lift", "slider velocity", "lift velocity"]
    );
    assert_eq!(default.horizon(), 200);
}

/// Fails when noise is added to the wrong part of the state, or an initial position is lost.
#[test]
fn the_first_state_is_the_initial_one_plus_noise() {
    let task = |position: f64, velocity: f64| {
        let reset = format!(
            "position_noise: {position:?}, velocity_noise: {velocity:?}, initial_positions: {{\"lift\": 3}}"
        );
        make(&format!("(reward: [Alive(bonus: 1)], reset: ({reset}))")).unwrap()
    };
    assert_eq!(task(0.0, 0.0).reset(&mut stream(1)), [0.0, 3.0, 0.0, 0.0]);
    let mut still = task(0.5, 0.0);
    let first = still.reset(&mut stream(1));
    assert!(first[0] != 0.0 && first[1] != 3.0 && first[2..] == [0.0; 2]);
    let mut fast = task(0.0, 0.5);
    let first = fast.reset(&mut stream(1));
    assert!(first[..2] == [0.0, 3.0] && first[2] != 0.0 && first[3] != 0.0);
}

/// Fails when velocities are not clipped in the observation, or the reward has an unclipped one.
#[test]
fn clipping() {
    let mut cart = make(
        "(observation: [Velocities(clip: 10)], \
          reward: [NextObservation(component: \"lift velocity\", weight: 2)])",
    )
    .unwrap();
    cart.set_state(&[0.0; 2], &[0.0, -70.0]).unwrap();
    let step = cart.step(&[0.0]).unwrap();
    assert_eq!(step.observation[1], -10.0);
    assert_eq!(step.reward, -20.0);
    assert!(cart.velocities()[1] < -60.0);
}

/// -1, 0 and 1 are the lowest, the middle and the highest control of the motor.
#[test]
fn actions_span_the_range_of_the_motor() {
    let speed = |action: f32| {
        let mut cart = make("(reward: [Alive(bonus: 1)])").unwrap();
        cart.set_state(&[0.0; 2], &[0.0; 2]).unwrap();
        f64::from(cart.step(&[action]).unwrap().observation[2])
    };
    let unit = speed(-1.0);
    assert!(unit > 0.0);
    assert!((speed(0.0) / unit - 3.0).abs() < 1e-6);
    assert!((speed(1.0) / unit - 5.0).abs() < 1e-6);
}

/// A control step is `frame_skip` MuJoCo time steps.
#[test]
fn frame_skip() {
    let cart =
        |skip: usize| make(&format!("(frame_skip: {skip}, reward: [Alive(bonus: 1)])")).unwrap();
    let (mut one, mut three) = (cart(1), cart(3));
    assert!((three.control_time_step() / one.control_time_step() - 3.0).abs() < 1e-12);
    for _ in 0..3 {
        one.step(&[0.5]).unwrap();
    }
    three.step(&[0.5]).unwrap();
    assert_eq!(one.positions(), three.positions());
}

/// Every mistake in a task is an error that names it.
#[test]
fn mistakes_are_named() {
    let with = |rest: &str| refused(&format!("(reward: [Alive(bonus: 1)], {rest})"));
    for (message, expected) in [
        (refused("(reward: [])"), "`reward` is empty"),
        (refused("()"), "missing"),
        (
            refused("(reward: [Alive(bonus: NaN)])"),
            "`reward[0].bonus` is NaN",
        ),
        (
            refused("(reward: [Alive(bonus: 1e300)])"),
            "`reward[0].bonus`",
        ),
        (refused("(reward: [Alive(bonus: 1)"), "1:"),
        (refused("(reward: [Survive(bonus: 1)])"), "Survive"),
        (with("frame_skips: 1"), "frame_skips"),
        (
            with("frame_skip: 0"),
            "`frame_skip` is 0, allowed is 1 to 1000",
        ),
        (with("horizon: 0"), "`horizon` is 0, allowed is 1 to 100000"),
        (with("observation: []"), "`observation` is empty"),
        (
            with(&format!("observation: [{}]", "Positions(),".repeat(1001))),
            "`observation` is 1001 parts, allowed is at most 1000",
        ),
        (
            with("observation: [Positions(clip: 0)]"),
            "`observation[0].clip` is 0",
        ),
        (
            with("observation: [Positions(of: Only([]))]"),
            "observation: it has no component",
        ),
        (
            with("observation: [Positions(of: Only([\"lifd\"]))]"),
            "observation[0]: there is no coordinate `lifd`, did you mean `lift`? (there are `slider`, `lift`)",
        ),
        (
            with("observation: [Positions(), Positions(of: Only([\"lift\"]))]"),
            "observation: `lift` appears twice",
        ),
        (with("reward_clip: -1"), "`reward_clip` is -1"),
        (
            with("termination: [Outside(components: [\"lift\"], low: 2, high: 1)]"),
            "`termination[0].low` is 2 to 1",
        ),
        (
            with("termination: [Outside(components: [\"lift\"], low: NaN, high: 1)]"),
            "`termination[0].low` is NaN",
        ),
        (
            with("termination: [Outside(components: [\"left\"], low: 0, high: 1)]"),
            "there is no component of the observation `left`, did you mean `lift`?",
        ),
        (
            refused("(reward: [NextObservation(component: \"slider speed\", weight: 1)])"),
            "(there are `slider`, `lift`, `slider velocity`, `lift velocity`)",
        ),
        (
            with("reset: (position_noise: -1)"),
            "`reset.position_noise` is -1",
        ),
        (
            with("reset: (velocity_noise: inf)"),
            "`reset.velocity_noise` is inf",
        ),
        (
            with("reset: (initial_positions: {\"lift\": NaN})"),
            "`reset.initial_positions.lift` is NaN",
        ),
        (
            with("reset: (initial_positions: {\"x\": 1})"),
            "reset.initial_positions: there is no coordinate `x`",
        ),
        (with("observation: [ToGoal]"), "`goal` is missing"),
        (
            with("goal: (site: \"tip\", low: (0, 0, 0), high: (1, 1, 1))"),
            "`goal` is given",
        ),
        (
            with("observation: [ToGoal], goal: (site: \"tip\", low: (0, 2, 0), high: (1, 1, 1))"),
            "`goal.high[1]` is 1",
        ),
        (
            with("observation: [ToGoal], goal: (site: \"tip\", low: (0, 0, 0), high: (1, 1, 1))"),
            "goal.site: there is no site `tip` (there are none)",
        ),
    ] {
        assert!(
            message.contains(expected),
            "{message}\nshould name\n{expected}"
        );
    }
    let motionless = ROBOT.replace(
        "<motor joint=\"slider\" ctrllimited=\"true\" ctrlrange=\"1 5\"/>",
        "",
    );
    let error = RobotEnvironment::from_text("cart", &motionless, "(reward: [Alive(bonus: 1)])");
    assert!(error.err().unwrap().to_string().contains("no motors"));
}

/// What is written reads back the same.
#[test]
fn round_trip() {
    let text = include_str!("../../../assets/hopper.ron");
    let task = TaskDescription::from_ron(text, "hopper.ron").unwrap();
    let written = ron::to_string(&*task).unwrap();
    assert_eq!(
        TaskDescription::from_ron(&written, "written").unwrap(),
        task
    );
}
