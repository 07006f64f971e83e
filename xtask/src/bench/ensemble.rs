//! One Adam step of every network of the ensemble.

use super::workload::{F32, HotLoop, Sample, Workload};
use anyhow::Result;
use mbmpo_core::{LearnedModel, Streams, Trajectories};
use mbmpo_models::Ensemble;
use std::time::Instant;

/// A fit of one epoch, per step: the standardisation of the data and a validation on one per cent
/// of them are in it.
pub struct EnsembleStep {
    ensemble: Ensemble,
    data: Trajectories,
    streams: Streams,
    steps: usize,
    fits: u64,
    flop: f64,
    bytes: f64,
}

impl EnsembleStep {
    /// `steps` Adam steps of `members` networks.
    pub fn new(workload: &Workload, members: usize, steps: usize) -> Result<Self> {
        let layers = workload.model_layers();
        let all: f64 = layers.iter().sum();
        // Forward, gradient by the weights, and gradient by the input of all layers but the first.
        let row = 2.0 * (3.0 * all - layers[0]);
        let batch = workload.config.ensemble.batch_size;
        Ok(Self {
            ensemble: workload.ensemble(members)?,
            data: workload.transitions(steps),
            streams: workload.streams,
            steps,
            fits: 0,
            flop: row * (members * batch) as f64,
            bytes: members as f64 * bytes(&workload.model_sizes(), &layers, batch),
        })
    }
}

impl HotLoop for EnsembleStep {
    fn unit(&self) -> &'static str {
        "steps"
    }

    fn run(&mut self) -> Result<Sample> {
        let clock = Instant::now();
        self.ensemble.fit(&self.data, &self.streams, self.fits)?;
        let seconds = clock.elapsed().as_secs_f64();
        self.fits += 1;
        Ok(Sample {
            seconds: seconds / self.steps as f64,
            flop: self.flop,
            bytes: self.bytes,
            units: 1.0,
            ..Sample::default()
        })
    }
}

/// Bytes that a step moves for one network. The model: a core's cache holds what a piece of the
/// batch needs while it goes forward and back, or what a few units need while their weights are
/// updated, but nothing from one of these to the other.
fn bytes(sizes: &[usize], layers: &[f64], batch: usize) -> f64 {
    let weights: f64 = layers.iter().sum();
    // read forward; transposed, read on the way back by all layers but the first
    let passes = weights + (weights - layers[0]);
    // the weights and both moments of Adam read and written, the transpose written
    let update = (3.0 * 2.0 + 1.0) * weights;
    // Inputs and outputs of the layers and the gradients by the outputs, written by the passes and
    // read by the update. The piece's part of the batch itself is read before.
    let width = |sizes: &[usize]| sizes.iter().sum::<usize>() as f64;
    let batch_itself = (sizes[0] + sizes[sizes.len() - 1]) as f64;
    let row = batch_itself + 2.0 * (width(sizes) + width(&sizes[1..]));
    F32 * (passes + update + batch as f64 * row)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    /// Fails when a number of a small network is counted too often or forgotten.
    #[test]
    fn bytes_of_a_small_network() {
        // 2-3-1: nine weights; a row of 2 + 1, activations 2 + 3 + 1, gradients 3 + 1
        let weights = 9.0 + 3.0 + 7.0 * 9.0;
        let row = 3.0 + 2.0 * (6.0 + 4.0);
        let expected = 4.0 * (weights + 5.0 * row);
        assert_eq!(bytes(&[2, 3, 1], &[6.0, 3.0], 5), expected);
    }
}
