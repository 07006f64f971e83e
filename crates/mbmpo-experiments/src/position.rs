use serde::{Deserialize, Serialize};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Number of complete iterations.
    pub iterations: usize,
    /// Number of complete parts of the iteration under way.
    pub parts: usize,
    /// Real environment steps.
    pub real_steps: usize,
    /// Wall-clock time of the run \[s\].
    pub wall_seconds: f64,
    /// Number of retries of the iteration under way.
    pub attempts: usize,
}
