use crate::{HalfCheetah, PointMass};
use mbmpo_core::{Environment, Error, Result};
use serde::{Deserialize, Serialize};

/// Where the paper and the authors' code differ, which of them an environment follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Variant {
    /// The paper (arXiv:1809.05214, appendix A.3).
    #[default]
    Paper,
    /// The authors' published code.
    Authors,
}

/// What there is to know about an environment without making one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnvironmentInfo {
    /// What [`make`] takes.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Components of an observation.
    pub observation_dim: usize,
    /// Components of an action.
    pub action_dim: usize,
    /// Default length of an episode \[control steps\].
    pub horizon: usize,
    /// Length of a control step \[s\].
    pub control_time_step: f64,
}

/// Names of all environments, in the order of [`catalogue`].
pub const NAMES: [&str; 2] = [PointMass::NAME, HalfCheetah::NAME];

/// All environments.
pub fn catalogue() -> Vec<EnvironmentInfo> {
    vec![
        EnvironmentInfo {
            name: PointMass::NAME,
            summary: "a point in the plane that shall go to the origin; the best policy is known",
            observation_dim: PointMass::DIM,
            action_dim: PointMass::DIM,
            horizon: PointMass::HORIZON,
            control_time_step: PointMass::TIME_STEP,
        },
        EnvironmentInfo {
            name: HalfCheetah::NAME,
            summary: "a planar cheetah that shall run forward",
            observation_dim: HalfCheetah::OBSERVATION_DIM,
            action_dim: HalfCheetah::ACTION_DIM,
            horizon: HalfCheetah::HORIZON,
            control_time_step: HalfCheetah::TIME_STEP,
        },
    ]
}

/// The environment of that name, not yet reset. Both variants of the half-cheetah are the same.
///
/// # Errors
/// When there is none; the message lists those that there are.
pub fn make(name: &str, variant: Variant) -> Result<Box<dyn Environment>> {
    match name {
        PointMass::NAME => Ok(Box::new(PointMass::new(variant))),
        HalfCheetah::NAME => Ok(Box::new(HalfCheetah::new()?)),
        _ => Err(Error::Description(format!(
            "there is no environment `{name}`; there are {}",
            NAMES.map(|name| format!("`{name}`")).join(", ")
        ))),
    }
}
