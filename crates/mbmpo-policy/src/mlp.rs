use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::Stream;
use mbmpo_kernels::{tanh, vectorized};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The activation function of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// tanh x
    Tanh,
    /// max(x, 0)
    Relu,
    /// x
    Identity,
}

/// The architecture of a multilayer perceptron, a function of a flat parameter vector: for every
/// layer its weights `[inputs, outputs]` in row-major order and its biases, and with layer
/// normalisation (Ba et al. 2016) the gains and shifts of hidden layers.
///
/// [`Self::forward`] is differentiable by the parameters and by the inputs; [`Self::forward_one`]
/// is the same function of one input on slices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Width of the input, of every hidden layer, and of the output.
    pub sizes: Vec<usize>,
    /// Width of a second input, which is appended to the input of the second layer (of the first,
    /// if it is the only one).
    pub joining: usize,
    /// Activation of hidden layers.
    pub hidden: Activation,
    /// Activation of the last layer.
    pub output: Activation,
    /// Whether pre-activations of hidden layers are normalised over the units.
    pub layer_norm: bool,
}

/// Added to the variance of a layer's pre-activations.
const VARIANCE_FLOOR: f64 = 1e-5;

/// The ranges of a layer in the parameters.
struct LayerRanges {
    inputs: usize,
    outputs: usize,
    weights: Range<usize>,
    biases: Range<usize>,
    /// Gains and shifts.
    normalization: Option<[Range<usize>; 2]>,
}

impl Mlp {
    /// The ranges of every layer in the parameters.
    fn layers(&self) -> Vec<LayerRanges> {
        let mut start = 0;
        let mut take = |count: usize| {
            start += count;
            start - count..start
        };
        let last = self.sizes.len() - 2;
        let joins_at = 1.min(last);
        let layer = |(i, pair): (usize, &[usize])| {
            let inputs = pair[0] + if i == joins_at { self.joining } else { 0 };
            let outputs = pair[1];
            LayerRanges {
                inputs,
                outputs,
                weights: take(inputs * outputs),
                biases: take(outputs),
                normalization: (self.layer_norm && i < last)
                    .then(|| [take(outputs), take(outputs)]),
            }
        };
        self.sizes.windows(2).enumerate().map(layer).collect()
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        self.layers()
            .iter()
            .map(|layer| {
                let normalization = layer.normalization.as_ref().map_or(0, |_| 2);
                (layer.inputs + 1 + normalization) * layer.outputs
            })
            .sum()
    }

    /// Whether each parameter is a weight or a bias, not one of layer normalisation:
    /// `[parameters]`.
    pub fn is_affine(&self) -> Vec<bool> {
        let mut affine = vec![true; self.parameter_count()];
        for part in self
            .layers()
            .into_iter()
            .filter_map(|l| l.normalization)
            .flatten()
        {
            affine[part].fill(false);
        }
        affine
    }

    /// Whether each parameter is a weight: `[parameters]`.
    pub fn is_weight(&self) -> Vec<bool> {
        let mut weight = vec![false; self.parameter_count()];
        for layer in self.layers() {
            weight[layer.weights].fill(true);
        }
        weight
    }

    /// Initial parameters: Glorot-uniform weights, zero biases; the last layer's weights and biases
    /// uniform within ±3e-3 (Lillicrap et al. 2016).
    pub fn initial_parameters(&self, stream: &mut Stream) -> Vec<f64> {
        let mut parameters = vec![0.0; self.parameter_count()];
        let layers = self.layers();
        let last = layers.len() - 1;
        for (i, layer) in layers.into_iter().enumerate() {
            let glorot = (6.0 / (layer.inputs + layer.outputs) as f64).sqrt();
            let bound = if i == last { 3e-3 } else { glorot };
            for weight in &mut parameters[layer.weights] {
                *weight = stream.random_range(-bound..=bound);
            }
            if i == last {
                for bias in &mut parameters[layer.biases] {
                    *bias = stream.random_range(-bound..=bound);
                }
            }
            if let Some([gains, _]) = layer.normalization {
                parameters[gains].fill(1.0);
            }
        }
        parameters
    }

    /// Parameters as a tensor `[parameters]`.
    pub fn tensor(parameters: &[f64], device: &Device) -> Tensor<1> {
        let data: Vec<f32> = parameters.iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::from(data.as_slice()), device)
    }

    /// Outputs `[rows, outputs]` for `inputs` `[rows, inputs]` and the second input
    /// `[rows, joining]`, if the architecture has one.
    pub fn forward(
        &self,
        parameters: &Tensor<1>,
        inputs: Tensor<2>,
        joining: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let layers = self.layers();
        let last = layers.len() - 1;
        let mut joining = joining;
        let mut values = inputs;
        for (i, layer) in layers.into_iter().enumerate() {
            let matrix = |range: Range<usize>, rows: usize| {
                let part = parameters.clone().narrow(0, range.start, range.len());
                part.reshape([rows, layer.outputs])
            };
            if i == 1.min(last)
                && let Some(second) = joining.take()
            {
                values = Tensor::cat(vec![values, second], 1);
            }
            let sums = values.matmul(matrix(layer.weights.clone(), layer.inputs))
                + matrix(layer.biases.clone(), 1);
            let sums = match layer.normalization.clone() {
                None => sums,
                Some([gains, shifts]) => {
                    let centered = sums.clone() - sums.mean_dim(1);
                    let variance = (centered.clone() * centered.clone()).mean_dim(1);
                    let scale = variance.add_scalar(VARIANCE_FLOOR).sqrt();
                    centered / scale * matrix(gains, 1) + matrix(shifts, 1)
                }
            };
            values = match if i == last { self.output } else { self.hidden } {
                Activation::Tanh => sums.tanh(),
                Activation::Relu => sums.clamp_min(0.0),
                Activation::Identity => sums,
            };
        }
        values
    }

    /// The output `[outputs]` for one `input` `[inputs]` of a network without a second input.
    pub fn forward_one(&self, parameters: &[f32], input: &[f32]) -> Vec<f32> {
        vectorized(
            #[inline(always)]
            || self.outputs(parameters, input),
        )
    }

    #[inline(always)]
    fn outputs(&self, parameters: &[f32], input: &[f32]) -> Vec<f32> {
        let layers = self.layers();
        let last = layers.len() - 1;
        let mut values = input.to_vec();
        for (i, layer) in layers.into_iter().enumerate() {
            let mut sums = parameters[layer.biases].to_vec();
            let weights = parameters[layer.weights].chunks_exact(layer.outputs);
            for (x, row) in values.iter().zip(weights) {
                sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += x * w);
            }
            if let Some([gains, shifts]) = layer.normalization {
                let n = sums.len() as f32;
                let mean = sums.iter().sum::<f32>() / n;
                let variance = sums.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
                let scale = (variance + VARIANCE_FLOOR as f32).sqrt();
                let factors = parameters[gains].iter().zip(&parameters[shifts]);
                for (sum, (gain, shift)) in sums.iter_mut().zip(factors) {
                    *sum = (*sum - mean) / scale * gain + shift;
                }
            }
            for sum in &mut sums {
                *sum = match if i == last { self.output } else { self.hidden } {
                    Activation::Tanh => tanh(*sum),
                    Activation::Relu => sum.max(0.0),
                    Activation::Identity => *sum,
                };
            }
            values = sums;
        }
        values
    }
}
