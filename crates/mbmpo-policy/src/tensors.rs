//! Sums over samples on tensors, which run on every device and in either precision.

use crate::sums::{Rows, SampleSums, SurrogateSums, sum};
use crate::surrogate::Sampled;
use crate::{BoundMlp, Forward, GaussianMlp};
use burn::backend::{Device as _, DispatchDeviceId};
use burn::tensor::{DType, Device, Element, Tensor, TensorData};
use mbmpo_core::{Error, Result, host};
use rayon::prelude::*;
use std::sync::Arc;

/// Where tensors live, their precision, and how many rows go into one operation.
#[derive(Debug, Clone)]
pub(crate) struct Tensors {
    device: Device,
    dtype: DType,
    chunk_rows: usize,
}

impl Tensors {
    pub(crate) fn new(device: &Device, dtype: DType) -> Self {
        Self {
            device: device.clone(),
            dtype,
            chunk_rows: chunk_rows(device),
        }
    }

    /// Mean actions `[n, action]` for `observations` `[n, observation]`.
    pub(crate) fn means(
        &self,
        network: &GaussianMlp,
        theta: &[f64],
        observations: &[f32],
    ) -> Result<Vec<f32>> {
        let policy = self.bind(network, theta);
        let dim = network.observation_dim();
        let means: Vec<Vec<f32>> = observations
            .par_chunks(self.chunk_rows.min(observations.len().max(1)) * dim)
            .map(|rows| host(policy.mean(self.matrix(rows, dim))))
            .collect::<Result<_>>()?;
        Ok(means.concat())
    }

    fn theta(&self, theta: &[f64]) -> Tensor<1> {
        GaussianMlp::tensor(theta, self.dtype, &self.device)
    }

    fn bind(&self, network: &GaussianMlp, theta: &[f64]) -> BoundMlp {
        network.bind(&self.theta(theta))
    }

    fn matrix<E: Element>(&self, entries: &[E], columns: usize) -> Tensor<2> {
        let shape = [entries.len() / columns, columns];
        let data = TensorData::new(entries.to_vec(), shape).convert_dtype(self.dtype);
        Tensor::from_data(data, (&self.device, self.dtype))
    }
}

/// Rows of a chunk. On Burn's CPU backends 1,000: enough for the matrix products, few enough that
/// a layer's activations (1,000 × 32 numbers) stay in the cache. Any other device takes the whole
/// batch, since every chunk would cost it its kernel launches and a read-back.
///
/// The number of the backend is the upper byte of the type in the device's identifier; Burn offers
/// no method for it that compiles without the backends.
fn chunk_rows(device: &Device) -> usize {
    let backend = device.as_dispatch().to_id().type_id >> 8;
    let on_cpu = [DispatchDeviceId::Flex, DispatchDeviceId::NdArray];
    if on_cpu.map(u16::from).contains(&backend) {
        1_000
    } else {
        usize::MAX
    }
}

/// Observations, actions and weights of a chunk.
type Chunk = [Tensor<2>; 3];

/// Samples with their weights.
#[derive(Debug)]
pub(crate) struct TensorSamples {
    network: GaussianMlp,
    tensors: Tensors,
    chunks: Vec<Chunk>,
}

impl TensorSamples {
    pub(crate) fn new(network: &GaussianMlp, tensors: Tensors, rows: Rows<'_>) -> Self {
        let (o, a) = (network.observation_dim(), network.action_dim());
        let chunks = rows.chunks(tensors.chunk_rows, o, a).map(|rows| {
            [
                tensors.matrix(rows.observations, o),
                tensors.matrix(rows.actions, a),
                tensors.matrix(rows.weights, 1),
            ]
        });
        Self {
            chunks: chunks.collect(),
            network: network.clone(),
            tensors,
        }
    }
}

impl SampleSums for TensorSamples {
    fn policy_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let policy = self.tensors.bind(&self.network, theta);
        sum(&self.chunks, theta.len(), |chunk| {
            let [observations, actions, weights] = chunk.clone();
            read(
                policy
                    .forward(observations)
                    .policy_gradient(actions, weights),
            )
        })
    }

    /// By automatic differentiation of ⟨∇J(θ), v⟩.
    fn hessian_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        let (theta, v) = (self.tensors.theta(theta), self.tensors.theta(v));
        let count = self.network.parameter_count();
        sum(&self.chunks, count, |chunk| {
            let leaf = Tensor::from_inner(theta.clone()).require_grad();
            let [observations, actions, weights] = chunk.clone().map(Tensor::from_inner);
            let policy = self.network.bind(&leaf);
            let gradient = policy
                .forward(observations)
                .policy_gradient(actions, weights);
            let inner_product = (gradient * Tensor::from_inner(v.clone())).sum();
            leaf.grad(&inner_product.backward())
                .map_or_else(|| Ok(vec![0.0; count]), read)
        })
    }

    fn surrogate(&self, theta: &[f64]) -> Arc<dyn SurrogateSums> {
        let policy = self.tensors.bind(&self.network, theta);
        let chunks = self.chunks.iter().map(|chunk| {
            let [observations, actions, weights] = chunk.clone();
            Sampled::new(&policy, observations, actions, weights)
        });
        Arc::new(TensorSurrogate {
            network: self.network.clone(),
            tensors: self.tensors.clone(),
            chunks: chunks.collect(),
        })
    }
}

/// Samples with their weights and the statistics of the old policy.
#[derive(Debug)]
struct TensorSurrogate {
    network: GaussianMlp,
    tensors: Tensors,
    chunks: Vec<Sampled>,
}

impl TensorSurrogate {
    /// The sum `[count]` of `f` over the chunks, each with a forward pass of π_θ.
    fn sum(
        &self,
        theta: &[f64],
        count: usize,
        f: impl Fn(&Sampled, &Forward<'_>) -> Tensor<1> + Sync,
    ) -> Result<Vec<f64>> {
        let policy = self.tensors.bind(&self.network, theta);
        sum(&self.chunks, count, |chunk| {
            read(f(chunk, &policy.forward(chunk.observations.clone())))
        })
    }
}

impl SurrogateSums for TensorSurrogate {
    fn surrogate_and_kl(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sum(theta, 2, |chunk, new| {
            Tensor::cat(vec![chunk.surrogate(new), chunk.kl(new)], 0)
        })
    }

    fn surrogate_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sum(theta, theta.len(), Sampled::surrogate_gradient)
    }

    fn clipped_gradient(&self, theta: &[f64], epsilon: f64) -> Result<Vec<f64>> {
        self.sum(theta, theta.len(), |chunk, new| {
            chunk.clipped_gradient(new, epsilon)
        })
    }

    fn kl_gradient(&self, theta: &[f64]) -> Result<Vec<f64>> {
        self.sum(theta, theta.len(), Sampled::kl_gradient)
    }

    fn fisher_product(&self, theta: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        let direction = self.tensors.bind(&self.network, v);
        self.sum(theta, theta.len(), |chunk, at| {
            chunk.fisher_product(at, &direction)
        })
    }
}

fn read(tensor: Tensor<1>) -> Result<Vec<f64>> {
    match tensor.dtype() {
        DType::F64 => tensor.try_into_vec_as::<f64>().map_err(|error| {
            Error::Description(format!(
                "a tensor could not be read back from its device: {error}"
            ))
        }),
        _ => Ok(host(tensor)?.into_iter().map(f64::from).collect()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::PolicyConfig;
    use mbmpo_core::{Check, Purpose, Stream, Streams};
    use rand::RngExt;

    fn draw(stream: &mut Stream, n: usize) -> Vec<f32> {
        (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
    }

    /// Fails when the CPU is not recognised, or when a device that takes the whole batch in one
    /// chunk computes other sums than one that takes several.
    #[test]
    fn one_chunk_agrees_with_many() {
        const ROWS: usize = 2_345;
        let chunked = Tensors::new(&Device::flex(), DType::F64);
        assert_eq!(chunked.chunk_rows, 1_000);
        let whole = Tensors {
            chunk_rows: usize::MAX,
            ..chunked.clone()
        };
        let config = PolicyConfig::default().check().unwrap();
        let network = GaussianMlp::new(&config, 3, 2);
        let mut stream = Streams::new(7).stream(Purpose::Test, 0, 0);
        let theta = network.initial_parameters(&config, &mut stream);
        let (observations, actions) = (draw(&mut stream, ROWS * 3), draw(&mut stream, ROWS * 2));
        let weights: Vec<f64> = draw(&mut stream, ROWS).iter().map(|&x| x.into()).collect();
        let rows = Rows {
            observations: &observations,
            actions: &actions,
            weights: &weights,
        };
        let results = [(chunked, 3), (whole, 1)].map(|(tensors, chunks)| {
            let means = tensors.means(&network, &theta, &observations).unwrap();
            let samples = TensorSamples::new(&network, tensors, rows);
            assert_eq!(samples.chunks.len(), chunks);
            (means, samples.policy_gradient(&theta).unwrap())
        });
        let [(means, gradient), (whole_means, whole_gradient)] = results;
        assert_eq!(means, whole_means);
        for (a, b) in gradient.iter().zip(&whole_gradient) {
            assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}
