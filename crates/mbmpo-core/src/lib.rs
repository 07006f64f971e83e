//! The words that the crates of mbmpo share.
//!
//! - [`Environment`] and [`Task`]: a control problem, with its reward and termination as data;
//! - [`Policy`] and [`rollout`](collect::rollout): acting in it, giving [`Trajectories`];
//! - [`DynamicsModel`]: a learned stand-in for the environment's physics (feature `tensor`);
//! - [`Algorithm`]: something that improves a policy, one iteration at a time, without any input or output;
//! - [`Persist`] and [`State`]: the whole state of something, taken out and put back to the bit;
//! - [`Streams`]: every random number, by name;
//! - [`Check`]: unchecked parameters become [`Checked`] ones, and only those run;
//! - [`nearest`]: what a mistyped name was meant to be.
//!
//! The crate knows no physics, no files and no algorithm. Without the default feature `tensor` it has no
//! dependency on Burn, which is how `mbmpo-envs` uses it. With the feature `cpu`, [`is_cpu`] recognises Burn's Flex
//! backend, where the crates above then compute on slices instead of tensors.

#![forbid(unsafe_code)]

mod algorithm;
mod check;
pub mod collect;
#[cfg(feature = "tensor")]
mod device;
#[cfg(feature = "tensor")]
mod dynamics;
mod environment;
mod error;
mod nearest;
mod policy;
mod space;
mod state;
mod streams;
pub mod task;
mod trajectories;

pub use algorithm::{
    Algorithm, IterationMetrics, MetaMetrics, ModelFreeMetrics, Observer, Phase, PhaseSeconds,
    Silent,
};
pub use check::{Check, Checked, Checker, InvalidValue, Violations, hidden_weights};
#[cfg(feature = "tensor")]
pub use device::{host, is_cpu};
#[cfg(feature = "tensor")]
pub use dynamics::DynamicsModel;
pub use environment::{Environment, Step};
pub use error::{Error, Result};
pub use nearest::nearest;
pub use policy::{Policy, UniformPolicy};
pub use space::BoxSpace;
pub use state::{Archive, Array, Number, Persist, State};
pub use streams::{Purpose, Stream, Streams};
pub use task::Task;
pub use trajectories::Trajectories;
