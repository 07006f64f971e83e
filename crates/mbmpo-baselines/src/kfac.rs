//! Kronecker-factored approximate curvature (Martens and Grosse 2015; Wu et al. 2017, section 3): the Fisher matrix of a
//! Gaussian network, block by block. Of a layer with inputs a (a 1 appended, for the biases) and gradients g of the log
//! likelihood by its sums, the block is taken as E[a aᵀ] ⊗ E[g gᵀ], whose inverse is cheap.

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{Archive, Check, Checker, Persist, Result, Stream, host};
use mbmpo_policy::GaussianMlp;
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// How the curvature is estimated and used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KfacConfig {
    /// Weight of the past in the running averages of the factors. OpenAI's `acktr_cont`: 0.99 (critic: 0.95).
    pub decay: f64,
    /// Added to the eigenvalues of every block. OpenAI's `acktr_cont`: 0.01 (critic: 0.1).
    pub damping: f64,
    /// Weight of the past in the direction of a step. OpenAI's `acktr_cont`: 0.9.
    pub momentum: f64,
    /// δ, the bound on the KL divergence that the curvature predicts for a step. OpenAI's `kfac`, which leaves out a factor of
    /// 2: 0.01 (critic: 0.3).
    pub trust_region: f64,
}

impl Check for KfacConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("decay", self.decay, 0.0..1.0);
        checker.range("damping", self.damping, 1e-12..=1e6);
        checker.range("momentum", self.momentum, 0.0..1.0);
        checker.positive("trust_region", self.trust_region);
    }
}

/// The factors of one layer's block.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// E[a aᵀ] `[inputs + 1, inputs + 1]`
    pub inputs: DMatrix<f64>,
    /// E[g gᵀ] `[outputs, outputs]`
    pub signals: DMatrix<f64>,
}

/// The factors of every layer for the policy `theta` at `observations` `[n, observation]`, with actions that it draws
/// itself: the Fisher matrix is an expectation over the policy, not over what was done.
///
/// # Errors
/// When a device does not give them.
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
    let signals = forward.deltas(noise * policy.log_std.clone().neg().exp());
    let second_moment = |x: Tensor<2>| -> Result<DMatrix<f64>> {
        let [_, dim] = x.dims();
        let sums = host(x.clone().transpose().matmul(x))?;
        let entries = sums.into_iter().map(|x| f64::from(x) / rows as f64);
        Ok(DMatrix::from_iterator(dim, dim, entries))
    };
    forward
        .inputs()
        .iter()
        .zip(signals)
        .map(|(inputs, signals)| {
            let ones = Tensor::ones([rows, 1], device);
            Ok(Factors {
                inputs: second_moment(Tensor::cat(vec![inputs.clone(), ones], 1))?,
                signals: second_moment(signals)?,
            })
        })
        .collect()
}

/// What was seen of the curvature of one network, and the step that it takes.
#[derive(Debug, Clone)]
pub struct Kfac {
    decay: f64,
    damping: f64,
    momentum: f64,
    trust_region: f64,
    factors: Vec<Factors>,
    /// Of the steps so far.
    velocity: Vec<f64>,
}

impl Kfac {
    /// Nothing seen yet.
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

    /// Counts `new` factors into the running averages; the first are taken as they are.
    pub fn observe(&mut self, new: Vec<Factors>) {
        if self.factors.is_empty() {
            self.factors = new;
            return;
        }
        for (old, new) in self.factors.iter_mut().zip(new) {
            for (old, new) in [
                (&mut old.inputs, new.inputs),
                (&mut old.signals, new.signals),
            ] {
                *old *= self.decay;
                *old += new * (1.0 - self.decay);
            }
        }
    }

    /// F̂⁻¹ g `[parameters]` with the damped blocks of all layers, and with the exact Fisher matrix of log σ, which is twice
    /// the identity.
    pub fn natural_gradient(&self, gradient: &[f64]) -> Vec<f64> {
        let mut natural = Vec::with_capacity(gradient.len());
        for Factors { inputs, signals } in &self.factors {
            let (rows, columns) = (inputs.nrows(), signals.nrows());
            // θ has a layer's weights row by row, its biases last: the gradient of [weights; biases]
            let part = &gradient[natural.len()..natural.len() + rows * columns];
            let part = DMatrix::from_row_slice(rows, columns, part);
            let left = SymmetricEigen::new(inputs.clone());
            let right = SymmetricEigen::new(signals.clone());
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

    /// Moves `theta` along the natural gradient by η = min(`largest`, √(2δ / gᵀF̂⁻¹g)) (Wu et al. 2017, section 3.3),
    /// averaged with the steps before (as OpenAI's `kfac`, whose rate is 1 - momentum times that of the step).
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
    /// That what was restored is of a network with these `sizes` and so many parameters.
    pub(crate) fn require_fit(
        &self,
        archive: &Archive,
        sizes: &[usize],
        parameters: usize,
    ) -> Result<()> {
        let fits = |(factors, pair): (&Factors, &[usize])| {
            factors.inputs.nrows() == pair[0] + 1 && factors.signals.nrows() == pair[1]
        };
        let all = self.factors.len() + 1 == sizes.len()
            && self.factors.iter().zip(sizes.windows(2)).all(fits);
        if !(self.factors.is_empty() || all) {
            return Err(archive.refuse("kfac", "the factors of this network"));
        }
        if !(self.velocity.is_empty() || self.velocity.len() == parameters) {
            return Err(archive.refuse("kfac.velocity", "one number a parameter"));
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
            signals: DMatrix::zeros(0, 0),
        };
        self.factors.resize_with(layers, empty);
        for (i, factors) in self.factors.iter_mut().enumerate() {
            square(archive, &format!("{i}.inputs"), &mut factors.inputs)?;
            square(archive, &format!("{i}.signals"), &mut factors.signals)?;
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
