use crate::cpu_network::dense;
use crate::network::Affine;
use crate::normalizer::Normalization;
use crate::tensor_network::forward;
use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{DynamicsModel, Error, Result, Stream, is_cpu};
use mbmpo_kernels::{GROUP, Panels, TILE_ROWS};
use std::cell::RefCell;

/// A fitted ensemble as a function: weight normalisation, the standardisation of (s, a) and the
/// scale of Δs are folded into plain weights. Not differentiable.
#[derive(Debug, Clone)]
pub struct Predictor {
    layers: Layers,
}

#[derive(Debug, Clone)]
enum Layers {
    /// Weights `[in, out]` and bias `[1, out]` of every layer.
    Tensors(Vec<Vec<(Tensor<2>, Tensor<2>)>>),
    /// The same on slices.
    Cpu(Vec<CpuMember>),
}

impl Predictor {
    pub(crate) fn new(members: Vec<Vec<Affine>>, device: &Device) -> Self {
        let members = members.into_iter();
        let layers = if is_cpu(device) {
            Layers::Cpu(members.map(CpuMember::new).collect())
        } else {
            let tensors = |layers: Vec<Affine>| layers.into_iter().map(|l| l.tensors(device));
            Layers::Tensors(members.map(|layers| tensors(layers).collect()).collect())
        };
        Self { layers }
    }
}

impl DynamicsModel for Predictor {
    fn members(&self) -> usize {
        match &self.layers {
            Layers::Tensors(members) => members.len(),
            Layers::Cpu(members) => members.len(),
        }
    }

    /// The network of the member gives Δs; the prediction is s + Δs (section 4.1 of the paper).
    /// Draws no noise.
    fn step(
        &self,
        member: usize,
        observations: Tensor<2>,
        actions: Tensor<2>,
        _noise: &mut Stream,
    ) -> Result<Tensor<2>> {
        let unknown = || {
            let count = self.members();
            Error::Description(format!(
                "there is no member {member}: the ensemble has {count}, from 0"
            ))
        };
        match &self.layers {
            Layers::Tensors(members) => {
                let layers = members.get(member).ok_or_else(unknown)?;
                let input = Tensor::cat(vec![observations.clone(), actions], 1);
                Ok(forward(layers, input) + observations)
            }
            Layers::Cpu(members) => members
                .get(member)
                .ok_or_else(unknown)?
                .step(observations, actions),
        }
    }
}

/// A member's layers on slices.
#[derive(Debug, Clone)]
struct CpuMember {
    layers: Vec<CpuLayer>,
}

#[derive(Debug, Clone)]
struct CpuLayer {
    /// `[in, out]`
    weights: Panels,
    /// `[out]`, and 0 beyond.
    bias: Vec<f32>,
    /// 1 for each output.
    scale: Vec<f32>,
}

impl CpuMember {
    /// Largest number of rows that go through the layers together: few enough that their
    /// activations stay in the second-level cache, and that the rollouts of a task are several
    /// pieces for idle threads.
    const ROWS: usize = 6 * TILE_ROWS;

    fn new(layers: Vec<Affine>) -> Self {
        let layers = layers.into_iter().map(|layer| {
            let mut weights = Panels::factor();
            weights.pack(layer.outputs, [&layer.weights[..]]);
            let padded = layer.outputs.next_multiple_of(GROUP);
            let (mut bias, mut scale) = (layer.bias, vec![1.0; layer.outputs]);
            bias.resize(padded, 0.0);
            scale.resize(padded, 0.0);
            CpuLayer {
                weights,
                bias,
                scale,
            }
        });
        Self {
            layers: layers.collect(),
        }
    }

    fn step(&self, observations: Tensor<2>, actions: Tensor<2>) -> Result<Tensor<2>> {
        let device = observations.device();
        let ([rows, dim], [_, action_dim]) = (observations.dims(), actions.dims());
        let (observations, actions) = (observations.into_data(), actions.into_data());
        let (Ok(s), Ok(a)) = (observations.as_slice::<f32>(), actions.as_slice::<f32>()) else {
            let what = "observations and actions must be in single precision";
            return Err(Error::Description(what.to_owned()));
        };
        let mut next = vec![0.0; s.len()];
        self.predict_in_pieces([s, a], &mut next, [dim, action_dim]);
        let next = TensorData::new(next, [rows, dim]);
        Ok(Tensor::from_data(next, &device))
    }

    /// Writes s + Δs to `next`. Rows are halved, and not cut into pieces of a size, so that two
    /// threads end together: often a single model is left.
    fn predict_in_pieces(&self, [s, a]: [&[f32]; 2], next: &mut [f32], dims: [usize; 2]) {
        let [dim, action_dim] = dims;
        let rows = s.len() / dim.max(1);
        if rows <= Self::ROWS {
            return self.predict(s, a, next);
        }
        let half = rows / 2 / TILE_ROWS * TILE_ROWS;
        let (s, a) = (s.split_at(half * dim), a.split_at(half * action_dim));
        let next = next.split_at_mut(half * dim);
        rayon::join(
            || self.predict_in_pieces([s.0, a.0], next.0, dims),
            || self.predict_in_pieces([s.1, a.1], next.1, dims),
        );
    }

    /// The same for a few rows.
    fn predict(&self, s: &[f32], a: &[f32], next: &mut [f32]) {
        BUFFERS.with_borrow_mut(|Buffers { rows, activations }| {
            let (Some(first), Some(last)) = (self.layers.first(), self.layers.last()) else {
                return;
            };
            let (inputs, dim) = (first.weights.rows(), last.weights.columns());
            rows.clear();
            for (s, a) in s.chunks_exact(dim).zip(a.chunks_exact(inputs - dim)) {
                rows.extend_from_slice(s);
                rows.extend_from_slice(a);
            }
            // a buffer may be older than the choice of instructions
            let instructions = first.weights.instructions();
            activations.retain(|matrix| matrix.instructions() == instructions);
            activations.resize_with(self.layers.len() + 1, Panels::default);
            activations[0].pack(inputs, [&rows[..]]);
            for (i, layer) in self.layers.iter().enumerate() {
                let CpuLayer {
                    weights,
                    bias,
                    scale,
                } = layer;
                let (before, after) = activations.split_at_mut(i + 1);
                let (x, y) = (&before[i], &mut after[0]);
                y.resize(x.rows(), weights.columns());
                let relu = i + 1 < self.layers.len();
                dense(x, weights, scale, bias, relu, y.data_mut());
            }
            activations[self.layers.len()].unpack(rows);
            for ((next, s), change) in next.iter_mut().zip(s).zip(rows) {
                *next = s + *change;
            }
        });
    }
}

/// What a prediction writes in between, reused by the next one of the thread.
#[derive(Debug, Default)]
struct Buffers {
    /// Inputs, then outputs, in row-major order.
    rows: Vec<f32>,
    /// Inputs, then the outputs of each layer.
    activations: Vec<Panels>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Affine {
    fn tensors(self, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let tensor = |values, shape| Tensor::from_data(TensorData::new(values, shape), device);
        (
            tensor(self.weights, [self.inputs, self.outputs]),
            tensor(self.bias, [1, self.outputs]),
        )
    }
}

impl Normalization {
    /// Layers that take raw (s, a) and give raw Δs, from layers in standardised units.
    pub(crate) fn fold(&self, mut layers: Vec<Affine>) -> Vec<Affine> {
        if let Some(Affine {
            outputs,
            weights,
            bias,
            ..
        }) = layers.first_mut()
        {
            // ((x - mean) inverse) W + b
            let mut shifted: Vec<f64> = bias.iter().copied().map(f64::from).collect();
            let statistics = self.input.mean.iter().zip(self.input.inverse_std());
            for (row, (mean, inverse)) in weights.chunks_exact_mut(*outputs).zip(statistics) {
                for (w, b) in row.iter_mut().zip(&mut shifted) {
                    let folded = f64::from(*w) * inverse;
                    *b -= mean * folded;
                    *w = folded as f32;
                }
            }
            *bias = shifted.into_iter().map(|b| b as f32).collect();
        }
        if let Some(Affine { weights, bias, .. }) = layers.last_mut() {
            for row in weights.chunks_exact_mut(bias.len()) {
                for (w, std) in row.iter_mut().zip(&self.target.std) {
                    *w = (f64::from(*w) * std) as f32;
                }
            }
            let statistics = self.target.mean.iter().zip(&self.target.std);
            for (b, (mean, std)) in bias.iter_mut().zip(statistics) {
                *b = (f64::from(*b) * std + mean) as f32;
            }
        }
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Initial, Network};
    use crate::normalizer::Normalizer;
    use crate::tensor_network::TensorNetwork;
    use mbmpo_core::{Purpose, Streams};

    /// Fails when folding omits a mean or a deviation, or confuses inputs and targets; or when a
    /// prediction is wrong beyond the first group of units or the first piece of rows.
    #[test]
    fn folded_equals_unfolded() {
        let device = Device::flex();
        let mut stream = Streams::new(0).stream(Purpose::Test, 0, 0);
        let initial = Initial::layers(&[3, 70, 2], true, &mut stream);
        let network = TensorNetwork::new(&initial, &device);
        let normalization = Normalization {
            input: Normalizer {
                mean: vec![1.0, -2.0, 0.5],
                std: vec![0.5, 3.0, 0.0],
            },
            target: Normalizer {
                mean: vec![0.1, -0.2],
                std: vec![0.3, 2.0],
            },
        };
        let layers = network.affine().unwrap();
        let folded = normalization.fold(layers.clone());
        let tensors = |layers: &[Affine]| -> Vec<_> {
            let layers = layers.iter().cloned();
            layers.map(|layer| layer.tensors(&device)).collect()
        };
        let models = [
            Layers::Cpu(vec![CpuMember::new(folded.clone())]),
            Layers::Tensors(vec![tensors(&folded)]),
        ];
        // more rows than a piece
        let rows = |two: [Vec<f32>; 2]| {
            let dim = two[0].len();
            let data = TensorData::new(two.concat().repeat(20), [40, dim]);
            Tensor::<2>::from_data(data, &device)
        };
        let observations = rows([vec![0.3, -1.0], vec![2.0, 5.0]]);
        let actions = rows([vec![0.5], vec![-1.0]]);

        // the third input does not vary, so it is 0 in standardised units
        let standardised = rows([vec![-1.4, 1.0 / 3.0, 0.0], vec![2.0, 7.0 / 3.0, 0.0]]);
        let std = Tensor::<2>::from_data([[0.3, 2.0]], &device);
        let mean = Tensor::<2>::from_data([[0.1, -0.2]], &device);
        let unfolded = observations.clone() + forward(&tensors(&layers), standardised) * std + mean;
        for layers in models {
            let (s, a) = (observations.clone(), actions.clone());
            let folded = Predictor { layers }.step(0, s, a, &mut stream).unwrap();
            let error = (folded - unfolded.clone()).abs().max().into_scalar::<f32>();
            assert!(error < 1e-5, "{error}");
        }
    }
}
