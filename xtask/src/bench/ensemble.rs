//! One Adam step of every network of the ensemble.

use super::workload::{HotLoop, Sample, Workload};
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
}

impl EnsembleStep {
    /// `steps` Adam steps of `members` networks.
    pub fn new(workload: &Workload, members: usize, steps: usize) -> Result<Self> {
        let layers = workload.model_layers();
        let all: f64 = layers.iter().sum();
        // Forward, gradient by the weights, and gradient by the input of all layers but the first.
        let row = 2.0 * (3.0 * all - layers[0]);
        Ok(Self {
            ensemble: workload.ensemble(members)?,
            data: workload.transitions(steps),
            streams: workload.streams,
            steps,
            fits: 0,
            flop: row * (members * workload.config.ensemble.batch_size) as f64,
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
            units: 1.0,
            parts: Vec::new(),
        })
    }
}
