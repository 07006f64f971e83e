//! Element-wise work of a layer in one pass over memory instead of several, on Burn's CPU backend.
//!
//! Everywhere else, and in double precision, the same functions are tensor operations, and tests hold the two equal. A
//! 512 x 512 layer is a megabyte, so passes over it cost about as much as they read and write.

use crate::network::{AdamStep, Affine, BETA_1, BETA_2, Layer, Parameter, pull_back};
use burn::tensor::{DType, Device, Tensor, TensorData, activation::relu};

/// Whether the entries are single-precision numbers in this process's memory, and in no graph.
fn is_here(x: &Tensor<2>) -> bool {
    x.dtype() == DType::F32 && !x.is_autodiff() && is_cpu(&x.device())
}

#[cfg(feature = "cpu")]
fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(not(feature = "cpu"))]
fn is_cpu(_device: &Device) -> bool {
    false
}

/// max(0, sum + bias) of `sum` `[rows, out]` and `bias` `[1, out]`.
pub(crate) fn relu_of_sum(sum: Tensor<2>, bias: &Tensor<2>) -> Tensor<2> {
    if !is_here(&sum) {
        return relu(sum + bias.clone());
    }
    let device = sum.device();
    let (mut sum, biases) = (sum.into_data(), bias.to_data());
    match (sum.as_mut_slice::<f32>(), biases.as_slice::<f32>()) {
        (Ok(entries), Ok(biases)) => {
            for row in entries.chunks_exact_mut(biases.len()) {
                for (entry, bias) in row.iter_mut().zip(biases) {
                    let sum = *entry + bias;
                    // not `max`: a NaN has to stay one to be found
                    *entry = if sum < 0.0 { 0.0 } else { sum };
                }
            }
            Tensor::from_data(sum, &device)
        }
        _ => relu(Tensor::from_data(sum, &device) + bias.clone()),
    }
}

/// The gradient by a ReLU's input from that by its output `[rows, out]`: nothing where the `output` is 0.
pub(crate) fn through_relu(gradient: Tensor<2>, output: Tensor<2>) -> Tensor<2> {
    if !is_here(&gradient) {
        // `mask_fill` would be slower
        let slope = output.greater_elem(0.0).float().cast(gradient.dtype());
        return gradient * slope;
    }
    let device = gradient.device();
    let (mut gradient, outputs) = (gradient.into_data(), output.into_data());
    match (gradient.as_mut_slice::<f32>(), outputs.as_slice::<f32>()) {
        (Ok(entries), Ok(outputs)) => {
            for (entry, output) in entries.iter_mut().zip(outputs) {
                *entry *= f32::from(u8::from(*output > 0.0));
            }
            Tensor::from_data(gradient, &device)
        }
        _ => {
            let slope = Tensor::<2>::from_data(outputs, &device).greater_elem(0.0);
            Tensor::from_data(gradient, &device) * slope.float()
        }
    }
}

/// A step of Adam on a layer, along the gradients by its weights and by its bias.
pub(crate) fn step(
    layer: Layer<Parameter>,
    (by_weights, by_bias): Affine,
    adam: AdamStep,
) -> Layer<Parameter> {
    if !is_here(&by_weights) {
        let (by_direction, by_gain) = pull_back(&layer, by_weights);
        return Layer {
            direction: layer.direction.step(by_direction, adam),
            gain: match (layer.gain, by_gain) {
                (Some(gain), Some(gradient)) => Some(gain.step(gradient, adam)),
                (gain, _) => gain,
            },
            bias: layer.bias.step(by_bias, adam),
        };
    }
    let mut direction = Entries::of(layer.direction);
    let by_weights = entries(by_weights);
    let columns = direction.shape[1];
    // without weight normalisation directions are weights
    let (mut scale, mut along) = (vec![1.0; columns], vec![0.0; columns]);
    let gain = layer.gain.map(|gain| {
        let mut gain = Entries::of(gain);
        // as `pull_back`, per column
        let (mut squares, mut by_gain) = (vec![0.0; columns], vec![0.0; columns]);
        let rows = direction.value.chunks_exact(columns);
        for (v, by_w) in rows.zip(by_weights.chunks_exact(columns)) {
            for j in 0..columns {
                squares[j] += v[j] * v[j];
                by_gain[j] += by_w[j] * v[j];
            }
        }
        for j in 0..columns {
            let inverse_length = 1.0 / squares[j].sqrt();
            by_gain[j] *= inverse_length;
            scale[j] = gain.value[j] * inverse_length;
            along[j] = by_gain[j] * inverse_length * scale[j];
        }
        gain.step(&by_gain, &[1.0], &[0.0], adam);
        gain.into_parameter()
    });
    direction.step(&by_weights, &scale, &along, adam);
    let mut bias = Entries::of(layer.bias);
    bias.step(&entries(by_bias), &[1.0], &[0.0], adam);
    Layer {
        direction: direction.into_parameter(),
        gain,
        bias: bias.into_parameter(),
    }
}

/// The numbers of a parameter that [`is_here`].
struct Entries {
    value: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    shape: [usize; 2],
    device: Device,
}

impl Entries {
    fn of(parameter: Parameter) -> Self {
        Self {
            shape: parameter.value.dims(),
            device: parameter.value.device(),
            value: entries(parameter.value),
            first: entries(parameter.first),
            second: entries(parameter.second),
        }
    }

    fn into_parameter(self) -> Parameter {
        let tensor =
            |entries| Tensor::from_data(TensorData::new(entries, self.shape), &self.device);
        Parameter {
            value: tensor(self.value),
            first: tensor(self.first),
            second: tensor(self.second),
        }
    }

    /// [`Parameter::step`] along `gradient * scale - value * along`, where `scale` and `along` go with the columns.
    fn step(&mut self, gradient: &[f32], scale: &[f32], along: &[f32], adam: AdamStep) {
        let (rate, epsilon) = (adam.rate as f32, adam.epsilon as f32);
        let (beta_1, beta_2) = (BETA_1 as f32, BETA_2 as f32);
        let columns = scale.len();
        let rows = self.value.chunks_exact_mut(columns);
        let rows = rows.zip(self.first.chunks_exact_mut(columns));
        let rows = rows.zip(self.second.chunks_exact_mut(columns));
        for (((value, first), second), gradient) in rows.zip(gradient.chunks_exact(columns)) {
            for j in 0..columns {
                let gradient = gradient[j] * scale[j] - value[j] * along[j];
                first[j] = first[j] * beta_1 + gradient;
                second[j] = second[j] * beta_2 + gradient * gradient;
                value[j] -= rate * first[j] / (second[j].sqrt() + epsilon);
            }
        }
    }
}

/// Without a copy where nobody else holds them.
fn entries(x: Tensor<2>) -> Vec<f32> {
    // single precision, or it would not be here
    x.into_data().try_into_vec().unwrap_or_default()
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use crate::network::Network;
    use mbmpo_core::{Purpose, Streams};

    fn network(weight_normalization: bool) -> Network {
        let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
        Network::new(
            &[3, 40, 40, 2],
            weight_normalization,
            &mut stream,
            &Device::flex(),
        )
    }

    fn batch(rows: usize) -> (Tensor<2>, Tensor<2>) {
        let values =
            |n: usize, shift: f32| (0..n).map(|i| (i as f32 * 0.7 + shift).sin()).collect();
        let tensor = |columns: usize, shift: f32| {
            let entries: Vec<f32> = values(rows * columns, shift);
            Tensor::from_data(TensorData::new(entries, [rows, columns]), &Device::flex())
        };
        (tensor(3, 0.0), tensor(2, 1.0))
    }

    fn all(network: &Network) -> Vec<f32> {
        let parts = network.layers.iter().flat_map(|layer| {
            let parameters = [
                Some(&layer.direction),
                layer.gain.as_ref(),
                Some(&layer.bias),
            ];
            parameters.into_iter().flatten().flat_map(|parameter| {
                [&parameter.value, &parameter.first, &parameter.second].map(|x| entries(x.clone()))
            })
        });
        parts.flatten().collect()
    }

    /// Fails when a step in one pass is not that of tensor operations, with and without weight normalisation.
    #[test]
    fn steps_are_equal() {
        for weight_normalization in [true, false] {
            let mut ours = network(weight_normalization);
            let mut theirs = ours.clone();
            for step in 1..=3 {
                let adam = AdamStep::new(1e-2, 1e-8, step);
                let (inputs, targets) = batch(7);
                let (gradients, _) = ours.gradient(vec![(inputs, targets)], 0.1);
                let pairs = |network: Network| network.layers.into_iter().zip(gradients.clone());
                ours.layers = pairs(ours.clone())
                    .map(|(layer, gradient)| super::step(layer, gradient, adam))
                    .collect();
                theirs.layers = pairs(theirs.clone())
                    .map(|(layer, (by_weights, by_bias))| {
                        let (by_direction, by_gain) = pull_back(&layer, by_weights);
                        Layer {
                            direction: layer.direction.step(by_direction, adam),
                            gain: layer
                                .gain
                                .zip(by_gain)
                                .map(|(gain, by)| gain.step(by, adam)),
                            bias: layer.bias.step(by_bias, adam),
                        }
                    })
                    .collect();
                for (a, b) in all(&ours).iter().zip(all(&theirs)) {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
                }
            }
        }
    }

    /// Fails when a layer's activation or its slope in one pass is not that of tensor operations.
    #[test]
    fn activations_are_equal() {
        let (x, _) = batch(5);
        let bias = Tensor::<2>::from_data([[0.1_f32, -0.2, 0.0]], &Device::flex());
        let ours = relu_of_sum(x.clone(), &bias);
        assert_eq!(entries(ours.clone()), entries(relu(x.clone() + bias)));
        let slope = ours.clone().greater_elem(0.0).float();
        let expected = entries(x.clone() * slope);
        assert_eq!(entries(through_relu(x, ours)), expected);

        let nan = Tensor::<2>::from_data([[f32::NAN, -1.0]], &Device::flex());
        let none = Tensor::<2>::from_data([[0.0_f32, 0.0]], &Device::flex());
        let after = entries(relu_of_sum(nan, &none));
        assert!(after[0].is_nan() && after[1] == 0.0, "{after:?}");
    }
}
