//! Every hyper-parameter of MB-MPO.

use mbmpo_core::{Check, Checker, hidden_weights};
use mbmpo_models::EnsembleConfig;
use mbmpo_policy::PolicyConfig;
use mbmpo_policy::advantage::AdvantageConfig;
use mbmpo_policy::trust_region::TrustRegionConfig;
use serde::{Deserialize, Serialize};

/// The parameters of [`MbMpo`](crate::MbMpo). "Paper" is the text of the paper, "authors" their
/// scripts for figures 1 and 2. A file may leave out what did not exist in earlier versions; it then
/// means what they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MbMpoConfig {
    /// Uniform random steps of the first iteration. Paper: like every iteration; authors: 8000.
    pub initial_random_steps: usize,
    /// Real steps of every later iteration. Paper A.3: 4000.
    pub real_steps_per_iteration: usize,
    /// Number of the most recent transitions that are kept. Authors: 300,000 at submission.
    pub buffer_capacity: usize,
    /// Adapted policies for each member of the ensemble. Paper: 1; authors: 4.
    pub tasks_per_model: usize,
    /// Imagined rollouts of each task, for the inner step and again for the meta-update.
    pub imagined_rollouts_per_task: usize,
    /// Meta-updates in each iteration, at most. Paper A.3: 30.
    pub meta_steps: usize,
    /// How far to trust the models: an iteration makes no further meta-updates once the members of
    /// the ensemble disagree this many times as much on imagined transitions as on the newest real
    /// ones ([`Disagreement`](mbmpo_models::Disagreement)). Paper: `None`, always `meta_steps`.
    pub trust: Option<f64>,
    /// An iteration makes no further meta-updates either once more than this share of the predicted
    /// observations is clipped. `None`: no such limit (paper).
    pub trusted_clipping: Option<f64>,
    /// Meta-updates in each iteration before `trust` and `trusted_clipping` count.
    #[serde(default = "one")]
    pub trust_after: usize,
    /// α of the inner step. Paper A.3: 0.001.
    pub inner_learning_rate: f64,
    /// Predicted observations are clipped to plus or minus this. Authors: 1000.
    pub observation_clip: f64,
    /// Every component of a predicted observation is clipped to its range in the real data, longer
    /// at both ends by this share of its length. Authors: `None`, no such limit.
    pub observation_margin: Option<f64>,
    /// Whether models and imagined rewards see actions as the real environment applies them, clipped
    /// to `[-1, 1]`; the likelihood keeps the action that was drawn. Authors: no.
    #[serde(default)]
    pub clip_actions: bool,
    /// Whether the first layer of the policy begins standardised by the first random data
    /// ([`GaussianMlp::standardize`](mbmpo_policy::GaussianMlp::standardize)). Authors: no.
    #[serde(default)]
    pub standardized_start: bool,
    /// The policy network.
    pub policy: PolicyConfig,
    /// Advantage estimation.
    pub advantage: AdvantageConfig,
    /// The outer step.
    pub trust_region: TrustRegionConfig,
    /// The dynamics models.
    pub ensemble: EnsembleConfig,
}

fn one() -> usize {
    1
}

impl Default for MbMpoConfig {
    /// The paper's parameters for half-cheetah; where the text is silent, those of the authors'
    /// code.
    fn default() -> Self {
        Self {
            initial_random_steps: 4000,
            real_steps_per_iteration: 4000,
            buffer_capacity: 300_000,
            tasks_per_model: 1,
            imagined_rollouts_per_task: 50,
            meta_steps: 30,
            trust: None,
            trusted_clipping: None,
            trust_after: 1,
            inner_learning_rate: 0.001,
            observation_clip: 1000.0,
            observation_margin: Some(0.1),
            clip_actions: true,
            standardized_start: false,
            policy: PolicyConfig::default(),
            advantage: AdvantageConfig::default(),
            trust_region: TrustRegionConfig::default(),
            ensemble: EnsembleConfig::default(),
        }
    }
}

impl MbMpoConfig {
    /// Reports to `checker` the values that need too much memory with episodes of this length
    /// \[control steps\].
    pub fn inspect_horizon(&self, horizon: usize, checker: &mut Checker) {
        let rollouts = self.imagined_rollouts_per_task;
        let tasks = self.tasks_per_model.saturating_mul(self.ensemble.members);
        let steps = rollouts.saturating_mul(horizon).saturating_mul(tasks);
        checker.demand_together(
            "imagined_rollouts_per_task",
            rollouts,
            steps <= 10_000_000,
            "at most 10,000,000 steps (rollouts times horizon times tasks times models)",
        );
    }
}

impl Check for MbMpoConfig {
    fn inspect(&self, checker: &mut Checker) {
        // all real steps are in memory at once
        let steps = self.initial_random_steps;
        checker.range("initial_random_steps", steps, 2..=10_000_000);
        let steps = self.real_steps_per_iteration;
        checker.range("real_steps_per_iteration", steps, 1..=10_000_000);
        checker.range("buffer_capacity", self.buffer_capacity, 2..=10_000_000);
        checker.range("tasks_per_model", self.tasks_per_model, 1..=1000);
        let rollouts = self.imagined_rollouts_per_task;
        checker.range("imagined_rollouts_per_task", rollouts, 1..=1_000_000);
        checker.range("meta_steps", self.meta_steps, 0..=100_000);
        if let Some(trust) = self.trust {
            checker.range("trust", trust, 0.0..=1e6);
        }
        if let Some(share) = self.trusted_clipping {
            checker.range("trusted_clipping", share, 0.0..=1.0);
        }
        checker.range("trust_after", self.trust_after, 1..=100_000);
        checker.range("inner_learning_rate", self.inner_learning_rate, 0.0..=10.0);
        checker.positive("observation_clip", self.observation_clip);
        if let Some(margin) = self.observation_margin {
            checker.range("observation_margin", margin, 0.0..=1e6);
        }
        checker.nested("policy", &self.policy);
        checker.nested("advantage", &self.advantage);
        checker.nested("trust_region", &self.trust_region);
        checker.nested("ensemble", &self.ensemble);

        let tasks = self.tasks_per_model.saturating_mul(self.ensemble.members);
        let weights = hidden_weights(&self.policy.hidden).saturating_mul(tasks);
        checker.demand_together(
            "tasks_per_model",
            self.tasks_per_model,
            weights <= 100_000_000,
            "at most 100,000,000 weights in the adapted policies (tasks times models times weights)",
        );
    }
}
