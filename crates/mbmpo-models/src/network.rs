//! The dynamics network: a multi-layer perceptron with ReLU units, weight normalisation and a
//! linear output (paper, A.3), trained by Adam. `cpu_network` and `tensor_network` implement it.

use mbmpo_core::{Persist, Result, Stream};
use rand::RngExt;
use std::fmt::Debug;

/// A network in training, with the state of its optimiser.
pub(crate) trait Network: Debug + Send + Sync + Persist {
    /// One step of Adam on the mean squared error of a batch (eq. 2 of the paper, in standardised
    /// units and averaged over the components as well).
    fn step(&mut self, batch: &Batch, learning_rate: f64, epsilon: f64);

    /// Returns and resets the sum of the squared errors of the training batches, each before its
    /// step.
    fn take_squared_error(&mut self) -> f64;

    /// Sum of the squared errors of a batch.
    fn squared_error(&self, batch: &Batch) -> f64;

    /// The layers with weight normalisation folded into plain weights.
    ///
    /// # Errors
    /// When the device fails.
    fn affine(&self) -> Result<Vec<Affine>>;

    fn boxed_clone(&self) -> Box<dyn Network>;
}

impl Clone for Box<dyn Network> {
    fn clone(&self) -> Self {
        self.as_ref().boxed_clone()
    }
}

/// A batch of transitions in standardised units.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    /// `[rows, in]`
    pub inputs: Vec<f32>,
    /// `[rows, out]`
    pub targets: Vec<f32>,
}

/// A layer x ↦ x W + b.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub inputs: usize,
    pub outputs: usize,
    /// `[in, out]`
    pub weights: Vec<f32>,
    /// `[out]`
    pub bias: Vec<f32>,
}

/// The initial parameters of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Initial {
    pub inputs: usize,
    pub outputs: usize,
    /// Weights `[in, out]`; under weight normalisation only the directions of the columns count.
    pub direction: Vec<f32>,
    /// Lengths `[out]` of the columns; none without weight normalisation.
    pub gain: Option<Vec<f32>>,
    /// `[out]`
    pub bias: Vec<f32>,
}

impl Initial {
    /// Glorot-uniform weights (directions), unit gains, zero biases: `sizes` are the widths from
    /// input to output.
    pub fn layers(sizes: &[usize], weight_normalization: bool, stream: &mut Stream) -> Vec<Self> {
        let layer = |pair: &[usize]| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let limit = (6.0 / (inputs + outputs) as f32).sqrt();
            let mut draw = || (2.0 * stream.random::<f32>() - 1.0) * limit;
            Self {
                inputs,
                outputs,
                direction: (0..inputs * outputs).map(|_| draw()).collect(),
                gain: weight_normalization.then(|| vec![1.0; outputs]),
                bias: vec![0.0; outputs],
            }
        };
        sizes.windows(2).map(layer).collect()
    }
}

/// Adam's constants at one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    pub rate: f64,
    pub epsilon: f64,
}

pub(crate) const BETA_1: f64 = 0.9;
pub(crate) const BETA_2: f64 = 0.999;

impl AdamStep {
    /// The constants of step `step`, counted from 1. TensorFlow's form, which is the authors':
    /// θ ← θ - α √(1-β₂ᵗ)/(1-β₁ᵗ) m / (√v + ε).
    pub fn new(learning_rate: f64, epsilon: f64, step: u64) -> Self {
        let t = step as f64;
        let correction = (1.0 - BETA_2.powf(t)).sqrt() / (1.0 - BETA_1.powf(t));
        // the moments omit the factors (1-β), which are applied here: that saves two passes in each
        // step
        let scale = (1.0 - BETA_2).sqrt();
        Self {
            rate: learning_rate * correction * (1.0 - BETA_1) / scale,
            epsilon: epsilon / scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mbmpo_core::{Purpose, Streams};

    /// Fails when initial weights leave Glorot's range or do not fill it, or depend on weight
    /// normalisation.
    #[test]
    fn initial_weights() {
        let make = |normalization| {
            let mut stream = Streams::new(0).stream(Purpose::ModelWeights, 0, 0);
            Initial::layers(&[20, 40, 4], normalization, &mut stream)
        };
        let drawn = &make(true)[0].direction;
        let largest = drawn.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!((0.3..=0.316_23).contains(&largest), "{largest}");
        assert_eq!(*drawn, make(false)[0].direction);
    }
}
