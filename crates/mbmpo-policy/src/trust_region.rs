//! Trust-region policy optimisation (Schulman et al. 2015): one step along the natural gradient, of
//! the length that the constraint on the KL divergence allows, shortened by a backtracking line
//! search until it satisfies the constraint and improves the objective.

use mbmpo_core::{Check, Checked, Checker, Error, Result};
use serde::{Deserialize, Serialize};

/// The parameters of a trust-region step. The default is the paper's, except that `fisher` and
/// `fisher_step` are ours; where the paper is silent it is that of its authors' optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRegionConfig {
    /// δ, the bound on the mean KL divergence. Paper A.3: 0.01.
    pub max_kl: f64,
    /// Conjugate-gradient iterations. Authors' optimiser: 10.
    pub cg_iterations: usize,
    /// Conjugate gradients stop where the squared residual falls below this. Authors' optimiser:
    /// 1e-10.
    pub cg_tolerance: f64,
    /// Added to the diagonal of the Fisher matrix. Authors' optimiser: 1e-5.
    pub cg_damping: f64,
    /// How the products of the Fisher matrix with a vector are computed. Paper A.3: finite
    /// differences. Ours: analytic, the same product at a third of the cost.
    pub fisher: FisherProducts,
    /// Euclidean length of the change of θ in finite differences. Ours: 0.01, which keeps both
    /// rounding and the third derivative small. The paper names no step; the authors' code uses
    /// `|v| / |θ|`, because an argument out of order replaces an intended 1e-8.
    pub fisher_step: f64,
    /// Factor between two trials of the line search. Authors' optimiser: 0.8.
    pub backtrack_ratio: f64,
    /// Number of trials of the line search. Authors' optimiser: 15.
    pub max_backtracks: usize,
}

impl Default for TrustRegionConfig {
    fn default() -> Self {
        Self {
            max_kl: 0.01,
            cg_iterations: 10,
            cg_tolerance: 1e-10,
            cg_damping: 1e-5,
            fisher: FisherProducts::Analytic,
            fisher_step: 0.01,
            backtrack_ratio: 0.8,
            max_backtracks: 15,
        }
    }
}

/// How the products of the Fisher matrix with a vector are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FisherProducts {
    /// By symmetric finite differences of the gradient of the KL divergence (paper A.3):
    /// [`fisher_product`].
    FiniteDifferences,
    /// By [`Objective::fisher_product`]: the same matrix for less work.
    Analytic,
}

impl Check for TrustRegionConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.positive("max_kl", self.max_kl);
        checker.range("cg_iterations", self.cg_iterations, 1..=1000);
        checker.range("cg_tolerance", self.cg_tolerance, 0.0..=1.0);
        checker.range("cg_damping", self.cg_damping, 0.0..=1e6);
        checker.positive("fisher_step", self.fisher_step);
        let inside = self.backtrack_ratio > 0.0 && self.backtrack_ratio < 1.0;
        checker.demand(
            "backtrack_ratio",
            self.backtrack_ratio,
            inside,
            "above 0, below 1",
        );
        checker.range("max_backtracks", self.max_backtracks, 1..=1000);
    }
}

/// A surrogate objective to maximise, constrained by the mean KL divergence from the old policy.
/// All methods fail only when a result cannot be read back from the device.
pub trait Objective {
    /// (surrogate objective, mean KL divergence from the old policy) at `theta`.
    fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)>;

    /// Gradient of the surrogate objective at `theta`.
    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>>;

    /// Gradient of the mean KL divergence at `theta`.
    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>>;

    /// The Hessian of the mean KL divergence at the old policy's `theta`, times `v`. Objectives
    /// that need finite differences change θ by `step`.
    fn fisher_product(&self, theta: &[f64], v: &[f64], step: f64) -> Result<Vec<f64>>;
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The new parameters, or the old ones when no trial was accepted.
    pub theta: Vec<f64>,
    /// Whether a trial of the line search was accepted.
    pub accepted: bool,
    /// Mean KL divergence of the accepted step, else 0.
    pub kl: f64,
    /// Increase of the surrogate objective, else 0.
    pub gain: f64,
}

/// One step from `theta`. The parameters stay the same where no trial of the line search increases
/// the surrogate within the trust region.
///
/// # Errors
/// When the surrogate, its gradient or the direction of the step is not finite at `theta`, or those
/// of the objective.
pub fn step(
    config: &Checked<TrustRegionConfig>,
    objective: &impl Objective,
    theta: &[f64],
) -> Result<Outcome> {
    let unchanged = Outcome {
        theta: theta.to_vec(),
        accepted: false,
        kl: 0.0,
        gain: 0.0,
    };
    let gradient = objective.surrogate_gradient(theta)?;
    let (before, _) = objective.evaluate(theta)?;
    for (what, number) in [
        ("the surrogate objective", before),
        (
            "the gradient of the surrogate objective",
            dot(&gradient, &gradient),
        ),
    ] {
        if !number.is_finite() {
            let what = what.to_owned();
            return Err(Error::NotFinite { what });
        }
    }
    let fisher = |v: &[f64]| {
        let mut product = match config.fisher {
            FisherProducts::FiniteDifferences => {
                fisher_product(objective, theta, v, config.fisher_step)?
            }
            FisherProducts::Analytic => objective.fisher_product(theta, v, config.fisher_step)?,
        };
        axpy(&mut product, config.cg_damping, v);
        Ok(product)
    };
    let direction =
        conjugate_gradient(fisher, &gradient, config.cg_iterations, config.cg_tolerance)?;
    // The longest step within the quadratic model of the constraint: ½ s² dᵀHd = δ.
    if !dot(&direction, &direction).is_finite() {
        let what = "the direction of the trust-region step".to_owned();
        return Err(Error::NotFinite { what });
    }
    let curvature = dot(&direction, &fisher(&direction)?);
    let length = (2.0 * config.max_kl / (curvature + 1e-8)).sqrt();
    let length = if length.is_finite() { length } else { 1.0 };

    for trial in 0..config.max_backtracks {
        let mut candidate = theta.to_vec();
        let ratio = config.backtrack_ratio.powi(trial as i32);
        axpy(&mut candidate, ratio * length, &direction);
        let (surrogate, kl) = objective.evaluate(&candidate)?;
        if surrogate > before && kl <= config.max_kl {
            return Ok(Outcome {
                theta: candidate,
                accepted: true,
                kl,
                gain: surrogate - before,
            });
        }
    }
    Ok(unchanged)
}

/// F v, the Hessian of the KL divergence at `theta` times `v`, by symmetric finite differences of
/// its gradient at a distance of `step` from `theta` (paper A.3, after Finn et al. 2017).
///
/// # Errors
/// Those of the objective.
pub fn fisher_product(
    objective: &impl Objective,
    theta: &[f64],
    v: &[f64],
    step: f64,
) -> Result<Vec<f64>> {
    let norm = dot(v, v).sqrt();
    if norm == 0.0 {
        return Ok(vec![0.0; v.len()]);
    }
    let epsilon = step / norm;
    let gradient_at = |shift: f64| {
        let mut shifted = theta.to_vec();
        axpy(&mut shifted, shift, v);
        objective.kl_gradient(&shifted)
    };
    let ahead = gradient_at(epsilon)?;
    let behind = gradient_at(-epsilon)?;
    Ok(ahead
        .iter()
        .zip(&behind)
        .map(|(a, b)| (a - b) / (2.0 * epsilon))
        .collect())
}

/// Solves A x = b by conjugate gradients from x = 0, for a symmetric positive definite A given by
/// its products with vectors. Stops where the squared residual is at most `tolerance`.
///
/// # Errors
/// Those of the products.
pub fn conjugate_gradient(
    product: impl Fn(&[f64]) -> Result<Vec<f64>>,
    b: &[f64],
    iterations: usize,
    tolerance: f64,
) -> Result<Vec<f64>> {
    let mut x = vec![0.0; b.len()];
    let mut residual = b.to_vec();
    let mut direction = b.to_vec();
    let mut residual_squared = dot(&residual, &residual);
    for _ in 0..iterations {
        if residual_squared <= tolerance {
            break;
        }
        let image = product(&direction)?;
        let step = residual_squared / dot(&direction, &image);
        axpy(&mut x, step, &direction);
        axpy(&mut residual, -step, &image);
        let previous = residual_squared;
        residual_squared = dot(&residual, &residual);
        let keep = residual_squared / previous;
        for (d, r) in direction.iter_mut().zip(&residual) {
            *d = r + keep * *d;
        }
    }
    Ok(x)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// y += a x
fn axpy(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}
