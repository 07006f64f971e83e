//! A multilayer perceptron with weight normalisation, its gradient by hand, and Adam.
//!
//! The gradient is written out because a graph would keep copies that forbid working in place, and because
//! everything here is a handful of matrix products; `tests` holds it equal to Burn's automatic differentiation and
//! to finite differences.

use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use mbmpo_core::Stream;
use rand::RngExt;

/// A layer's parameters, or anything of the same shape.
#[derive(Debug, Clone)]
pub(crate) struct Layer<T> {
    /// Weights `[in, out]`; under weight normalisation only the directions of the columns count.
    pub direction: T,
    /// Lengths `[1, out]` of the columns; none without weight normalisation.
    pub gain: Option<T>,
    /// Bias `[1, out]`.
    pub bias: T,
}

/// The weights W `[in, out]` and bias `[1, out]` that a layer multiplies with and adds.
pub(crate) type Affine = (Tensor<2>, Tensor<2>);

/// A number that is learned, with Adam's memory of its gradients.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub value: Tensor<2>,
    /// First moment m, divided by (1 - β₁).
    pub first: Tensor<2>,
    /// Second moment v, divided by (1 - β₂).
    pub second: Tensor<2>,
}

/// Adam's constants at one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    rate: f64,
    epsilon: f64,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;

impl AdamStep {
    /// The constants of step `step`, counted from 1. TensorFlow's form, which is the authors':
    /// θ ← θ - α √(1-β₂ᵗ)/(1-β₁ᵗ) m / (√v + ε).
    pub fn new(learning_rate: f64, epsilon: f64, step: u64) -> Self {
        let t = step as f64;
        let correction = (1.0 - BETA_2.powf(t)).sqrt() / (1.0 - BETA_1.powf(t));
        // the moments leave out the factors (1-β), which are put in here: that saves two passes a step
        let scale = (1.0 - BETA_2).sqrt();
        Self {
            rate: learning_rate * correction * (1.0 - BETA_1) / scale,
            epsilon: epsilon / scale,
        }
    }
}

impl Parameter {
    fn new(value: Tensor<2>) -> Self {
        let zeros = value.zeros_like();
        Self {
            value,
            first: zeros.clone(),
            second: zeros,
        }
    }

    fn step(self, gradient: Tensor<2>, adam: AdamStep) -> Self {
        let first = self.first * BETA_1 + gradient.clone();
        let second = self.second * BETA_2 + gradient.clone() * gradient;
        let denominator = second.clone().sqrt() + adam.epsilon;
        let value = self.value - first.clone() / denominator * adam.rate;
        Self {
            value,
            first,
            second,
        }
    }
}

/// A perceptron with ReLU units and a linear output (paper, A.3).
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub layers: Vec<Layer<Parameter>>,
    /// Gradient steps taken so far.
    pub steps: u64,
}

impl Network {
    /// Glorot-uniform weights (directions), unit gains, zero biases: `sizes` are the widths from input to output.
    pub fn new(sizes: &[usize], weight_normalization: bool, stream: &mut Stream, device: &Device) -> Self {
        let mut layer = |inputs: usize, outputs: usize| {
            let row = |values: Vec<f32>| {
                Parameter::new(Tensor::from_data(TensorData::new(values, [1, outputs]), device))
            };
            let weights = TensorData::new(glorot(inputs, outputs, stream), [inputs, outputs]);
            Layer {
                direction: Parameter::new(Tensor::from_data(weights, device)),
                gain: weight_normalization.then(|| row(vec![1.0; outputs])),
                bias: row(vec![0.0; outputs]),
            }
        };
        Self {
            layers: sizes.windows(2).map(|pair| layer(pair[0], pair[1])).collect(),
            steps: 0,
        }
    }

    /// The layers with weight normalisation folded away.
    pub fn affine(&self) -> Vec<Affine> {
        let fold = |layer: &Layer<Parameter>| (Weights::of(layer).effective, layer.bias.value.clone());
        self.layers.iter().map(fold).collect()
    }

    /// Half the gradient of the squared errors' sum times 2 `scale`: with `scale` = 1/(batch · dims) that of the mean
    /// squared error. Also the sum of squared errors `[1]`.
    ///
    /// `inputs` `[batch, in]`, `targets` `[batch, out]`.
    pub fn gradient(
        &self,
        inputs: Tensor<2>,
        targets: Tensor<2>,
        scale: f64,
    ) -> (Vec<Layer<Tensor<2>>>, Tensor<1>) {
        let weights: Vec<Weights> = self.layers.iter().map(Weights::of).collect();
        let mut activations = vec![inputs];
        let mut output = None;
        for (i, (weights, layer)) in weights.iter().zip(&self.layers).enumerate() {
            let input = activations[i].clone();
            let sum = input.matmul(weights.effective.clone()) + layer.bias.value.clone();
            if i + 1 < self.layers.len() {
                activations.push(relu(sum));
            } else {
                output = Some(sum);
            }
        }
        let error = output.unwrap_or_else(|| targets.clone()) - targets;
        let squared_error = error.clone().square().sum();

        let mut gradients = Vec::with_capacity(weights.len());
        let mut delta = error * (2.0 * scale);
        for ((i, weights), layer) in weights.into_iter().enumerate().zip(&self.layers).rev() {
            let activation = activations.swap_remove(i);
            let by_weights = activation.clone().transpose().matmul(delta.clone());
            let bias = delta.clone().sum_dim(0);
            if i > 0 {
                let back = delta.matmul(weights.effective.clone().transpose());
                // a ReLU's slope is 1 where its output is positive
                delta = back.mask_fill(activation.lower_equal_elem(0.0), 0.0);
            } else {
                delta = bias.clone();
            }
            let (direction, gain) = weights.pull_back(layer, by_weights);
            gradients.push(Layer {
                direction,
                gain,
                bias,
            });
        }
        gradients.reverse();
        (gradients, squared_error)
    }

    /// One step of Adam along `gradients`.
    pub fn step(self, gradients: Vec<Layer<Tensor<2>>>, learning_rate: f64, epsilon: f64) -> Self {
        let steps = self.steps + 1;
        let adam = AdamStep::new(learning_rate, epsilon, steps);
        let update = |(layer, gradient): (Layer<Parameter>, Layer<Tensor<2>>)| Layer {
            direction: layer.direction.step(gradient.direction, adam),
            gain: match (layer.gain, gradient.gain) {
                (Some(gain), Some(gradient)) => Some(gain.step(gradient, adam)),
                (gain, _) => gain,
            },
            bias: layer.bias.step(gradient.bias, adam),
        };
        Self {
            layers: self.layers.into_iter().zip(gradients).map(update).collect(),
            steps,
        }
    }
}

/// Runs `inputs` `[rows, in]` through folded layers: `[rows, out]`.
pub(crate) fn forward(layers: &[Affine], inputs: Tensor<2>) -> Tensor<2> {
    let last = layers.len().saturating_sub(1);
    layers.iter().enumerate().fold(inputs, |x, (i, (weights, bias))| {
        let sum = x.matmul(weights.clone()) + bias.clone();
        if i < last { relu(sum) } else { sum }
    })
}

/// A layer's weights W[:,j] = g[j] v[:,j] / ‖v[:,j]‖ (Salimans and Kingma 2016, eq. (2)).
struct Weights {
    effective: Tensor<2>,
    /// 1 / ‖v[:,j]‖, `[1, out]`.
    inverse_length: Option<Tensor<2>>,
}

impl Weights {
    fn of(layer: &Layer<Parameter>) -> Self {
        let direction = layer.direction.value.clone();
        let Some(gain) = &layer.gain else {
            return Self {
                effective: direction,
                inverse_length: None,
            };
        };
        let squares = direction.clone() * direction.clone();
        let inverse_length = squares.sum_dim(0).sqrt().recip();
        Self {
            effective: direction * (gain.value.clone() * inverse_length.clone()),
            inverse_length: Some(inverse_length),
        }
    }

    /// Gradients by v and g from the gradient by W (ibid., eq. (3)):
    /// ∂g = Σᵢ ∂W v / ‖v‖, ∂v = g/‖v‖ (∂W - ∂g v/‖v‖).
    fn pull_back(self, layer: &Layer<Parameter>, by_weights: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let (Some(inverse_length), Some(gain)) = (self.inverse_length, &layer.gain) else {
            return (by_weights, None);
        };
        let direction = layer.direction.value.clone();
        let by_gain = (by_weights.clone() * direction.clone()).sum_dim(0) * inverse_length.clone();
        let scale = gain.value.clone() * inverse_length.clone();
        let along = by_gain.clone() * inverse_length * scale.clone();
        (by_weights * scale - direction * along, Some(by_gain))
    }
}

fn glorot(inputs: usize, outputs: usize, stream: &mut Stream) -> Vec<f32> {
    let limit = (6.0 / (inputs + outputs) as f32).sqrt();
    let mut draw = || (2.0 * stream.random::<f32>() - 1.0) * limit;
    (0..inputs * outputs).map(|_| draw()).collect()
}
