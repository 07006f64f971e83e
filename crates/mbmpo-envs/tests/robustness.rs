//! Simulations stay finite under violent actions, and report divergence otherwise.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{cheetah, stream, uniform};
use mbmpo_core::{Environment, Error, Snapshot};
use mbmpo_envs::{RobotEnvironment, Variant};
use rand::RngExt;
use rayon::prelude::*;

/// Control steps of each run.
const STEPS: usize = 100_000;

/// A run without a reset: actions are uniform (`hold` 0), or -1 or 1 in each component, held for
/// `hold` control steps. Returns the highest speed.
fn violent_run(environment: &mut RobotEnvironment, hold: usize) -> f64 {
    let dim = environment.action_dim();
    let mut random = stream(hold as u64);
    environment.reset(&mut random);
    let mut action = vec![0.0; dim];
    let mut fastest: f64 = 0.0;
    for t in 0..STEPS {
        if hold == 0 {
            action = uniform(dim, &mut random);
        } else if t % hold == 0 {
            action.fill_with(|| if random.random() { 1.0 } else { -1.0 });
        }
        let step = environment.step(&action).unwrap();
        assert!(step.reward.is_finite(), "{}: {step:?}", environment.name());
        assert!(step.observation.iter().all(|x| x.is_finite()));
        let speeds = environment.velocities().iter().map(|v| v.abs());
        fastest = speeds.fold(fastest, f64::max);
    }
    fastest
}

/// 100,000 control steps without a reset, each of uniform, bang-bang and held bang-bang actions.
/// Fails when a state is not finite, or faster than MuJoCo's: the bounds are at least 1.5 times the
/// measured speeds.
#[test]
fn violent_actions() {
    let bounds = [
        ("walker2d", 200.0),
        ("hopper", 80.0),
        ("ant", 30.0),
        ("swimmer", 12.0),
        ("half-cheetah", 50.0),
        ("pr2-reacher", 60.0),
        ("inverted-pendulum", 100.0),
    ];
    let runs = bounds.map(|robot| [0, 1, 50].map(|hold| (robot, hold)));
    let runs = runs.as_flattened().par_iter().with_max_len(1);
    runs.for_each(|&((name, bound), hold)| {
        let mut environment = match name {
            "inverted-pendulum" => common::pendulum(),
            _ => RobotEnvironment::by_name(name, Variant::Paper).unwrap(),
        };
        let fastest = violent_run(&mut environment, hold);
        println!("{name}, held {hold}: {fastest:.1}");
        assert!(fastest < bound, "{name}, held {hold}: {fastest}");
    });
}

/// Fails when an absurdly fast state is not reported with environment, step and joint, or affects
/// the next episode.
#[test]
fn divergence_is_reported() {
    let mut cheetah = cheetah();
    for speed in [1e5, 1e300, f64::INFINITY, f64::NAN] {
        let mut velocity = [0.0; 9];
        velocity[4] = speed;
        cheetah.set_state(&[0.0; 9], &velocity).unwrap();
        let error = cheetah.step(&[0.0; 6]).unwrap_err();
        let Error::Diverged {
            environment,
            step,
            what,
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((environment.as_str(), *step), ("half-cheetah", 1));
        assert!(what.contains("joint `"), "{what}");
        let mut fresh = common::cheetah();
        assert_eq!(cheetah.reset(&mut stream(1)), fresh.reset(&mut stream(1)));
        for _ in 0..50 {
            let action = [0.3; 6];
            assert_eq!(cheetah.step(&action).unwrap(), fresh.step(&action).unwrap());
        }
    }
}

/// Fails when an action of the wrong size is accepted or changes the state.
#[test]
fn wrong_size() {
    let mut cheetah = cheetah();
    cheetah.reset(&mut stream(1));
    let before = cheetah.snapshot();
    for action in [&[][..], &[0.0; 5], &[0.0; 7]] {
        let error = cheetah.step(action).unwrap_err();
        assert!(matches!(error, Error::Shape { expected: 6, .. }), "{error}");
    }
    assert_eq!(cheetah.snapshot(), before);
    assert!(cheetah.set_state(&[0.0; 8], &[0.0; 9]).is_err());
    assert!(cheetah.set_state(&[0.0; 9], &[0.0; 10]).is_err());
}

/// Fails when a NaN does not act as -1, or a component outside `[-1, 1]` not as the nearest bound.
#[test]
fn actions_are_clipped() {
    let step = |action: [f32; 6]| {
        let mut cheetah = cheetah();
        cheetah.reset(&mut stream(1));
        cheetah.step(&action).unwrap()
    };
    let tame = step([-1.0, 1.0, -1.0, 1.0, 0.5, 1.0]);
    assert_eq!(
        tame,
        step([f32::NAN, 7.0, f32::NEG_INFINITY, f32::INFINITY, 0.5, 1e30])
    );
}

/// Fails when a snapshot with an impossible number is accepted or changes the state: a huge
/// coordinate, a quaternion of length 0, a negative or fractional number of steps.
#[test]
fn impossible_snapshots() {
    let mut ant = RobotEnvironment::by_name("ant", Variant::Paper).unwrap();
    ant.reset(&mut stream(1));
    let state = ant.snapshot();
    let at = |number: usize| state.len() - 8 * (15 + 14 + 4 - number);
    let forge = |numbers: &[(usize, f64)]| {
        let mut bytes = state.clone();
        for &(number, value) in numbers {
            bytes[at(number)..at(number) + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    };
    assert_eq!(
        forge(&[(32, 0.0)]),
        state,
        "the last number is that of steps"
    );
    let no_orientation = [(3, 0.0), (4, 0.0), (5, 0.0), (6, 0.0)];
    for numbers in [
        &[(0, 1e308)][..],
        &[(20, f64::NAN)],
        &[(32, 1e300)],
        &[(32, -5.0)],
        &[(32, 0.5)],
        &no_orientation,
    ] {
        assert!(ant.restore(&forge(numbers)).is_err(), "{numbers:?}");
        assert_eq!(ant.snapshot(), state);
    }
}
