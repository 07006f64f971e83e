use crate::Violations;
#[cfg(feature = "ron")]
use crate::ron_text::TextError;

/// A failure of an environment, a model or an algorithm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Parameters outside their range.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// The simulation left the range in which it is valid.
    #[error(
        "{environment}: the simulation diverged at control step {step}: {what}; \
         the next reset starts a new episode"
    )]
    Diverged {
        /// The environment's name.
        environment: String,
        /// Control steps since the reset.
        step: usize,
        /// The joint or coordinate, and its value.
        what: String,
    },
    /// Two sizes that do not fit together.
    #[error("{what}: expected {expected}, got {actual}")]
    Shape {
        /// The quantity that has the size.
        what: String,
        /// The size that fits.
        expected: usize,
        /// The size that was given.
        actual: usize,
    },
    /// A NaN or an infinity that arose during learning.
    #[error(
        "{what} is not finite; a smaller learning rate or initial standard deviation, or more data, may help"
    )]
    NotFinite {
        /// Which number.
        what: String,
    },
    /// An error in one of several copies of an environment.
    #[error("copy {index}: {source}")]
    Copy {
        /// Counts from 0.
        index: usize,
        /// The error.
        source: Box<Error>,
    },
    /// A saved state that does not fit the object to be restored.
    #[error("a saved state does not fit: `{name}` must be {wanted}")]
    State {
        /// Name of the array.
        name: String,
        /// What it must be.
        wanted: String,
    },
    /// A text that cannot be read.
    #[cfg(feature = "ron")]
    #[error(transparent)]
    Text(#[from] TextError),
    /// A description, file or snapshot that cannot be used; the text says why.
    #[error("{0}")]
    Description(String),
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the cause is numeric, so that other random numbers may help.
    pub fn is_numeric(&self) -> bool {
        match self {
            Self::Diverged { .. } | Self::NotFinite { .. } => true,
            Self::Copy { source, .. } => source.is_numeric(),
            _ => false,
        }
    }

    /// `Ok` where `actual` is `expected`, a [`Error::Shape`] otherwise.
    ///
    /// # Errors
    /// When the two differ.
    pub fn check_shape(what: &str, expected: usize, actual: usize) -> Result<()> {
        if expected == actual {
            return Ok(());
        }
        Err(Self::Shape {
            what: what.to_owned(),
            expected,
            actual,
        })
    }
}
