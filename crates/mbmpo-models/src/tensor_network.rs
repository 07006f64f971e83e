//! A dynamics network on tensors of any device.
//!
//! The gradient is written by hand: an autodiff graph would keep copies of tensors that are
//! otherwise updated in place. The tests compare it with Burn's automatic differentiation and with
//! finite differences.

use crate::network::{AdamStep, Affine, BETA_1, BETA_2, Batch, Initial, Network};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use mbmpo_core::{Archive, Persist, Result, host};

/// The parameters of a layer, or their gradients.
#[derive(Debug, Clone)]
struct Layer<T> {
    /// Weights `[in, out]`; under weight normalisation only the directions of the columns count.
    direction: T,
    /// Lengths `[1, out]` of the columns; none without weight normalisation.
    gain: Option<T>,
    /// Bias `[1, out]`.
    bias: T,
}

/// Trainable numbers with Adam's moments of their gradients.
#[derive(Debug, Clone)]
struct Parameter {
    value: Tensor<2>,
    /// First moment m, divided by (1 - β₁).
    first: Tensor<2>,
    /// Second moment v, divided by (1 - β₂).
    second: Tensor<2>,
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

/// A [`Network`] on tensors.
#[derive(Debug, Clone)]
pub(crate) struct TensorNetwork {
    layers: Vec<Layer<Parameter>>,
    /// Gradient steps taken so far.
    steps: u64,
    /// Sum of squared errors since [`Network::take_squared_error`]; kept on the device, so that no
    /// step waits for a transfer.
    squared_error: Option<Tensor<1>>,
    device: Device,
}

impl TensorNetwork {
    pub fn new(initial: &[Initial], device: &Device) -> Self {
        let layer = |layer: &Initial| {
            let row = |values: &[f32]| {
                let data = TensorData::new(values.to_vec(), [1, layer.outputs]);
                Parameter::new(Tensor::from_data(data, device))
            };
            let shape = [layer.inputs, layer.outputs];
            let weights = TensorData::new(layer.direction.clone(), shape);
            Layer {
                direction: Parameter::new(Tensor::from_data(weights, device)),
                gain: layer.gain.as_deref().map(row),
                bias: row(&layer.bias),
            }
        };
        Self {
            layers: initial.iter().map(layer).collect(),
            steps: 0,
            squared_error: None,
            device: device.clone(),
        }
    }

    /// Uploads a batch: inputs `[rows, in]` and targets `[rows, out]`.
    fn load(&self, inputs: &[f32], targets: &[f32]) -> [Tensor<2>; 2] {
        let [inputs_dim, _] = self.layers[0].direction.value.dims();
        let rows = inputs.len() / inputs_dim;
        [inputs, targets].map(|values| {
            let data = TensorData::new(values.to_vec(), [rows, values.len() / rows.max(1)]);
            Tensor::from_data(data, &self.device)
        })
    }

    /// Weights W `[in, out]` and bias `[1, out]` of every layer, with weight normalisation folded
    /// away.
    fn folded(&self) -> Vec<(Tensor<2>, Tensor<2>)> {
        let fold =
            |layer: &Layer<Parameter>| (Weights::of(layer).effective, layer.bias.value.clone());
        self.layers.iter().map(fold).collect()
    }

    /// The gradient of `scale` times the sum of squared errors (with `scale` = 1/(batch · dims):
    /// the mean squared error), and that sum `[1]`, for `inputs` `[batch, in]` and `targets`
    /// `[batch, out]`.
    fn gradient(
        &self,
        inputs: Tensor<2>,
        targets: Tensor<2>,
        scale: f64,
    ) -> (Vec<Layer<Tensor<2>>>, Tensor<1>) {
        let last = self.layers.len() - 1;
        let weights: Vec<Weights> = self.layers.iter().map(Weights::of).collect();
        // the input of each layer, then the output
        let mut activations = vec![inputs];
        for (i, (layer, weights)) in self.layers.iter().zip(&weights).enumerate() {
            let sum =
                activations[i].clone().matmul(weights.effective.clone()) + layer.bias.value.clone();
            activations.push(if i < last { relu(sum) } else { sum });
        }
        let error = activations.remove(last + 1) - targets;
        let squared_error = error.clone().square().sum();

        let mut gradients = Vec::with_capacity(weights.len());
        let mut delta = error * (2.0 * scale);
        let layers = self.layers.iter().zip(weights).zip(activations);
        for (i, ((layer, weights), input)) in layers.enumerate().rev() {
            let by_weights = input.clone().transpose().matmul(delta.clone());
            let bias = delta.clone().sum_dim(0);
            if i > 0 {
                let back = delta.clone().matmul(weights.effective.clone().transpose());
                // the slope of the ReLU; `mask_fill` is 15 times slower on the CPU
                let slope = input.greater_elem(0.0).float().cast(back.dtype());
                delta = back * slope;
            }
            let (direction, gain) = weights.vjp(layer, by_weights);
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
    fn descend(&mut self, gradients: Vec<Layer<Tensor<2>>>, rate: f64, epsilon: f64) {
        self.steps += 1;
        let adam = AdamStep::new(rate, epsilon, self.steps);
        let update = |(layer, gradient): (Layer<Parameter>, Layer<Tensor<2>>)| Layer {
            direction: layer.direction.step(gradient.direction, adam),
            gain: match (layer.gain, gradient.gain) {
                (Some(gain), Some(gradient)) => Some(gain.step(gradient, adam)),
                (gain, _) => gain,
            },
            bias: layer.bias.step(gradient.bias, adam),
        };
        let layers = std::mem::take(&mut self.layers);
        self.layers = layers.into_iter().zip(gradients).map(update).collect();
    }
}

impl Persist for TensorNetwork {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            archive.part(&format!("layers.{i}.direction"), &mut layer.direction)?;
            if let Some(gain) = &mut layer.gain {
                archive.part(&format!("layers.{i}.gain"), gain)?;
            }
            archive.part(&format!("layers.{i}.bias"), &mut layer.bias)?;
        }
        archive.number("steps", &mut self.steps)?;
        // none between two fits
        self.squared_error = None;
        Ok(())
    }
}

impl Persist for Parameter {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        for (name, tensor) in [
            ("value", &mut self.value),
            ("first_moment", &mut self.first),
            ("second_moment", &mut self.second),
        ] {
            let mut numbers = host(tensor.clone())?;
            archive.array(name, &mut numbers)?;
            if archive.restoring() {
                let data = TensorData::new(numbers, tensor.dims());
                *tensor = Tensor::from_data(data, &tensor.device());
            }
        }
        Ok(())
    }
}

impl Network for TensorNetwork {
    fn step(&mut self, batch: &Batch, learning_rate: f64, epsilon: f64) {
        let [inputs, targets] = self.load(&batch.inputs, &batch.targets);
        let scale = 1.0 / batch.targets.len() as f64;
        let (gradients, squared_error) = self.gradient(inputs, targets, scale);
        self.descend(gradients, learning_rate, epsilon);
        self.squared_error = Some(match self.squared_error.take() {
            Some(sum) => sum + squared_error,
            None => squared_error,
        });
    }

    fn take_squared_error(&mut self) -> f64 {
        self.squared_error.take().map_or(0.0, read)
    }

    fn squared_error(&self, batch: &Batch) -> f64 {
        let layers = self.folded();
        let [inputs, outputs] = [&layers[0], &layers[layers.len() - 1]];
        let ([inputs, _], [_, outputs]) = (inputs.0.dims(), outputs.0.dims());
        let parts = batch.inputs.chunks(ROWS * inputs);
        let parts = parts.zip(batch.targets.chunks(ROWS * outputs));
        let errors = parts.map(|(inputs, targets)| {
            let [inputs, targets] = self.load(inputs, targets);
            (forward(&layers, inputs) - targets).square().sum()
        });
        errors.reduce(|sum, error| sum + error).map_or(0.0, read)
    }

    fn affine(&self) -> Result<Vec<Affine>> {
        self.folded()
            .into_iter()
            .map(|(weights, bias)| {
                let [inputs, outputs] = weights.dims();
                Ok(Affine {
                    inputs,
                    outputs,
                    weights: host(weights)?,
                    bias: host(bias)?,
                })
            })
            .collect()
    }

    fn boxed_clone(&self) -> Box<dyn Network> {
        Box::new(self.clone())
    }
}

/// Rows that validation runs through the network at once: few enough for the activations to stay in
/// a cache.
const ROWS: usize = 500;

/// Reads a sum back; NaN where the device fails.
fn read(sum: Tensor<1>) -> f64 {
    f64::from(sum.try_into_scalar::<f32>().unwrap_or(f32::NAN))
}

/// Runs `inputs` `[rows, in]` through folded layers: `[rows, out]`.
pub(crate) fn forward(layers: &[(Tensor<2>, Tensor<2>)], inputs: Tensor<2>) -> Tensor<2> {
    let last = layers.len().saturating_sub(1);
    layers
        .iter()
        .enumerate()
        .fold(inputs, |x, (i, (weights, bias))| {
            let sum = x.matmul(weights.clone()) + bias.clone();
            if i < last { relu(sum) } else { sum }
        })
}

/// Weights of a layer W[:,j] = g[j] v[:,j] / ‖v[:,j]‖ (Salimans and Kingma 2016, eq. (2)).
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

    /// Gradients with respect to v and g from that with respect to W (ibid., eq. (3)):
    /// ∂g = Σᵢ ∂W v / ‖v‖, ∂v = g/‖v‖ (∂W - ∂g v/‖v‖).
    fn vjp(
        self,
        layer: &Layer<Parameter>,
        by_weights: Tensor<2>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
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

#[cfg(test)]
impl TensorNetwork {
    /// Value, first and second moment of v, g and b of every layer.
    pub fn state(&self) -> Vec<Vec<f32>> {
        let parameters = self.layers.iter().flat_map(|layer| {
            let gain = layer.gain.iter();
            [&layer.direction, &layer.bias].into_iter().chain(gain)
        });
        parameters
            .flat_map(|p| [&p.value, &p.first, &p.second])
            .map(|x| host(x.clone()).unwrap_or_default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;
    use mbmpo_core::{Purpose, Stream, Streams};
    use rand::RngExt;

    fn matrix(values: &[f64], shape: [usize; 2]) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), shape);
        Tensor::from_data(data, (&Device::flex(), DType::F64))
    }

    fn values(tensor: &Tensor<2>) -> Vec<f64> {
        tensor.to_data().try_into_vec::<f64>().unwrap()
    }

    fn random(rows: usize, columns: usize, stream: &mut Stream) -> Tensor<2> {
        let values: Vec<f64> = (0..rows * columns)
            .map(|_| stream.random_range(-1.0..1.0))
            .collect();
        matrix(&values, [rows, columns])
    }

    fn parameters(layer: &mut Layer<Parameter>) -> Vec<&mut Tensor<2>> {
        let mut all = vec![&mut layer.direction.value, &mut layer.bias.value];
        all.extend(layer.gain.as_mut().map(|gain| &mut gain.value));
        all
    }

    /// A network in double precision whose biases and gains are not their initial values, and a
    /// batch of four.
    fn example(weight_normalization: bool) -> (TensorNetwork, Tensor<2>, Tensor<2>) {
        let mut stream = Streams::new(3).stream(Purpose::Test, 0, 0);
        let initial = Initial::layers(&[3, 6, 5, 2], weight_normalization, &mut stream);
        let mut network = TensorNetwork::new(&initial, &Device::flex());
        for layer in &mut network.layers {
            for parameter in parameters(layer) {
                let [rows, columns] = parameter.dims();
                *parameter = random(rows, columns, &mut stream);
            }
        }
        (
            network,
            random(4, 3, &mut stream),
            random(4, 2, &mut stream),
        )
    }

    fn loss(network: &TensorNetwork, inputs: &Tensor<2>, targets: &Tensor<2>) -> f64 {
        let error = forward(&network.folded(), inputs.clone()) - targets.clone();
        values(&error).iter().map(|error| error * error / 8.0).sum()
    }

    /// Fails when any term of the hand-written gradient is wrong: a transposed factor, a missing
    /// ReLU mask, the projection of weight normalisation, or the factor 2 / (batch · dims).
    #[test]
    fn gradient_equals_finite_differences() {
        const STEP: f64 = 1e-6;
        for weight_normalization in [true, false] {
            let (network, inputs, targets) = example(weight_normalization);
            let (gradients, squared_error) =
                network.gradient(inputs.clone(), targets.clone(), 1.0 / 8.0);
            let squared_error = squared_error.into_scalar::<f64>();
            assert!((squared_error / 8.0 - loss(&network, &inputs, &targets)).abs() < 1e-12);
            for (l, gradient) in gradients.into_iter().enumerate() {
                let mut analytic = vec![gradient.direction, gradient.bias];
                analytic.extend(gradient.gain);
                assert_eq!(analytic.len(), if weight_normalization { 3 } else { 2 });
                for (p, analytic) in analytic.iter().enumerate() {
                    for (i, analytic) in values(analytic).into_iter().enumerate() {
                        let shifted = |by: f64| {
                            let mut network = network.clone();
                            let mut layer = parameters(&mut network.layers[l]);
                            let mut moved = values(layer[p]);
                            moved[i] += by;
                            *layer[p] = matrix(&moved, layer[p].dims());
                            loss(&network, &inputs, &targets)
                        };
                        let numeric = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
                        assert!(
                            (analytic - numeric).abs() < 1e-8,
                            "layer {l}, parameter {p}, entry {i}: {analytic} against {numeric}"
                        );
                    }
                }
            }
        }
    }

    /// Fails when the gradient and Burn's own differ, so that a change of either is noticed.
    #[test]
    fn gradient_equals_automatic_differentiation() {
        let (network, inputs, targets) = example(true);
        let (gradients, _) = network.gradient(inputs.clone(), targets.clone(), 1.0 / 8.0);
        let mut tracked = network;
        for layer in &mut tracked.layers {
            for parameter in parameters(layer) {
                *parameter = parameter.clone().autodiff().require_grad();
            }
        }
        let output = forward(&tracked.folded(), inputs.autodiff());
        let error = output - targets.autodiff();
        let by_graph = ((error.clone() * error).sum() * 0.125).backward();
        for (layer, gradient) in tracked.layers.iter_mut().zip(gradients) {
            let mut by_hand = vec![gradient.direction, gradient.bias];
            by_hand.extend(gradient.gain);
            for (parameter, by_hand) in parameters(layer).into_iter().zip(&by_hand) {
                let by_graph = parameter.grad(&by_graph).unwrap();
                for (graph, hand) in values(&by_graph).into_iter().zip(values(by_hand)) {
                    assert!((graph - hand).abs() < 1e-8, "{graph} against {hand}");
                }
            }
        }
    }

    /// Fails when lengths are taken along rows, or gains are applied to inputs instead of outputs.
    #[test]
    fn weight_normalization_by_hand() {
        let layer = Layer {
            direction: Parameter::new(matrix(&[3.0, 0.0, 4.0, -2.0], [2, 2])),
            gain: Some(Parameter::new(matrix(&[10.0, 0.5], [1, 2]))),
            bias: Parameter::new(matrix(&[0.0, 0.0], [1, 2])),
        };
        let effective = values(&Weights::of(&layer).effective);
        for (value, expected) in effective.iter().zip([6.0, 0.0, 8.0, -0.5]) {
            assert!((value - expected).abs() < 1e-12, "{effective:?}");
        }
    }

    /// Fails when a number of the optimiser or a gain is not saved: the next step would be another.
    #[test]
    fn it_goes_on_from_where_it_was_saved() {
        let mut stream = Streams::new(4).stream(Purpose::Test, 0, 0);
        let mut make = || {
            let initial = Initial::layers(&[3, 6, 2], true, &mut stream);
            TensorNetwork::new(&initial, &Device::flex())
        };
        let (mut network, mut other) = (make(), make());
        let batch = Batch {
            inputs: vec![0.5, -1.0, 2.0, 1.0, 0.0, -0.5],
            targets: vec![1.0, -1.0, 0.5, 2.0],
        };
        network.step(&batch, 0.1, 1e-8);
        let saved = mbmpo_core::State::of(&mut network).unwrap();
        saved.restore(&mut other).unwrap();
        for network in [&mut network, &mut other] {
            network.step(&batch, 0.1, 1e-8);
        }
        assert_eq!(network.state(), other.state());
    }

    /// Fails when a moment's factor, the bias correction or the place of ε is not TensorFlow's.
    #[test]
    fn adam_by_the_textbook() {
        let (rate, epsilon) = (0.1, 1e-2);
        let (mut theta, mut m, mut v) = (1.0, 0.0, 0.0);
        let mut parameter = Parameter::new(matrix(&[theta], [1, 1]));
        for (step, gradient) in [0.5, -2.0, 0.01].into_iter().enumerate() {
            let t = step as i32 + 1;
            m = 0.9 * m + 0.1 * gradient;
            v = 0.999 * v + 0.001 * gradient * gradient;
            let corrected = rate * (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
            theta -= corrected * m / (v.sqrt() + epsilon);
            let adam = AdamStep::new(rate, epsilon, t as u64);
            parameter = parameter.step(matrix(&[gradient], [1, 1]), adam);
            assert!((values(&parameter.value)[0] - theta).abs() < 1e-12);
        }
    }
}
