//! Advantage estimation: discounted returns, generalised advantage estimation, a linear baseline.

use mbmpo_core::{Check, Checked, Checker, Trajectories};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// The parameters of advantage estimation. The default is the paper's, and where the paper is
/// silent that of its authors' code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvantageConfig {
    /// γ. Paper A.3: 0.99.
    pub discount: f64,
    /// λ of generalised advantage estimation. Paper A.3: 1.
    pub gae_lambda: f64,
    /// Ridge penalty of the linear baseline's least squares. Authors' baseline: 1e-5.
    pub baseline_ridge: f64,
}

impl Default for AdvantageConfig {
    /// Appendix A.3 of the paper; where it is silent, the authors' code.
    fn default() -> Self {
        Self {
            discount: 0.99,
            gae_lambda: 1.0,
            baseline_ridge: 1e-5,
        }
    }
}

impl Check for AdvantageConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("discount", self.discount, 0.0..=1.0);
        checker.range("gae_lambda", self.gae_lambda, 0.0..=1.0);
        checker.positive("baseline_ridge", self.baseline_ridge);
    }
}

/// Advantages `[n]` of a task's paths: the linear baseline is fitted to the same paths, GAE is
/// computed with it, and the result standardised to mean 0 and standard deviation 1 (the authors'
/// sampler).
pub fn advantages(config: &Checked<AdvantageConfig>, paths: &Trajectories) -> Vec<f64> {
    let returns = discounted_returns(paths, config.discount);
    let values = LinearBaseline::fit(paths, &returns, config.baseline_ridge).values(paths);
    let ends = vec![0.0; paths.lengths.len()];
    let mut advantages = gae(paths, &values, &ends, config.discount, config.gae_lambda);
    standardize(&mut advantages);
    advantages
}

/// Discounted returns Σ_k γ^k r_{t+k} `[n]`, path by path.
pub fn discounted_returns(paths: &Trajectories, discount: f64) -> Vec<f64> {
    accumulate(paths, discount, |i, _| f64::from(paths.rewards[i]))
}

/// Generalised advantage estimation (Schulman et al. 2016, eq. 16) `[n]`, from `values` V(s_t)
/// `[n]` and `end_values` `[paths]`, V of the states after the last step of each path: 0 where the
/// task terminated the path, and in the authors' sampler also where the time limit ended it.
pub fn gae(
    paths: &Trajectories,
    values: &[f64],
    end_values: &[f64],
    discount: f64,
    lambda: f64,
) -> Vec<f64> {
    accumulate(paths, discount * lambda, |i, ended| {
        let next = ended.map_or_else(|| values[i + 1], |path| end_values[path]);
        f64::from(paths.rewards[i]) + discount * next - values[i]
    })
}

/// y_t = x_t + decay * y_{t+1} along each path. The arguments of `x` are the index of the
/// transition and, if it is the last of a path, the index of the path.
fn accumulate(
    paths: &Trajectories,
    decay: f64,
    x: impl Fn(usize, Option<usize>) -> f64,
) -> Vec<f64> {
    let mut sums = vec![0.0; paths.len()];
    for (number, path) in paths.paths().enumerate() {
        let end = path.end;
        let mut sum = 0.0;
        for i in path.rev() {
            sum = x(i, (i + 1 == end).then_some(number)) + decay * sum;
            sums[i] = sum;
        }
    }
    sums
}

/// Shifts and scales to mean 0 and standard deviation 1.
pub fn standardize(x: &mut [f64]) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance.sqrt() + 1e-8);
    x.iter_mut().for_each(|x| *x = (*x - mean) * scale);
}

/// A value function linear in features of the observation and the time (Duan et al. 2016; paper
/// A.3): clip(o, ±10), its square, t/100 to the powers 1, 2, 3, and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearBaseline {
    weights: DVector<f64>,
}

impl LinearBaseline {
    /// Least squares of `targets` `[n]` on the features. The ridge penalty is multiplied by ten
    /// (five trials) while the equations cannot be solved; after that, the baseline is 0.
    pub fn fit(paths: &Trajectories, targets: &[f64], ridge: f64) -> Self {
        let dim = features_dim(paths.observation_dim);
        // Normal equations, summed row by row: only the upper triangle is needed.
        let mut gram = DMatrix::<f64>::zeros(dim, dim);
        let mut moment = DVector::<f64>::zeros(dim);
        let mut row = vec![0.0; dim];
        for_each_feature_row(paths, &mut row, |i, row| {
            for (column, &x) in row.iter().enumerate() {
                moment[column] += x * targets[i];
                let target = &mut gram.as_mut_slice()[column * dim..][..=column];
                target
                    .iter_mut()
                    .zip(row)
                    .for_each(|(sum, y)| *sum += x * y);
            }
        });
        gram.fill_lower_triangle_with_upper_triangle();
        let weights = (0..5)
            .find_map(|attempt| {
                let penalty = ridge * 10f64.powi(attempt);
                let system = &gram + DMatrix::identity(dim, dim) * penalty;
                let solution = system.cholesky()?.solve(&moment);
                solution.iter().all(|x| x.is_finite()).then_some(solution)
            })
            .unwrap_or_else(|| DVector::zeros(dim));
        Self { weights }
    }

    /// V(s_t) `[n]`.
    pub fn values(&self, paths: &Trajectories) -> Vec<f64> {
        let mut values = vec![0.0; paths.len()];
        let mut row = vec![0.0; self.weights.len()];
        for_each_feature_row(paths, &mut row, |i, row| {
            values[i] = row.iter().zip(&self.weights).map(|(x, w)| x * w).sum();
        });
        values
    }
}

fn features_dim(observation_dim: usize) -> usize {
    2 * observation_dim + 4
}

fn for_each_feature_row(
    paths: &Trajectories,
    row: &mut [f64],
    mut visit: impl FnMut(usize, &[f64]),
) {
    let dim = paths.observation_dim;
    for path in paths.paths() {
        for (t, i) in path.enumerate() {
            for (j, &o) in paths.observation(i).iter().enumerate() {
                let o = f64::from(o).clamp(-10.0, 10.0);
                row[j] = o;
                row[dim + j] = o * o;
            }
            let t = t as f64 / 100.0;
            row[2 * dim..].copy_from_slice(&[t, t * t, t * t * t, 1.0]);
            visit(i, row);
        }
    }
}
