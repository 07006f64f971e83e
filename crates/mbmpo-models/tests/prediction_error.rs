//! The error of predictions on given trajectories, against models whose error is known.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor};
use mbmpo_core::{DynamicsModel, Purpose, Result, Stream, Streams, Trajectories};
use mbmpo_models::prediction_error;

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
