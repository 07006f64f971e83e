//! The error of predictions on given trajectories and the disagreement of members, against models
//! whose predictions are known.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor};
use mbmpo_core::{DynamicsModel, Purpose, Result, Stream, Streams, Trajectories};
use mbmpo_models::{Disagreement, prediction_error};

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

/// Two episodes of s' = s + a, of 7 and of 3 steps, with an action that grows; the second component
/// stays where it is.
fn paths() -> Trajectories {
    let mut paths = Trajectories::new(2, 2);
    for length in [7, 3] {
        let mut s = [0.5, -2.0];
        for t in 0..length {
            let a = [0.25 * (t + 1) as f32, 0.0];
            let next = [s[0] + a[0], s[1]];
            paths.push(&s, &a, &next, 0.0);
            s = next;
        }
        paths.end_path(false);
    }
    paths
}

fn error(gains: &[f64], ahead: usize) -> Option<f64> {
    let mut noise = Streams::new(0).stream(Purpose::Test, 0, 0);
    let model = Gains(gains.to_vec());
    prediction_error(&model, &paths(), ahead, &Device::flex(), &mut noise).unwrap()
}

/// A gain of g predicts g times the change, so the relative error is (1 - g)². Fails when actions of
/// another step or episode are used, when members are not averaged, or when a component that does
/// not change counts.
#[test]
fn the_error_is_relative_to_predicting_no_change() {
    for ahead in [1, 2, 3] {
        assert!(error(&[1.0], ahead).unwrap() < 1e-10);
        assert!((error(&[0.0], ahead).unwrap() - 1.0).abs() < 1e-6);
        assert!((error(&[1.5], ahead).unwrap() - 0.25).abs() < 1e-6);
        assert!((error(&[0.0, 1.0, 1.5], ahead).unwrap() - 1.25 / 3.0).abs() < 1e-6);
    }
}

/// Fails when a prediction runs from one episode into the next, or an error is invented.
#[test]
fn no_episode_of_that_length_has_no_error() {
    assert!(error(&[1.5], 7).is_some());
    assert_eq!(error(&[1.5], 8), None);
}

/// Transitions whose first component changes by ±`change`; the second one stays.
fn shaken(count: usize, action: f32, change: f32) -> Trajectories {
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
    let data = shaken(10, 1.0, 0.5);
    let on = [shaken(4, 2.0, 9.0)];
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
    let data = shaken(10, 1.0, 1.0);
    let on = [shaken(60, 1.0, 1.0), shaken(60, 3.0, 1.0)];
    let expected = 2.0; // mean of 1 and 3
    for count in [4, 30, 1000] {
        assert!((measure(&[0.0, 2.0], &data, &on, count) - expected).abs() < 1e-5);
    }
}

/// Fails when nothing to compare is divided by.
#[test]
fn no_transitions_have_no_disagreement() {
    let data = shaken(10, 1.0, 1.0);
    assert_eq!(
        measure(&[0.0, 2.0], &data, &[Trajectories::new(2, 2)], 10),
        0.0
    );
    let still = shaken(10, 1.0, 0.0);
    assert_eq!(measure(&[0.0, 2.0], &still, &[data], 10), 0.0);
}
