//! The Gaussian policy must be the same on tensors, on slices and after a round trip through its
//! file; its gradients must be those of finite differences and of automatic differentiation, and
//! the Hessian of its KL divergence the Fisher matrix.

#![allow(clippy::unreachable, clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::statistics::{deviation, mean};
use mbmpo_core::{Check, Policy, Purpose, Result, Streams};
use mbmpo_policy::surrogate::Sampled;
use mbmpo_policy::trust_region::{Objective, fisher_product};
use mbmpo_policy::{BoundMlp, Forward, GaussianMlp, GaussianPolicy, PolicyConfig};
use nalgebra::DMatrix;
use rand::RngExt;

const ROWS: usize = 6;

struct Problem {
    network: GaussianMlp,
    theta: Vec<f64>,
    observations: Vec<f64>,
    actions: Vec<f64>,
    weights: Vec<f64>,
}

fn problem() -> Problem {
    let config = PolicyConfig {
        hidden: vec![4, 3],
        initial_std: 0.7,
        ..PolicyConfig::default()
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, 3, 2);
    let mut stream = Streams::new(5).stream(Purpose::Test, 0, 0);
    let mut theta = network.initial_parameters(&config, &mut stream);
    // biases and log σ away from their initial values
    theta
        .iter_mut()
        .for_each(|x| *x += stream.random_range(-0.3..0.3));
    let mut draw = |n: usize| (0..n).map(|_| stream.random_range(-1.5..1.5)).collect();
    Problem {
        observations: draw(ROWS * 3),
        actions: draw(ROWS * 2),
        weights: draw(ROWS),
        network,
        theta,
    }
}

fn matrix(data: &[f64], columns: usize) -> Tensor<2> {
    let shape = [data.len() / columns, columns];
    Tensor::from_data(
        TensorData::new(data.to_vec(), shape),
        (&Device::flex(), DType::F64),
    )
}

impl Problem {
    fn bind(&self, theta: &[f64]) -> BoundMlp {
        let theta = GaussianMlp::tensor(theta, DType::F64, &Device::flex());
        self.network.bind(&theta)
    }

    fn weighted_log_likelihood(&self, theta: &[f64]) -> f64 {
        let policy = self.bind(theta);
        let log_likelihood = policy
            .forward(matrix(&self.observations, 3))
            .log_likelihood(matrix(&self.actions, 2));
        numbers(log_likelihood.flatten(0, 1))
            .iter()
            .zip(&self.weights)
            .map(|(l, w)| l * w)
            .sum()
    }

    fn sampled(&self) -> Sampled {
        Sampled::new(
            &self.bind(&self.theta),
            matrix(&self.observations, 3),
            matrix(&self.actions, 2),
            matrix(&self.weights, 1),
        )
    }
}

/// The same rows as constants of an autodiff graph.
fn constants(sampled: &Sampled) -> Sampled {
    let lift = |x: &Tensor<2>| Tensor::from_inner(x.clone());
    Sampled {
        observations: lift(&sampled.observations),
        actions: lift(&sampled.actions),
        weights: lift(&sampled.weights),
        old_mean: lift(&sampled.old_mean),
        old_log_std: lift(&sampled.old_log_std),
        old_log_likelihood: lift(&sampled.old_log_likelihood),
    }
}

fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    tensor.try_into_vec_as().unwrap()
}

fn shifted(theta: &[f64], i: usize, by: f64) -> Vec<f64> {
    let mut theta = theta.to_vec();
    theta[i] += by;
    theta
}

/// Fails when a part of the explicit backward pass (a layer, a bias, log σ) is wrong or out of
/// order.
#[test]
fn the_explicit_policy_gradient_is_that_of_finite_differences() {
    let p = problem();
    let policy = p.bind(&p.theta);
    let gradient = numbers(
        policy
            .forward(matrix(&p.observations, 3))
            .policy_gradient(matrix(&p.actions, 2), matrix(&p.weights, 1)),
    );
    assert_eq!(gradient.len(), p.network.parameter_count());
    for (i, derivative) in gradient.iter().enumerate() {
        let at = |by| p.weighted_log_likelihood(&shifted(&p.theta, i, by));
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!(
            (derivative - expected).abs() < 1e-7 * (1.0 + expected.abs()),
            "parameter {i}"
        );
    }
}

/// Fails when a term of log N(a | μ, σ²) is missing: one row, from the formula of the density.
#[test]
fn the_log_likelihood_by_hand() {
    let p = problem();
    let policy = GaussianPolicy::new(p.network.clone(), &p.theta);
    let observation: Vec<f32> = p.observations[..3].iter().map(|&x| x as f32).collect();
    let expected: f64 = (0..2)
        .map(|j| {
            let std = f64::from(policy.std()[j]);
            let z = (p.actions[j] - f64::from(policy.mean(&observation)[j])) / std;
            -0.5 * z * z - std.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
        })
        .sum();
    let bound = p.bind(&p.theta);
    let all = bound
        .forward(matrix(&p.observations, 3))
        .log_likelihood(matrix(&p.actions, 2));
    assert!((numbers(all.flatten(0, 1))[0] - expected).abs() < 1e-5);
}

/// Fails when the forward pass on slices reads the parameters in another order than that on
/// tensors.
#[test]
fn slices_and_tensors_agree() {
    let p = problem();
    let policy = GaussianPolicy::new(p.network.clone(), &p.theta);
    let means = numbers(
        p.bind(&p.theta)
            .mean(matrix(&p.observations, 3))
            .flatten(0, 1),
    );
    for (row, observation) in p.observations.chunks(3).enumerate() {
        let observation: Vec<f32> = observation.iter().map(|&x| x as f32).collect();
        for (j, mean) in policy.mean(&observation).into_iter().enumerate() {
            assert!((f64::from(mean) - means[2 * row + j]).abs() < 1e-5);
        }
    }
}

/// Fails when standardising changes the means at standardised inputs (weights divided by another
/// component's deviation, a bias moved the wrong way), touches another layer, or blows up a
/// constant component.
#[test]
fn a_standardized_first_layer_sees_standardized_observations() {
    let mut p = problem();
    let mut stream = Streams::new(6).stream(Purpose::Test, 0, 0);
    // components of very different location and spread; the last one constant
    let mut row = || {
        let mut unit = || stream.random_range(-1.0..1.0_f32);
        [5.0 + 0.3 * unit(), 40.0 * unit() - 7.0, 2.0]
    };
    let rows: Vec<[f32; 3]> = (0..50).map(|_| row()).collect();
    let before = GaussianPolicy::new(p.network.clone(), &p.theta);
    let original = p.theta.clone();
    p.network.standardize(&mut p.theta, &rows.concat());
    let after = before.with_parameters(&p.theta);
    let statistics = |i: usize| {
        let column: Vec<f64> = rows.iter().map(|row| f64::from(row[i])).collect();
        (mean(&column), deviation(&column).max(0.01))
    };
    for row in &rows {
        let standardized: Vec<f32> = (0..3)
            .map(|i| ((f64::from(row[i]) - statistics(i).0) / statistics(i).1) as f32)
            .collect();
        for (a, b) in after.mean(row).iter().zip(before.mean(&standardized)) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
    let first_layer = 3 * 4 + 4;
    assert_eq!(original[first_layer..], p.theta[first_layer..]);
}

/// Fails when a unit below 0.9 counts, or only one layer does.
#[test]
fn saturated_units_by_hand() {
    let config = PolicyConfig {
        hidden: vec![2, 1],
        ..PolicyConfig::default()
    };
    let network = GaussianMlp::new(&config.check().unwrap(), 1, 1);
    // hidden layers tanh(2 s), tanh(s) and then tanh of five times the first
    let theta = [2.0, 1.0, 0.0, 0.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let policy = GaussianPolicy::new(network, &theta);
    assert_eq!(policy.saturation(&[0.01]), 0.0);
    assert_eq!(policy.saturation(&[1.0]), 2.0 / 3.0);
    assert_eq!(policy.saturation(&[-2.0]), 1.0);
}

/// Fails when the divergence on slices is the reverse one, or leaves out a term.
#[test]
fn the_divergence_on_slices_is_that_of_the_sums() {
    let p = problem();
    let moved: Vec<f64> = p.theta.iter().map(|x| x + 0.1).collect();
    let (old, new) = (&p.theta, &moved);
    let policy = |theta: &[f64]| GaussianPolicy::new(p.network.clone(), theta);
    let kl: Vec<f64> = p
        .observations
        .chunks(3)
        .map(|row| {
            let row: Vec<f32> = row.iter().map(|&x| x as f32).collect();
            policy(old).kl_divergence(&policy(new), &row)
        })
        .collect();
    let exact = numbers(
        p.sampled()
            .kl(&p.bind(new).forward(matrix(&p.observations, 3))),
    );
    assert!(
        (kl.iter().sum::<f64>() - exact[0]).abs() < 1e-5,
        "{kl:?} {exact:?}"
    );
    let noise = &mut Streams::new(0).stream(Purpose::Test, 0, 0);
    let row = [0.5, -0.5, 1.0];
    assert_eq!(
        policy(old).without_noise().act(&row, noise),
        policy(old).mean(&row)
    );
}

/// Fails when a bit of the policy is lost in the file, or when another file is read as a policy.
#[test]
fn the_file_round_trips() {
    let p = problem();
    let policy = GaussianPolicy::new(p.network, &p.theta);
    let bytes = policy.to_safetensors().unwrap();
    assert_eq!(GaussianPolicy::from_safetensors(&bytes).unwrap(), policy);
    assert!(GaussianPolicy::from_safetensors(&bytes[..bytes.len() - 1]).is_err());
    assert!(GaussianPolicy::from_safetensors(b"{}").is_err());
    let empty = safetensors::serialize(
        Vec::<(String, safetensors::tensor::TensorView)>::new(),
        None,
    );
    let error = GaussianPolicy::from_safetensors(&empty.unwrap()).unwrap_err();
    assert!(error.to_string().contains("layers.0.weight"));
}

/// Fails when shapes are not checked: empty matrices of any width are valid safetensors.
#[test]
fn files_with_empty_layers_are_refused() {
    for shapes in [[[2, 0], [0, 2]], [[0, 1 << 62], [1 << 62, 0]]] {
        let tensors = shapes.iter().enumerate().map(|(i, shape)| {
            let view =
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &[]);
            (format!("layers.{i}.weight"), view.unwrap())
        });
        let Ok(bytes) = safetensors::serialize(tensors, None) else {
            continue;
        };
        let error = GaussianPolicy::from_safetensors(&bytes).unwrap_err();
        assert!(error.to_string().contains("layers.0.weight"), "{error}");
    }
}

/// The objective of one policy, without an inner step.
struct Plain<'a>(&'a Problem);

impl Objective for Plain<'_> {
    fn evaluate(&self, theta: &[f64]) -> Result<(f64, f64)> {
        let sampled = self.0.sampled();
        let policy = self.0.bind(theta);
        let new = policy.forward(sampled.observations.clone());
        let surrogate = numbers(sampled.surrogate(&new))[0];
        Ok((surrogate, numbers(sampled.kl(&new))[0] / ROWS as f64))
    }

    fn surrogate_gradient(&self, _theta: &[f64]) -> Result<Vec<f64>> {
        unreachable!()
    }

    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let leaf = GaussianMlp::tensor(theta, DType::F64, &Device::flex());
        let leaf = Tensor::from_inner(leaf).require_grad();
        let sampled = constants(&self.0.sampled());
        let policy = self.0.network.bind(&leaf);
        let new = policy.forward(sampled.observations.clone());
        let gradients = sampled.kl(&new).backward();
        let gradient = numbers(leaf.grad(&gradients).unwrap());
        Ok(gradient.into_iter().map(|x| x / ROWS as f64).collect())
    }

    fn fisher_product(&self, theta: &[f64], v: &[f64], _: f64) -> Result<Vec<f64>> {
        let sampled = self.0.sampled();
        let policy = self.0.bind(theta);
        let at = policy.forward(sampled.observations.clone());
        let product = numbers(sampled.fisher_product(&at, &self.0.bind(v)));
        Ok(product.into_iter().map(|x| x / ROWS as f64).collect())
    }
}

/// Fails when a term of the explicit gradients is wrong; the reference is automatic
/// differentiation.
#[test]
fn explicit_gradients_match_autodiff() {
    let p = problem();
    let moved: Vec<f64> = p.theta.iter().map(|x| x + 0.05).collect();
    let leaf =
        Tensor::from_inner(GaussianMlp::tensor(&moved, DType::F64, &Device::flex())).require_grad();
    let constants = constants(&p.sampled());
    let by_graph = |f: fn(&Sampled, &Forward<'_>) -> Tensor<1>| {
        let tracked = p.network.bind(&leaf);
        let new = tracked.forward(constants.observations.clone());
        numbers(leaf.grad(&f(&constants, &new).backward()).unwrap())
    };
    let sampled = p.sampled();
    let policy = p.bind(&moved);
    let new = policy.forward(sampled.observations.clone());
    for (hand, graph) in [
        (
            numbers(sampled.surrogate_gradient(&new)),
            by_graph(Sampled::surrogate),
        ),
        (numbers(sampled.kl_gradient(&new)), by_graph(Sampled::kl)),
    ] {
        for (a, b) in hand.iter().zip(&graph) {
            assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}

/// Fails when the arguments of the KL divergence are swapped: the formula for one-dimensional
/// Gaussians.
#[test]
fn the_kl_divergence_by_hand() {
    let p = problem();
    let moved: Vec<f64> = p.theta.iter().map(|x| x + 0.05).collect();
    let (_, kl) = Plain(&p).evaluate(&moved).unwrap();
    let (old, new) = (p.bind(&p.theta), p.bind(&moved));
    let means = |policy: &BoundMlp| numbers(policy.mean(matrix(&p.observations, 3)).flatten(0, 1));
    let stds = |policy: &BoundMlp| numbers(policy.log_std.clone().exp().flatten(0, 1));
    let (old_mean, new_mean, old_std, new_std) = (means(&old), means(&new), stds(&old), stds(&new));
    let expected: f64 = (0..ROWS * 2)
        .map(|i| {
            let (s, t) = (old_std[i % 2], new_std[i % 2]);
            (t / s).ln() + (s * s + (old_mean[i] - new_mean[i]).powi(2)) / (2.0 * t * t) - 0.5
        })
        .sum::<f64>()
        / ROWS as f64;
    assert!((kl - expected).abs() < 1e-12);
    let (surrogate, zero) = Plain(&p).evaluate(&p.theta).unwrap();
    assert!((surrogate - p.weights.iter().sum::<f64>()).abs() < 1e-12 && zero.abs() < 1e-15);
}

/// Fails when a factor of the Fisher products is missing. The reference is the explicit matrix: Jᵀ
/// diag(1/σ²) J averaged over the states for the mean (J by finite differences of the mean), 2 on
/// the diagonal for log σ.
#[test]
fn fisher_products_match_the_explicit_matrix() {
    let p = problem();
    let count = p.theta.len();
    let mean_at =
        |theta: &[f64]| numbers(p.bind(theta).mean(matrix(&p.observations, 3)).flatten(0, 1));
    let mut jacobian = DMatrix::<f64>::zeros(ROWS * 2, count);
    for i in 0..count {
        let (ahead, behind) = (
            mean_at(&shifted(&p.theta, i, 1e-5)),
            mean_at(&shifted(&p.theta, i, -1e-5)),
        );
        for row in 0..ROWS * 2 {
            jacobian[(row, i)] = (ahead[row] - behind[row]) / 2e-5;
        }
    }
    let precision = DMatrix::from_diagonal(&nalgebra::DVector::from_fn(ROWS * 2, |row, _| {
        (-2.0 * p.theta[count - 2 + row % 2]).exp()
    }));
    let mut fisher = jacobian.transpose() * precision * &jacobian / ROWS as f64;
    fisher[(count - 2, count - 2)] += 2.0;
    fisher[(count - 1, count - 1)] += 2.0;

    for column in 0..count {
        let mut v = vec![0.0; count];
        v[column] = 1.0;
        let by_differences = fisher_product(&Plain(&p), &p.theta, &v, 1e-4).unwrap();
        let analytic = Plain(&p).fisher_product(&p.theta, &v, 0.0).unwrap();
        for row in 0..count {
            let expected = fisher[(row, column)];
            for product in [&by_differences, &analytic] {
                let error = (product[row] - expected).abs();
                assert!(error < 1e-6 * (1.0 + expected.abs()), "{row} {column}");
            }
        }
    }
}

/// Fails when a log σ below its lower bound has a gradient, or when the bound is not the same on
/// tensors and on slices.
#[test]
fn the_standard_deviation_is_clamped() {
    let config = PolicyConfig {
        hidden: vec![],
        initial_std: 0.7,
        min_std: 0.1,
        ..PolicyConfig::default()
    }
    .check()
    .unwrap();
    let network = GaussianMlp::new(&config, 1, 2);
    // weights, biases, then log σ: one below its lower bound, one above
    let theta = [0.3, -0.2, 0.1, 0.2, -5.0, -1.0];
    let policy = network.bind(&GaussianMlp::tensor(&theta, DType::F64, &Device::flex()));
    let log_std = numbers(policy.log_std.clone().flatten(0, 1));
    assert!((log_std[0] - 0.1f64.ln()).abs() < 1e-12 && log_std[1] == -1.0);
    let std = GaussianPolicy::new(network, &theta).std();
    assert!((std[0] - 0.1).abs() < 1e-6 && (std[1] - (-1f32).exp()).abs() < 1e-6);
    let forward = policy.forward(matrix(&[0.5], 1));
    let gradient = numbers(forward.policy_gradient(matrix(&[1.0, 1.0], 2), matrix(&[1.0], 1)));
    assert_eq!(gradient[4], 0.0);
    assert_ne!(gradient[5], 0.0);
}
