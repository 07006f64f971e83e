//! Kronecker-factored approximate curvature (Martens and Grosse 2015; Wu et al. 2017, section 3) of
//! a Gaussian network. The Fisher matrix is approximated by a block for each layer, E[a aᵀ] ⊗ E[g
//! gᵀ], with the inputs a of the layer (and a 1 for the biases) and the gradients g of the log
//! likelihood with respect to its pre-activations.

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{Archive, Check, Checker, Persist, Result, Stream, host};
use mbmpo_policy::GaussianMlp;
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// Estimation and use of the curvature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KfacConfig {
    /// Weight of the past in the running averages of the factors. OpenAI's `acktr_cont`: 0.99
    /// (critic: 0.95).
    pub decay: f64,
    /// Added to the eigenvalues of every block. OpenAI's `acktr_cont`: 0.01 (critic: 0.1).
    pub damping: f64,
    /// Weight of the past in the direction of a step. OpenAI's `acktr_cont`: 0.9.
    pub momentum: f64,
    /// δ, the bound on the KL divergence that the curvature predicts for a step. OpenAI's `kfac`,
    /// which omits a factor of 2: 0.01 (critic: 0.3).
    pub trust_region: f64,
}

impl Default for KfacConfig {
    /// As `acktr_cont` has it for the actor.
    fn default() -> Self {
        Self {
            decay: 0.99,
            damping: 0.01,
            momentum: 0.9,
            trust_region: 0.005,
        }
    }
}

impl Check for KfacConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("decay", self.decay, 0.0..1.0);
        checker.range("damping", self.damping, 1e-12..=1e6);
        checker.range("momentum", self.momentum, 0.0..1.0);
        checker.positive("trust_region", self.trust_region);
    }
}

/// The factors of the block of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// E[a aᵀ] `[inputs + 1, inputs + 1]`
    pub inputs: DMatrix<f64>,
    /// E[g gᵀ] `[outputs, outputs]`
    pub deltas: DMatrix<f64>,
}

/// The factors of every layer for the policy `theta` at `observations` `[n, observation]`. The
/// actions are drawn from the policy: the Fisher matrix is an expectation over it, not over the
/// actions of the batch.
///
/// # Errors
/// When a result cannot be read back from the device.
pub fn factors(
    network: &GaussianMlp,
    theta: &[f64],
    observations: &[f32],
    device: &Device,
    stream: &mut Stream,
) -> Result<Vec<Factors>> {
    let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
    let policy = network.bind(&Tensor::from_data(
        TensorData::from(theta.as_slice()),
        device,
    ));
    let shape = [observations.len() / network.sizes()[0], network.sizes()[0]];
    let data = TensorData::new(observations.to_vec(), shape);
    let forward = policy.forward(Tensor::from_data(data, device));
    let [rows, actions] = forward.mean.dims();
    // with a = μ + σε the gradient of log π(a|s) by μ is ε/σ
    let noise: Vec<f32> = (0..rows * actions)
        .map(|_| stream.sample(StandardNormal))
        .collect();
    let noise = Tensor::<2>::from_data(TensorData::new(noise, [rows, actions]), device);
    let deltas = forward.deltas(noise * policy.log_std.clone().neg().exp());
    let second_moment = |x: Tensor<2>| -> Result<DMatrix<f64>> {
        let [_, dim] = x.dims();
        let sums = host(x.clone().transpose().matmul(x))?;
        let entries = sums.into_iter().map(|x| f64::from(x) / rows as f64);
        Ok(DMatrix::from_iterator(dim, dim, entries))
    };
    forward
        .inputs()
        .iter()
        .zip(deltas)
        .map(|(inputs, deltas)| {
            let ones = Tensor::ones([rows, 1], device);
            Ok(Factors {
                inputs: second_moment(Tensor::cat(vec![inputs.clone(), ones], 1))?,
                deltas: second_moment(deltas)?,
            })
        })
        .collect()
}

/// Running averages of the curvature of one network, and its natural-gradient steps with momentum.
#[derive(Debug, Clone)]
pub struct Kfac {
    decay: f64,
    damping: f64,
    momentum: f64,
    trust_region: f64,
    factors: Vec<Factors>,
    /// Running average of the steps.
    velocity: Vec<f64>,
}

impl Kfac {
    /// Before the first factors.
    pub fn new(config: &KfacConfig) -> Self {
        Self {
            decay: config.decay,
            damping: config.damping,
            momentum: config.momentum,
            trust_region: config.trust_region,
            factors: Vec::new(),
            velocity: Vec::new(),
        }
    }

    /// Updates the running averages with `new` factors; the first become the averages.
    pub fn observe(&mut self, new: Vec<Factors>) {
        if self.factors.is_empty() {
            self.factors = new;
            return;
        }
        for (old, new) in self.factors.iter_mut().zip(new) {
            for (old, new) in [(&mut old.inputs, new.inputs), (&mut old.deltas, new.deltas)] {
                *old *= self.decay;
                *old += new * (1.0 - self.decay);
            }
        }
    }

    /// F̂⁻¹ g `[parameters]` with the damped blocks of all layers, and with the exact Fisher matrix
    /// of log σ, which is twice the identity.
    pub fn natural_gradient(&self, gradient: &[f64]) -> Vec<f64> {
        let mut natural = Vec::with_capacity(gradient.len());
        for Factors { inputs, deltas } in &self.factors {
            let (rows, columns) = (inputs.nrows(), deltas.nrows());
            // θ has the weights of a layer row by row and then its biases: the gradient of
            // [weights; biases]
            let part = &gradient[natural.len()..natural.len() + rows * columns];
            let part = DMatrix::from_row_slice(rows, columns, part);
            let left = SymmetricEigen::new(inputs.clone());
            let right = SymmetricEigen::new(deltas.clone());
            let mut rotated = left.eigenvectors.transpose() * part * &right.eigenvectors;
            for (i, a) in left.eigenvalues.iter().enumerate() {
                for (j, g) in right.eigenvalues.iter().enumerate() {
                    // a rounding error may make an eigenvalue negative
                    rotated[(i, j)] /= (a * g).max(0.0) + self.damping;
                }
            }
            let part = left.eigenvectors * rotated * right.eigenvectors.transpose();
            natural.extend(part.transpose().iter());
        }
        let by_log_std = &gradient[natural.len()..];
        natural.extend(by_log_std.iter().map(|g| g / (2.0 + self.damping)));
        natural
    }

    /// Moves `theta` along the natural gradient by η = min(`largest`, √(2δ / gᵀF̂⁻¹g)) (Wu et al.
    /// 2017, section 3.3), averaged with earlier steps (as in OpenAI's `kfac`, where the new step
    /// has the weight 1 - momentum).
    pub fn ascend(&mut self, theta: &mut [f64], gradient: &[f64], largest: f64) {
        let direction = DVector::from_vec(self.natural_gradient(gradient));
        let curvature = direction.dot(&DVector::from_column_slice(gradient));
        let bound = (2.0 * self.trust_region / curvature).sqrt();
        let rate = if bound < largest { bound } else { largest };
        self.velocity.resize(theta.len(), 0.0);
        for ((theta, velocity), d) in theta.iter_mut().zip(&mut self.velocity).zip(&direction) {
            *velocity += (1.0 - self.momentum) * (rate * d - *velocity);
            *theta += *velocity;
        }
    }
}

impl Kfac {
    /// Refuses a restored state that is not of a network with these `sizes` and this number of
    /// parameters.
    pub(crate) fn require_fit(
        &self,
        archive: &Archive,
        sizes: &[usize],
        parameters: usize,
    ) -> Result<()> {
        let fits = |(factors, pair): (&Factors, &[usize])| {
            factors.inputs.nrows() == pair[0] + 1 && factors.deltas.nrows() == pair[1]
        };
        let all = self.factors.len() + 1 == sizes.len()
            && self.factors.iter().zip(sizes.windows(2)).all(fits);
        if !(self.factors.is_empty() || all) {
            return Err(archive.refuse("kfac", "the factors of this network"));
        }
        if !(self.velocity.is_empty() || self.velocity.len() == parameters) {
            return Err(archive.refuse("kfac.velocity", "one number for each parameter"));
        }
        Ok(())
    }
}

impl Persist for Kfac {
    /// There are no factors before the first are observed.
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.list("velocity", &mut self.velocity)?;
        let mut layers = self.factors.len();
        archive.count("layers", &mut layers)?;
        if layers > 64 {
            return Err(archive.refuse("layers", "at most 64"));
        }
        let empty = || Factors {
            inputs: DMatrix::zeros(0, 0),
            deltas: DMatrix::zeros(0, 0),
        };
        self.factors.resize_with(layers, empty);
        for (i, factors) in self.factors.iter_mut().enumerate() {
            square(archive, &format!("{i}.inputs"), &mut factors.inputs)?;
            square(archive, &format!("{i}.deltas"), &mut factors.deltas)?;
        }
        Ok(())
    }
}

fn square(archive: &mut Archive, name: &str, matrix: &mut DMatrix<f64>) -> Result<()> {
    let mut entries = matrix.as_slice().to_vec();
    archive.list(name, &mut entries)?;
    let size = entries.len().isqrt();
    if size * size != entries.len() {
        return Err(archive.refuse(name, "a square matrix"));
    }
    *matrix = DMatrix::from_vec(size, size, entries);
    Ok(())
}
