use burn::tensor::{DType, Device, Tensor, TensorData};
use mbmpo_core::{Check, Checked, Checker, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::ops::Range;

/// Architecture and initial values of a [`GaussianMlp`]. The default is the paper's, and where the
/// paper is silent that of its authors' code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Sizes of the tanh layers. Paper A.3: `[32, 32]`.
    pub hidden: Vec<usize>,
    /// Initial standard deviation of every action component. Authors' policy: 1.
    pub initial_std: f64,
    /// Lower bound of the standard deviation. Authors' policy: 1e-6.
    pub min_std: f64,
    /// Factor on the initial weights of the last layer; near 0, the initial mean action is near 0.
    /// Authors' policy: 1.
    #[serde(default = "unscaled")]
    pub output_scale: f64,
}

fn unscaled() -> f64 {
    1.0
}

impl Default for PolicyConfig {
    /// Appendix A.3 of the paper; where it is silent, the authors' code.
    fn default() -> Self {
        Self {
            hidden: vec![32, 32],
            initial_std: 1.0,
            min_std: 1e-6,
            output_scale: unscaled(),
        }
    }
}

impl Check for PolicyConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.layers("hidden", &self.hidden, 4096);
        checker.range("initial_std", self.initial_std, 1e-6..=1e3);
        checker.range("min_std", self.min_std, 1e-12..=1e3);
        let below = self.min_std <= self.initial_std;
        checker.demand_together("min_std", self.min_std, below, "at most `initial_std`");
        checker.range("output_scale", self.output_scale, 0.0..=1e3);
    }
}

/// The architecture of π_θ(a|s) = N(a | μ(s), σ²): the mean is a tanh network, the standard
/// deviation does not depend on the state (paper A.3). The policy is a function of a flat parameter
/// vector θ of length [`Self::parameter_count`]: for every layer its weights `[inputs, outputs]` in
/// row-major order and its biases, then log σ.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMlp {
    sizes: Vec<usize>,
    min_log_std: f64,
}

/// The range of a named weight, bias or log σ in θ.
pub(crate) struct NamedRange {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) range: Range<usize>,
}

impl GaussianMlp {
    /// The architecture for observations of `observation_dim` and actions of `action_dim`
    /// components.
    pub fn new(config: &Checked<PolicyConfig>, observation_dim: usize, action_dim: usize) -> Self {
        let mut sizes = vec![observation_dim];
        sizes.extend(&config.hidden);
        sizes.push(action_dim);
        Self::from_sizes(sizes, config.min_std.ln())
    }

    pub(crate) fn from_sizes(sizes: Vec<usize>, min_log_std: f64) -> Self {
        Self { sizes, min_log_std }
    }

    /// Size of the observation, of every hidden layer, and of the action.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Lower bound of log σ.
    pub fn min_log_std(&self) -> f64 {
        self.min_log_std
    }

    /// log σ, or its lower bound where it is below.
    pub(crate) fn clamp_log_std(&self, log_std: f32) -> f32 {
        let floor = self.min_log_std as f32;
        // unlike `max`, this lets NaN through
        if log_std < floor { floor } else { log_std }
    }

    /// Number of components of an observation.
    pub fn observation_dim(&self) -> usize {
        self.sizes[0]
    }

    /// Number of components of an action.
    pub fn action_dim(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// Length of θ.
    pub fn parameter_count(&self) -> usize {
        let network: usize = self.layers().map(|(i, o)| (i + 1) * o).sum();
        network + self.action_dim()
    }

    /// (inputs, outputs) of every layer.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.sizes.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// The weights, biases and log σ in θ, in order.
    pub(crate) fn named_ranges(&self) -> Vec<NamedRange> {
        let mut ranges = Vec::new();
        let mut start = 0;
        let mut add = |name: String, shape: Vec<usize>| {
            let end = start + shape.iter().product::<usize>();
            ranges.push(NamedRange {
                name,
                shape,
                range: start..end,
            });
            start = end;
        };
        for (i, (inputs, outputs)) in self.layers().enumerate() {
            add(format!("layers.{i}.weight"), vec![inputs, outputs]);
            add(format!("layers.{i}.bias"), vec![outputs]);
        }
        add("log_std".to_owned(), vec![self.action_dim()]);
        ranges
    }

    /// Initial θ: Glorot-uniform weights (the last layer's times `output_scale`), zero biases, and
    /// the log of the initial standard deviation.
    pub fn initial_parameters(
        &self,
        config: &Checked<PolicyConfig>,
        stream: &mut Stream,
    ) -> Vec<f64> {
        let mut theta = Vec::with_capacity(self.parameter_count());
        let last = self.sizes.len() - 2;
        for (i, (inputs, outputs)) in self.layers().enumerate() {
            let scale = if i == last { config.output_scale } else { 1.0 };
            let bound = scale * (6.0 / (inputs + outputs) as f64).sqrt();
            theta.extend((0..inputs * outputs).map(|_| stream.random_range(-bound..=bound)));
            theta.extend(vec![0.0; outputs]);
        }
        theta.extend(vec![config.initial_std.ln(); self.action_dim()]);
        theta
    }

    /// Rescales the first layer of `theta` so that its sums are those of standardised inputs: weights
    /// are divided by the standard deviation of their component in `observations`
    /// `[rows, observation]`, and biases lose the part of the mean.
    ///
    /// A component counts as if it varied by at least 0.01, so one that is constant in these
    /// observations does not saturate the layer when it varies later.
    pub fn standardize(&self, theta: &mut [f64], observations: &[f32]) {
        let (inputs, outputs) = (self.sizes[0], self.sizes[1]);
        let rows = observations.len() / inputs;
        let average = |of: &dyn Fn(f64) -> f64, component: usize| {
            let rows_of = observations.iter().skip(component).step_by(inputs);
            rows_of.map(|&x| of(f64::from(x))).sum::<f64>() / rows as f64
        };
        let (weights, rest) = theta.split_at_mut(inputs * outputs);
        for (i, weights) in weights.chunks_exact_mut(outputs).enumerate() {
            let mean = average(&|x| x, i);
            let std = average(&|x| (x - mean) * (x - mean), i).sqrt().max(0.01);
            for (weight, bias) in weights.iter_mut().zip(&mut rest[..outputs]) {
                *weight /= std;
                *bias -= *weight * mean;
            }
        }
    }

    /// θ as a tensor `[parameters]` of this precision.
    pub fn tensor(theta: &[f64], dtype: DType, device: &Device) -> Tensor<1> {
        let data = TensorData::new(theta.to_vec(), [theta.len()]).convert_dtype(dtype);
        Tensor::from_data(data, (device, dtype))
    }

    /// Splits `theta` `[parameters]` into the layers, once for many passes.
    pub fn bind(&self, theta: &Tensor<1>) -> BoundMlp {
        let mut offset = 0;
        let mut take = |rows: usize, columns: usize| {
            let part = theta.clone().narrow(0, offset, rows * columns);
            offset += rows * columns;
            part.reshape([rows, columns])
        };
        let layers = self
            .layers()
            .map(|(inputs, outputs)| (take(inputs, outputs), take(1, outputs)))
            .collect();
        let raw_log_std = take(1, self.action_dim());
        let above_min = raw_log_std.clone().greater_elem(self.min_log_std);
        BoundMlp {
            layers,
            free_std: above_min.float().cast(raw_log_std.dtype()),
            log_std: raw_log_std.clone().clamp_min(self.min_log_std),
            raw_log_std,
        }
    }
}

/// A [`GaussianMlp`] with its parameters as tensors.
#[derive(Debug, Clone)]
pub struct BoundMlp {
    /// Weights `[inputs, outputs]` and biases `[1, outputs]`.
    layers: Vec<(Tensor<2>, Tensor<2>)>,
    /// log σ `[1, action]`.
    pub log_std: Tensor<2>,
    /// log σ before it is clamped.
    raw_log_std: Tensor<2>,
    /// 1 where log σ is above its lower bound, 0 where it is clamped: `[1, action]`.
    free_std: Tensor<2>,
}

impl BoundMlp {
    /// Mean action `[rows, action]` for `observations` `[rows, observation]`.
    pub fn mean(&self, observations: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        self.layers
            .iter()
            .enumerate()
            .fold(observations, |input, (i, (weight, bias))| {
                let sum = input.matmul(weight.clone()) + bias.clone();
                if i == last { sum } else { sum.tanh() }
            })
    }

    /// A forward pass over `observations` `[rows, observation]` that keeps the layers' inputs for
    /// the derivatives.
    pub fn forward(&self, observations: Tensor<2>) -> Forward<'_> {
        let mut inputs = vec![observations];
        for (weight, bias) in &self.layers[..self.layers.len() - 1] {
            let sum = inputs[inputs.len() - 1].clone().matmul(weight.clone()) + bias.clone();
            inputs.push(sum.tanh());
        }
        let (weight, bias) = &self.layers[self.layers.len() - 1];
        let mean = inputs[inputs.len() - 1].clone().matmul(weight.clone()) + bias.clone();
        Forward {
            network: self,
            inputs,
            mean,
        }
    }
}

/// A forward pass through the network, for its derivatives.
#[derive(Debug, Clone)]
pub struct Forward<'a> {
    pub(crate) network: &'a BoundMlp,
    /// Input `[rows, inputs]` of each layer.
    inputs: Vec<Tensor<2>>,
    /// Mean action `[rows, action]`.
    pub mean: Tensor<2>,
}

impl Forward<'_> {
    /// log π(a|s) `[rows, 1]` of `actions` `[rows, action]`.
    pub fn log_likelihood(&self, actions: Tensor<2>) -> Tensor<2> {
        let [_, dim] = actions.dims();
        let z = self.standardize(actions);
        let constant = -0.5 * dim as f64 * (2.0 * PI).ln();
        (z.clone() * z).sum_dim(1).mul_scalar(-0.5) - self.network.log_std.clone().sum_dim(1)
            + constant_like(&self.mean, constant)
    }

    /// ∇_θ Σ_i w_i log π_θ(a_i|s_i) `[parameters]`, as an expression that is itself differentiable
    /// in θ: the vanilla policy gradient (paper, eq. 1 and 3) when the weights `[rows, 1]` are
    /// advantages over the number of rows.
    pub fn policy_gradient(&self, actions: Tensor<2>, weights: Tensor<2>) -> Tensor<1> {
        let z = self.standardize(actions);
        let over_std = self.network.log_std.clone().neg().exp();
        let by_log_std = (z.clone() * z.clone()).sub_scalar(1.0) * weights.clone();
        self.vjp(z * over_std * weights, by_log_std.sum_dim(0))
    }

    /// Vector-Jacobian product, the backward pass: the gradient by θ `[parameters]` of a function
    /// of the outputs, from its gradients by the mean `[rows, action]` and by log σ `[1, action]`.
    pub fn vjp(&self, by_mean: Tensor<2>, by_log_std: Tensor<2>) -> Tensor<1> {
        let mut parts = Vec::new();
        for (input, delta) in self.inputs.iter().zip(self.deltas(by_mean)) {
            let by_weight = input.clone().transpose().matmul(delta.clone());
            parts.push(by_weight.flatten(0, 1));
            parts.push(delta.sum_dim(0).flatten(0, 1));
        }
        let by_log_std = by_log_std * self.network.free_std.clone();
        parts.push(by_log_std.flatten(0, 1));
        Tensor::cat(parts, 0)
    }

    /// Input `[rows, inputs]` of each layer.
    pub fn inputs(&self) -> &[Tensor<2>] {
        &self.inputs
    }

    /// Gradient `[rows, outputs]` of a function of the mean by the pre-activations of each layer,
    /// from that by the mean `[rows, action]`.
    pub fn deltas(&self, by_mean: Tensor<2>) -> Vec<Tensor<2>> {
        let mut deltas = vec![by_mean];
        let later = self.network.layers.iter().zip(&self.inputs).skip(1);
        for ((weight, _), input) in later.rev() {
            let slope = (input.clone() * input.clone()).neg().add_scalar(1.0);
            let by_output = deltas[deltas.len() - 1].clone();
            deltas.push(by_output.matmul(weight.clone().transpose()) * slope);
        }
        deltas.reverse();
        deltas
    }

    /// Jacobian-vector product: the derivatives of the mean `[rows, action]` and of log σ
    /// `[1, action]` by θ along `direction`.
    pub fn jvp(&self, direction: &BoundMlp) -> (Tensor<2>, Tensor<2>) {
        let mut tangent: Option<Tensor<2>> = None;
        for (i, ((weight, _), (d_weight, d_bias))) in self
            .network
            .layers
            .iter()
            .zip(&direction.layers)
            .enumerate()
        {
            let input = self.inputs[i].clone();
            let own = input.clone().matmul(d_weight.clone()) + d_bias.clone();
            tangent = Some(match tangent {
                // The observations do not depend on θ.
                None => own,
                Some(tangent) => {
                    let slope = (input.clone() * input).neg().add_scalar(1.0);
                    (tangent * slope).matmul(weight.clone()) + own
                }
            });
        }
        let of_mean = tangent.unwrap_or_else(|| self.mean.zeros_like());
        (
            of_mean,
            direction.raw_log_std.clone() * self.network.free_std.clone(),
        )
    }

    fn standardize(&self, actions: Tensor<2>) -> Tensor<2> {
        (actions - self.mean.clone()) * self.network.log_std.clone().neg().exp()
    }
}

/// A `[1, 1]` tensor in the full precision of `like`. (A scalar operand would be rounded to single
/// precision.)
fn constant_like(like: &Tensor<2>, value: f64) -> Tensor<2> {
    let dtype = like.dtype();
    let data = TensorData::new(vec![value], [1, 1]).convert_dtype(dtype);
    Tensor::from_data(data, (&like.device(), dtype))
}
