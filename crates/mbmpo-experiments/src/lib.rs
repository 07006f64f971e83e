//! Presets, the trainer loop, run directories and learning curves for mbmpo.
//!
//! - [`ExperimentConfig`]: everything that decides what a run does, apart from its seed; [`preset`] has the
//!   embedded ones, [`overrides`] changes single values;
//! - [`EnvironmentChoice`]: one of the [`environments`], or a robot of one's own; [`check_environment`] tells whether it
//!   keeps the promises of [`Environment`](mbmpo_core::Environment);
//! - [`RunDirectory`]: where a run leaves its configuration, metrics, policy and learning curve, and is taken up again;
//! - [`checkpoint`]: the whole training state in a file, whatever happens while it is written;
//! - [`train`]: drives an [`Algorithm`](mbmpo_core::Algorithm); [`run`] does so for an experiment, in a run directory;
//! - [`adapt`]: fine-tunes the policies of runs, also in an environment whose physics was changed;
//! - [`compare`]: learning curves of runs side by side, and the real steps that each algorithm needed;
//! - [`evaluate`]: measures the policy of a run; [`draw`] and [`draw_run`] show what a robot does;
//! - [`suite`]: several experiments, several seeds.
//!
//! The crate shows nothing on a terminal: who wants to, implements [`Progress`].
//!
//! ```
//! use mbmpo_experiments::preset;
//!
//! let overrides = ["horizon=100".to_owned()];
//! let config = preset::resolve("half-cheetah", "paper", &overrides)?;
//! assert_eq!(config.horizon, Some(100));
//! # Ok::<(), mbmpo_experiments::Error>(())
//! ```

#![forbid(unsafe_code)]

mod adaptation;
mod algorithm;
mod check;
pub mod checkpoint;
mod comparison;
mod config;
mod curve;
mod device;
mod difference;
mod disk;
mod drawing;
mod environment;
mod error;
mod evaluation;
pub mod figure;
mod lock;
pub mod overrides;
pub mod preset;
mod progress;
mod ron_spans;
mod run_directory;
mod run_info;
mod safety;
mod signals;
pub mod suite;
mod text;
mod trainer;

pub use adaptation::{Adaptation, AdaptationOptions, Adapted, adapt};
pub use algorithm::{
    AlgorithmChoice, AlgorithmConfig, AlgorithmKind, AlgorithmVisitor, Runnable, Tiny,
};
pub use check::check_environment;
pub use comparison::{Compared, Comparison, SHARES, compare};
pub use config::ExperimentConfig;
pub use curve::learning_curve;
pub use device::DeviceKind;
pub use drawing::{Drawing, DrawingOptions, draw, draw_run};
pub use environment::{EnvironmentChoice, EnvironmentConfig, RobotFiles};
pub use error::{Error, Origin, OutOfRange, Result};
pub use evaluation::{Evaluation, evaluate, evaluate_run};
pub use mbmpo_core::nearest;
pub use mbmpo_envs::{CheckReport, Variant, catalogue as environments};
pub use preset::Selection;
pub use progress::Progress;
pub use run_directory::{RunDirectory, default_path, parse_metrics, read_metrics};
pub use run_info::{RunInfo, Saved, Status};
pub use safety::{ATTEMPTS, OnNan, Safety};
pub use signals::Signals;
pub use trainer::{run, train, with_threads};
