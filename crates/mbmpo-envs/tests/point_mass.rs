//! Steps, rewards and ends of episodes of the point mass in each variant, and its optimal return.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::stream;
use mbmpo_core::Environment;
use mbmpo_envs::{PointMass, Variant};

/// The displacement is a tenth of the clipped action. The paper's reward is minus the squared norm
/// of the state before the step, the authors' minus the distance after it.
#[test]
fn one_step() {
    for variant in Variant::ALL {
        let mut point = PointMass::new(variant);
        let before = point.reset(&mut stream(1));
        assert!(before.iter().all(|x| x.abs() <= 2.0));
        let step = point.step(&[0.5, -3.0]).unwrap();
        let after = [before[0] + 0.05, before[1] - 0.1];
        assert!((step.observation[0] - after[0]).abs() < 1e-6);
        assert!((step.observation[1] - after[1]).abs() < 1e-6);
        let reward = match variant {
            Variant::Paper | Variant::Gym => -(before[0].powi(2) + before[1].powi(2)),
            Variant::Authors => -after[0].hypot(after[1]),
        };
        assert!((step.reward - reward).abs() < 1e-5, "{variant:?}");
        assert!(!step.terminated);
        assert!(point.step(&[0.0]).is_err());
    }
}

/// Only the authors' episode ends at the goal.
#[test]
fn goal() {
    for variant in Variant::ALL {
        let mut point = PointMass::new(variant);
        let mut observation = point.reset(&mut stream(2));
        let mut terminated = false;
        for _ in 0..25 {
            let step = point
                .step(&PointMass::optimal_action(&observation))
                .unwrap();
            terminated |= step.terminated;
            observation = step.observation;
        }
        assert!(observation.iter().all(|x| x.abs() < 1e-5));
        assert_eq!(terminated, variant == Variant::Authors);
    }
}

/// The closed form of the optimal expected return agrees with 20,000 episodes of the optimal
/// policy, within four standard errors, for a horizon shorter and one longer than the way to the
/// goal.
#[test]
fn optimal_return() {
    const EPISODES: u32 = 20_000;
    for horizon in [5, PointMass::HORIZON] {
        let mut point = PointMass::new(Variant::Paper);
        let mut random = stream(horizon as u64);
        let returns: Vec<f64> = (0..EPISODES)
            .map(|_| {
                let mut observation = point.reset(&mut random);
                let mut total = 0.0;
                for _ in 0..horizon {
                    let step = point
                        .step(&PointMass::optimal_action(&observation))
                        .unwrap();
                    total += f64::from(step.reward);
                    observation = step.observation;
                }
                total
            })
            .collect();
        let episodes = f64::from(EPISODES);
        let mean = returns.iter().sum::<f64>() / episodes;
        let variance = returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / episodes;
        let expected = PointMass::optimal_return(horizon);
        let error = (variance / episodes).sqrt();
        assert!(
            (mean - expected).abs() < 4.0 * error,
            "{mean} {expected} {error}"
        );
    }
    // the square of a state uniform in [-2, 2]² has the mean 8 / 3
    assert!((PointMass::optimal_return(1) + 8.0 / 3.0).abs() < 1e-12);
    assert_eq!(PointMass::optimal_return(0), 0.0);
}
