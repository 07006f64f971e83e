//! A dynamics network on slices of this process's memory: the same computation as in
//! `tensor_network`, in fewer passes over memory.
//!
//! A batch is cut into pieces of rows, and a layer into groups of units with their incoming
//! weights; threads work on them in parallel. Sums over pieces are taken in a fixed order, so the
//! bits do not depend on the number of threads. Activations, gradients, weights and Adam's moments are all in
//! the order in which products read them ([`Panels`]), so that nothing has to be rearranged but the
//! weights for the way back.

use crate::network::{AdamStep, Affine, BETA_1, BETA_2, Batch, Initial, Network};
use mbmpo_core::{Archive, Persist, Result};
use mbmpo_kernels::{
    GROUP, Panel, Panels, TILE_ROWS, product, sum_rows, transposed_product, vectorized,
};
use rayon::prelude::*;

/// Rows of a piece: whole tiles, and eight pieces in the batch of the paper, so that eight threads
/// have work when a single network is still in training.
const ROWS: usize = 11 * TILE_ROWS;

/// A [`Network`] on slices.
#[derive(Debug, Clone)]
pub(crate) struct CpuNetwork {
    layers: Vec<Layer>,
    /// Gradient steps taken so far.
    steps: u64,
    squared_error: f64,
    pieces: Pieces,
}

#[derive(Debug, Clone)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weight_normalization: bool,
    groups: Vec<Group>,
}

/// Up to [`GROUP`] units of a layer, with their incoming weights.
#[derive(Debug, Clone)]
struct Group {
    /// v `[in, units]`
    direction: Panels,
    /// First moment m of ∂v, divided by (1 - β₁).
    first_moment: Panels,
    /// Second moment of ∂v, divided by (1 - β₂).
    second_moment: Panels,
    /// g `[units]`; 1 without weight normalisation.
    gain: UnitParameters,
    /// b `[units]`
    bias: UnitParameters,
    /// 1 / ‖v[:,j]‖; 1 without weight normalisation.
    inverse_length: Units,
    /// g[j] / ‖v[:,j]‖, so that W[:,j] = scale[j] v[:,j] (Salimans and Kingma 2016, eq. 2).
    scale: Units,
    /// Wᵀ `[units, in]`
    transposed: Panels,
    /// A buffer for ∂W and ∂v.
    gradient: Panels,
}

/// A number for each unit of a group, and 0 beyond the last one.
type Units = [f32; GROUP];

/// A trainable number for each unit, with Adam's moments of its gradient.
#[derive(Debug, Clone)]
struct UnitParameters {
    value: Units,
    /// First moment m, divided by (1 - β₁).
    first_moment: Units,
    /// Second moment v, divided by (1 - β₂).
    second_moment: Units,
}

/// Buffers of the pieces of a batch, reused by the next.
#[derive(Debug, Default)]
struct Pieces(Vec<Piece>);

/// A copy starts with empty buffers: their contents do not matter.
impl Clone for Pieces {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Activations and gradients of some rows of a batch.
#[derive(Debug, Default)]
struct Piece {
    /// Inputs `[rows, in]`, then the outputs `[rows, out]` of each layer.
    activations: Vec<Panels>,
    /// Gradients `[rows, out]` with respect to the pre-activations of each layer.
    deltas: Vec<Panels>,
    /// Sums of the deltas over the rows `[out]`, with padding.
    by_bias: Vec<Vec<f32>>,
    /// Outputs minus targets `[rows, out]`, in row-major order.
    errors: Vec<f32>,
    squared_error: f64,
}

impl CpuNetwork {
    pub fn new(initial: Vec<Initial>) -> Self {
        Self {
            layers: initial.into_iter().map(Layer::new).collect(),
            steps: 0,
            squared_error: 0.0,
            pieces: Pieces::default(),
        }
    }

    /// Sizes of inputs and outputs.
    fn dims(&self) -> [usize; 2] {
        [
            self.layers[0].inputs,
            self.layers[self.layers.len() - 1].outputs,
        ]
    }
}

impl Network for CpuNetwork {
    fn step(&mut self, batch: &Batch, learning_rate: f64, epsilon: f64) {
        let [inputs, outputs] = self.dims();
        let Self { layers, pieces, .. } = self;
        let pieces = &mut pieces.0;
        let factor = 2.0 / batch.targets.len() as f32;
        let inputs = batch.inputs.par_chunks(ROWS * inputs);
        pieces.resize_with(inputs.len(), Piece::default);
        (pieces.par_iter_mut())
            .zip(inputs)
            .zip(batch.targets.par_chunks(ROWS * outputs))
            .with_max_len(1)
            .for_each(|((piece, inputs), targets)| {
                piece.forward(layers, inputs);
                piece.compare(targets);
                piece.backward(layers, factor);
            });
        self.squared_error += pieces.iter().map(|piece| piece.squared_error).sum::<f64>();
        self.steps += 1;
        let adam = AdamStep::new(learning_rate, epsilon, self.steps);
        let groups: Vec<_> = (layers.iter_mut().enumerate())
            .flat_map(|(i, layer)| {
                let normalized = layer.weight_normalization;
                let groups = layer.groups.iter_mut().enumerate();
                groups.map(move |(g, group)| ([i, g], normalized, group))
            })
            .collect();
        (groups.into_par_iter())
            .with_max_len(1)
            .for_each(|(place, normalized, group)| group.descend(pieces, place, normalized, adam));
    }

    fn take_squared_error(&mut self) -> f64 {
        std::mem::take(&mut self.squared_error)
    }

    fn squared_error(&self, batch: &Batch) -> f64 {
        let [inputs, outputs] = self.dims();
        let inputs = batch.inputs.par_chunks(ROWS * inputs);
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
                weights: layer.weights(),
                bias: layer.clone().units(|group| &mut group.bias.value),
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
        type Of<T> = fn(&mut Group) -> &mut T;
        let directions: [(&str, Of<Panels>); 3] = [
            ("direction.value", |group| &mut group.direction),
            ("direction.first_moment", |group| &mut group.first_moment),
            ("direction.second_moment", |group| &mut group.second_moment),
        ];
        for (name, of) in directions {
            let mut rows = self.rows(|group| of(group));
            archive.array(name, &mut rows)?;
            if archive.restoring() {
                self.set_rows(&rows, |group| of(group));
            }
        }
        let gains: [(&str, Of<Units>); 3] = [
            ("gain.value", |group| &mut group.gain.value),
            ("gain.first_moment", |group| &mut group.gain.first_moment),
            ("gain.second_moment", |group| &mut group.gain.second_moment),
        ];
        let others: [(&str, Of<Units>); 4] = [
            ("bias.value", |group| &mut group.bias.value),
            ("bias.first_moment", |group| &mut group.bias.first_moment),
            ("bias.second_moment", |group| &mut group.bias.second_moment),
            // follows from the direction, but runs of earlier versions summed in another order
            ("inverse_length", |group| &mut group.inverse_length),
        ];
        let gains = if self.weight_normalization {
            &gains[..]
        } else {
            &[]
        };
        for (name, of) in gains.iter().chain(&others) {
            let mut units = self.units(|group| of(group));
            archive.array(name, &mut units)?;
            if archive.restoring() {
                for (group, units) in self.groups.iter_mut().zip(units.chunks(GROUP)) {
                    of(group)[..units.len()].copy_from_slice(units);
                }
            }
        }
        if archive.restoring() {
            for group in &mut self.groups {
                group.fold(self.weight_normalization);
            }
        }
        Ok(())
    }
}

impl Piece {
    /// Runs `inputs` `[rows, in]` through the layers.
    fn forward(&mut self, layers: &[Layer], inputs: &[f32]) {
        self.activations
            .resize_with(layers.len() + 1, Panels::default);
        self.activations[0].pack(layers[0].inputs, [inputs]);
        let rows = self.activations[0].rows();
        for (i, layer) in layers.iter().enumerate() {
            let (before, after) = self.activations.split_at_mut(i + 1);
            let (x, y) = (&before[i], &mut after[0]);
            y.resize(rows, layer.outputs);
            let relu = i + 1 < layers.len();
            for (g, group) in layer.groups.iter().enumerate() {
                dense(
                    x,
                    &group.direction,
                    &group.scale,
                    &group.bias.value,
                    relu,
                    y.group_mut(g),
                );
            }
        }
    }

    /// The errors of the outputs, and the sum of their squares.
    fn compare(&mut self, targets: &[f32]) {
        self.squared_error = 0.0;
        if let Some(outputs) = self.activations.last() {
            outputs.unpack(&mut self.errors);
        }
        for (error, target) in self.errors.iter_mut().zip(targets) {
            *error -= target;
            self.squared_error += f64::from(*error) * f64::from(*error);
        }
    }

    /// Backpropagates `factor` times the errors.
    fn backward(&mut self, layers: &[Layer], factor: f32) {
        let last = layers.len() - 1;
        self.deltas.resize_with(layers.len(), Panels::default);
        self.errors.iter_mut().for_each(|error| *error *= factor);
        self.deltas[last].pack(layers[last].outputs, [&self.errors[..]]);
        self.by_bias.resize_with(layers.len(), Vec::new);
        for (sums, layer) in self.by_bias.iter_mut().zip(layers) {
            sums.clear();
            sums.resize(layer.groups.len() * GROUP, 0.0);
        }
        let (rows, delta) = (self.activations[0].rows(), &self.deltas[last]);
        for panel in delta.panels() {
            let sums = &mut self.by_bias[last][panel.padded()];
            sum_rows(sums, &delta.data()[panel.range(rows)]);
        }
        for i in (1..layers.len()).rev() {
            let (before, after) = self.deltas.split_at_mut(i);
            let (delta, back) = (&after[0], &mut before[i - 1]);
            back.resize(rows, layers[i].inputs);
            let (input, sums) = (&self.activations[i], &mut self.by_bias[i - 1]);
            let weights: Vec<_> = (layers[i].groups.iter())
                .map(|group| &group.transposed)
                .collect();
            product(
                delta,
                &weights,
                back.data_mut(),
                #[inline(always)]
                |panel, back| {
                    // the slope of the ReLU; a NaN already shows in the loss
                    for (back, input) in back.iter_mut().zip(&input.data()[panel.range(rows)]) {
                        *back = if *input > 0.0 { *back } else { 0.0 };
                    }
                    sum_rows(&mut sums[panel.padded()], back);
                },
            );
        }
    }
}

/// y = scale · (x W) + b for some units, followed by a ReLU if `relu`; `scale` and `bias` are 0
/// beyond the last unit.
pub(crate) fn dense(
    x: &Panels,
    weights: &Panels,
    scale: &[f32],
    bias: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    product(
        x,
        &[weights],
        y,
        #[inline(always)]
        |panel, y| {
            let (scale, bias) = (&scale[panel.padded()], &bias[panel.padded()]);
            for y in y.chunks_exact_mut(panel.stride) {
                for ((y, scale), bias) in y.iter_mut().zip(scale).zip(bias) {
                    let sum = *y * scale + bias;
                    // unlike `max`, this propagates NaN
                    *y = if relu && sum < 0.0 { 0.0 } else { sum };
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
        let weight_normalization = gain.is_some();
        let gain = gain.unwrap_or_else(|| vec![1.0; outputs]);
        let groups =
            (bias.chunks(GROUP).zip(gain.chunks(GROUP)).enumerate()).map(|(g, (bias, gain))| {
                let columns = g * GROUP..g * GROUP + bias.len();
                let rows = direction.chunks_exact(outputs);
                let mut group = Group::new(inputs, gain, bias);
                let rows = rows.map(|row| &row[columns.clone()]);
                group.direction.pack(bias.len(), rows);
                group.measure(weight_normalization);
                group.fold(weight_normalization);
                group
            });
        Self {
            groups: groups.collect(),
            inputs,
            outputs,
            weight_normalization,
        }
    }

    /// W `[in, out]`
    fn weights(&self) -> Vec<f32> {
        let mut layer = self.clone();
        let mut weights = layer.rows(|group| &mut group.direction);
        let scale = layer.units(|group| &mut group.scale);
        for row in weights.chunks_exact_mut(self.outputs) {
            row.iter_mut()
                .zip(&scale)
                .for_each(|(w, scale)| *w *= scale);
        }
        weights
    }

    /// A matrix `[in, out]` of all groups, in row-major order.
    fn rows(&mut self, of: impl Fn(&mut Group) -> &mut Panels) -> Vec<f32> {
        let mut rows = vec![0.0; self.inputs * self.outputs];
        let mut part = Vec::new();
        for (g, group) in self.groups.iter_mut().enumerate() {
            let matrix = of(group);
            matrix.unpack(&mut part);
            let units = matrix.columns();
            let from = part.chunks_exact(units);
            for (row, part) in rows.chunks_exact_mut(self.outputs).zip(from) {
                row[g * GROUP..][..units].copy_from_slice(part);
            }
        }
        rows
    }

    fn set_rows(&mut self, rows: &[f32], of: impl Fn(&mut Group) -> &mut Panels) {
        for (g, group) in self.groups.iter_mut().enumerate() {
            let matrix = of(group);
            let columns = g * GROUP..g * GROUP + matrix.columns();
            let rows = rows.chunks_exact(self.outputs);
            matrix.pack(matrix.columns(), rows.map(|row| &row[columns.clone()]));
        }
    }

    /// A number `[out]` for each unit of all groups.
    fn units(&mut self, of: impl Fn(&mut Group) -> &mut Units) -> Vec<f32> {
        let units = self.groups.iter_mut().flat_map(|group| {
            let count = group.direction.columns();
            of(group)[..count].to_vec()
        });
        units.collect()
    }
}

impl Group {
    fn new(inputs: usize, gain: &[f32], bias: &[f32]) -> Self {
        let zeros = Panels::zero_factor(inputs, bias.len());
        let mut ones = [0.0; GROUP];
        ones[..bias.len()].fill(1.0);
        Self {
            first_moment: zeros.clone(),
            second_moment: zeros.clone(),
            gradient: zeros.clone(),
            direction: zeros,
            gain: UnitParameters::new(gain),
            bias: UnitParameters::new(bias),
            inverse_length: ones,
            scale: ones,
            transposed: Panels::factor(),
        }
    }

    /// One step of Adam for group `g` of layer `i`, whose gradients are ∂W = Σ (activations)ᵀ
    /// (deltas) and ∂b = Σ (deltas).
    fn descend(
        &mut self,
        pieces: &[Piece],
        [i, g]: [usize; 2],
        weight_normalization: bool,
        adam: AdamStep,
    ) {
        let pairs: Vec<_> = (pieces.iter())
            .map(|piece| (&piece.activations[i], &piece.deltas[i]))
            .collect();
        transposed_product(&pairs, g, self.gradient.data_mut());
        let mut by_bias = [0.0; GROUP];
        for piece in pieces {
            let part = &piece.by_bias[i][g * GROUP..][..GROUP];
            by_bias.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        vectorized(
            #[inline(always)]
            || {
                let mut along = [0.0; GROUP];
                if weight_normalization {
                    let by_gain = self.gain_gradient(&mut along);
                    self.gain.step(&by_gain, adam);
                }
                self.bias.step(&by_bias, adam);
                self.step(&along, adam);
            },
        );
        self.measure(weight_normalization);
        self.fold(weight_normalization);
    }

    /// ∂g = Σᵢ ∂W[i,j] v[i,j] / ‖v[:,j]‖, and `along`, by which ∂v = g/‖v‖ (∂W - ∂g v/‖v‖) is
    /// scale ∂W - along v (ibid., eq. 3).
    #[inline(always)]
    fn gain_gradient(&self, along: &mut Units) -> Units {
        let mut by_gain = self.sum_products(&self.gradient);
        for j in 0..GROUP {
            by_gain[j] *= self.inverse_length[j];
            along[j] = by_gain[j] * self.inverse_length[j] * self.scale[j];
        }
        by_gain
    }

    /// One step of Adam for v.
    #[inline(always)]
    fn step(&mut self, along: &Units, adam: AdamStep) {
        let rows = self.direction.rows();
        for panel in self.direction.panels() {
            let Panel { stride, .. } = panel;
            let (scale, along) = (&self.scale[panel.padded()], &along[panel.padded()]);
            let range = panel.range(rows);
            let value = self.direction.data_mut()[range.clone()].chunks_exact_mut(stride);
            let first = self.first_moment.data_mut()[range.clone()].chunks_exact_mut(stride);
            let second = self.second_moment.data_mut()[range.clone()].chunks_exact_mut(stride);
            let gradient = self.gradient.data_mut()[range].chunks_exact_mut(stride);
            for ((value, gradient), (first, second)) in value.zip(gradient).zip(first.zip(second)) {
                weight_norm_vjp(gradient, value, scale, along);
                adam.step(value, first, second, gradient);
            }
        }
    }

    /// Computes the inverse lengths of the columns of v.
    fn measure(&mut self, weight_normalization: bool) {
        if weight_normalization {
            let squares = vectorized(
                #[inline(always)]
                || self.sum_products(&self.direction),
            );
            let units = self.direction.columns();
            for (inverse, square) in self.inverse_length.iter_mut().zip(&squares[..units]) {
                *inverse = square.sqrt().recip();
            }
        }
    }

    /// Computes the scale and Wᵀ from v, g and the lengths of the columns.
    fn fold(&mut self, weight_normalization: bool) {
        if weight_normalization {
            for j in 0..GROUP {
                self.scale[j] = self.gain.value[j] * self.inverse_length[j];
            }
        }
        self.transposed
            .scale_and_transpose(&self.direction, &self.scale);
    }

    /// Σᵢ v[i,j] other[i,j]
    #[inline(always)]
    fn sum_products(&self, other: &Panels) -> Units {
        let mut sums = [0.0; GROUP];
        let rows = self.direction.rows();
        for panel in self.direction.panels() {
            let sums = &mut sums[panel.padded()];
            let range = panel.range(rows);
            let other = other.data()[range.clone()].chunks_exact(panel.stride);
            let direction = self.direction.data()[range].chunks_exact(panel.stride);
            for (v, other) in direction.zip(other) {
                for ((sum, v), other) in sums.iter_mut().zip(v).zip(other) {
                    *sum += v * other;
                }
            }
        }
        sums
    }
}

impl UnitParameters {
    fn new(units: &[f32]) -> Self {
        let mut value = [0.0; GROUP];
        value[..units.len()].copy_from_slice(units);
        Self {
            value,
            first_moment: [0.0; GROUP],
            second_moment: [0.0; GROUP],
        }
    }

    #[inline(always)]
    fn step(&mut self, gradient: &Units, adam: AdamStep) {
        let Self {
            value,
            first_moment,
            second_moment,
        } = self;
        adam.step(value, first_moment, second_moment, gradient);
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

/// Replaces ∂W by ∂v = scale ∂W - along v, for a row.
#[inline(always)]
fn weight_norm_vjp(by_weights: &mut [f32], direction: &[f32], scale: &[f32], along: &[f32]) {
    let factors = scale.iter().zip(along);
    for ((d, v), (scale, along)) in by_weights.iter_mut().zip(direction).zip(factors) {
        *d = *d * scale - v * along;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_network::TensorNetwork;
    use burn::tensor::Device;
    use mbmpo_core::{Purpose, Stream, Streams};
    use rand::RngExt;

    /// The numbers of every layer, in the order of [`TensorNetwork`].
    fn state(network: &mut CpuNetwork) -> Vec<Vec<f32>> {
        let layers = network.layers.iter_mut().flat_map(|layer| {
            let mut numbers = vec![
                layer.rows(|group| &mut group.direction),
                layer.rows(|group| &mut group.first_moment),
                layer.rows(|group| &mut group.second_moment),
                layer.units(|group| &mut group.bias.value),
                layer.units(|group| &mut group.bias.first_moment),
                layer.units(|group| &mut group.bias.second_moment),
            ];
            if layer.weight_normalization {
                numbers.extend([
                    layer.units(|group| &mut group.gain.value),
                    layer.units(|group| &mut group.gain.first_moment),
                    layer.units(|group| &mut group.gain.second_moment),
                ]);
            }
            numbers
        });
        layers.collect()
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
                for (i, (ours, theirs)) in
                    state(&mut slices).iter().zip(tensors.state()).enumerate()
                {
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
