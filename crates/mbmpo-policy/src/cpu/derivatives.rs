//! Derivatives of the network: vector-Jacobian products (backward pass), Jacobian-vector products,
//! and forward-over-reverse products for the Hessian.

use super::{Activations, CpuMlp};
use mbmpo_kernels::{
    GROUP, Panels, add_to_rows, add_transposed_product, product, sum_of_products, sum_rows,
    vectorized,
};
use std::ops::Range;

/// Buffers for the derivatives of a block of rows, reused from block to block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    pub(super) activations: Activations,
    pub(super) deltas: Deltas,
    /// Derivatives of the activations along a direction.
    pub(super) tangents: Activations,
    /// Derivatives of the deltas along a direction.
    pub(super) delta_tangents: Deltas,
    /// The terms of the delta tangents that come from the curvature of each tanh layer.
    pub(super) curvatures: Deltas,
    /// Weights `[rows]`.
    pub(super) weights: Vec<f32>,
}

/// Gradients of a function of the outputs by the pre-activations of every layer: `[rows, outputs]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Deltas(Vec<Panels>);

impl Deltas {
    /// The gradient by the mean `[rows, action]`, to be written; resizes the buffers for `network`.
    pub(super) fn by_mean_mut(&mut self, network: &CpuMlp, rows: usize) -> &mut Panels {
        let last = network.layers.len() - 1;
        self.0.resize_with(last + 1, Panels::default);
        self.0[last].resize(rows, network.log_std.len());
        &mut self.0[last]
    }
}

/// A sum over samples of gradients by θ.
#[derive(Debug)]
pub(crate) struct Gradient {
    layers: Vec<LayerGradient>,
    /// `[action]`
    by_log_std: Vec<f32>,
}

#[derive(Debug)]
struct LayerGradient {
    /// `[inputs, outputs]`, or `[outputs, inputs]` if `transposed`.
    by_weights: Panels,
    /// Whether the layer has fewer outputs than inputs: vectors run along the longer side.
    transposed: bool,
    /// `[outputs]`, with padding.
    by_biases: Vec<f32>,
}

impl Gradient {
    pub(super) fn zeros(network: &CpuMlp) -> Self {
        let layers = network.layers.iter().map(|layer| {
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            let transposed = outputs < inputs;
            LayerGradient {
                by_weights: if transposed {
                    Panels::zeros(outputs, inputs)
                } else {
                    Panels::zeros(inputs, outputs)
                },
                transposed,
                by_biases: vec![0.0; layer.biases.len()],
            }
        });
        Self {
            layers: layers.collect(),
            by_log_std: vec![0.0; network.log_std.len()],
        }
    }

    /// In the order of θ: `[parameters]`.
    pub(super) fn into_parameters(self, network: &CpuMlp) -> Vec<f64> {
        let mut all = vec![0.0; network.parameter_count];
        let start = all.len() - self.by_log_std.len();
        for (to, x) in all[start..].iter_mut().zip(&self.by_log_std) {
            *to = f64::from(*x);
        }
        let mut rows = Vec::new();
        for (sums, layer) in self.layers.iter().zip(&network.layers) {
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            sums.by_weights.unpack(&mut rows);
            let (weights, biases) = all[layer.start..].split_at_mut(inputs * outputs);
            for (i, to) in weights.iter_mut().enumerate() {
                let from = if sums.transposed {
                    i % outputs * inputs + i / outputs
                } else {
                    i
                };
                *to = f64::from(rows[from]);
            }
            for (to, x) in biases[..outputs].iter_mut().zip(&sums.by_biases) {
                *to = f64::from(*x);
            }
        }
        all
    }

    /// Adds the gradient by log σ `[action]`, which is 0 where log σ is clamped.
    fn add_by_log_std(&mut self, network: &CpuMlp, by_log_std: &[f32]) {
        let by_log_std = by_log_std.iter().zip(&network.free_std);
        for (sum, (by_log_std, free)) in self.by_log_std.iter_mut().zip(by_log_std) {
            *sum += by_log_std * free;
        }
    }
}

impl LayerGradient {
    /// Adds Σ input ⊗ delta over the rows of the pairs (input, delta).
    fn add_by_weights<'a, const N: usize>(&mut self, mut pairs: [(&'a Panels, &'a Panels); N]) {
        if self.transposed {
            pairs = pairs.map(|(input, delta)| (delta, input));
        }
        for group in 0..self.by_weights.columns().div_ceil(GROUP) {
            add_transposed_product(&pairs, group, self.by_weights.group_mut(group));
        }
    }

    /// Adds Σ delta.
    fn add_by_biases(&mut self, delta: &Panels) {
        vectorized(
            #[inline(always)]
            || {
                for panel in delta.panels() {
                    let delta = &delta.data()[panel.range(delta.rows())];
                    sum_rows(&mut self.by_biases[panel.padded()], delta);
                }
            },
        );
    }
}

/// The slope of y = tanh x.
#[inline(always)]
fn slope(y: f32) -> f32 {
    1.0 - y * y
}

impl CpuMlp {
    /// Vector-Jacobian product: adds to `gradient` the gradient of a function of the outputs, from
    /// its gradients by the mean, the last of the `deltas`, and by log σ `[action]`. Fills the other
    /// deltas.
    pub(super) fn vjp(
        &self,
        observations: &Panels,
        activations: &Activations,
        deltas: &mut Deltas,
        by_log_std: &[f32],
        gradient: &mut Gradient,
    ) {
        self.back_propagate(activations, deltas);
        gradient.add_by_log_std(self, by_log_std);
        for (i, (sums, delta)) in gradient.layers.iter_mut().zip(&deltas.0).enumerate() {
            sums.add_by_weights([(activations.input(observations, i), delta)]);
            sums.add_by_biases(delta);
        }
    }

    /// The deltas of every layer from that of the mean.
    pub(super) fn back_propagate(&self, activations: &Activations, deltas: &mut Deltas) {
        let hidden = self.layers.iter().skip(1).zip(&activations.hidden);
        for (i, (layer, outputs)) in hidden.enumerate().rev() {
            let (before, after) = deltas.0.split_at_mut(i + 1);
            let (delta, back) = (&after[0], &mut before[i]);
            let rows = outputs.rows();
            back.resize(rows, layer.inputs());
            product(
                delta,
                &[&layer.transposed],
                back.data_mut(),
                #[inline(always)]
                |panel, sums| {
                    for (s, y) in sums.iter_mut().zip(&outputs.data()[panel.range(rows)]) {
                        *s *= slope(*y);
                    }
                },
            );
        }
    }

    /// Jacobian-vector product: the derivatives of the activations by θ along `direction`, to
    /// `tangents`. `with_sums` is called with the derivatives of the pre-activations of each tanh
    /// layer, part by part: the layer, the place of the part among the entries, and its entries.
    pub(super) fn jvp(
        &self,
        direction: &CpuMlp,
        observations: &Panels,
        activations: &Activations,
        tangents: &mut Activations,
        mut with_sums: impl FnMut(usize, Range<usize>, &[f32]),
    ) {
        let (rows, last) = (observations.rows(), self.layers.len() - 1);
        tangents.hidden.resize_with(last, Panels::default);
        for (i, (layer, moved)) in self.layers.iter().zip(&direction.layers).enumerate() {
            let input = activations.input(observations, i);
            let (before, after) = tangents.hidden.split_at_mut(i);
            let tangent = if i < last {
                &mut after[0]
            } else {
                &mut tangents.mean
            };
            tangent.resize(rows, layer.outputs());
            let pairs = [
                Some((input, &moved.weights)),
                // the observations do not depend on θ
                before.last().map(|before| (before, &layer.weights)),
            ];
            let pairs: Vec<_> = pairs.into_iter().flatten().collect();
            sum_of_products(
                &pairs,
                tangent.data_mut(),
                #[inline(always)]
                |panel, sums| {
                    add_to_rows(sums, &moved.biases[panel.padded()]);
                    if let Some(outputs) = activations.hidden.get(i) {
                        let range = panel.range(rows);
                        with_sums(i, range.clone(), sums);
                        for (s, y) in sums.iter_mut().zip(&outputs.data()[range]) {
                            *s *= slope(*y);
                        }
                    }
                },
            );
        }
    }

    /// [`Self::jvp`] from the activations to the tangents of `workspace`, and the curvature terms
    /// of the delta tangents: with y = tanh u and the gradients g by y and s by u, the derivative
    /// of s = (1 - y²) g is (1 - y²) dg - 2 y dy g, and its second term is -2 y s du.
    pub(super) fn jvp_with_curvature(
        &self,
        direction: &CpuMlp,
        observations: &Panels,
        workspace: &mut Workspace,
    ) {
        let Workspace {
            activations,
            deltas,
            tangents,
            curvatures,
            ..
        } = workspace;
        let (activations, deltas) = (&*activations, &*deltas);
        curvatures
            .0
            .resize_with(activations.hidden.len(), Panels::default);
        for (curvature, outputs) in curvatures.0.iter_mut().zip(&activations.hidden) {
            curvature.resize(outputs.rows(), outputs.columns());
        }
        self.jvp(
            direction,
            observations,
            activations,
            tangents,
            #[inline(always)]
            |i, range, sums| {
                let at = activations.hidden[i].data()[range.clone()]
                    .iter()
                    .zip(&deltas.0[i].data()[range.clone()]);
                let curvature = &mut curvatures.0[i].data_mut()[range];
                for ((c, du), (y, s)) in curvature.iter_mut().zip(sums).zip(at) {
                    *c = -2.0 * y * s * du;
                }
            },
        );
    }

    /// Forward-over-reverse differentiation: adds to `gradient` the derivative by θ along
    /// `direction` of the gradient that [`Self::vjp`] adds. `workspace` holds activations, deltas,
    /// tangents, curvatures and the delta tangent of the mean; `by_log_std` `[action]` is the
    /// derivative of the gradient by log σ.
    pub(super) fn vjp_tangent(
        &self,
        direction: &CpuMlp,
        observations: &Panels,
        workspace: &mut Workspace,
        by_log_std: &[f32],
        gradient: &mut Gradient,
    ) {
        let Workspace {
            activations,
            deltas,
            tangents,
            delta_tangents,
            curvatures,
            ..
        } = workspace;
        gradient.add_by_log_std(self, by_log_std);
        let rows = observations.rows();
        let layers = self.layers.iter().zip(&direction.layers).enumerate();
        for (i, (layer, moved)) in layers.rev() {
            let (before, after) = delta_tangents.0.split_at_mut(i);
            let (tangent, input) = (&after[0], activations.input(observations, i));
            let (delta, sums) = (&deltas.0[i], &mut gradient.layers[i]);
            sums.add_by_biases(tangent);
            let Some(before) = before.last_mut() else {
                sums.add_by_weights([(input, tangent)]);
                continue;
            };
            sums.add_by_weights([(input, tangent), (&tangents.hidden[i - 1], delta)]);
            before.resize(rows, layer.inputs());
            let curvature = &curvatures.0[i - 1];
            sum_of_products(
                &[(delta, &moved.transposed), (tangent, &layer.transposed)],
                before.data_mut(),
                #[inline(always)]
                |panel, sums| {
                    let range = panel.range(rows);
                    let outputs = input.data()[range.clone()]
                        .iter()
                        .zip(&curvature.data()[range]);
                    for (s, (y, curvature)) in sums.iter_mut().zip(outputs) {
                        *s = *s * slope(*y) + curvature;
                    }
                },
            );
        }
    }
}
