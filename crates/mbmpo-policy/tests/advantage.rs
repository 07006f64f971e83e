//! Returns, GAE and the baseline must agree with values computed by hand, path by path.

use mbmpo_core::{Check, Trajectories};
use mbmpo_policy::advantage::{
    AdvantageConfig, LinearBaseline, advantages, discounted_returns, gae,
};

/// One-dimensional observations and actions.
fn paths(paths: &[&[(f32, f32)]]) -> Trajectories {
    let mut all = Trajectories::new(1, 1);
    for path in paths {
        for &(observation, reward) in *path {
            all.push(&[observation], &[0.0], &[0.0], reward);
        }
        all.end_path(false);
    }
    all
}

fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() < tolerance, "{actual:?} != {expected:?}");
    }
}

/// Fails when the discount is applied once too often, or when sums run over the end of a path.
#[test]
fn discounted_returns_by_hand() {
    let all = paths(&[
        &[(0.0, 1.0), (0.0, 2.0), (0.0, 4.0)],
        &[(0.0, 10.0), (0.0, 20.0)],
    ]);
    assert_close(
        &discounted_returns(&all, 0.5),
        &[1.0 + 1.0 + 1.0, 2.0 + 2.0, 4.0, 10.0 + 10.0, 20.0],
        1e-12,
    );
}

/// Fails when λ is left out, when V(s') is taken from the wrong row, or when the value after the
/// end of a path is that of another path.
#[test]
fn gae_by_hand() {
    let all = paths(&[&[(0.0, 1.0), (0.0, 2.0)], &[(0.0, 3.0)]]);
    let values = [0.5, 1.5, 7.0];
    let (discount, lambda) = (0.9, 0.8);
    let last = 2.0 + 0.9 * 10.0 - 1.5;
    let first = 1.0 + 0.9 * 1.5 - 0.5 + 0.9 * 0.8 * last;
    assert_close(
        &gae(&all, &values, &[10.0, 0.0], discount, lambda),
        &[first, last, 3.0 - 7.0],
        1e-12,
    );
}

/// With λ = 1 the advantage is return minus value, an identity independent of the recursion. Fails
/// when a term of the recursion is wrong.
#[test]
fn gae_at_lambda_one_is_return_minus_value() {
    let all = paths(&[
        &[(0.3, 1.0), (-0.1, -2.0), (0.7, 0.5)],
        &[(2.0, 3.0), (1.0, 1.0)],
    ]);
    let values = [0.2, -0.4, 1.0, 2.0, -1.0];
    let expected: Vec<f64> = discounted_returns(&all, 0.99)
        .iter()
        .zip(values)
        .map(|(r, v)| r - v)
        .collect();
    assert_close(&gae(&all, &values, &[0.0; 2], 0.99, 1.0), &expected, 1e-12);
}

/// Fails when a feature, the time or the clip is wrong: a target that is linear in the features
/// must be reproduced.
#[test]
fn the_baseline_reproduces_linear_functions_of_its_features() {
    let observations: Vec<f32> = (0..120)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 4.0)
        .collect();
    let rows: Vec<(f32, f32)> = observations.iter().map(|&o| (o, 0.0)).collect();
    let all = paths(&[&rows[..70], &rows[70..]]);
    let target = |o: f32, t: usize| {
        let o = f64::from(o).clamp(-10.0, 10.0);
        let t = t as f64 / 100.0;
        2.0 - 3.0 * o + 0.5 * o * o + 4.0 * t - 5.0 * t * t + 6.0 * t * t * t
    };
    let targets: Vec<f64> = (0..120)
        .map(|i| target(observations[i], if i < 70 { i } else { i - 70 }))
        .collect();
    let values = LinearBaseline::fit(&all, &targets, 1e-8).values(&all);
    assert_close(&values, &targets, 1e-3);
}

/// Fails when the ridge penalty is scaled wrongly. Two rows with observation 0 at t = 0, so only
/// the constant feature is not 0 and its weight is Σy / (n + ridge).
#[test]
fn the_ridge_by_hand() {
    let all = paths(&[&[(0.0, 0.0)], &[(0.0, 0.0)]]);
    let values = LinearBaseline::fit(&all, &[1.0, 4.0], 0.5).values(&all);
    assert_close(&values, &[2.0, 2.0], 1e-12);
}

/// Fails when advantages are not standardised per task.
#[test]
fn advantages_have_mean_zero_and_deviation_one() {
    let rows: Vec<(f32, f32)> = (0..50)
        .map(|i| ((i * 13 % 17) as f32, (i * 7 % 11) as f32))
        .collect();
    let config = AdvantageConfig::default().check().unwrap();
    let all = advantages(&config, &paths(&[&rows[..20], &rows[20..]]));
    let mean = all.iter().sum::<f64>() / 50.0;
    let variance = all.iter().map(|a| a * a).sum::<f64>() / 50.0;
    assert!(mean.abs() < 1e-9 && (variance - 1.0).abs() < 1e-6);
}
