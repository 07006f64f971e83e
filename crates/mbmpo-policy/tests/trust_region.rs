//! The trust-region step must be the natural-gradient step of its quadratic model, and leave the
//! parameters unchanged when no trial improves the objective. The problems are solved by hand or
//! with explicit matrices.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::{Check, Checked, Result};
use mbmpo_policy::trust_region::{
    FisherProducts, Objective, TrustRegionConfig, conjugate_gradient, fisher_product, step,
};
use nalgebra::{Matrix3, Vector3};

fn config() -> Checked<TrustRegionConfig> {
    TrustRegionConfig {
        cg_tolerance: 1e-20,
        cg_damping: 0.0,
        fisher: FisherProducts::FiniteDifferences,
        fisher_step: 1e-3,
        ..TrustRegionConfig::default()
    }
    .check()
    .unwrap()
}

fn hessian() -> Matrix3<f64> {
    Matrix3::new(4.0, 1.0, 0.0, 1.0, 3.0, -1.0, 0.0, -1.0, 2.0)
}

/// Surrogate gᵀθ - b |θ|² with slope g and bend b, and divergence ½ θᵀHθ.
struct Quadratic {
    slope: Vector3<f64>,
    bend: f64,
}

impl Objective for Quadratic {
    fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)> {
        let theta = Vector3::from_column_slice(theta);
        let surrogate = self.slope.dot(&theta) - self.bend * theta.norm_squared();
        Ok((surrogate, 0.5 * theta.dot(&(hessian() * theta))))
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let theta = Vector3::from_column_slice(theta);
        let gradient = self.slope - 2.0 * self.bend * theta;
        Ok(gradient.as_slice().to_vec())
    }

    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        Ok(times_hessian(theta))
    }

    fn fisher_product(&self, _: &[f64], v: &[f64], _: f64) -> Result<Vec<f64>> {
        Ok(times_hessian(v))
    }
}

fn times_hessian(v: &[f64]) -> Vec<f64> {
    let product = hessian() * Vector3::from_column_slice(v);
    product.as_slice().to_vec()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Fails when the step is not along H⁻¹g, or not as long as the trust region allows.
#[test]
fn a_step_on_a_linear_surrogate_reaches_the_bound() {
    let slope = Vector3::new(1.0, -2.0, 0.5);
    let outcome = step(&config(), &Quadratic { slope, bend: 0.0 }, &[0.0; 3]).unwrap();
    let direction = hessian().try_inverse().unwrap() * slope;
    let expected = direction * (2.0 * 0.01 / slope.dot(&direction)).sqrt();
    assert!(outcome.accepted);
    // Rounding may put the first trial outside of the trust region; the second is 0.8 of it.
    let reached = norm(&outcome.theta) / expected.norm();
    assert!(
        (reached - 1.0).abs() < 1e-6 || (reached - 0.8).abs() < 1e-6,
        "{reached}"
    );
    let cosine = Vector3::from_column_slice(&outcome.theta).dot(&expected)
        / (norm(&outcome.theta) * expected.norm());
    assert!((cosine - 1.0).abs() < 1e-9);
    assert!(outcome.kl <= 0.01 && outcome.gain > 0.0);
}

/// Fails when the configuration's choice of Fisher products is ignored or one of them is not the
/// Hessian.
#[test]
fn both_kinds_of_fisher_products_give_the_same_step() {
    let objective = Quadratic {
        slope: Vector3::new(1.0, -2.0, 0.5),
        bend: 0.1,
    };
    let analytic = TrustRegionConfig {
        fisher: FisherProducts::Analytic,
        ..config().into_inner()
    };
    let by_differences = step(&config(), &objective, &[0.0; 3]).unwrap();
    let analytic = step(&analytic.check().unwrap(), &objective, &[0.0; 3]).unwrap();
    for (a, b) in by_differences.theta.iter().zip(&analytic.theta) {
        assert!((a - b).abs() < 1e-9);
    }
}

/// Fails when the line search does not shorten a step that is too long for the objective.
#[test]
fn the_line_search_shortens() {
    let slope = Vector3::new(1.0, 0.0, 0.0);
    let bend = 25.0;
    let outcome = step(&config(), &Quadratic { slope, bend }, &[0.0; 3]).unwrap();
    let full = step(&config(), &Quadratic { slope, bend: 0.0 }, &[0.0; 3]).unwrap();
    assert!(outcome.accepted && outcome.gain > 0.0);
    assert!(norm(&outcome.theta) < 0.9 * norm(&full.theta));
}

/// Fails when the line search does not check the divergence, which grows faster than its quadratic
/// model here, while the surrogate increases with the length of the step.
#[test]
fn the_line_search_respects_the_divergence() {
    struct Quartic(Quadratic);
    impl Objective for Quartic {
        fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)> {
            let (surrogate, kl) = self.0.evaluate(theta)?;
            Ok((surrogate, kl + 500.0 * kl * kl))
        }
        fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
            self.0.surrogate_gradient(theta)
        }
        fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
            self.0.kl_gradient(theta)
        }
        fn fisher_product(&self, theta: &[f64], v: &[f64], step: f64) -> Result<Vec<f64>> {
            self.0.fisher_product(theta, v, step)
        }
    }
    let objective = Quartic(Quadratic {
        slope: Vector3::new(1.0, 2.0, 3.0),
        bend: 0.0,
    });
    let outcome = step(&config(), &objective, &[0.0; 3]).unwrap();
    assert!(outcome.accepted);
    // 0.01 + 500 · 0.01² is six times the bound; the trial before was outside of it as well.
    let longer: Vec<f64> = outcome.theta.iter().map(|x| x / 0.8).collect();
    assert!(outcome.kl <= 0.01 && objective.evaluate(&longer).unwrap().1 > 0.01);
}

/// Fails when rejected parameters are kept, or when a NaN passes a comparison.
#[test]
fn parameters_are_unchanged_when_no_trial_is_accepted() {
    struct Hopeless(f64);
    impl Objective for Hopeless {
        fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)> {
            let surrogate = if theta == [1.0, 2.0] { 0.0 } else { self.0 };
            Ok((surrogate, 0.0))
        }
        fn surrogate_gradient(&self, _: &[f64]) -> Result<Vec<f64>> {
            Ok(vec![1.0, 1.0])
        }
        fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
            Ok(theta.to_vec())
        }
        fn fisher_product(&self, _: &[f64], v: &[f64], _: f64) -> Result<Vec<f64>> {
            Ok(v.to_vec())
        }
    }
    for value in [-1.0, f64::NAN, 0.0] {
        let outcome = step(&config(), &Hopeless(value), &[1.0, 2.0]).unwrap();
        assert!(!outcome.accepted);
        assert_eq!(outcome.theta, [1.0, 2.0]);
        assert_eq!((outcome.kl, outcome.gain), (0.0, 0.0));
    }
}

/// Fails when a step is taken although the objective or its gradient is not finite.
#[test]
fn an_objective_that_is_not_finite_is_an_error() {
    struct Broken {
        surrogate: f64,
        gradient: f64,
    }
    impl Objective for Broken {
        fn evaluate(&self, _: &[f64]) -> Result<(f64, f64)> {
            Ok((self.surrogate, 0.0))
        }
        fn surrogate_gradient(&self, _: &[f64]) -> Result<Vec<f64>> {
            Ok(vec![1.0, self.gradient])
        }
        fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
            Ok(theta.to_vec())
        }
        fn fisher_product(&self, _: &[f64], v: &[f64], _: f64) -> Result<Vec<f64>> {
            Ok(v.to_vec())
        }
    }
    for (surrogate, gradient, name) in [
        (f64::NAN, 1.0, "the surrogate objective is"),
        (
            0.0,
            f64::INFINITY,
            "the gradient of the surrogate objective is",
        ),
    ] {
        let broken = Broken {
            surrogate,
            gradient,
        };
        let error = step(&config(), &broken, &[1.0, 2.0]).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

/// Fails when a recursion of conjugate gradients is wrong: n iterations solve n equations.
#[test]
fn conjugate_gradients_solve() {
    let b = Vector3::new(1.0, 2.0, 3.0);
    let x = conjugate_gradient(|v| Ok(times_hessian(v)), b.as_slice(), 3, 0.0).unwrap();
    let error = hessian() * Vector3::from_column_slice(&x) - b;
    assert!(error.norm() < 1e-12);
}

/// Fails when the finite difference is scaled wrongly: on a quadratic it is exact for any length of
/// v.
#[test]
fn fisher_products_of_a_quadratic() {
    let objective = Quadratic {
        slope: Vector3::zeros(),
        bend: 0.0,
    };
    for scale in [1e-6, 1.0, 1e6] {
        let v = Vector3::new(1.0, -1.0, 2.0) * scale;
        let product = fisher_product(&objective, &[0.3, 0.1, -0.2], v.as_slice(), 1e-2);
        let error = Vector3::from_column_slice(&product.unwrap()) - hessian() * v;
        assert!(error.norm() < 1e-9 * scale);
    }
    let product = fisher_product(&objective, &[0.0; 3], &[0.0; 3], 1e-2);
    assert_eq!(product.unwrap(), [0.0; 3]);
}
