use mbmpo_core::{InvalidValue, Violations};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What can go wrong in an experiment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that stands for nothing.
    #[error(
        "there is no {kind} `{name}`{} (there are {})",
        hint(nearest),
        list(known)
    )]
    UnknownName {
        /// What it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// The most similar one that exists.
        nearest: Option<String>,
        /// Everything that exists.
        known: Vec<String>,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that says something wrong.
    #[error("{file}:{line}:{column}: {message}")]
    Parse {
        /// Its name.
        file: String,
        /// Counts from 1.
        line: usize,
        /// Counts from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A `key.path=value` that cannot be applied.
    #[error("--set {text}: {message}")]
    Override {
        /// As given.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// Values out of range, one a line.
    #[error("{}", lines(.0))]
    Invalid(Vec<OutOfRange>),
    /// A robot of one's own that cannot be used.
    #[error("{origin}: {source}")]
    Robot {
        /// The file or files.
        origin: String,
        /// What is wrong.
        source: mbmpo_core::Error,
    },
    /// An environment that breaks promises.
    #[error("{environment} fails {failures} of {checks} checks")]
    ChecksFailed {
        /// Its name.
        environment: String,
        /// How many.
        failures: usize,
        /// Of how many.
        checks: usize,
    },
    /// Parts that do not fit together.
    #[error("{0}")]
    Mismatch(String),
    /// A device whose backend is not compiled in.
    #[error(
        "device `{device}` is not in this build; build with `cargo build --package mbmpo-cli --features {device}`"
    )]
    Device {
        /// Its name, which is also the name of the Cargo feature.
        device: &'static str,
    },
    /// A directory that is not that of a run.
    #[error("{} is not a run: there is no {looked_for} (a run is made by `mbmpo train`)", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        looked_for: String,
    },
    /// A directory that already has a run in it.
    #[error(
        "{} already holds a run (found {found}); choose another directory with --out, or remove it",
        path.display()
    )]
    RunExists {
        /// The directory.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A directory in which a run cannot be made.
    #[error("cannot write to {}: {source}; choose another directory with --out", path.display())]
    Unwritable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that could not be written while running.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The simulation or the learning failed.
    #[error(transparent)]
    Learning(#[from] mbmpo_core::Error),
    /// The system refuses something that should not fail.
    #[error("{0}")]
    System(String),
}

/// A value out of range, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// `FILE:LINE:COLUMN`, the file where it does not have the key, or `--set KEY=VALUE`.
    pub origin: String,
    /// The value.
    pub value: InvalidValue,
}

impl OutOfRange {
    /// Of the same origin.
    pub(crate) fn all(origin: &str, violations: Violations) -> Vec<Self> {
        let here = |value| Self {
            origin: origin.to_owned(),
            value,
        };
        violations.0.into_iter().map(here).collect()
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.value)
    }
}

/// A result whose error is [`Error`](enum@Error).
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether it is due to what was typed or what a file contains, and not to what happened while running.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Write { .. } | Self::System(_) | Self::ChecksFailed { .. } => false,
            Self::Learning(error) => matches!(error, mbmpo_core::Error::Invalid(_)),
            _ => true,
        }
    }
}

fn hint(nearest: &Option<String>) -> impl fmt::Display {
    match nearest {
        Some(name) => format!(", did you mean `{name}`?"),
        None => String::new(),
    }
}

fn lines(values: &[OutOfRange]) -> impl fmt::Display {
    let lines: Vec<_> = values.iter().map(OutOfRange::to_string).collect();
    lines.join("\n")
}

fn list(names: &[String]) -> impl fmt::Display {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
