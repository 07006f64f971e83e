//! Every environment can be made by name and agrees with the catalogue.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::stream;
use mbmpo_core::Environment;
use mbmpo_core::task::Transition;
use mbmpo_envs::{NAMES, RobotEnvironment, Variant, catalogue, make};

/// Fails when a size, horizon or time step in the catalogue differs from the environment's, in any
/// variant.
#[test]
fn catalogue_agrees_with_the_environments() {
    let catalogue = catalogue().unwrap();
    let names: Vec<_> = catalogue.iter().map(|info| info.name).collect();
    assert_eq!(names, NAMES);
    for info in catalogue {
        for variant in Variant::ALL {
            let mut environment = make(info.name, variant).unwrap();
            assert_eq!(environment.name(), info.name);
            assert_eq!(environment.observation_dim(), info.observation_dim);
            assert_eq!(environment.action_dim(), info.action_dim);
            assert_eq!(environment.horizon(), info.horizon);
            if variant != Variant::Gym {
                assert_eq!(environment.control_time_step(), info.control_time_step);
            }
            assert!(environment.task().required_observation_dim() <= info.observation_dim);
            assert_eq!(
                environment.reset(&mut stream(0)).len(),
                info.observation_dim
            );
            let step = environment.step(&vec![0.0; info.action_dim]).unwrap();
            assert_eq!(step.observation.len(), info.observation_dim);
        }
    }
}

/// Fails when an unknown name is accepted, or the message lacks the known names.
#[test]
fn unknown_name() {
    let error = make("half-cheeta", Variant::Paper)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("half-cheeta`"), "{error}");
    assert!(
        error.contains("`half-cheetah`") && error.contains("`point-2d`"),
        "{error}"
    );
}

/// Control steps \[s\], sizes and initial states of the paper's robots (reference: appendix A.3 and
/// the authors' code).
#[test]
fn robots_are_those_of_the_paper() {
    for (name, authors, gym, observation, action) in [
        ("half-cheetah", 0.01, 0.05, 17, 6),
        ("swimmer", 0.01, 0.04, 8, 2),
        ("hopper", 0.02, 0.008, 11, 3),
        ("walker2d", 0.02, 0.008, 17, 6),
        ("ant", 0.02, 0.05, 27, 8),
        ("pr2-reacher", 0.05, 0.05, 17, 7),
    ] {
        for (variant, time_step) in [
            (Variant::Paper, authors),
            (Variant::Authors, authors),
            (Variant::Gym, gym),
        ] {
            let robot = RobotEnvironment::by_name(name, variant).unwrap();
            assert!(
                (robot.control_time_step() - time_step).abs() < 1e-12,
                "{name}"
            );
            assert_eq!(robot.observation_dim(), observation, "{name}");
            assert_eq!(robot.action_dim(), action, "{name}");
            assert_eq!(robot.horizon(), 200, "{name}");
        }
    }
    let ant = RobotEnvironment::by_name("ant", Variant::Paper).unwrap();
    let initial = [
        0.0, 0.0, 0.55, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0,
    ];
    assert_eq!(ant.positions(), initial);
}

/// Index of the forward velocity in the observation, and the reward of a step to a state in which
/// everything but that velocity is 0, with actions of 1 (the authors' rewards of imagined steps).
#[test]
fn rewards_are_those_of_the_authors() {
    for (name, component, expected) in [
        ("half-cheetah", 8, 3.0 - 0.1 * 6.0),
        ("swimmer", 3, 3.0 - 1e-4 * 2.0),
        ("hopper", 5, 3.0 + 1.0 - 1e-3 * 3.0),
        ("walker2d", 8, 3.0 + 1.0 - 1e-3 * 6.0),
        ("ant", 13, 3.0 + 1.0 - 0.005 * 8.0),
    ] {
        let robot = make(name, Variant::Paper).unwrap();
        let mut next = vec![0.0; robot.observation_dim()];
        next[component] = 3.0;
        let reward = robot.task().reward(&Transition {
            observation: &vec![0.0; next.len()],
            action: &vec![1.0; robot.action_dim()],
            next_observation: &next,
        });
        assert!((reward - expected).abs() < 1e-6, "{name}: {reward}");
    }
    for (variant, weight) in [
        (Variant::Paper, 0.05),
        (Variant::Gym, 0.05),
        (Variant::Authors, 0.005),
    ] {
        let arm = make("pr2-reacher", variant).unwrap();
        let mut before = [0.0; 17];
        before[14..].copy_from_slice(&[0.1, 0.2, 0.2]);
        let reward = arm.task().reward(&Transition {
            observation: &before,
            action: &[1.0; 7],
            next_observation: &[9.0; 17],
        });
        assert!(
            (reward + 0.09 + 7.0 * weight).abs() < 1e-6,
            "{variant}: {reward}"
        );
    }
}

/// States a little outside of each healthy range end an episode, states a little inside do not.
#[test]
fn episodes_end_where_the_authors_end_them() {
    for (name, component, inside, outside) in [
        ("hopper", 0, 0.71, 0.69),
        ("hopper", 1, -0.19, -0.21),
        ("hopper", 4, 99.0, 101.0),
        ("hopper", 10, -99.0, -101.0),
        ("walker2d", 0, 1.99, 2.01),
        ("walker2d", 0, 0.81, 0.79),
        ("walker2d", 1, 0.99, 1.01),
        ("ant", 0, 0.21, 0.19),
        ("ant", 0, 0.99, 1.01),
        ("ant", 0, 0.5, f32::NAN),
    ] {
        let robot = make(name, Variant::Paper).unwrap();
        let ends = |value: f32| {
            let mut next = vec![0.0; robot.observation_dim()];
            next[0] = if name == "ant" { 0.5 } else { 1.2 };
            next[component] = value;
            let transition = Transition {
                observation: &next,
                action: &vec![0.0; robot.action_dim()],
                next_observation: &next,
            };
            robot.task().termination(&transition) == 1.0
        };
        assert!(!ends(inside) && ends(outside), "{name} {component}");
    }
    for name in ["half-cheetah", "swimmer", "pr2-reacher"] {
        let robot = make(name, Variant::Paper).unwrap();
        assert!(robot.task().termination.is_empty(), "{name}");
    }
}

/// The arm's observation ends with the goal minus the tip; the goal is drawn in the authors' box at
/// every reset. Fails when it changes within an episode or is that of the last one, or the
/// difference has the wrong sign.
#[test]
fn goal_of_the_arm() {
    let mut arm = RobotEnvironment::by_name("pr2-reacher", Variant::Paper).unwrap();
    let sites = &arm.simulation().robot().sites;
    let tip = sites.iter().position(|site| site.name == "tip").unwrap();
    let goal = |arm: &RobotEnvironment, observation: &[f32]| {
        let at = arm.simulation().site(tip);
        [0, 1, 2].map(|i| f64::from(observation[14 + i]) + at[i])
    };
    let mut goals = vec![];
    for episode in 0..20 {
        let first = arm.reset(&mut stream(episode));
        let drawn = goal(&arm, &first);
        for (x, range) in drawn.iter().zip([0.4..=0.6, 0.25..=0.75, 0.6..=1.0]) {
            assert!(range.contains(x), "{drawn:?}");
        }
        for _ in 0..10 {
            let step = arm.step(&[1.0; 7]).unwrap();
            let now = goal(&arm, &step.observation);
            assert!(drawn.iter().zip(now).all(|(a, b)| (a - b).abs() < 1e-6));
        }
        goals.push(drawn);
    }
    let spread = |axis: usize| {
        let along = goals.iter().map(|goal| goal[axis]);
        along.clone().fold(f64::MIN, f64::max) - along.fold(f64::MAX, f64::min)
    };
    assert!(spread(0) > 0.1 && spread(1) > 0.25 && spread(2) > 0.2);
}

/// Fails when the ant's initial orientation has no noise, or is not normalised.
#[test]
fn orientation_of_the_ant() {
    let mut ant = RobotEnvironment::by_name("ant", Variant::Paper).unwrap();
    ant.reset(&mut stream(1));
    let quaternion = &ant.positions()[3..7];
    assert!(quaternion[1..].iter().all(|&x| x != 0.0));
    let squares = quaternion.iter().map(|x| x * x);
    assert!((squares.sum::<f64>() - 1.0).abs() < 1e-12);
}
