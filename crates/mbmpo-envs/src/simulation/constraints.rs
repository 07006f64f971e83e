//! MuJoCo's constraints: one-sided, soft, and solved together.
//!
//! Each constraint has a reference acceleration `a_ref` along its row `J` of the Jacobian and
//! exerts the force `f = max(0, (a_ref - J a) / R)`. With all of them, the acceleration minimises
//! `½ (a - a_free)ᵀ M (a - a_free) + ½ Σ min(0, J a - a_ref)² / R`, which is convex. (Todorov 2014,
//! "Convex and analytically-invertible dynamics with contacts and constraints".)

use super::symmetric::{Symmetric, dot};

/// Most iterations of Newton's method and of the line search; no robot of ours has needed as many.
const MAX_ITERATIONS: usize = 50;

/// All constraints that may be active.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraints {
    /// `[rows, dofs]`
    jacobian: Vec<f64>,
    /// `a_ref` of every row.
    reference: Vec<f64>,
    /// `1 / R` of every row.
    strength: Vec<f64>,
    workspace: Workspace,
}

/// Buffers that are kept between calls.
#[derive(Debug, Clone, Default)]
struct Workspace {
    /// `J a - a_ref` of every row.
    residuals: Vec<f64>,
    /// `J` times the direction of every row.
    slopes: Vec<f64>,
    /// `a - a_free`
    departure: Vec<f64>,
    /// `M (a - a_free)`
    inertial: Vec<f64>,
    /// Gradient of the cost, then Newton's direction.
    direction: Vec<f64>,
    hessian: Symmetric,
}

impl Constraints {
    pub fn clear(&mut self) {
        self.jacobian.clear();
        self.reference.clear();
        self.strength.clear();
    }

    /// Adds a row with this Jacobian, the reference acceleration `a_ref` and the regularisation
    /// `R`.
    pub fn push(&mut self, jacobian: &[f64], reference: f64, regularization: f64) {
        self.jacobian.extend_from_slice(jacobian);
        self.reference.push(reference);
        self.strength.push(1.0 / regularization);
    }

    /// Replaces the acceleration without constraints by that with constraints. False where the mass
    /// matrix is singular.
    ///
    /// Newton's method with an exact line search: the cost is piecewise quadratic, so it is at the
    /// minimum as soon as a full step leaves the active set unchanged.
    #[must_use]
    pub fn solve(&mut self, mass: &Symmetric, acceleration: &mut [f64]) -> bool {
        let dofs = acceleration.len();
        let mut workspace = std::mem::take(&mut self.workspace);
        let Workspace {
            residuals,
            slopes,
            departure,
            inertial,
            direction,
            hessian,
        } = &mut workspace;
        let rows = || self.jacobian.chunks_exact(dofs);
        residuals.clear();
        residuals.extend(
            rows()
                .zip(&self.reference)
                .map(|(row, reference)| dot(row, acceleration) - reference),
        );
        if residuals.iter().all(|&residual| residual >= 0.0) {
            self.workspace = workspace;
            return true;
        }
        for vector in [&mut *departure, inertial, direction] {
            vector.clear();
            vector.resize(dofs, 0.0);
        }
        let mut sound = true;
        for _ in 0..MAX_ITERATIONS {
            mass.multiply(departure, inertial);
            direction.copy_from_slice(inertial);
            hessian.clone_from(mass);
            for ((row, residual), strength) in rows().zip(&*residuals).zip(&self.strength) {
                if *residual < 0.0 {
                    hessian.add_outer(*strength, row);
                    for (gradient, entry) in direction.iter_mut().zip(row) {
                        *gradient += strength * residual * entry;
                    }
                }
            }
            direction.iter_mut().for_each(|gradient| *gradient *= -1.0);
            sound = hessian.factorize();
            if !sound {
                break;
            }
            hessian.solve(direction);
            slopes.clear();
            slopes.extend(rows().map(|row| dot(row, direction)));
            let settled = residuals
                .iter()
                .zip(&*slopes)
                .all(|(residual, slope)| (*residual < 0.0) == (residual + slope < 0.0));
            let length = if settled {
                1.0
            } else {
                let slope = dot(inertial, direction);
                mass.multiply(direction, inertial);
                let curvature = dot(inertial, direction);
                self.line_search(residuals, slopes, slope, curvature)
            };
            for ((departure, acceleration), direction) in departure
                .iter_mut()
                .zip(&mut *acceleration)
                .zip(&*direction)
            {
                *departure += length * direction;
                *acceleration += length * direction;
            }
            for (residual, slope) in residuals.iter_mut().zip(&*slopes) {
                *residual += length * slope;
            }
            if settled {
                break;
            }
        }
        self.workspace = workspace;
        sound
    }

    /// The step length that minimises the cost along a direction: the zero of its derivative, which
    /// is piecewise linear and increasing. `slope` and `curvature` are those of the inertial part
    /// at 0.
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
}
