use crate::position::Position;
use std::time::{Duration, Instant};

/// A checkpoint is made when it costs at most one part in this many, plus one, of the time.
const COST: u32 = 49;

/// Longest time within an iteration without a checkpoint.
const LONGEST: Duration = Duration::from_secs(60);

/// Decides when to save a checkpoint.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    /// Duration of the last save.
    cost: Duration,
}

impl Pace {
    /// Counts from now.
    pub(super) fn new(cost: Duration) -> Self {
        Self {
            last: Instant::now(),
            cost,
        }
    }

    /// Whether a checkpoint is due: `seconds` after the last; without `seconds`, after every
    /// iteration, and every minute within a long one, unless that would take more than 2 % of the
    /// time.
    pub(super) fn is_due(&self, position: Position, seconds: Option<f64>) -> bool {
        let since = self.last.elapsed();
        match seconds {
            Some(seconds) => since.as_secs_f64() >= seconds,
            None => {
                let wanted = position.parts == 0 || since >= LONGEST;
                wanted && since >= self.cost * COST
            }
        }
    }
}
