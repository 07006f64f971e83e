//! Half-cheetah survives what a bad policy does to it, and says so when it cannot.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{cheetah, stream, uniform};
use mbmpo_core::{Environment, Error};
use rand::RngExt;

/// 5,000 control steps each without a reset of uniform, bang-bang and held bang-bang actions stay finite, slower than
/// 50 (MuJoCo's own stay below 40) and close to the ground.
#[test]
fn violent_actions() {
    for hold in [0, 1, 50] {
        let mut cheetah = cheetah();
        let mut random = stream(hold);
        cheetah.reset(&mut random);
        let mut action = vec![0.0; 6];
        for t in 0..5000 {
            if hold == 0 {
                action = uniform(6, &mut random);
            } else if t % hold == 0 {
                action.fill_with(|| if random.random() { 1.0 } else { -1.0 });
            }
            let step = cheetah.step(&action).unwrap();
            assert!(step.reward.is_finite());
            assert!(
                step.observation[8..].iter().all(|v| v.abs() < 50.0),
                "{hold}: {step:?}"
            );
            assert!(
                (-1.0..1.5).contains(&step.observation[0]),
                "{hold}: {step:?}"
            );
        }
    }
}

/// A state that is absurdly fast is reported with environment, step and joint; the next reset is as good as any.
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

/// An action of the wrong size is an error and changes nothing.
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

/// A component that is not a number acts as the lower bound, -1; one beyond the box as the nearest bound.
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
