use crate::error::by_name;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The reaction to a simulation that diverges, or a number that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNan {
    /// End with an error.
    #[default]
    Stop,
    /// Go back to the end of the iteration before and try again with other random numbers, up to
    /// [`ATTEMPTS`] times in a row. Checkpoints are then made between iterations only.
    Rollback,
}

impl OnNan {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stop, Self::Rollback];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for OnNan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OnNan {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        by_name("reaction", name, Self::ALL, Self::name)
    }
}

/// Number of times that an iteration is tried again.
pub const ATTEMPTS: usize = 3;

/// Checkpoints, and the reaction to numbers that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Safety {
    /// The reaction to a number that is not finite.
    pub on_nan: OnNan,
    /// Time between two checkpoints \[s\], 0 for one after every part of an iteration. Where
    /// absent: after every iteration, and every minute within a long one, unless that would take
    /// more than 2 % of the time.
    pub checkpoint_seconds: Option<f64>,
}
