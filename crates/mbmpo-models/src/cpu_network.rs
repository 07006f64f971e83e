//! A dynamics network on slices of this process's memory: the same computation as in
//! `tensor_network`, in fewer passes over memory.
//!
//! Batches and the weights of a layer are cut into pieces of rows that threads work on in parallel.
//! Sums over pieces are taken in a fixed order, so the bits do not depend on the number of threads.

use crate::network::{AdamStep, Affine, BETA_1, BETA_2, Batch, Initial, Network};
use mbmpo_core::{Archive, Persist, Result};
use mbmpo_kernels::{Panels, Strips, TILE_ROWS, add_to_rows, sum_rows, vectorized};
use rayon::prelude::*;

/// Rows of a piece: whole tiles, and four pieces in the batch of the paper.
const ROWS: usize = 21 * TILE_ROWS;

/// A [`Network`] on slices.
#[derive(Debug, Clone)]
pub(crate) struct CpuNetwork {
    layers: Vec<Layer>,
    /// Gradient steps taken so far.
    steps: u64,
    squared_error: f64,
    scratch: Scratch,
}

#[derive(Debug, Clone)]
struct Layer {
    inputs: usize,
    outputs: usize,
    /// v `[in, out]`
    direction: Parameter,
    /// g `[out]`
    gain: Option<Parameter>,
    /// b `[out]`
    bias: Parameter,
    /// 1 / ‖v[:,j]‖ `[out]`; 1 without weight normalisation.
    inverse_length: Vec<f32>,
    /// g[j] / ‖v[:,j]‖ `[out]`; 1 without weight normalisation.
    scale: Vec<f32>,
    /// W[:,j] = g[j] v[:,j] / ‖v[:,j]‖ `[in, out]` (Salimans and Kingma 2016, eq. 2)
    weights: Vec<f32>,
    /// W as the right factor of x W.
    forward: Panels,
    /// Wᵀ as the right factor of δ Wᵀ.
    backward: Panels,
}

/// Trainable numbers with Adam's moments of their gradients.
#[derive(Debug, Clone)]
struct Parameter {
    value: Vec<f32>,
    /// First moment m, divided by (1 - β₁).
    first: Vec<f32>,
    /// Second moment v, divided by (1 - β₂).
    second: Vec<f32>,
}

/// Buffers of a training step, reused by the next.
#[derive(Debug, Default)]
struct Scratch {
    pieces: Vec<Piece>,
    activations: Strips,
    deltas: Panels,
    by_weights: Vec<f32>,
}

/// A copy starts with empty buffers: their contents do not matter.
impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Activations and gradients of some rows of a batch.
#[derive(Debug, Clone, Default)]
struct Piece {
    /// Outputs `[rows, out]` of each layer.
    activations: Vec<Vec<f32>>,
    /// Gradients `[rows, out]` with respect to the pre-activations of each layer.
    deltas: Vec<Vec<f32>>,
    /// Sums of the deltas over the rows `[out]`.
    by_bias: Vec<Vec<f32>>,
    squared_error: f64,
}

impl CpuNetwork {
    pub fn new(initial: Vec<Initial>) -> Self {
        Self {
            layers: initial.into_iter().map(Layer::new).collect(),
            steps: 0,
            squared_error: 0.0,
            scratch: Scratch::default(),
        }
    }

    /// Forward and backward passes of all pieces: squared errors and deltas.
    fn forward_and_backward(&mut self, batch: &Batch) {
        let layers = &self.layers;
        let factor = 2.0 / batch.targets.len() as f32;
        let inputs = batch.inputs.par_chunks(ROWS * layers[0].inputs);
        let outputs = layers[layers.len() - 1].outputs;
        self.scratch
            .pieces
            .resize_with(inputs.len(), Piece::default);
        (self.scratch.pieces.par_iter_mut())
            .zip(inputs)
            .zip(batch.targets.par_chunks(ROWS * outputs))
            .with_max_len(1)
            .for_each(|((piece, inputs), targets)| {
                piece.forward(layers, inputs);
                piece.compare(targets);
                piece.backward(layers, factor);
            });
    }
}

impl Network for CpuNetwork {
    fn step(&mut self, batch: &Batch, learning_rate: f64, epsilon: f64) {
        self.forward_and_backward(batch);
        self.steps += 1;
        let adam = AdamStep::new(learning_rate, epsilon, self.steps);
        let Scratch {
            pieces,
            activations,
            deltas,
            by_weights,
        } = &mut self.scratch;
        self.squared_error += pieces.iter().map(|piece| piece.squared_error).sum::<f64>();
        for (i, layer) in self.layers.iter_mut().enumerate() {
            if i == 0 {
                activations.pack(layer.inputs, [&batch.inputs[..]]);
            } else {
                let outputs = pieces.iter().map(|piece| &piece.activations[i - 1][..]);
                activations.pack(layer.inputs, outputs);
            }
            deltas.pack(
                layer.outputs,
                pieces.iter().map(|piece| &piece.deltas[i][..]),
            );
            let by_bias = total(pieces.iter().map(|piece| &piece.by_bias[i][..]));
            layer.descend(activations, deltas, by_weights, &by_bias, adam);
        }
    }

    fn take_squared_error(&mut self) -> f64 {
        std::mem::take(&mut self.squared_error)
    }

    fn squared_error(&self, batch: &Batch) -> f64 {
        let inputs = batch.inputs.par_chunks(ROWS * self.layers[0].inputs);
        let outputs = self.layers[self.layers.len() - 1].outputs;
        let errors: Vec<f64> = inputs
            .zip(batch.targets.par_chunks(ROWS * outputs))
            .map_init(Piece::default, |piece, (inputs, targets)| {
                piece.forward(&self.layers, inputs);
                piece.compare(targets);
                piece.squared_error
            })
            .collect();
        errors.iter().sum()
    }

    fn affine(&self) -> Result<Vec<Affine>> {
        let layers = self.layers.iter();
        Ok(layers
            .map(|layer| Affine {
                inputs: layer.inputs,
                outputs: layer.outputs,
                weights: layer.weights.clone(),
                bias: layer.bias.value.clone(),
            })
            .collect())
    }

    fn boxed_clone(&self) -> Box<dyn Network> {
        Box::new(self.clone())
    }
}

impl Persist for CpuNetwork {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            archive.part(&format!("layers.{i}"), layer)?;
        }
        archive.number("steps", &mut self.steps)?;
        // 0 between two fits
        self.squared_error = 0.0;
        Ok(())
    }
}

impl Persist for Layer {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("direction", &mut self.direction)?;
        if let Some(gain) = &mut self.gain {
            archive.part("gain", gain)?;
        }
        archive.part("bias", &mut self.bias)?;
        // saved because its last bit depends on the order in which squares were summed
        archive.array("inverse_length", &mut self.inverse_length)?;
        if archive.restoring() {
            self.fold();
        }
        Ok(())
    }
}

impl Persist for Parameter {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.array("value", &mut self.value)?;
        archive.array("first_moment", &mut self.first)?;
        archive.array("second_moment", &mut self.second)
    }
}

impl Piece {
    /// Runs `inputs` `[rows, in]` through the layers.
    fn forward(&mut self, layers: &[Layer], inputs: &[f32]) {
        let rows = inputs.len() / layers[0].inputs;
        let last = layers.len() - 1;
        self.activations.resize(layers.len(), Vec::new());
        for (i, layer) in layers.iter().enumerate() {
            let (before, after) = self.activations.split_at_mut(i);
            let input = before.last().map_or(inputs, |input| &input[..]);
            after[0].resize(rows * layer.outputs, 0.0);
            dense(
                &layer.forward,
                &layer.bias.value,
                i < last,
                input,
                &mut after[0],
            );
        }
    }

    /// Replaces the outputs of the last layer by errors and sums their squares.
    fn compare(&mut self, targets: &[f32]) {
        self.squared_error = 0.0;
        let errors = self.activations.last_mut().into_iter().flatten();
        for (error, target) in errors.zip(targets) {
            *error -= target;
            self.squared_error += f64::from(*error) * f64::from(*error);
        }
    }

    /// Backpropagates `factor` times the errors.
    fn backward(&mut self, layers: &[Layer], factor: f32) {
        let last = layers.len() - 1;
        self.deltas.resize(layers.len(), Vec::new());
        self.deltas[last].clear();
        self.deltas[last].extend(self.activations[last].iter().map(|error| error * factor));
        self.by_bias.resize(layers.len(), Vec::new());
        for (i, layer) in layers.iter().enumerate().rev() {
            let (before, after) = self.deltas.split_at_mut(i);
            let delta = &after[0];
            let by_bias = &mut self.by_bias[i];
            by_bias.clear();
            by_bias.resize(layer.outputs, 0.0);
            sum_rows(by_bias, delta);
            if let Some(back) = before.last_mut() {
                let input = &self.activations[i - 1];
                back.resize(input.len(), 0.0);
                layer.backward.product(
                    delta,
                    back,
                    #[inline(always)]
                    |first, rows| {
                        // the slope of the ReLU; a NaN already shows in the loss
                        let input = &input[first * layer.inputs..];
                        for (back, input) in rows.iter_mut().zip(input) {
                            *back = if *input > 0.0 { *back } else { 0.0 };
                        }
                    },
                );
            }
        }
    }
}

/// y = x W + b, followed by a ReLU if `relu`.
pub(crate) fn dense(weights: &Panels, bias: &[f32], relu: bool, x: &[f32], y: &mut [f32]) {
    weights.product(
        x,
        y,
        #[inline(always)]
        |_, rows| {
            add_to_rows(rows, bias);
            if relu {
                for y in rows {
                    // unlike `max`, this propagates NaN
                    *y = if *y < 0.0 { 0.0 } else { *y };
                }
            }
        },
    );
}

impl Layer {
    fn new(initial: Initial) -> Self {
        let Initial {
            inputs,
            outputs,
            direction,
            gain,
            bias,
        } = initial;
        let squares = sum_products(outputs, &direction, &direction);
        let mut layer = Self {
            inputs,
            outputs,
            weights: vec![0.0; direction.len()],
            direction: Parameter::new(direction),
            gain: gain.map(Parameter::new),
            bias: Parameter::new(bias),
            inverse_length: vec![1.0; outputs],
            scale: vec![1.0; outputs],
            forward: Panels::default(),
            backward: Panels::default(),
        };
        layer.measure(&squares);
        layer.fold();
        layer
    }

    /// One step of Adam with the gradients ∂W = (activations)ᵀ (deltas) and ∂b.
    fn descend(
        &mut self,
        activations: &Strips,
        deltas: &Panels,
        by_weights: &mut Vec<f32>,
        by_bias: &[f32],
        adam: AdamStep,
    ) {
        let piece = ROWS * self.outputs;
        by_weights.resize(self.inputs * self.outputs, 0.0);
        // ∂W, and Σᵢ ∂W[i,j] v[i,j]
        let dots: Vec<Vec<f32>> = (by_weights.par_chunks_mut(piece))
            .zip(self.direction.value.par_chunks(piece))
            .enumerate()
            .with_max_len(1)
            .map(|(i, (by_weights, direction))| {
                activations.product(i * ROWS, deltas, by_weights);
                sum_products(self.outputs, by_weights, direction)
            })
            .collect();

        // ∂v = g/‖v‖ (∂W - ∂g v/‖v‖), with ∂g = Σᵢ ∂W[i,j] v[i,j] / ‖v[:,j]‖ (ibid., eq. 3)
        let mut along = vec![0.0; self.outputs];
        if let Some(gain) = &mut self.gain {
            let mut by_gain = total(dots.iter().map(Vec::as_slice));
            let inverses = self.inverse_length.iter().zip(&self.scale);
            for ((by_gain, along), (inverse, scale)) in
                by_gain.iter_mut().zip(&mut along).zip(inverses)
            {
                *by_gain *= inverse;
                *along = *by_gain * inverse * scale;
            }
            gain.step(&by_gain, adam);
        }
        self.bias.step(by_bias, adam);
        let (columns, scale, direction) = (self.outputs, &self.scale, &mut self.direction);
        let squares: Vec<Vec<f32>> = (direction.value.par_chunks_mut(piece))
            .zip(direction.first.par_chunks_mut(piece))
            .zip(direction.second.par_chunks_mut(piece))
            .zip(by_weights.par_chunks_mut(piece))
            .with_max_len(1)
            .map(|(((value, first), second), by_weights)| {
                let mut squares = vec![0.0; columns];
                vectorized(
                    #[inline(always)]
                    || {
                        let moments =
                            (first.chunks_exact_mut(columns)).zip(second.chunks_exact_mut(columns));
                        let rows = (value.chunks_exact_mut(columns)).zip(moments);
                        for ((value, (first, second)), by_weights) in
                            rows.zip(by_weights.chunks_exact_mut(columns))
                        {
                            weight_norm_vjp(by_weights, value, scale, &along);
                            adam.step(value, first, second, by_weights);
                            add_products(&mut squares, value, value);
                        }
                    },
                );
                squares
            })
            .collect();
        self.measure(&total(squares.iter().map(Vec::as_slice)));
        self.fold();
    }

    /// Computes the inverse lengths of the columns from Σᵢ v[i,j]².
    fn measure(&mut self, squares: &[f32]) {
        if self.gain.is_some() {
            for (inverse, square) in self.inverse_length.iter_mut().zip(squares) {
                *inverse = square.sqrt().recip();
            }
        }
    }

    /// Computes W and its packed forms from v, g and the lengths of the columns.
    fn fold(&mut self) {
        if let Some(gain) = &self.gain {
            let lengths = gain.value.iter().zip(&self.inverse_length);
            for (scale, (gain, inverse)) in self.scale.iter_mut().zip(lengths) {
                *scale = gain * inverse;
            }
        }
        let (scale, direction) = (&self.scale, &self.direction.value);
        let weights = &mut self.weights;
        vectorized(
            #[inline(always)]
            || {
                let rows = direction.chunks_exact(scale.len());
                for (row, direction) in weights.chunks_exact_mut(scale.len()).zip(rows) {
                    for ((w, v), scale) in row.iter_mut().zip(direction).zip(scale) {
                        *w = v * scale;
                    }
                }
            },
        );
        self.forward.pack(self.outputs, [&self.weights[..]]);
        self.backward.pack_transposed(self.inputs, &self.weights);
    }
}

impl Parameter {
    fn new(value: Vec<f32>) -> Self {
        let zeros = vec![0.0; value.len()];
        Self {
            value,
            first: zeros.clone(),
            second: zeros,
        }
    }

    fn step(&mut self, gradient: &[f32], adam: AdamStep) {
        let (value, first, second) = (&mut self.value, &mut self.first, &mut self.second);
        vectorized(
            #[inline(always)]
            || adam.step(value, first, second, gradient),
        );
    }
}

impl AdamStep {
    /// Updates parameters and moments.
    #[inline(always)]
    fn step(self, value: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
        let (beta_1, beta_2) = (BETA_1 as f32, BETA_2 as f32);
        let (rate, epsilon) = (self.rate as f32, self.epsilon as f32);
        let moments = first.iter_mut().zip(second);
        for ((value, (first, second)), gradient) in value.iter_mut().zip(moments).zip(gradient) {
            *first = *first * beta_1 + gradient;
            *second = *second * beta_2 + gradient * gradient;
            *value -= *first / (second.sqrt() + epsilon) * rate;
        }
    }
}

/// Replaces ∂W by ∂v = scale ∂W - along v, for a row `[out]`.
#[inline(always)]
fn weight_norm_vjp(by_weights: &mut [f32], direction: &[f32], scale: &[f32], along: &[f32]) {
    let factors = scale.iter().zip(along);
    for ((d, v), (scale, along)) in by_weights.iter_mut().zip(direction).zip(factors) {
        *d = *d * scale - v * along;
    }
}

#[inline(always)]
fn add_products(sums: &mut [f32], a: &[f32], b: &[f32]) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}

/// Σᵢ a[i,j] b[i,j] `[columns]`
fn sum_products(columns: usize, a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    vectorized(
        #[inline(always)]
        || {
            for (a, b) in a.chunks_exact(columns).zip(b.chunks_exact(columns)) {
                add_products(&mut sums, a, b);
            }
        },
    );
    sums
}

/// The sum over pieces, in order.
fn total<'a>(parts: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut parts = parts.map(<[f32]>::to_vec);
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |mut sum, part| {
        sum.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_network::TensorNetwork;
    use burn::tensor::Device;
    use mbmpo_core::{Purpose, Stream, Streams};
    use rand::RngExt;

    fn state(network: &CpuNetwork) -> Vec<Vec<f32>> {
        let parameters = network.layers.iter().flat_map(|layer| {
            let gain = layer.gain.iter();
            [&layer.direction, &layer.bias].into_iter().chain(gain)
        });
        parameters
            .flat_map(|p| [&p.value, &p.first, &p.second])
            .cloned()
            .collect()
    }

    fn batch(rows: usize, stream: &mut Stream) -> Batch {
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count).map(|_| stream.random_range(-1.0..1.0)).collect()
        };
        Batch {
            inputs: draw(rows * 5),
            targets: draw(rows * 3),
        }
    }

    /// Fails when a gradient, moment or step differs from those of the tensors, with batches and
    /// layers of whole pieces, of a few rows more, and of one row; or when buffers of a larger
    /// batch leak into a smaller one.
    #[test]
    fn equals_the_tensor_network() {
        for (hidden, weight_normalization) in [
            (vec![140, 30], true),
            (vec![40, 530, 30], false),
            (vec![], true),
        ] {
            let mut stream = Streams::new(3).stream(Purpose::Test, 0, 0);
            let sizes = [&[5][..], &hidden, &[3]].concat();
            let initial = Initial::layers(&sizes, weight_normalization, &mut stream);
            let mut tensors = TensorNetwork::new(&initial, &Device::flex());
            let mut slices = CpuNetwork::new(initial);
            for rows in [ROWS, 4 * ROWS - 4, ROWS + 1, 1, 2 * ROWS + 1, 7] {
                let batch = batch(rows, &mut stream);
                let (ours, theirs) = (slices.squared_error(&batch), tensors.squared_error(&batch));
                assert!((ours / theirs - 1.0).abs() < 1e-5, "{ours} {theirs}");
                slices.step(&batch, 1e-3, 1e-3);
                tensors.step(&batch, 1e-3, 1e-3);
                for (i, (ours, theirs)) in state(&slices).iter().zip(tensors.state()).enumerate() {
                    let largest = theirs.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
                    assert_eq!(ours.len(), theirs.len());
                    for (ours, theirs) in ours.iter().zip(theirs) {
                        let error = (ours - theirs).abs() / largest;
                        assert!(error < 1e-5, "{rows} rows, numbers {i}: {ours} {theirs}");
                    }
                }
            }
            let (ours, theirs) = (slices.take_squared_error(), tensors.take_squared_error());
            assert!((ours / theirs - 1.0).abs() < 1e-5, "{ours} {theirs}");
            assert_eq!(slices.take_squared_error(), 0.0);
            for (ours, theirs) in slices
                .affine()
                .unwrap()
                .iter()
                .zip(tensors.affine().unwrap())
            {
                assert_eq!((ours.inputs, ours.outputs), (theirs.inputs, theirs.outputs));
                for (ours, theirs) in ours.weights.iter().zip(theirs.weights) {
                    assert!((ours - theirs).abs() < 1e-5);
                }
            }
        }
    }

    /// Fails when a ReLU turns NaN into a number.
    #[test]
    fn nan_is_propagated() {
        let mut stream = Streams::new(3).stream(Purpose::Test, 0, 0);
        let mut network = CpuNetwork::new(Initial::layers(&[5, 8, 3], true, &mut stream));
        let mut batch = batch(4, &mut stream);
        batch.inputs[0] = f32::NAN;
        assert!(network.squared_error(&batch).is_nan());
        network.step(&batch, 1e-3, 1e-8);
        assert!(network.take_squared_error().is_nan());
    }
}
