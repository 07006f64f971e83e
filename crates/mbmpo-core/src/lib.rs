//! The vocabulary that the crates of mbmpo share.
//!
//! - [`Environment`]: a control problem that can be sampled; [`Tasked`] has its reward and
//!   termination as data ([`Task`]), [`Snapshot`] can save its state;
//! - [`Policy`] and [`rollout`](collect::rollout): acting in it, giving [`Trajectories`];
//!   [`SavedPolicy`] has a file format;
//! - [`LearnedModel`] and [`DynamicsModel`]: learned dynamics in training and as a function;
//!   [`Actor`]: a controller for a batch of episodes (feature `tensor`);
//! - [`Algorithm`]: improves a policy, one iteration at a time, without any input or output;
//!   [`Trainable`] can be built from a configuration; [`Experience`] is the real environment as an
//!   algorithm uses it;
//! - [`Persist`] and [`State`]: the whole state of an object, saved and restored to the bit;
//! - [`Streams`]: every random number, by name;
//! - [`Check`]: unchecked parameters become [`Checked`] ones, and only those run;
//! - `ron_text`: reading parameters from RON, with errors that name line, column and key (feature
//!   `ron`);
//! - [`nearest`]: the known name that is most similar to a mistyped one.
//!
//! The crate knows no physics, no files and no algorithm. Without the default feature `tensor` it
//! has no dependency on Burn; `mbmpo-envs` uses it that way. With the feature `cpu`, [`is_cpu`]
//! recognises Burn's Flex backend, where the crates above compute on slices instead of tensors.

#![forbid(unsafe_code)]

mod action;
mod algorithm;
mod check;
pub mod collect;
#[cfg(feature = "tensor")]
mod device;
#[cfg(feature = "tensor")]
mod dynamics;
mod environment;
mod error;
mod experience;
mod metrics;
mod nearest;
mod policy;
#[cfg(feature = "ron")]
mod ron_spans;
#[cfg(feature = "ron")]
pub mod ron_text;
mod state;
pub mod statistics;
mod streams;
pub mod task;
mod trajectories;

pub use action::clip_action;
#[cfg(feature = "tensor")]
pub use algorithm::Trainable;
pub use algorithm::{Algorithm, Observer, Phase, Silent};
pub use check::{Check, Checked, Checker, InvalidValue, Violations, hidden_weights};
#[cfg(feature = "tensor")]
pub use device::{host, is_cpu};
#[cfg(feature = "tensor")]
pub use dynamics::{Actor, DynamicsModel, LearnedModel};
pub use environment::{Environment, Snapshot, Step, Tasked};
pub use error::{Error, Result};
pub use experience::{Experience, Setup, require_finite};
pub use metrics::{
    FitReport, IterationMetrics, ModelFreeMetrics, ModelMetrics, NamedMetrics, Seconds,
};
pub use nearest::{nearest, unknown_name};
pub use policy::{Policy, SavedPolicy, UniformPolicy};
pub use state::{Archive, Array, Persist, Scalar, State};
pub use streams::{Purpose, Stream, Streams};
pub use task::Task;
pub use trajectories::Trajectories;
