use crate::{IterationMetrics, Persist, Result, SavedPolicy};

/// Improves a policy by acting in an environment, one iteration at a time.
///
/// An algorithm reads and writes no file and prints nothing: it returns metrics. Between any two
/// calls of [`Self::advance`] its state may be saved, and restored into another instance of the
/// same configuration.
pub trait Algorithm: Persist {
    /// The policy that it trains.
    type Policy: SavedPolicy;

    /// Runs the smallest unit that can be checkpointed; the last one of an iteration returns the
    /// metrics of the iteration.
    ///
    /// # Errors
    /// When the simulation diverges or learning yields numbers that are not finite. The state is
    /// then undefined: restore a saved one.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>>;

    /// Runs the rest of the iteration.
    ///
    /// # Errors
    /// Those of [`Self::advance`].
    fn iterate(&mut self, observer: &mut dyn Observer) -> Result<IterationMetrics> {
        loop {
            if let Some(metrics) = self.advance(observer)? {
                return Ok(metrics);
            }
        }
    }

    /// Changes every later random number, for another attempt after numbers that were not finite.
    fn reseed(&mut self);

    /// Real environment steps taken so far (evaluation is not counted, as in the paper).
    fn real_steps(&self) -> usize;

    /// The policy that is reported; of a meta-learner the pre-update policy.
    fn policy(&self) -> Self::Policy;
}

/// An [`Algorithm`] that can be built from a configuration: what a program needs to offer it by
/// name, with presets, run directories and exact resumption.
#[cfg(feature = "tensor")]
pub trait Trainable: Algorithm + Sized {
    /// Name on the command line.
    const NAME: &'static str;

    /// Its hyper-parameters.
    type Config: crate::Check;

    /// The algorithm at its start, with its tensors on `device`.
    ///
    /// # Errors
    /// When the configuration does not fit the environment.
    fn build(
        config: crate::Checked<Self::Config>,
        setup: crate::Setup,
        device: &burn::tensor::Device,
    ) -> Result<Self>;

    /// Reports to `checker` the values that are out of range with episodes of this length \[control
    /// steps\].
    fn inspect_horizon(config: &Self::Config, horizon: usize, checker: &mut crate::Checker) {
        let _ = (config, horizon, checker);
    }
}

/// The kinds of work in an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Real rollouts that become data.
    Collect,
    /// Training a model of the dynamics.
    Fit,
    /// Improving the policy on imagined rollouts.
    Imagine,
    /// Improving the policy on real data.
    Update,
    /// Real rollouts that only measure.
    Evaluate,
}

/// Receives the progress of an iteration.
pub trait Observer {
    /// The iteration is in `phase`, with `done` of `total` parts complete; `total` is 0 where it is
    /// not known.
    fn at(&mut self, phase: Phase, done: usize, total: usize);
}

/// An [`Observer`] that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn at(&mut self, _phase: Phase, _done: usize, _total: usize) {}
}
