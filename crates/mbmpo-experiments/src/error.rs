use crate::position::Position;
use mbmpo_core::{InvalidValue, Violations, unknown_name};
use mbmpo_kernels::Unavailable;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The errors of experiments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An unknown name.
    #[error("{}", unknown_name(kind, name, known.iter().map(String::as_str)))]
    UnknownName {
        /// The kind of thing that it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// All names that exist.
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
    /// A file that cannot be parsed.
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
    #[error("override {text}: {message}")]
    Override {
        /// As given.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// Values out of range, one a line.
    #[error("{}", lines(.0))]
    Invalid(Vec<OutOfRange>),
    /// A user's robot that cannot be used.
    #[error("{origin}: {source}")]
    Robot {
        /// The file or files.
        origin: String,
        /// What is wrong.
        source: mbmpo_core::Error,
    },
    /// An environment that fails checks.
    #[error("{environment} fails {failures} of {checks} checks")]
    ChecksFailed {
        /// Its name.
        environment: String,
        /// Number of failed checks.
        failures: usize,
        /// Number of checks.
        checks: usize,
    },
    /// Neither the choice of an environment nor the preset names one.
    #[error("which environment? neither the choice nor the preset names one")]
    NoEnvironment,
    /// Values that do not fit together.
    #[error("{0}")]
    Mismatch(String),
    /// A device whose backend is not compiled in.
    #[error("device `{device}` is not in this build: it needs the Cargo feature `{device}`")]
    Device {
        /// Its name, which is also the name of the Cargo feature.
        device: &'static str,
    },
    /// Vector instructions that the processor does not have.
    #[error(transparent)]
    Instructions(#[from] Unavailable),
    /// A directory that is no run directory.
    #[error("{} is not a run: there is no {looked_for}", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        looked_for: String,
    },
    /// A directory with files of a run, but not enough of them to resume it.
    #[error("{} has files of a run, but no {missing}", path.display())]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The missing file.
        missing: &'static str,
    },
    /// A directory that already has a run in it.
    #[error(
        "{} already holds a run (found {found})",
        path.display()
    )]
    RunExists {
        /// The directory.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A directory in which a run cannot be made.
    #[error("cannot write to {}: {source}", path.display())]
    Unwritable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory that another process uses.
    #[error(
        "{} is in use{}: wait for it, or stop it; one process at a time can work on a run",
        path.display(),
        by(holder)
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The id of the process; empty where it is unknown.
        holder: String,
    },
    /// A run that cannot be resumed with this configuration.
    #[error(
        "{} holds another run: {what}",
        path.display()
    )]
    Differs {
        /// The directory.
        path: PathBuf,
        /// The difference.
        what: String,
    },
    /// A file of a checkpoint that was changed.
    #[error("{} cannot be used: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A checkpoint of another version.
    #[error(
        "{} is of format {found}, this mbmpo reads format {known}",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: u64,
        /// Format of this version.
        known: u64,
    },
    /// A run without a usable checkpoint.
    #[error(
        "{}: no checkpoint is intact ({source})",
        path.display()
    )]
    NoCheckpoint {
        /// The directory.
        path: PathBuf,
        /// The error of the newest.
        source: Box<Error>,
    },
    /// A file of a run that could not be written.
    #[error(
        "cannot write {}: {source}{}",
        path.display(),
        after_loss(kept)
    )]
    Save {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// The latest checkpoint, which is unchanged.
        kept: Option<PathBuf>,
    },
    /// A file that could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A run in which the algorithm failed.
    #[error(
        "iteration {iteration} with seed {seed}: {source}; {}",
        after_failure(*attempts, kept)
    )]
    Failed {
        /// Its number, from 0.
        iteration: usize,
        /// Seed of the run.
        seed: u64,
        /// What went wrong.
        source: mbmpo_core::Error,
        /// Number of retries of the iteration.
        attempts: usize,
        /// The latest checkpoint, which is unchanged.
        kept: Option<PathBuf>,
    },
    /// A run that was stopped by a signal and saved.
    #[error(
        "stopped after {} iterations and {} real steps; saved in {} ({:.1} MB)",
        position.iterations,
        position.real_steps,
        path.display(),
        *bytes as f64 / 1e6
    )]
    Interrupted {
        /// Number of the signal.
        signal: i32,
        /// Progress of the run.
        position: Position,
        /// Size of the checkpoint.
        bytes: u64,
        /// The directory of the run.
        path: PathBuf,
    },
    /// The simulation or the algorithm failed.
    #[error(transparent)]
    Learning(#[from] mbmpo_core::Error),
    /// The operating system, or a library, failed unexpectedly.
    #[error("{0}")]
    System(String),
}

/// The place where a value is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `FILE:LINE:COLUMN`, or the file where it does not have the key.
    File(String),
    /// `KEY=VALUE`, an override.
    Override(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => f.write_str(place),
            Self::Override(text) => write!(f, "override {text}"),
        }
    }
}

/// A value out of range, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// The place that set it.
    pub origin: Origin,
    /// The value.
    pub value: InvalidValue,
}

impl OutOfRange {
    /// All violations, in one file.
    pub(crate) fn all(file: &str, violations: Violations) -> Vec<Self> {
        let here = |value| Self {
            origin: Origin::File(file.to_owned()),
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

/// The one of `all` with this name.
pub(crate) fn by_name<T: Copy, const N: usize>(
    kind: &'static str,
    name: &str,
    all: [T; N],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T> {
    let found = all.into_iter().find(|&one| name_of(one) == name);
    found.ok_or_else(|| Error::unknown(kind, name, &all.map(name_of)))
}

impl Error {
    /// The error that `name` is not among those that are `known`.
    pub(crate) fn unknown(kind: &'static str, name: &str, known: &[&str]) -> Self {
        Self::UnknownName {
            kind,
            name: name.to_owned(),
            known: known.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// The exit code of a process: 2 for wrong input (as clap for wrong arguments), 3 for a file
    /// that could not be written, 128 plus the signal that stopped it, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { signal, .. } => u8::try_from(128 + signal).unwrap_or(1),
            Self::Save { .. } | Self::Write { .. } => 3,
            Self::Unwritable { source, .. } if is_full(source) => 3,
            error if error.is_input() => 2,
            _ => 1,
        }
    }

    /// Whether the cause is in the arguments or in a file, and not in the course of the run.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Write { .. }
            | Self::Save { .. }
            | Self::Failed { .. }
            | Self::Interrupted { .. }
            | Self::System(_)
            | Self::ChecksFailed { .. } => false,
            Self::Learning(error) => matches!(error, mbmpo_core::Error::Invalid(_)),
            _ => true,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull)
}

fn by(holder: &str) -> impl fmt::Display {
    match holder {
        "" => String::new(),
        holder => format!(" by process {holder}"),
    }
}

fn after_loss(kept: &Option<PathBuf>) -> impl fmt::Display {
    match kept {
        Some(path) => format!("; {} is as it was", path.display()),
        None => String::new(),
    }
}

fn after_failure(attempts: usize, kept: &Option<PathBuf>) -> impl fmt::Display {
    let kept = match kept {
        Some(path) => format!("{} has a good state", path.display()),
        None => "nothing was saved before".to_owned(),
    };
    match attempts {
        0 => kept,
        n => format!("{kept}; other random numbers did not help {n} times"),
    }
}

fn lines(values: &[OutOfRange]) -> impl fmt::Display {
    let lines: Vec<_> = values.iter().map(OutOfRange::to_string).collect();
    lines.join("\n")
}
