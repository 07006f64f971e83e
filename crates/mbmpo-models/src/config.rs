use mbmpo_core::{Check, Checker, hidden_weights};
use serde::{Deserialize, Serialize};

/// Size and training of an [`Ensemble`](crate::Ensemble) (section 4.1 and appendix A.3 of the
/// paper).
///
/// | Name | Default (source) | Meaning | Range |
/// |---|---|---|---|
/// | `members` | 5 (A.3) | networks K | 1 to 1000 |
/// | `hidden` | `[512, 512]` (A.3, half-cheetah) | widths of the hidden layers | at most 16, each 1 to 8192 |
/// | `weight_normalization` | true (A.3) | separate lengths from directions | |
/// | `learning_rate` | 1e-3 (authors' scripts) | Adam's step size | positive |
/// | `adam_epsilon` | 1e-8 (TensorFlow) | Adam's ε | positive |
/// | `batch_size` | 500 (A.3) | transitions a step | 1 to 100,000 |
/// | `max_epochs` | 500 (authors' scripts) | passes over the training split | 1 to 1,000,000 |
/// | `validation_share` | 0.2 (A.3) | share held out | 0.01 to 0.9 |
/// | `rolling_persistence` | 0.95 (A.3); 0.99 (authors' scripts) | memory of the stopping rule | 0 to 1, below 1 |
/// | `rolling_start` | 1.5 (authors' `dynamics_ensemble.py`) | where the rolling average begins | positive |
/// | `shuffle` | `Rows` (A.3); `Minibatches` (authors) | what is shuffled before each epoch | |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleConfig {
    /// Number of networks K, 1 to 1000. Paper A.3: 5.
    pub members: usize,
    /// Widths of the hidden layers \[units\]; empty makes the networks linear. Paper A.3:
    /// `[512, 512]` for half-cheetah, hopper and swimmer, three such layers for ant and walker;
    /// authors' scripts: `[512, 512]` throughout.
    pub hidden: Vec<usize>,
    /// Whether every layer is trained by direction and length (Salimans and Kingma 2016). Paper
    /// A.3: true.
    pub weight_normalization: bool,
    /// Adam's step size, positive. Authors' scripts: 1e-3.
    pub learning_rate: f64,
    /// Adam's ε, positive, where TensorFlow adds it (beside the uncorrected √v). TensorFlow's
    /// default: 1e-8.
    pub adam_epsilon: f64,
    /// Transitions in a gradient step, 1 to 100,000. Paper A.3: 500.
    pub batch_size: usize,
    /// Largest number of passes over the training split in one fit, 1 to 1,000,000. Authors'
    /// scripts: 500.
    pub max_epochs: usize,
    /// Share of the transitions that are held out to decide when to stop, 0.01 to 0.9. Paper A.3:
    /// 0.2.
    pub validation_share: f64,
    /// Weight of the past in the rolling average of validation losses, from 0 to below 1.
    /// Paper A.3: 0.95; authors' scripts: 0.99.
    pub rolling_persistence: f64,
    /// The rolling average starts at this multiple of the first epoch's loss, positive. Larger
    /// values train longer. Authors' `dynamics_ensemble.py`: 1.5.
    pub rolling_start: f64,
    /// What is shuffled before each epoch. Paper A.3: [`Shuffle::Rows`].
    pub shuffle: Shuffle,
}

impl Default for EnsembleConfig {
    /// The paper's parameters for half-cheetah; where the text is silent, those of the authors'
    /// code.
    fn default() -> Self {
        Self {
            members: 5,
            hidden: vec![512, 512],
            weight_normalization: true,
            learning_rate: 1e-3,
            adam_epsilon: 1e-8,
            batch_size: 500,
            max_epochs: 500,
            validation_share: 0.2,
            rolling_persistence: 0.95,
            rolling_start: 1.5,
            shuffle: Shuffle::Rows,
        }
    }
}

/// What is shuffled before each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shuffle {
    /// The rows of the training split, so that every epoch has other minibatches (paper, A.3: "on
    /// the shuffled training split").
    Rows,
    /// Only the order of the minibatches, which are cut once in a fit (authors'
    /// `dynamics_ensemble.py`: `batch` before `shuffle`).
    Minibatches,
}

impl Check for EnsembleConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("members", self.members, 1..=1000);
        checker.layers("hidden", &self.hidden, 8192);
        // Five numbers are in memory for each weight (its value, Adam's moments, transposed, its
        // gradient), twice during a fit.
        let all = hidden_weights(&self.hidden).saturating_mul(self.members);
        checker.demand_together(
            "hidden",
            format!("{all} weights"),
            all <= 100_000_000,
            "at most 100,000,000 weights in the ensemble",
        );
        checker.positive("learning_rate", self.learning_rate);
        checker.positive("adam_epsilon", self.adam_epsilon);
        checker.range("batch_size", self.batch_size, 1..=100_000);
        checker.range("max_epochs", self.max_epochs, 1..=1_000_000);
        checker.range("validation_share", self.validation_share, 0.01..=0.9);
        checker.range("rolling_persistence", self.rolling_persistence, 0.0..1.0);
        checker.positive("rolling_start", self.rolling_start);
    }
}
