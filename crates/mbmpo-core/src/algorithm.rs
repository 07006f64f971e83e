use crate::{Archive, Persist, Policy, Result};
use serde::{Deserialize, Serialize};

/// Something that improves a policy by acting, one iteration at a time.
///
/// It reads and writes no file and prints nothing: it returns metrics, and whoever drives it does the rest. Between any two
/// calls of [`Self::advance`] its state may be saved, and put back into another one that was made alike.
pub trait Algorithm: Persist {
    /// What it learns.
    type Policy: Policy;

    /// A part of an iteration, no longer than need be; the last part gives the metrics of the iteration.
    ///
    /// # Errors
    /// When the simulation diverges or learning yields numbers that are not finite. What the state is then is not said: go
    /// back to one that was saved.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>>;

    /// One pass of the algorithm's outer loop, or what is left of it.
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

    /// From now on draws other random numbers: for another attempt at what went wrong with these.
    fn redraw(&mut self);

    /// Real environment steps taken so far (evaluation is not counted, as in the paper).
    fn real_steps(&self) -> usize;

    /// The policy that is reported; of a meta-learner the pre-update policy.
    fn policy(&self) -> Self::Policy;
}

/// The parts of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Real rollouts that become data.
    Collect,
    /// Training the ensemble.
    Fit,
    /// Imagining, adapting and the meta-update, many times.
    MetaOptimize,
    /// Learning from real data without a model.
    Update,
    /// Real rollouts that only measure.
    Evaluate,
}

/// Is told how an iteration gets on.
pub trait Observer {
    /// The iteration has come to `phase`, of which `done` of `total` parts are done; a `total` of 0 where it cannot say
    /// how far it is.
    fn at(&mut self, phase: Phase, done: usize, total: usize);
}

/// An [`Observer`] that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn at(&mut self, _phase: Phase, _done: usize, _total: usize) {}
}

/// One line of `metrics.jsonl`.
///
/// Everything but [`seconds`](Self::seconds) and [`wall_seconds`](Self::wall_seconds) is a function of the
/// configuration and the seed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct IterationMetrics {
    /// Counts from 0.
    pub iteration: usize,
    /// Real environment steps used so far, this iteration's included.
    pub real_steps: usize,
    /// Mean return of the reported policy ([`Algorithm::policy`]) at the end of the iteration, over real episodes that
    /// are neither counted nor learned from.
    pub return_pre_mean: f64,
    /// Standard deviation (population) over those episodes.
    pub return_pre_std: f64,
    /// Mean length of those episodes \[control steps\].
    pub episode_length_mean: f64,
    /// Mean standard deviation of the policy's components; 0 for a deterministic policy.
    pub policy_std_mean: f64,
    /// What only MB-MPO has.
    #[serde(flatten)]
    pub meta: Option<MetaMetrics>,
    /// What only algorithms without a model have.
    #[serde(flatten)]
    pub model_free: Option<ModelFreeMetrics>,
    /// Where the time went \[s\].
    pub seconds: PhaseSeconds,
    /// Since the run began \[s\]; filled in by whoever drives the algorithm.
    pub wall_seconds: f64,
}

/// What an iteration of MB-MPO adds to a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetaMetrics {
    /// Mean return at the end of the iteration of the policies that the last meta-step adapted, each to its imagined
    /// task; they collect the next data. (They stem from the parameters before that step's meta-update.)
    pub return_post_mean: f64,
    /// Imagined transitions of this iteration, over all meta-steps.
    pub imagined_steps: usize,
    /// Training loss of each member's last epoch (standardised units).
    pub model_train_loss: Vec<f64>,
    /// Validation loss after each member's last epoch (standardised units).
    pub model_validation_loss: Vec<f64>,
    /// Epochs each member was trained for.
    pub model_epochs: Vec<usize>,
    /// Mean over the meta-steps of the KL divergence of the accepted step.
    pub meta_kl: f64,
    /// Mean over the meta-steps of the gain in the surrogate objective.
    pub meta_surrogate_gain: f64,
    /// Share of the meta-steps whose line search found a step.
    pub meta_accepted: f64,
    /// Mean return of the pre-update policy in the imagined tasks of the last meta-step.
    pub imagined_return_pre: f64,
    /// Mean return of the adapted policies in the imagined tasks of the last meta-step.
    pub imagined_return_post: f64,
}

/// What an iteration without a model adds to a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelFreeMetrics {
    /// Mean return of the episodes that this iteration learned from, exploration included.
    pub return_collect_mean: f64,
    /// Steps of the policy's parameters in this iteration.
    pub gradient_steps: usize,
    /// Mean KL divergence of the new policy from the one that took the samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_kl: Option<f64>,
    /// Mean squared error of the critic on what it learned from (TRPO: before it did; ACKTR: before its last step; PPO: in
    /// the last pass; DDPG: on average), in the units that it is trained in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic_loss: Option<f64>,
}

/// Wall-clock time of the parts of an iteration \[s\]; parts that an algorithm does not have take 0 and are
/// not written.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseSeconds {
    /// Real rollouts for data.
    pub collect: f64,
    /// Training the ensemble.
    #[serde(skip_serializing_if = "is_zero")]
    pub fit: f64,
    /// Imagined rollouts, of the pre-update and the adapted policies.
    #[serde(skip_serializing_if = "is_zero")]
    pub imagine: f64,
    /// Advantages and inner steps.
    #[serde(skip_serializing_if = "is_zero")]
    pub adapt: f64,
    /// The outer step.
    #[serde(skip_serializing_if = "is_zero")]
    pub meta_update: f64,
    /// Learning without a model.
    #[serde(skip_serializing_if = "is_zero")]
    pub update: f64,
    /// Real rollouts for the report.
    pub evaluate: f64,
}

impl Persist for PhaseSeconds {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        for (name, seconds) in [
            ("collect", &mut self.collect),
            ("fit", &mut self.fit),
            ("imagine", &mut self.imagine),
            ("adapt", &mut self.adapt),
            ("meta_update", &mut self.meta_update),
            ("update", &mut self.update),
            ("evaluate", &mut self.evaluate),
        ] {
            archive.number(name, seconds)?;
        }
        Ok(())
    }
}

fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}
