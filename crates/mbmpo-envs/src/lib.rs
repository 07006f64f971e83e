//! Environments: the MuJoCo locomotion tasks in pure Rust, a user's robot with a task, and a point
//! mass.
//!
//! - [`make`] and [`catalogue`]: environments by name;
//! - [`RobotEnvironment`]: a robot in MJCF with a task in RON, a [`TaskDescription`];
//! - [`PointMass`]: an environment without physics; both are [`Simulated`]: their task is data and
//!   their state can be saved;
//! - [`VectorEnvironment`]: copies of an environment that step in parallel;
//! - [`check_contract`]: tests whether an environment keeps the contract of its traits;
//! - [`RobotDescription`]: bodies, joints, motors and shapes of a robot, read from MJCF;
//! - [`Physics`]: factors on masses, motors and friction;
//! - [`Simulation`]: the simulation of a robot.
#![cfg_attr(
    feature = "pictures",
    doc = "- [`picture()`]: a robot as SVG (feature `pictures`)."
)]
//!
//! ```
//! use mbmpo_core::{Purpose, Streams};
//! use mbmpo_envs::{Variant, make};
//!
//! let mut cheetah = make("half-cheetah", Variant::Paper)?;
//! let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
//! let observation = cheetah.reset(&mut stream);
//! let step = cheetah.step(&[0.5; 6])?;
//! assert_eq!(observation.len(), 17);
//! // forward velocity minus control cost
//! assert!((step.reward - (step.observation[8] - 0.1 * 6.0 * 0.25)).abs() < 1e-5);
//! # Ok::<(), mbmpo_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod checker;
mod physics;
#[cfg(feature = "pictures")]
mod picture;
mod point_mass;
mod registry;
pub mod robot;
mod robot_environment;
mod simulated;
mod simulation;
mod snapshot;
pub mod task_file;
mod variant;
mod vector;

pub use checker::{CheckOutcome, CheckReport, check_contract};
pub use physics::Physics;
#[cfg(feature = "pictures")]
pub use picture::{Frame, picture};
pub use point_mass::PointMass;
pub use registry::{EnvironmentInfo, NAMES, catalogue, make};
pub use robot::RobotDescription;
pub use robot_environment::RobotEnvironment;
pub use simulated::Simulated;
pub use simulation::Simulation;
pub use task_file::TaskDescription;
pub use variant::Variant;
pub use vector::VectorEnvironment;

use mbmpo_core::Step;
use mbmpo_core::task::{Task, Transition};

/// The outcome of a step, with the task's reward and termination.
fn finish(task: &Task, before: &[f32], action: &[f32], after: Vec<f32>) -> Step {
    let transition = Transition {
        observation: before,
        action,
        next_observation: &after,
    };
    Step {
        reward: task.reward(&transition),
        terminated: task.termination(&transition) > 0.5,
        observation: after,
    }
}

/// Compiles and runs the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
