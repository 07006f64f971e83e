//! Sums over samples on slices: chunks for the threads, blocks for the cache.

use super::blocks::{Block, SurrogateBlock};
use super::derivatives::{Gradient, Workspace};
use super::{Activations, CpuMlp};
use crate::GaussianMlp;
use crate::sums::{Rows, SampleSums, SurrogateSums, sum};
use mbmpo_core::Result;
use mbmpo_kernels::Panels;
use rayon::prelude::*;
use std::sync::Arc;

/// Rows of a chunk, the work of one thread at a time.
const CHUNK: usize = 1_000;

/// Rows of a block, whose activations and deltas stay in the cache.
const BLOCK: usize = 200;

/// Samples with their weights.
#[derive(Debug)]
pub(crate) struct SliceSamples {
    network: GaussianMlp,
    chunks: Vec<Vec<Arc<Block>>>,
}

impl SliceSamples {
    pub(crate) fn new(network: &GaussianMlp, rows: Rows<'_>) -> Self {
        let (o, a) = (network.observation_dim(), network.action_dim());
        let pack = |columns: usize, rows: &[f32]| {
            let mut matrix = Panels::default();
            matrix.pack(columns, [rows]);
            matrix
        };
        let block = |rows: Rows<'_>| {
            Arc::new(Block {
                observations: pack(o, rows.observations),
                actions: pack(a, rows.actions),
                weights: rows.weights.iter().map(|&x| x as f32).collect(),
            })
        };
        let chunks = rows.chunks(CHUNK, o, a);
        Self {
            chunks: chunks
                .map(|rows| rows.chunks(BLOCK, o, a).map(block).collect())
                .collect(),
            network: network.clone(),
        }
    }
}

impl SampleSums for SliceSamples {
    fn policy_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let policy = pack(&self.network, theta);
        sum_blocks(&self.chunks, &policy, |block, workspace, sum| {
            block.policy_gradient(&policy, workspace, sum);
        })
    }

    /// By forward-over-reverse differentiation.
    fn hessian_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        let (policy, v) = (pack(&self.network, theta), pack(&self.network, v));
        sum_blocks(&self.chunks, &policy, |block, workspace, sum| {
            block.hessian_product(&policy, &v, workspace, sum);
        })
    }

    fn surrogate(&self, theta: &[f64]) -> Arc<dyn SurrogateSums> {
        let policy = pack(&self.network, theta);
        let of_chunk = |blocks: &Vec<Arc<Block>>| {
            let blocks = blocks.iter().cloned();
            blocks
                .map(|block| SurrogateBlock::new(block, &policy))
                .collect()
        };
        Arc::new(SliceSurrogate {
            chunks: self.chunks.par_iter().map(of_chunk).collect(),
            network: self.network.clone(),
        })
    }
}

/// Samples with their weights and the statistics of the old policy.
#[derive(Debug)]
struct SliceSurrogate {
    network: GaussianMlp,
    chunks: Vec<Vec<SurrogateBlock>>,
}

impl SurrogateSums for SliceSurrogate {
    fn surrogate_and_kl(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let new = pack(&self.network, theta);
        sum(&self.chunks, 2, |blocks| {
            let mut workspace = Workspace::default();
            let mut sums = vec![0.0; 2];
            for block in blocks {
                let parts = block.surrogate_and_kl(&new, &mut workspace);
                for (sum, x) in sums.iter_mut().zip(parts) {
                    *sum += f64::from(x);
                }
            }
            Ok(sums)
        })
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let new = pack(&self.network, theta);
        sum_blocks(&self.chunks, &new, |block, workspace, sum| {
            block.surrogate_gradient(&new, workspace, sum);
        })
    }

    fn clipped_gradient(&self, theta: &[f64], epsilon: f64) -> Result<Vec<f64>> {
        let new = pack(&self.network, theta);
        sum_blocks(&self.chunks, &new, |block, workspace, sum| {
            block.clipped_gradient(&new, epsilon as f32, workspace, sum);
        })
    }

    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let new = pack(&self.network, theta);
        sum_blocks(&self.chunks, &new, |block, workspace, sum| {
            block.kl_gradient(&new, workspace, sum);
        })
    }

    fn fisher_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        let (policy, v) = (pack(&self.network, theta), pack(&self.network, v));
        sum_blocks(&self.chunks, &policy, |block, workspace, sum| {
            block.fisher_product(&policy, &v, workspace, sum);
        })
    }
}

/// Mean actions `[n, action]` for `observations` `[n, observation]`.
pub(crate) fn means(network: &GaussianMlp, theta: &[f64], observations: &[f32]) -> Vec<f32> {
    let policy = pack(network, theta);
    let dim = network.observation_dim();
    let of_chunk = |rows: &[f32]| -> Vec<f32> {
        let mut activations = Activations::default();
        rows.chunks(BLOCK * dim)
            .flat_map(|block| policy.mean(block, &mut activations).to_vec())
            .collect()
    };
    let chunks = observations.par_chunks(CHUNK * dim);
    chunks.map(of_chunk).collect::<Vec<_>>().concat()
}

/// The sum `[parameters]` that `add` accumulates over all blocks, with one workspace a chunk.
fn sum_blocks<B: Sync>(
    chunks: &[Vec<B>],
    policy: &CpuMlp,
    add: impl Fn(&B, &mut Workspace, &mut Gradient) + Sync,
) -> Result<Vec<f64>> {
    sum(chunks, policy.parameter_count, |blocks| {
        let mut workspace = Workspace::default();
        let mut sum = Gradient::zeros(policy);
        for block in blocks {
            add(block, &mut workspace, &mut sum);
        }
        Ok(sum.into_parameters(policy))
    })
}

fn pack(network: &GaussianMlp, theta: &[f64]) -> CpuMlp {
    let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
    CpuMlp::new(network, &theta)
}
