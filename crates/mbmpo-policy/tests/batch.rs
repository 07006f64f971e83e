//! Sums over batches of several chunks must agree with their formulas in double precision: the
//! clipped surrogate, TRPO's objective, mean actions. TRPO's step must stay within its bound on
//! random problems.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod by_hand;

use burn::tensor::{DType, Device};
use by_hand::assert_close;
use mbmpo_core::{Check, Purpose, Stream, Streams, Trajectories};
use mbmpo_policy::batch::{Placement, Samples, Surrogate, means};
use mbmpo_policy::trust_region::{self, Objective, TrustRegionConfig};
use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
use nalgebra::{DMatrix, DVector};
use rand::RngExt;
use rand_distr::StandardNormal;

const OBSERVATION: usize = 3;
const ACTION: usize = 2;
/// Three chunks; the last is not full, nor is its last block.
const ROWS: usize = 2_345;
const EPSILON: f64 = 0.2;

/// Samples of a policy, and parameters near its own.
struct Problem {
    network: GaussianMlp,
    old: Vec<f64>,
    moved: Vec<f64>,
    observations: Vec<f32>,
    actions: Vec<f32>,
    weights: Vec<f64>,
}

fn draw(stream: &mut Stream, n: usize) -> Vec<f32> {
    (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
}

/// Rounded to single precision, so that both precisions have the same problem.
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

fn problem() -> Problem {
    let config = PolicyConfig {
        hidden: vec![5],
        initial_std: 0.7,
        min_std: 0.4,
        ..PolicyConfig::default()
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, OBSERVATION, ACTION);
    let mut stream = Streams::new(4).stream(Purpose::Test, 0, 0);
    let mut old = network.initial_parameters(&config, &mut stream);
    old.iter_mut()
        .for_each(|x| *x = single(*x + stream.random_range(-0.3..0.3)));
    // log σ of the second component is below its lower bound
    let last = old.len() - 1;
    old[last] = -2.0;
    let mut moved: Vec<f64> = old
        .iter()
        .map(|x| single(x + stream.random_range(-0.1..0.1)))
        .collect();
    moved[last] = -2.0;
    let mut problem = Problem {
        network,
        old,
        moved,
        observations: Vec::new(),
        actions: Vec::new(),
        weights: Vec::new(),
    };
    while problem.weights.len() < ROWS {
        let observation = draw(&mut stream, OBSERVATION);
        let mean = problem.mean(&problem.old, &observation);
        let actions = mean.iter().zip(problem.log_std(&problem.old));
        let action: Vec<f32> = actions
            .map(|(mean, log_std)| {
                let noise: f64 = stream.sample(StandardNormal);
                (mean + log_std.exp() * noise) as f32
            })
            .collect();
        // finite differences and single precision must not cross the kinks of the clipped surrogate
        let ratio = problem.ratio(&problem.moved, &observation, &action);
        let off = |kink: f64| (ratio - kink).abs() > 0.02;
        if off(1.0 - EPSILON) && off(1.0 + EPSILON) {
            problem.observations.extend(observation);
            problem.actions.extend(action);
            let weight = stream.random_range(-1.0..1.0) / ROWS as f64;
            problem.weights.push(weight);
        }
    }
    problem
}

impl Problem {
    fn surrogate_with(&self, placement: Placement, weights: &[f64]) -> Surrogate {
        let (observations, actions) = (&self.observations, &self.actions);
        Samples::weighted(&self.network, placement, observations, actions, weights)
            .surrogate(&self.old)
    }

    fn objective(&self, placement: Placement) -> Surrogate {
        self.surrogate_with(placement, &self.weights)
    }

    fn mean(&self, theta: &[f64], observation: &[f32]) -> Vec<f64> {
        by_hand::network(self.network.sizes(), theta, observation)
    }

    fn log_std(&self, theta: &[f64]) -> Vec<f64> {
        let min_log_std = self.network.min_log_std();
        let log_std = &theta[theta.len() - self.network.action_dim()..];
        log_std.iter().map(|x| x.max(min_log_std)).collect()
    }

    fn log_likelihood(&self, theta: &[f64], observation: &[f32], action: &[f32]) -> f64 {
        let mean = self.mean(theta, observation);
        let components = mean.iter().zip(self.log_std(theta)).zip(action);
        components
            .map(|((mean, log_std), a)| {
                let z = (f64::from(*a) - mean) / log_std.exp();
                -0.5 * z * z - log_std - 0.5 * (2.0 * std::f64::consts::PI).ln()
            })
            .sum()
    }

    /// π_θ(a|s) / π_old(a|s)
    fn ratio(&self, theta: &[f64], observation: &[f32], action: &[f32]) -> f64 {
        let log = |theta| self.log_likelihood(theta, observation, action);
        (log(theta) - log(&self.old)).exp()
    }

    /// (ratio, weight) of every row.
    fn rows(&self, theta: &[f64]) -> Vec<(f64, f64)> {
        let (o, a) = (self.network.sizes()[0], self.network.action_dim());
        let rows = self.observations.chunks(o).zip(self.actions.chunks(a));
        rows.map(|(observation, action)| self.ratio(theta, observation, action))
            .zip(self.weights.iter().copied())
            .collect()
    }

    fn surrogate(&self, theta: &[f64]) -> f64 {
        self.rows(theta).iter().map(|(r, w)| r * w).sum()
    }

    fn clipped_surrogate(&self, theta: &[f64]) -> f64 {
        let term = |(r, w): &(f64, f64)| (r * w).min(r.clamp(1.0 - EPSILON, 1.0 + EPSILON) * w);
        self.rows(theta).iter().map(term).sum()
    }

    /// Mean of KL( N(μ, σ²) ‖ N(μ', σ'²) ) = Σ ln σ'/σ + (σ² + (μ - μ')²) / 2σ'² - 1/2.
    fn kl(&self, theta: &[f64]) -> f64 {
        let rows = self.observations.chunks(self.network.sizes()[0]);
        let count = rows.len() as f64;
        let (old_log_std, log_std) = (self.log_std(&self.old), self.log_std(theta));
        let of_row = |observation: &[f32]| -> f64 {
            let means = self.mean(&self.old, observation);
            let means = means.into_iter().zip(self.mean(theta, observation));
            let stds = old_log_std.iter().zip(&log_std);
            means
                .zip(stds)
                .map(|((old, new), (old_log, new_log))| {
                    let moments = (2.0 * old_log).exp() + (old - new).powi(2);
                    new_log - old_log + moments / (2.0 * (2.0 * new_log).exp()) - 0.5
                })
                .sum()
        };
        rows.map(of_row).sum::<f64>() / count
    }

    /// Mean of Jᵀ diag(1/σ²) J with the Jacobian J of the mean, and 2 for every log σ that is not
    /// clamped.
    fn fisher(&self) -> DMatrix<f64> {
        let count = self.old.len();
        let precision: Vec<f64> = self
            .log_std(&self.old)
            .iter()
            .map(|x| (-2.0 * x).exp())
            .collect();
        let mut fisher = DMatrix::zeros(count, count);
        for observation in self.observations.chunks(OBSERVATION) {
            for (j, precision) in precision.iter().enumerate() {
                let row = by_hand::gradient(|theta| self.mean(theta, observation)[j], &self.old);
                let row = DVector::from_vec(row);
                fisher.ger(precision / ROWS as f64, &row, &row, 1.0);
            }
        }
        for i in count - ACTION..count {
            let free = self.old[i] > self.network.min_log_std();
            fisher[(i, i)] += if free { 2.0 } else { 0.0 };
        }
        fisher
    }
}

/// Tensors in double and in single precision and slices, with the tolerances of the precisions.
fn placements() -> [(Placement, f64); 3] {
    let device = Device::flex();
    [
        (Placement::tensors(&device, DType::F64), 1e-7),
        (Placement::tensors(&device, DType::F32), 1e-4),
        (Placement::from(&device), 1e-4),
    ]
}

/// Fails when rows are clipped on the wrong side, or by the ratio without regard to the weight's
/// sign, when the factor r of the gradient is missing, when a chunk is left out, or when log σ
/// moves where it is clamped.
#[test]
fn the_clipped_gradient_is_that_of_finite_differences() {
    let p = problem();
    let rows = p.rows(&p.moved);
    let count = |above: bool, positive: bool| {
        let beyond = |r: f64| {
            if above {
                r > 1.0 + EPSILON
            } else {
                r < 1.0 - EPSILON
            }
        };
        let rows = rows.iter();
        rows.filter(|(r, w)| beyond(*r) && (*w > 0.0) == positive)
            .count()
    };
    // clipped are ratios above with a positive weight and ratios below with a negative one
    for above in [false, true] {
        for positive in [false, true] {
            assert!(count(above, positive) > 100, "{above} {positive}");
        }
    }
    let expected = by_hand::gradient(|theta| p.clipped_surrogate(theta), &p.moved);
    for (placement, tolerance) in placements() {
        let objective = p.objective(placement);
        let gradient = objective.clipped_gradient(&p.moved, EPSILON).unwrap();
        assert_close(&gradient, &expected, tolerance, "clipped gradient");
    }
    // without the clip the gradient is different, so the test detects a missing clip
    let unclipped = by_hand::gradient(|theta| p.surrogate(theta), &p.moved);
    let difference = DVector::from_vec(unclipped) - DVector::from_column_slice(&expected);
    assert!(difference.norm() > 0.3 * DVector::from_vec(expected).norm());
}

/// Where all ratios are 1, no row is clipped; where all are beyond 1 ± ε in the direction of their
/// advantage, all are. Fails when the wrong bound is used.
#[test]
fn the_clip_at_its_extremes() {
    let p = problem();
    for (placement, tolerance) in placements() {
        let objective = p.objective(placement.clone());
        let gradient = |theta, epsilon| objective.clipped_gradient(theta, epsilon).unwrap();
        let plain = objective.surrogate_gradient(&p.old).unwrap();
        assert_close(&gradient(&p.old, 1e-3), &plain, tolerance, "ratios of 1");
        let plain = objective.surrogate_gradient(&p.moved).unwrap();
        assert_close(&gradient(&p.moved, 1e6), &plain, tolerance, "no bound");

        // weights with the signs of r - 1
        let weights: Vec<f64> = p.rows(&p.moved).iter().map(|(r, _)| r - 1.0).collect();
        let surrogate = p.surrogate_with(placement, &weights);
        let left = surrogate.clipped_gradient(&p.moved, 0.0).unwrap();
        assert_eq!(left, vec![0.0; p.old.len()]);
    }
}

/// Fails when a chunk is left out or counted twice, when the divergence is a sum instead of a mean
/// (or the surrogate a mean instead of a sum), when the arguments of the divergence are swapped, or
/// when the lower bound of log σ is ignored.
#[test]
fn the_objective_of_trpo_agrees_with_its_formulas() {
    let p = problem();
    let by_surrogate = by_hand::gradient(|theta| p.surrogate(theta), &p.moved);
    let by_kl = by_hand::gradient(|theta| p.kl(theta), &p.moved);
    for (placement, tolerance) in placements() {
        let objective = p.objective(placement);
        assert_eq!(objective.len(), ROWS);
        let (surrogate, kl) = objective.evaluate(&p.moved).unwrap();
        assert_close(&[surrogate], &[p.surrogate(&p.moved)], tolerance, "value");
        assert_close(&[kl], &[p.kl(&p.moved)], tolerance, "divergence");
        assert_eq!(objective.mean_kl(&p.moved).unwrap(), kl);
        let gradient = Objective::surrogate_gradient(&objective, &p.moved).unwrap();
        assert_close(&gradient, &by_surrogate, tolerance, "gradient");
        let gradient = Objective::kl_gradient(&objective, &p.moved).unwrap();
        assert_close(&gradient, &by_kl, tolerance, "gradient of the divergence");
    }
}

/// Fails when a factor of the mean of Jᵀ diag(1/σ², 2) J is missing, when the mean is that of
/// chunks instead of rows, or when log σ moves where it is clamped.
#[test]
fn fisher_products_are_those_of_the_explicit_matrix() {
    let p = problem();
    let fisher = p.fisher();
    let mut stream = Streams::new(5).stream(Purpose::Test, 0, 0);
    let v: Vec<f64> = draw(&mut stream, p.old.len())
        .into_iter()
        .map(f64::from)
        .collect();
    let expected = &fisher * DVector::from_column_slice(&v);
    for (placement, tolerance) in placements() {
        let product = Objective::fisher_product(&p.objective(placement), &p.old, &v, 1e-2);
        assert_close(
            &product.unwrap(),
            expected.as_slice(),
            tolerance,
            "Fisher product",
        );
    }
}

/// Fails when weights are not divided by the number of samples, or the share is left out.
#[test]
fn weights_are_advantages_over_the_number_of_samples() {
    let p = problem();
    let mut paths = Trajectories::new(OBSERVATION, ACTION);
    let rows = p.observations.chunks(OBSERVATION);
    for (observation, action) in rows.zip(p.actions.chunks(ACTION)) {
        paths.push(observation, action, observation, 0.0);
    }
    paths.end_path(false);
    let advantages: Vec<f64> = p.weights.iter().map(|w| w * ROWS as f64 / 3.0).collect();
    for (placement, tolerance) in placements() {
        let on = placement.clone();
        let samples = Samples::with_share(&p.network, on, &paths, &advantages, 3.0);
        let (surrogate, _) = samples
            .surrogate(&p.old)
            .surrogate_and_kl(&p.moved)
            .unwrap();
        assert_close(&[surrogate], &[p.surrogate(&p.moved)], tolerance, "share");
        let samples = Samples::new(&p.network, placement, &paths, &advantages);
        let gradient = samples.policy_gradient(&p.old).unwrap();
        let expected: Vec<f64> = by_hand::gradient(|theta| p.surrogate(theta), &p.old)
            .into_iter()
            .map(|x| x / 3.0)
            .collect();
        assert_close(&gradient, &expected, tolerance, "policy gradient");
    }
}

/// Fails when chunks are cut or concatenated at the wrong rows.
#[test]
fn means_are_those_of_the_policy() {
    let p = problem();
    let policy = GaussianPolicy::new(p.network.clone(), &p.moved);
    let rows = p.observations.chunks(OBSERVATION);
    let expected: Vec<f64> = rows
        .flat_map(|row| policy.mean(row))
        .map(f64::from)
        .collect();
    for (placement, _) in placements() {
        let means = means(&p.network, placement, &p.moved, &p.observations).unwrap();
        let means: Vec<f64> = means.into_iter().map(f64::from).collect();
        assert_close(&means, &expected, 1e-6, "means");
    }
}

/// Random problems: policies of small and large standard deviation, advantages of any scale, one of
/// them far larger than all others. The divergence and the surrogate are recomputed by their
/// formulas, for the parameters in single precision, with which the policy acts. Fails when
/// something else than the mean divergence is bounded (its sum, its quadratic model), or when a
/// step that decreases the surrogate is taken.
#[test]
fn no_step_of_trpo_leaves_the_trust_region() {
    let config = TrustRegionConfig::default().check().unwrap();
    let (mut accepted, mut close, mut problems) = (0, 0, 0);
    for seed in 0..8 {
        for std in [0.01, 1.0, 50.0] {
            for scale in [1e-3, 1.0, 1e4] {
                let p = random_problem(seed, std, scale);
                let objective = p.objective(Placement::from(&Device::flex()));
                let outcome = trust_region::step(&config, &objective, &p.old).unwrap();
                let theta: Vec<f64> = outcome.theta.iter().map(|&x| single(x)).collect();
                let what = format!("seed {seed}, σ {std}, advantages {scale}");
                let kl = p.kl(&theta);
                assert!(kl <= 0.01 * (1.0 + 1e-3), "{what}: {kl}");
                let (before, after) = (p.surrogate(&p.old), p.surrogate(&theta));
                let size: f64 = p.weights.iter().map(|w| w.abs()).sum();
                assert!(after >= before - 1e-6 * size, "{what}: {before} {after}");
                problems += 1;
                accepted += usize::from(outcome.accepted);
                close += usize::from(kl > 0.005);
            }
        }
    }
    // most steps are accepted, and most of those come close to the bound
    assert!(accepted > problems * 9 / 10, "{accepted} of {problems}");
    assert!(close > problems * 2 / 3, "{close} of {problems}");
}

fn random_problem(seed: u64, std: f64, scale: f64) -> Problem {
    let config = PolicyConfig {
        hidden: vec![8, 8],
        initial_std: std,
        ..PolicyConfig::default()
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, OBSERVATION, ACTION);
    let mut stream = Streams::new(seed).stream(Purpose::Test, 0, 0);
    let old = network.initial_parameters(&config, &mut stream);
    let old: Vec<f64> = old.into_iter().map(single).collect();
    let rows = 1_100;
    let observations = draw(&mut stream, rows * OBSERVATION);
    let policy = GaussianPolicy::new(network.clone(), &old);
    let actions = observations
        .chunks(OBSERVATION)
        .flat_map(|row| mbmpo_core::Policy::act(&policy, row, &mut stream))
        .collect();
    let mut weights: Vec<f64> = (0..rows)
        .map(|_| scale * stream.random_range(-1.0..1.0) / rows as f64)
        .collect();
    weights[17] *= 300.0;
    Problem {
        network,
        moved: old.clone(),
        old,
        observations,
        actions,
        weights,
    }
}
