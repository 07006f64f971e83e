//! Presets, the trainer loop, run directories and learning curves for mbmpo.
//!
//! - [`ExperimentConfig`]: everything that decides the numbers of a run, apart from its seed;
//!   [`preset`] has the embedded ones, [`overrides`] changes single values;
//! - [`EnvironmentChoice`]: one of the [`environments`], or a user's robot; [`check_environment`]
//!   checks it against the contract of [`Environment`](mbmpo_core::Environment);
//! - [`AlgorithmConfig`]: the algorithms that come with the program; [`AlgorithmChoice`]: the
//!   interface by which an algorithm of another crate gets everything below, see
//!   `examples/cross_entropy_method.rs`;
//! - [`RunDirectory`]: configuration, metrics, policy, learning curve and checkpoints of a run;
//! - [`checkpoint`]: the whole training state in a file, written atomically;
//! - [`run`]: builds the algorithm of an experiment and trains it in a run directory; [`train`] is
//!   the loop;
//! - [`adapt`]: fine-tunes the policies of runs, also in an environment whose physics was changed;
//! - [`compare`]: learning curves of runs, and the real steps that each algorithm needed;
//!   [`figure`]: line charts;
//! - [`evaluate`]: measures the policy of a run; [`draw`] and [`draw_run`]: pictures of a robot;
//! - [`InstructionChoice`]: the vector instructions of networks on the CPU;
//! - [`suite`]: several experiments, several seeds.
//!
//! The crate prints nothing: a caller that shows progress implements [`Progress`].
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
pub mod checkpoint;
mod comparison;
mod config;
mod curve;
mod device;
mod difference;
mod disk;
mod drawing;
mod environment;
mod environment_check;
mod error;
mod evaluation;
pub mod figure;
mod instructions;
mod lock;
pub mod overrides;
mod position;
pub mod preset;
mod progress;
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
pub use comparison::{Compared, Comparison, SHARES, compare};
pub use config::ExperimentConfig;
pub use curve::learning_curve;
pub use device::DeviceKind;
pub use drawing::{Drawing, DrawingOptions, draw, draw_run};
pub use environment::{EnvironmentChoice, EnvironmentConfig, RobotFiles};
pub use environment_check::check_environment;
pub use error::{Error, Origin, OutOfRange, Result};
pub use evaluation::{Evaluation, evaluate, evaluate_run};
pub use instructions::InstructionChoice;
pub use mbmpo_core::nearest;
pub use mbmpo_envs::{CheckReport, Variant, catalogue as environments};
pub use mbmpo_kernels::Instructions;
pub use preset::Selection;
pub use progress::Progress;
pub use run_directory::{RunDirectory, default_path, parse_metrics, read_metrics};
pub use run_info::{RunInfo, Saved, Status};
pub use safety::{ATTEMPTS, OnNan, Safety};
pub use signals::Signals;
pub use trainer::{run, train, with_threads};
