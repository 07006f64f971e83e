//! Derivatives of the network: vector-Jacobian products (backward pass), Jacobian-vector products,
//! and forward-over-reverse products for the Hessian.

use super::{Activations, CpuMlp, Layer, sized};
use mbmpo_kernels::{add_to_rows, add_transposed_product, sum_rows};

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
pub(super) struct Deltas(Vec<Vec<f32>>);

impl Deltas {
    /// The gradient by the mean `[rows, action]`.
    pub(super) fn by_mean(&self) -> &[f32] {
        self.0.last().map_or(&[], Vec::as_slice)
    }

    /// The gradient by the mean `[rows, action]`, to be written; resizes the buffers for `network`.
    pub(super) fn by_mean_mut(&mut self, network: &CpuMlp, rows: usize) -> &mut [f32] {
        let last = network.layers.len() - 1;
        self.0.resize_with(last + 1, Vec::new);
        sized(&mut self.0[last], rows * network.precision.len())
    }
}

/// The slope of y = tanh x.
#[inline(always)]
fn slope(y: f32) -> f32 {
    1.0 - y * y
}

impl CpuMlp {
    /// Length of θ.
    pub(super) fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    /// Vector-Jacobian product: adds to `gradient` `[parameters]` the gradient of a function of the
    /// outputs, from its gradients by the mean, the last of the `deltas`, and by log σ `[action]`.
    /// Fills the other deltas.
    pub(super) fn vjp(
        &self,
        observations: &[f32],
        activations: &Activations,
        deltas: &mut Deltas,
        by_log_std: &[f32],
        gradient: &mut [f32],
    ) {
        self.back_propagate(activations, deltas);
        self.add_by_log_std(by_log_std, gradient);
        for (i, (layer, delta)) in self.layers.iter().zip(&deltas.0).enumerate() {
            layer.add_by_weights(activations.input(observations, i), delta, gradient);
            layer.add_by_biases(delta, gradient);
        }
    }

    /// The deltas of every layer from that of the mean.
    pub(super) fn back_propagate(&self, activations: &Activations, deltas: &mut Deltas) {
        let hidden = self.layers.iter().skip(1).zip(&activations.hidden);
        for (i, (layer, outputs)) in hidden.enumerate().rev() {
            let (before, after) = deltas.0.split_at_mut(i + 1);
            let width = layer.inputs();
            layer.transposed.product(
                &after[0],
                sized(&mut before[i], outputs.len()),
                #[inline(always)]
                |first, sums| {
                    let outputs = &outputs[first * width..][..sums.len()];
                    for (s, y) in sums.iter_mut().zip(outputs) {
                        *s *= slope(*y);
                    }
                },
            );
        }
    }

    /// Jacobian-vector product: the derivatives of the activations by θ along `direction`, to
    /// `tangents`. `with_sums` is called with the derivatives of the pre-activations of each tanh
    /// layer, part by part: the layer, the index of the first entry of the part, and the entries.
    pub(super) fn jvp(
        &self,
        direction: &CpuMlp,
        observations: &[f32],
        activations: &Activations,
        tangents: &mut Activations,
        mut with_sums: impl FnMut(usize, usize, &[f32]),
    ) {
        let last = self.layers.len() - 1;
        let rows = observations.len() / self.layers[0].inputs();
        tangents.hidden.resize_with(last, Vec::new);
        for (i, (layer, moved)) in self.layers.iter().zip(&direction.layers).enumerate() {
            let width = layer.outputs();
            let input = activations.input(observations, i);
            let (before, after) = tangents.hidden.split_at_mut(i);
            let tangent = if i < last {
                &mut after[0]
            } else {
                &mut tangents.mean
            };
            let tangent = sized(tangent, rows * width);
            let (last_input, factor) = match before.last() {
                // The observations do not depend on θ.
                None => {
                    tangent.fill(0.0);
                    (input, &moved.weights)
                }
                Some(before) => {
                    moved.weights.product(input, tangent, |_, _| {});
                    (before.as_slice(), &layer.weights)
                }
            };
            factor.add_product(
                last_input,
                tangent,
                #[inline(always)]
                |first, sums| {
                    add_to_rows(sums, &moved.biases);
                    if let Some(outputs) = activations.hidden.get(i) {
                        let outputs = &outputs[first * width..][..sums.len()];
                        with_sums(i, first * width, sums);
                        for (s, y) in sums.iter_mut().zip(outputs) {
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
        observations: &[f32],
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
        curvatures.0.resize_with(activations.hidden.len(), Vec::new);
        for (curvature, outputs) in curvatures.0.iter_mut().zip(&activations.hidden) {
            sized(curvature, outputs.len());
        }
        self.jvp(
            direction,
            observations,
            activations,
            tangents,
            #[inline(always)]
            |i, first, sums| {
                let span = first..first + sums.len();
                let at = activations.hidden[i][span.clone()]
                    .iter()
                    .zip(&deltas.0[i][span.clone()]);
                let curvature = &mut curvatures.0[i][span];
                for ((c, du), (y, s)) in curvature.iter_mut().zip(sums).zip(at) {
                    *c = -2.0 * y * s * du;
                }
            },
        );
    }

    /// Forward-over-reverse differentiation: adds to `product` `[parameters]` the derivative by θ
    /// along `direction` of the gradient that [`Self::vjp`] adds. `workspace` holds activations,
    /// deltas, tangents, curvatures and the delta tangent of the mean; `by_log_std` `[action]` is
    /// the derivative of the gradient by log σ.
    pub(super) fn vjp_tangent(
        &self,
        direction: &CpuMlp,
        observations: &[f32],
        workspace: &mut Workspace,
        by_log_std: &[f32],
        product: &mut [f32],
    ) {
        let Workspace {
            activations,
            deltas,
            tangents,
            delta_tangents,
            curvatures,
            ..
        } = workspace;
        self.add_by_log_std(by_log_std, product);
        let layers = self.layers.iter().zip(&direction.layers).enumerate();
        for (i, (layer, moved)) in layers.rev() {
            let (before, after) = delta_tangents.0.split_at_mut(i);
            let (tangent, input) = (&after[0], activations.input(observations, i));
            let delta = &deltas.0[i];
            layer.add_by_weights(input, tangent, product);
            layer.add_by_biases(tangent, product);
            if i > 0 {
                let input_tangent = &tangents.hidden[i - 1];
                layer.add_by_weights(input_tangent, delta, product);
            }
            if let Some(before) = before.last_mut() {
                let width = layer.inputs();
                let before = sized(before, input.len());
                moved.transposed.product(delta, before, |_, _| {});
                let curvature = &curvatures.0[i - 1];
                layer.transposed.add_product(
                    tangent,
                    before,
                    #[inline(always)]
                    |first, sums| {
                        let span = first * width..first * width + sums.len();
                        let outputs = input[span.clone()].iter().zip(&curvature[span]);
                        for (s, (y, curvature)) in sums.iter_mut().zip(outputs) {
                            *s = *s * slope(*y) + curvature;
                        }
                    },
                );
            }
        }
    }

    /// Adds the gradient by log σ, which is 0 where log σ is clamped.
    fn add_by_log_std(&self, by_log_std: &[f32], gradient: &mut [f32]) {
        let start = self.parameter_count - self.free_std.len();
        let by_log_std = by_log_std.iter().zip(&self.free_std);
        for (sum, (by_log_std, free)) in gradient[start..].iter_mut().zip(by_log_std) {
            *sum += by_log_std * free;
        }
    }
}

impl Layer {
    /// Adds Σ input ⊗ delta.
    fn add_by_weights(&self, input: &[f32], delta: &[f32], gradient: &mut [f32]) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let gradient = &mut gradient[self.start..][..inputs * outputs];
        add_transposed_product(input, inputs, delta, outputs, gradient);
    }

    /// Adds Σ delta.
    fn add_by_biases(&self, delta: &[f32], gradient: &mut [f32]) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let gradient = &mut gradient[self.start + inputs * outputs..][..outputs];
        sum_rows(gradient, delta);
    }
}
