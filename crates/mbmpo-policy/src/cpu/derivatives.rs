//! Backward pass, its derivative along a direction, and the derivative of the forward pass.

use super::{Activations, CpuMlp, Layer, sized};
use mbmpo_kernels::{add_to_rows, add_transposed_product, sum_rows};

/// Buffers for the derivatives of some rows, to be used again and again.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    pub(super) activations: Activations,
    pub(super) signals: Signals,
    /// How the activations change along a direction.
    pub(super) tangents: Activations,
    /// How the signals change along a direction.
    pub(super) signal_tangents: Signals,
    /// What the curvature of each tanh layer adds to the change of its signal.
    pub(super) curvatures: Signals,
    /// Weights `[rows]`.
    pub(super) weights: Vec<f32>,
}

/// Gradients of a function of the outputs by every layer's sums, those before tanh: `[rows, outputs]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals(Vec<Vec<f32>>);

impl Signals {
    /// Those of the mean `[rows, action]`.
    pub(super) fn by_mean(&self) -> &[f32] {
        self.0.last().map_or(&[], Vec::as_slice)
    }

    /// As many as `network` has layers, and those of the mean `[rows, action]`.
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
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    /// Adds to `gradient` `[parameters]` that of a function of the outputs, from its gradients by the mean, which
    /// `signals` holds, and by log σ `[action]`; `signals` then holds those by every layer's sums.
    pub(super) fn pull_back(
        &self,
        observations: &[f32],
        activations: &Activations,
        signals: &mut Signals,
        by_log_std: &[f32],
        gradient: &mut [f32],
    ) {
        self.back_propagate(activations, signals);
        self.add_by_log_std(by_log_std, gradient);
        for (i, (layer, signal)) in self.layers.iter().zip(&signals.0).enumerate() {
            layer.add_by_weights(activations.input(observations, i), signal, gradient);
            layer.add_by_biases(signal, gradient);
        }
    }

    /// The signals of every layer from those of the mean.
    pub(super) fn back_propagate(&self, activations: &Activations, signals: &mut Signals) {
        let hidden = self.layers.iter().skip(1).zip(&activations.hidden);
        for (i, (layer, outputs)) in hidden.enumerate().rev() {
            let (before, after) = signals.0.split_at_mut(i + 1);
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

    /// How the activations change when θ moves along `direction`: the pass forward of the derivative, to `tangents`.
    /// `with_sums` sees how each tanh layer's sums change: the layer, the first of some entries, and those entries.
    pub(super) fn push_forward(
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
            let change = if i < last {
                &mut after[0]
            } else {
                &mut tangents.mean
            };
            let change = sized(change, rows * width);
            let (last_input, factor) = match before.last() {
                // The observations do not change.
                None => {
                    change.fill(0.0);
                    (input, &moved.weights)
                }
                Some(before) => {
                    moved.weights.product(input, change, |_, _| {});
                    (before.as_slice(), &layer.weights)
                }
            };
            factor.add_product(
                last_input,
                change,
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

    /// [`Self::push_forward`] from the activations to the tangents of `workspace`, and what the curvature of tanh adds
    /// to the changes of the signals: with y = tanh u and the signals g by y and s by u, s = (1 - y²) g moves by
    /// (1 - y²) dg - 2 y dy g, the second term of which is -2 y s du.
    pub(super) fn push_forward_curved(
        &self,
        direction: &CpuMlp,
        observations: &[f32],
        workspace: &mut Workspace,
    ) {
        let Workspace {
            activations,
            signals,
            tangents,
            curvatures,
            ..
        } = workspace;
        let (activations, signals) = (&*activations, &*signals);
        curvatures.0.resize_with(activations.hidden.len(), Vec::new);
        for (curvature, outputs) in curvatures.0.iter_mut().zip(&activations.hidden) {
            sized(curvature, outputs.len());
        }
        self.push_forward(
            direction,
            observations,
            activations,
            tangents,
            #[inline(always)]
            |i, first, sums| {
                let span = first..first + sums.len();
                let at = activations.hidden[i][span.clone()]
                    .iter()
                    .zip(&signals.0[i][span.clone()]);
                let curvature = &mut curvatures.0[i][span];
                for ((c, du), (y, s)) in curvature.iter_mut().zip(sums).zip(at) {
                    *c = -2.0 * y * s * du;
                }
            },
        );
    }

    /// Adds to `product` `[parameters]` the derivative of what [`Self::pull_back`] adds, when θ moves along
    /// `direction`: forward-over-reverse differentiation. `workspace` holds activations, signals, tangents and, of the
    /// signals, how those by the mean change; `by_log_std` `[action]` is how the gradient by log σ changes.
    pub(super) fn pull_back_along(
        &self,
        direction: &CpuMlp,
        observations: &[f32],
        workspace: &mut Workspace,
        by_log_std: &[f32],
        product: &mut [f32],
    ) {
        let Workspace {
            activations,
            signals,
            tangents,
            signal_tangents,
            curvatures,
            ..
        } = workspace;
        self.add_by_log_std(by_log_std, product);
        let layers = self.layers.iter().zip(&direction.layers).enumerate();
        for (i, (layer, moved)) in layers.rev() {
            let (before, after) = signal_tangents.0.split_at_mut(i);
            let (change, input) = (&after[0], activations.input(observations, i));
            let signal = &signals.0[i];
            layer.add_by_weights(input, change, product);
            layer.add_by_biases(change, product);
            if i > 0 {
                let input_change = &tangents.hidden[i - 1];
                layer.add_by_weights(input_change, signal, product);
            }
            if let Some(before) = before.last_mut() {
                let width = layer.inputs();
                let before = sized(before, input.len());
                moved.transposed.product(signal, before, |_, _| {});
                let curvature = &curvatures.0[i - 1];
                layer.transposed.add_product(
                    change,
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

    /// Where log σ rests on its floor, it does not move.
    fn add_by_log_std(&self, by_log_std: &[f32], gradient: &mut [f32]) {
        let start = self.parameter_count - self.free_std.len();
        let by_log_std = by_log_std.iter().zip(&self.free_std);
        for (sum, (by_log_std, free)) in gradient[start..].iter_mut().zip(by_log_std) {
            *sum += by_log_std * free;
        }
    }
}

impl Layer {
    /// Adds Σ input ⊗ signal.
    fn add_by_weights(&self, input: &[f32], signal: &[f32], gradient: &mut [f32]) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let gradient = &mut gradient[self.start..][..inputs * outputs];
        add_transposed_product(input, inputs, signal, outputs, gradient);
    }

    /// Adds Σ signal.
    fn add_by_biases(&self, signal: &[f32], gradient: &mut [f32]) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let gradient = &mut gradient[self.start + inputs * outputs..][..outputs];
        sum_rows(gradient, signal);
    }
}
