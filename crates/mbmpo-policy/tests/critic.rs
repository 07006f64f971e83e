//! The gradient of the value network must be that of least squares, and the values after the ends
//! of paths must be 0 where the task terminated the path.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod by_hand;

use burn::tensor::Device;
use by_hand::assert_close;
use mbmpo_core::{Purpose, Stream, Streams, Trajectories};
use mbmpo_policy::ValueNetwork;
use rand::RngExt;

const OBSERVATION: usize = 3;
const SIZES: [usize; 4] = [OBSERVATION, 5, 4, 1];

fn stream() -> Stream {
    Streams::new(6).stream(Purpose::Test, 0, 0)
}

fn draw(stream: &mut Stream, n: usize) -> Vec<f32> {
    (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
}

fn critic(stream: &mut Stream) -> (ValueNetwork, Vec<f64>) {
    let (network, mut parameters) =
        ValueNetwork::new(&SIZES[1..3], OBSERVATION, &Device::flex(), stream).unwrap();
    let log_std = parameters.len() - 1;
    parameters[..log_std]
        .iter_mut()
        .for_each(|x| *x = f64::from((*x + stream.random_range(-0.3..0.3)) as f32));
    (network, parameters)
}

fn value(parameters: &[f64], observation: &[f32]) -> f64 {
    by_hand::network(&SIZES, parameters, observation)[0]
}

/// Fails when the gradient has the wrong sign, when the factor ½ or a weight is missing, when a
/// chunk is left out, or when σ has a gradient: V would then no longer be fitted by least squares.
#[test]
fn the_gradient_is_that_of_least_squares() {
    let mut stream = stream();
    let (critic, parameters) = critic(&mut stream);
    let rows = 1_234;
    let observations = draw(&mut stream, rows * OBSERVATION);
    let targets = draw(&mut stream, rows);
    let weights: Vec<f64> = (0..rows).map(|_| stream.random_range(0.0..2.0)).collect();
    let gradient = critic
        .gradient(&parameters, &observations, &targets, &weights)
        .unwrap();
    let objective = |parameters: &[f64]| -> f64 {
        let rows = observations.chunks(OBSERVATION).zip(&targets).zip(&weights);
        rows.map(|((observation, y), w)| {
            -0.5 * w * (value(parameters, observation) - f64::from(*y)).powi(2)
        })
        .sum()
    };
    // the objective does not depend on log σ, so its derivative is 0
    let expected = by_hand::gradient(objective, &parameters);
    assert_close(&gradient, &expected, 1e-4, "gradient");
    assert_eq!(gradient.last(), Some(&0.0));
    assert_eq!(gradient.len(), critic.gaussian().parameter_count());
}

/// Fails when values are not those of the network, or in another order.
#[test]
fn values_are_those_of_the_network() {
    let mut stream = stream();
    let (critic, parameters) = critic(&mut stream);
    let observations = draw(&mut stream, 1_234 * OBSERVATION);
    let values = critic.values(&parameters, &observations).unwrap();
    let rows = observations.chunks(OBSERVATION);
    let expected: Vec<f64> = rows.map(|row| value(&parameters, row)).collect();
    assert_close(&values, &expected, 1e-5, "values");
}

/// Fails when a path that the task terminated has an end value, when one that the time limit ended
/// has none, when the flag `bootstrap` is ignored, or when the state is not the one after the last
/// step.
#[test]
fn end_values_are_those_of_the_last_states() {
    let mut stream = stream();
    let (critic, parameters) = critic(&mut stream);
    let mut paths = Trajectories::new(OBSERVATION, 1);
    for (length, terminated) in [(3, false), (1, true), (4, true), (2, false)] {
        for _ in 0..length {
            let observation = draw(&mut stream, OBSERVATION);
            // not used: the next observations are an argument, because they are normalised
            paths.push(&observation, &[0.0], &[9.0; OBSERVATION], 1.0);
        }
        paths.end_path(terminated);
    }
    let next = draw(&mut stream, 10 * OBSERVATION);
    let after = |i: usize| value(&parameters, &next[i * OBSERVATION..(i + 1) * OBSERVATION]);
    let ends = |bootstrap| {
        critic
            .end_values(&parameters, &paths, &next, bootstrap)
            .unwrap()
    };
    let with = ends(true);
    assert_close(&with, &[after(2), 0.0, 0.0, after(9)], 1e-5, "end values");
    assert_eq!(with[1..3], [0.0; 2]);
    assert_eq!(ends(false), [0.0; 4]);
}
