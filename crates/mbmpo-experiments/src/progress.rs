use mbmpo_core::{IterationMetrics, Observer, Silent};

/// Receives the progress of training, may show it, and may stop it.
pub trait Progress: Observer + Send {
    /// An iteration is done.
    fn iteration(&mut self, metrics: &IterationMetrics);

    /// The run goes on from a checkpoint, after `real_steps` real steps.
    fn resumed(&mut self, _real_steps: usize) {}

    /// A warning; the run goes on.
    fn notice(&mut self, _text: &str) {}

    /// The signal that asked the run to save and stop; polled after every part of an iteration.
    fn stopped(&self) -> Option<i32> {
        None
    }
}

impl Progress for Silent {
    fn iteration(&mut self, _metrics: &IterationMetrics) {}
}
