//! MuJoCo's constraints: one-sided, soft, and solved all at once.
//!
//! Each constraint asks for an acceleration `a_ref` along its row `J` of a Jacobian and pushes with
//! `f = max(0, (a_ref - J a) / R)`. With all of them, the acceleration minimises
//! `½ (a - a_free)ᵀ M (a - a_free) + ½ Σ min(0, J a - a_ref)² / R`, which is convex. (Todorov 2014, "Convex and
//! analytically-invertible dynamics with contacts and constraints".)

use rapier3d_f64::na::{Cholesky, DMatrix, DVector};

/// More than any robot of ours has needed; the minimum is then close enough.
const MAX_ITERATIONS: usize = 50;

/// All constraints that may act.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraints {
    /// `[rows, dofs]`
    jacobian: Vec<f64>,
    /// `a_ref` of every row.
    reference: Vec<f64>,
    /// `1 / R` of every row.
    strength: Vec<f64>,
}

impl Constraints {
    pub fn clear(&mut self) {
        self.jacobian.clear();
        self.reference.clear();
        self.strength.clear();
    }

    /// Adds a row with this Jacobian, which asks for the acceleration `reference` with regularisation `R`.
    pub fn push(&mut self, jacobian: &[f64], reference: f64, regularization: f64) {
        self.jacobian.extend_from_slice(jacobian);
        self.reference.push(reference);
        self.strength.push(1.0 / regularization);
    }

    /// The acceleration, where without constraints it would be `free`. None where the mass matrix is singular.
    ///
    /// Newton's method with an exact line search: the cost is piecewise quadratic, so it ends at the minimum as soon as
    /// a full step changes no row's mind.
    pub fn solve(&self, mass: &DMatrix<f64>, free: &DVector<f64>) -> Option<DVector<f64>> {
        let dofs = free.len();
        let rows = || self.jacobian.chunks_exact(dofs);
        let along = |direction: &DVector<f64>| -> Vec<f64> {
            rows().map(|row| dot(row, direction.as_slice())).collect()
        };
        let mut acceleration = free.clone();
        let mut residuals = along(&acceleration);
        for (residual, reference) in residuals.iter_mut().zip(&self.reference) {
            *residual -= reference;
        }
        for _ in 0..MAX_ITERATIONS {
            let departure = &acceleration - free;
            let inertial = mass * &departure;
            let mut gradient = inertial.clone();
            let mut hessian = mass.clone();
            for ((row, residual), strength) in rows().zip(&residuals).zip(&self.strength) {
                if *residual < 0.0 {
                    add_outer(&mut hessian, row, *strength);
                    for (gradient, entry) in gradient.iter_mut().zip(row) {
                        *gradient += strength * residual * entry;
                    }
                }
            }
            let direction = -Cholesky::new(hessian)?.solve(&gradient);
            let slopes = along(&direction);
            let unchanged = residuals
                .iter()
                .zip(&slopes)
                .all(|(residual, slope)| (*residual < 0.0) == (residual + slope < 0.0));
            if unchanged {
                return Some(acceleration + direction);
            }
            let curvature = direction.dot(&(mass * &direction));
            let length = self.line_search(&residuals, &slopes, inertial.dot(&direction), curvature);
            acceleration.axpy(length, &direction, 1.0);
            for (residual, slope) in residuals.iter_mut().zip(&slopes) {
                *residual += length * slope;
            }
        }
        Some(acceleration)
    }

    /// The minimum of the cost along a direction: the zero of its derivative, which is piecewise linear and increasing.
    /// `slope` and `curvature` are those of the inertial part at 0.
    fn line_search(&self, residuals: &[f64], slopes: &[f64], slope: f64, curvature: f64) -> f64 {
        let derivative = |length: f64| {
            let (mut first, mut second) = (slope + length * curvature, curvature);
            for ((residual, slope), strength) in residuals.iter().zip(slopes).zip(&self.strength) {
                let residual = residual + length * slope;
                if residual < 0.0 {
                    first += strength * residual * slope;
                    second += strength * slope * slope;
                }
            }
            (first, second)
        };
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut length: f64 = 1.0;
        for _ in 0..MAX_ITERATIONS {
            let (first, second) = derivative(length);
            if first < 0.0 {
                low = length;
            } else {
                high = length;
            }
            let next = length - first / second;
            let next = if next > low && next < high {
                next
            } else if high.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * length
            };
            if (next - length).abs() <= 1e-12 * length {
                return next;
            }
            length = next;
        }
        length
    }

    pub fn is_empty(&self) -> bool {
        self.reference.is_empty()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Adds `factor row rowᵀ`.
fn add_outer(matrix: &mut DMatrix<f64>, row: &[f64], factor: f64) {
    for (mut column, &entry) in matrix.column_iter_mut().zip(row) {
        if entry != 0.0 {
            let scale = factor * entry;
            for (sum, entry) in column.iter_mut().zip(row) {
                *sum += scale * entry;
            }
        }
    }
}
