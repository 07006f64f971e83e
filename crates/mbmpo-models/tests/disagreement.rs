//! The disagreement of members whose predictions are known.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor};
use mbmpo_core::{DynamicsModel, Purpose, Result, Stream, Streams, Trajectories};
use mbmpo_models::Disagreement;

/// s' = s + gain · a, a gain for each member.
struct Gains(Vec<f64>);

impl DynamicsModel for Gains {
    fn members(&self) -> usize {
        self.0.len()
    }

    fn step(
        &self,
        member: usize,
        observations: Tensor<2>,
        actions: Tensor<2>,
        _noise: &mut Stream,
    ) -> Result<Tensor<2>> {
        Ok(observations + actions * self.0[member])
    }
}

/// Transitions whose first component changes by ±`change`; the second one stays.
fn paths(count: usize, action: f32, change: f32) -> Trajectories {
    let mut paths = Trajectories::new(2, 2);
    for i in 0..count {
        let change = if i % 2 == 0 { change } else { -change };
        paths.push(&[3.0, 1.0], &[action, 0.5], &[3.0 + change, 1.0], 0.0);
    }
    paths.end_path(false);
    paths
}

fn measure(gains: &[f64], units: &Trajectories, on: &[Trajectories], count: usize) -> f64 {
    measure_with(gains, units, on, count, false)
}

fn measure_with(
    gains: &[f64],
    units: &Trajectories,
    on: &[Trajectories],
    count: usize,
    clip_actions: bool,
) -> f64 {
    let mut noise = Streams::new(0).stream(Purpose::Test, 0, 0);
    Disagreement::new(units, clip_actions)
        .measure(
            &Gains(gains.to_vec()),
            on,
            count,
            &Device::flex(),
            &mut noise,
        )
        .unwrap()
}

/// Members with gains 1 and 3 differ by ±a around their mean. Fails when the unit is not the change
/// in real data, when a component that never changes counts, when the variance is that of a
/// sample, or when the models see other actions than in imagination.
#[test]
fn disagreement_by_hand() {
    let data = paths(10, 1.0, 0.5);
    let on = [paths(4, 2.0, 9.0)];
    assert!((measure(&[1.0, 3.0], &data, &on, 100) - 2.0 / 0.5).abs() < 1e-5);
    assert_eq!(measure(&[1.0], &data, &on, 100), 0.0);
    let clipped = measure_with(&[1.0, 3.0], &data, &on, 100, true);
    assert!(
        (clipped - 1.0 / 0.5).abs() < 1e-5,
        "the models see an action of 1"
    );
}

/// Fails when only the first paths are looked at, a share of them is counted twice, or a few extreme
/// transitions decide (as in a root mean square over transitions).
#[test]
fn transitions_are_spread_over_all_paths() {
    let data = paths(10, 1.0, 1.0);
    let on = [paths(60, 1.0, 1.0), paths(60, 3.0, 1.0)];
    let expected = 2.0; // mean of 1 and 3
    for count in [4, 30, 1000] {
        assert!((measure(&[0.0, 2.0], &data, &on, count) - expected).abs() < 1e-5);
    }
}

/// Fails when nothing to compare is divided by.
#[test]
fn no_transitions_have_no_disagreement() {
    let data = paths(10, 1.0, 1.0);
    assert_eq!(
        measure(&[0.0, 2.0], &data, &[Trajectories::new(2, 2)], 10),
        0.0
    );
    let still = paths(10, 1.0, 0.0);
    assert_eq!(measure(&[0.0, 2.0], &still, &[data], 10), 0.0);
}
