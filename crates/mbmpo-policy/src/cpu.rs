//! The policy on slices of the CPU's memory, in single precision: the same functions as
//! [`crate::BoundMlp`], [`crate::Forward`] and [`crate::surrogate::Sampled`] on tensors, with fused
//! loops. Rows come in blocks whose activations stay in the cache; buffers belong to the caller,
//! who reuses them from block to block.

mod blocks;
mod derivatives;
mod sums;

pub(crate) use sums::{SliceSamples, means};

use crate::GaussianMlp;
use mbmpo_kernels::{Panels, add_to_rows, product, tanh};

/// A [`GaussianMlp`] with its parameters, packed for matrix products.
#[derive(Debug, Clone)]
pub struct CpuMlp {
    layers: Vec<Layer>,
    /// log σ `[action]`.
    log_std: Vec<f32>,
    /// 1/σ² `[action]`, with padding.
    precision: Vec<f32>,
    /// log σ before it is clamped `[action]`.
    raw_log_std: Vec<f32>,
    /// 1 where log σ is above its lower bound, 0 where it is clamped: `[action]`.
    free_std: Vec<f32>,
    parameter_count: usize,
}

#[derive(Debug, Clone)]
struct Layer {
    /// Position of its weights in θ; the biases follow.
    start: usize,
    /// `[inputs, outputs]`
    weights: Panels,
    /// Transpose of `weights`.
    transposed: Panels,
    /// `[outputs]`, with padding.
    biases: Vec<f32>,
}

/// Outputs of the layers of a forward pass, for its derivatives; a buffer that can be reused.
#[derive(Debug, Clone, Default)]
pub struct Activations {
    /// Outputs `[rows, outputs]` of the tanh layers.
    hidden: Vec<Panels>,
    /// Mean action `[rows, action]`.
    mean: Panels,
    /// Observations `[rows, observation]` that came in row-major order.
    observations: Panels,
    /// Mean action `[rows, action]` in row-major order.
    rows: Vec<f32>,
}

impl Activations {
    /// Input of layer i.
    fn input<'a>(&'a self, observations: &'a Panels, i: usize) -> &'a Panels {
        if i == 0 {
            observations
        } else {
            &self.hidden[i - 1]
        }
    }
}

impl CpuMlp {
    /// Packs `theta` `[parameters]`, once for many passes.
    ///
    /// # Panics
    /// When `theta` is shorter than the network's parameters.
    pub fn new(network: &GaussianMlp, theta: &[f32]) -> Self {
        let mut rest = theta;
        let mut take = |count: usize| {
            let (part, after) = rest.split_at(count);
            rest = after;
            part
        };
        let mut start = 0;
        let layers = network
            .layers()
            .map(|(inputs, outputs)| {
                let here = start;
                start += (inputs + 1) * outputs;
                let entries = take(inputs * outputs);
                let (mut weights, mut transposed) = (Panels::factor(), Panels::factor());
                weights.pack(outputs, [entries]);
                transposed.pack_transposed(inputs, entries);
                let biases = weights.row(take(outputs));
                Layer {
                    start: here,
                    weights,
                    transposed,
                    biases,
                }
            })
            .collect();
        let raw_log_std = take(network.action_dim()).to_vec();
        let min_log_std = network.min_log_std() as f32;
        let log_std: Vec<f32> = raw_log_std
            .iter()
            .map(|x| network.clamp_log_std(*x))
            .collect();
        let exact: Vec<f32> = log_std.iter().map(|x| (-2.0 * x).exp()).collect();
        let by_action = Panels::zeros(1, network.action_dim());
        Self {
            layers,
            precision: by_action.row(&exact),
            log_std,
            free_std: raw_log_std
                .iter()
                .map(|x| f32::from(u8::from(*x > min_log_std)))
                .collect(),
            raw_log_std,
            parameter_count: network.parameter_count(),
        }
    }

    /// log σ `[action]`.
    pub fn log_std(&self) -> &[f32] {
        &self.log_std
    }

    /// Mean action `[rows, action]` for `observations` `[rows, observation]`, both in row-major
    /// order, in a buffer of `activations`.
    ///
    /// # Panics
    /// When `observations` does not consist of whole rows.
    pub fn mean<'a>(&self, observations: &[f32], activations: &'a mut Activations) -> &'a [f32] {
        let mut packed = std::mem::take(&mut activations.observations);
        packed.pack(self.layers[0].inputs(), [observations]);
        self.forward(&packed, activations);
        activations.observations = packed;
        activations.mean.unpack(&mut activations.rows);
        &activations.rows
    }

    /// A forward pass over `observations` `[rows, observation]`, to `activations`.
    fn forward(&self, observations: &Panels, activations: &mut Activations) {
        let (rows, last) = (observations.rows(), self.layers.len() - 1);
        activations.hidden.resize_with(last, Panels::default);
        for (i, layer) in self.layers.iter().enumerate().take(last) {
            let (before, after) = activations.hidden.split_at_mut(i);
            let (input, output) = (before.last().unwrap_or(observations), &mut after[0]);
            output.resize(rows, layer.outputs());
            product(
                input,
                &[&layer.weights],
                output.data_mut(),
                #[inline(always)]
                |panel, sums| {
                    add_to_rows(sums, &layer.biases[panel.padded()]);
                    for sum in sums {
                        *sum = tanh(*sum);
                    }
                },
            );
        }
        let layer = &self.layers[last];
        activations.mean.resize(rows, layer.outputs());
        product(
            activations.hidden.last().unwrap_or(observations),
            &[&layer.weights],
            activations.mean.data_mut(),
            #[inline(always)]
            |panel, sums| add_to_rows(sums, &layer.biases[panel.padded()]),
        );
    }
}

impl Layer {
    fn inputs(&self) -> usize {
        self.weights.rows()
    }

    fn outputs(&self) -> usize {
        self.weights.columns()
    }
}
