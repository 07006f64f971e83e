//! Sums over a chunk of samples, in one of two arithmetics that a caller need not tell apart: tensors, which run
//! everywhere and in either precision, and fused loops over slices for single precision on the CPU.

use crate::batch::Arithmetic;
use crate::cpu::{self, CpuMlp, Workspace};
use crate::surrogate::Sampled;
use crate::{BoundMlp, Forward, GaussianMlp};
use burn::tensor::{DType, Tensor};
use mbmpo_core::{Error, Result, host};

/// Rows that the fused loops take in one go: what these leave behind layer by layer stays in the cache.
const BLOCK: usize = 100;

/// Parameters θ, or a direction in which they move, ready for many passes.
#[derive(Debug)]
pub enum Parameters {
    /// On any device.
    Tensors(Box<TensorParameters>),
    /// In this process's memory.
    Cpu(CpuMlp),
}

/// Parameters as tensors.
#[derive(Debug)]
pub struct TensorParameters {
    network: GaussianMlp,
    theta: Tensor<1>,
    bound: BoundMlp,
}

/// Some samples: what was done where, and what it was worth.
#[derive(Debug, Clone)]
pub enum Chunk {
    /// Observations, actions and weights.
    Tensors(Box<[Tensor<2>; 3]>),
    /// In blocks.
    Cpu(Vec<cpu::Samples>),
}

/// Some samples, and what the policy that took them thinks of them.
#[derive(Debug, Clone)]
pub enum SurrogateChunk {
    /// On any device.
    Tensors(Box<Sampled>),
    /// In blocks.
    Cpu(Vec<cpu::Sampled>),
}

/// Rows of trajectories: observations, actions, weights.
pub(crate) type Rows<'a> = (&'a [f32], &'a [f32], &'a [f64]);

impl Parameters {
    /// θ in the arithmetic that goes with device and precision.
    pub fn new(arithmetic: &Arithmetic<'_>, theta: &[f64]) -> Self {
        let network = arithmetic.network;
        if arithmetic.is_fused() {
            let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
            return Self::Cpu(CpuMlp::new(network, &theta));
        }
        let theta = GaussianMlp::tensor(theta, arithmetic.dtype, arithmetic.device);
        Self::Tensors(Box::new(TensorParameters {
            bound: network.bind(&theta),
            network: network.clone(),
            theta,
        }))
    }

    /// Mean actions `[n, action]` for `observations` `[n, observation]`.
    pub(crate) fn means(
        &self,
        arithmetic: &Arithmetic<'_>,
        observations: &[f32],
    ) -> Result<Vec<f32>> {
        let observation = arithmetic.network.sizes()[0];
        match self {
            Self::Tensors(policy) => host(
                policy
                    .bound
                    .mean(arithmetic.matrix(observations, observation)),
            ),
            Self::Cpu(policy) => {
                let mut activations = cpu::Activations::default();
                let blocks = observations.chunks(BLOCK * observation);
                Ok(blocks
                    .flat_map(|block| policy.mean(block, &mut activations).to_vec())
                    .collect())
            }
        }
    }
}

impl Chunk {
    pub(crate) fn new(arithmetic: &Arithmetic<'_>, rows: Rows<'_>) -> Self {
        if arithmetic.is_fused() {
            Self::Cpu(blocks(arithmetic.network, rows))
        } else {
            Self::Tensors(Box::new(arithmetic.matrices(rows)))
        }
    }

    /// ∇J(θ) of these samples `[parameters]`.
    pub fn policy_gradient(&self, at: &Parameters) -> Result<Vec<f64>> {
        match (self, at) {
            (Self::Tensors(chunk), Parameters::Tensors(at)) => {
                let [observations, actions, weights] = chunk.as_ref();
                let forward = at.bound.forward(observations.clone());
                read(forward.policy_gradient(actions.clone(), weights.clone()))
            }
            (Self::Cpu(blocks), Parameters::Cpu(at)) => {
                Ok(total(at, blocks, |block, workspace, sum| {
                    block.policy_gradient(at, workspace, sum);
                }))
            }
            _ => Err(mixed()),
        }
    }

    /// H v `[parameters]`, exactly, with the Hessian H of these samples' J at θ: forward over reverse on slices; for
    /// tensors, automatic differentiation of ⟨∇J(θ), v⟩.
    pub fn hessian_product(&self, at: &Parameters, v: &Parameters) -> Result<Vec<f64>> {
        match (self, at, v) {
            (Self::Tensors(chunk), Parameters::Tensors(at), Parameters::Tensors(v)) => {
                let leaf = Tensor::from_inner(at.theta.clone()).require_grad();
                let [observations, actions, weights] =
                    chunk.as_ref().clone().map(Tensor::from_inner);
                let policy = at.network.bind(&leaf);
                let gradient = policy
                    .forward(observations)
                    .policy_gradient(actions, weights);
                let gradients = (gradient * Tensor::from_inner(v.theta.clone()))
                    .sum()
                    .backward();
                leaf.grad(&gradients)
                    .map_or_else(|| Ok(vec![0.0; at.network.parameter_count()]), read)
            }
            (Self::Cpu(blocks), Parameters::Cpu(at), Parameters::Cpu(v)) => {
                Ok(total(at, blocks, |block, workspace, sum| {
                    block.hessian_product(at, v, workspace, sum);
                }))
            }
            _ => Err(mixed()),
        }
    }
}

impl SurrogateChunk {
    /// Samples that `policy` took.
    pub(crate) fn new(arithmetic: &Arithmetic<'_>, rows: Rows<'_>, policy: &Parameters) -> Self {
        match policy {
            Parameters::Cpu(policy) => {
                let blocks = blocks(arithmetic.network, rows).into_iter();
                Self::Cpu(
                    blocks
                        .map(|block| cpu::Sampled::new(block, policy))
                        .collect(),
                )
            }
            Parameters::Tensors(policy) => {
                let [observations, actions, weights] = arithmetic.matrices(rows);
                let old = policy.bound.forward(observations.clone());
                Self::Tensors(Box::new(Sampled {
                    old_log_likelihood: old.log_likelihood(actions.clone()),
                    old_log_std: policy.bound.log_std.clone(),
                    old_mean: old.mean,
                    observations,
                    actions,
                    weights,
                }))
            }
        }
    }

    /// Surrogate and KL divergence of these samples.
    pub fn surrogate_and_kl(&self, new: &Parameters) -> Result<Vec<f64>> {
        match (self, new) {
            (Self::Cpu(blocks), Parameters::Cpu(new)) => {
                let mut workspace = Workspace::default();
                let mut sums = vec![0.0; 2];
                for block in blocks {
                    for (sum, x) in sums
                        .iter_mut()
                        .zip(block.surrogate_and_kl(new, &mut workspace))
                    {
                        *sum += f64::from(x);
                    }
                }
                Ok(sums)
            }
            _ => self.by_tensors(new, |sampled, new| {
                Tensor::cat(vec![sampled.surrogate(new), sampled.kl(new)], 0)
            }),
        }
    }

    /// Gradient of the surrogate `[parameters]`.
    pub fn surrogate_gradient(&self, new: &Parameters) -> Result<Vec<f64>> {
        match (self, new) {
            (Self::Cpu(blocks), Parameters::Cpu(new)) => {
                Ok(total(new, blocks, |block, workspace, sum| {
                    block.surrogate_gradient(new, workspace, sum);
                }))
            }
            _ => self.by_tensors(new, Sampled::surrogate_gradient),
        }
    }

    /// Gradient of PPO's clipped surrogate `[parameters]`.
    pub(crate) fn clipped_gradient(&self, new: &Parameters, epsilon: f64) -> Result<Vec<f64>> {
        match (self, new) {
            (Self::Cpu(blocks), Parameters::Cpu(new)) => {
                Ok(total(new, blocks, |block, workspace, sum| {
                    block.clipped_gradient(new, epsilon as f32, workspace, sum);
                }))
            }
            _ => self.by_tensors(new, |sampled, new| sampled.clipped_gradient(new, epsilon)),
        }
    }

    /// Gradient of the KL divergence `[parameters]`.
    pub fn kl_gradient(&self, new: &Parameters) -> Result<Vec<f64>> {
        match (self, new) {
            (Self::Cpu(blocks), Parameters::Cpu(new)) => {
                Ok(total(new, blocks, |block, workspace, sum| {
                    block.kl_gradient(new, workspace, sum);
                }))
            }
            _ => self.by_tensors(new, Sampled::kl_gradient),
        }
    }

    /// F v `[parameters]` with the Fisher matrix F of these samples' Gaussians.
    pub fn fisher_product(&self, at: &Parameters, v: &Parameters) -> Result<Vec<f64>> {
        match (self, at, v) {
            (_, _, Parameters::Tensors(v)) => {
                self.by_tensors(at, |sampled, at| sampled.fisher_product(at, &v.bound))
            }
            (Self::Cpu(blocks), Parameters::Cpu(at), Parameters::Cpu(v)) => {
                Ok(total(at, blocks, |block, workspace, sum| {
                    block.fisher_product(at, v, workspace, sum);
                }))
            }
            _ => Err(mixed()),
        }
    }

    fn by_tensors(
        &self,
        new: &Parameters,
        f: impl Fn(&Sampled, &Forward<'_>) -> Tensor<1>,
    ) -> Result<Vec<f64>> {
        match (self, new) {
            (Self::Tensors(sampled), Parameters::Tensors(new)) => {
                read(f(sampled, &new.bound.forward(sampled.observations.clone())))
            }
            _ => Err(mixed()),
        }
    }
}

/// What `add` adds for every block to a sum over θ, in order; buffers are allocated once for all.
fn total<B>(
    policy: &CpuMlp,
    blocks: impl IntoIterator<Item = B>,
    mut add: impl FnMut(B, &mut Workspace, &mut [f32]),
) -> Vec<f64> {
    let mut workspace = Workspace::default();
    let mut sum = vec![0.0; policy.parameter_count()];
    for block in blocks {
        add(block, &mut workspace, &mut sum);
    }
    sum.into_iter().map(f64::from).collect()
}

fn blocks(network: &GaussianMlp, (observations, actions, weights): Rows<'_>) -> Vec<cpu::Samples> {
    let (observation, action) = (network.sizes()[0], network.action_dim());
    observations
        .chunks(BLOCK * observation)
        .zip(actions.chunks(BLOCK * action))
        .zip(weights.chunks(BLOCK))
        .map(|((observations, actions), weights)| cpu::Samples {
            observations: observations.to_vec(),
            actions: actions.to_vec(),
            weights: weights.iter().map(|&x| x as f32).collect(),
        })
        .collect()
}

fn read(tensor: Tensor<1>) -> Result<Vec<f64>> {
    match tensor.dtype() {
        DType::F64 => tensor.try_into_vec_as::<f64>().map_err(|error| {
            Error::Description(format!("a tensor could not be read back: {error}"))
        }),
        _ => Ok(host(tensor)?.into_iter().map(f64::from).collect()),
    }
}

fn mixed() -> Error {
    Error::Description("samples and parameters must be of one arithmetic".to_owned())
}
