//! Description of a robot's task, read from RON.

use mbmpo_core::ron_text::{self, TextError};
use mbmpo_core::task::{RewardTerm, Task, TerminationTerm};
use mbmpo_core::{Check, Checked, Checker};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A robot's observation, reward, termination and initial state. Every field except `reward` has a
/// default.
///
/// Coordinates have the names of their joints; those of a free joint `root` are
/// `root.x .y .z .qw .qx .qy .qz`, and its velocities `root.vx .vy .vz .wx .wy .wz`. Components of
/// the observation have labels: a coordinate its name, the velocity of a slide or hinge `knee` the
/// label `knee velocity`, the vector to the goal `goal x`, `goal y`, `goal z`.
///
/// ```
/// use mbmpo_envs::TaskDescription;
///
/// let task = TaskDescription::from_ron(r#"(
///     frame_skip: 5,
///     observation: [Positions(of: AllBut(["rootx"])), Velocities(clip: 10)],
///     reward: [
///         NextObservation(component: "rootx velocity", weight: 1),
///         Alive(bonus: 1),
///         ControlCost(weight: 0.001),
///     ],
///     termination: [Outside(components: ["rootz"], low: 0.7, high: inf)],
/// )"#, "hop.ron")?;
/// assert_eq!(task.horizon, 200);
/// # Ok::<(), mbmpo_core::ron_text::TextError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskDescription {
    /// MuJoCo time steps in a control step, 1 to 1,000. Default: 1.
    #[serde(default = "defaults::frame_skip")]
    pub frame_skip: usize,
    /// Default length of an episode \[control steps\], 1 to 1,000,000. Default: 200 (paper A.3).
    #[serde(default = "defaults::horizon")]
    pub horizon: usize,
    /// Parts of the observation, in order, 1 to 1,000. Default: all positions, then all velocities.
    #[serde(default = "defaults::observation")]
    pub observation: Vec<ObservationTerm>,
    /// A point to reach. Default: none.
    #[serde(default)]
    pub goal: Option<Goal>,
    /// The reward is the sum of these, at least one; see [`RewardTerm`].
    pub reward: Vec<RewardTerm<String>>,
    /// Bound on the absolute value of the sum, to which it is clipped. Default: not clipped.
    #[serde(default)]
    pub reward_clip: Option<f64>,
    /// The episode ends as soon as one of these holds, see [`TerminationTerm`]. Default: never.
    #[serde(default)]
    pub termination: Vec<TerminationTerm<String>>,
    /// The initial state.
    #[serde(default)]
    pub reset: Reset,
}

/// A part of the observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ObservationTerm {
    /// Generalised coordinates \[m, rad, or parts of a quaternion\].
    Positions {
        /// Selected coordinates. Default: all.
        #[serde(default)]
        of: Subset,
        /// Bound on absolute values, to which they are clipped. Default: not clipped.
        #[serde(default)]
        clip: Option<f64>,
    },
    /// Generalised velocities \[m/s or rad/s\].
    Velocities {
        /// Selected velocities. Default: all.
        #[serde(default)]
        of: Subset,
        /// Bound on absolute values, to which they are clipped. Default: not clipped.
        #[serde(default)]
        clip: Option<f64>,
    },
    /// Vector from the site to the goal: three components \[m\].
    ToGoal,
}

/// A selection of coordinates or of velocities.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Subset {
    /// All, in MuJoCo's order.
    #[default]
    All,
    /// All except these, in MuJoCo's order.
    AllBut(Vec<String>),
    /// These, in this order.
    Only(Vec<String>),
}

/// A point that a site of the robot is to reach, uniform in a box and drawn in every episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// Name of the site.
    pub site: String,
    /// Lowest x, y and z in the world \[m\].
    pub low: [f64; 3],
    /// Highest x, y and z in the world \[m\], at least `low`.
    pub high: [f64; 3],
}

/// The initial state: a pose at rest plus normal noise. Quaternions are normalised after the noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reset {
    /// Standard deviation of every coordinate \[m or rad\], at least 0. Default: 0.01 (the authors'
    /// `mujoco_env.py`).
    pub position_noise: f64,
    /// Standard deviation of every velocity about 0 \[m/s or rad/s\], at least 0. Default: 0.1 (the
    /// authors' `mujoco_env.py`).
    pub velocity_noise: f64,
    /// Initial coordinates by name \[m or rad\]. Default: the pose of the MJCF file.
    pub initial_positions: BTreeMap<String, f64>,
}

impl Default for Reset {
    fn default() -> Self {
        Self {
            position_noise: 0.01,
            velocity_noise: 0.1,
            initial_positions: BTreeMap::new(),
        }
    }
}

mod defaults {
    use super::{ObservationTerm, Subset};

    pub(super) fn frame_skip() -> usize {
        1
    }

    pub(super) fn horizon() -> usize {
        200
    }

    pub(super) fn observation() -> Vec<ObservationTerm> {
        let (of, clip) = (Subset::All, None);
        vec![
            ObservationTerm::Positions {
                of: of.clone(),
                clip,
            },
            ObservationTerm::Velocities { of, clip },
        ]
    }
}

/// Bound on lengths, angles and speeds \[m, rad, m/s, rad/s\]: beyond it a simulation diverges at
/// once.
const LARGEST: f64 = 1e6;

/// Most parts of an observation; each may name every coordinate.
const MOST_PARTS: usize = 1000;

impl TaskDescription {
    /// Reads and checks a task; error messages call the text `origin`, which may be the name of its
    /// file.
    ///
    /// # Errors
    /// When the text is not RON, a key is unknown or missing, or a value is of the wrong type or
    /// out of range: with line and column.
    pub fn from_ron(text: &str, origin: &str) -> Result<Checked<Self>, TextError> {
        ron_text::read(text, origin)
    }

    /// Reward and termination, with components by label.
    pub fn task(&self) -> Task<String> {
        Task {
            reward: self.reward.clone(),
            reward_clip: self.reward_clip,
            termination: self.termination.clone(),
        }
    }
}

impl Check for TaskDescription {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("frame_skip", self.frame_skip, 1..=1_000);
        checker.range("horizon", self.horizon, 1..=1_000_000);
        let (parts, terms) = (self.observation.len(), self.reward.len());
        checker.demand("observation", "empty", parts > 0, "at least one part");
        let (length, allowed) = (format!("{parts} parts"), format!("at most {MOST_PARTS}"));
        checker.demand("observation", length, parts <= MOST_PARTS, &allowed);
        checker.demand("reward", "empty", terms > 0, "at least one term");
        for (i, term) in self.observation.iter().enumerate() {
            checker.nested(&format!("observation[{i}]"), term);
        }
        let shown = self.observation.contains(&ObservationTerm::ToGoal);
        match &self.goal {
            Some(goal) => {
                checker.nested("goal", goal);
                let allowed = "a goal only where the observation has `ToGoal`";
                checker.demand("goal", "given", shown, allowed);
            }
            None => {
                let allowed = "a goal, as the observation has `ToGoal`";
                checker.demand("goal", "missing", !shown, allowed);
            }
        }
        self.task().inspect(checker);
        checker.nested("reset", &self.reset);
    }
}

impl Check for ObservationTerm {
    fn inspect(&self, checker: &mut Checker) {
        if let Self::Positions { clip, .. } | Self::Velocities { clip, .. } = self
            && let Some(bound) = clip
        {
            checker.positive("clip", *bound);
        }
    }
}

impl Check for Goal {
    fn inspect(&self, checker: &mut Checker) {
        for (axis, (low, high)) in self.low.into_iter().zip(self.high).enumerate() {
            checker.range(&format!("low[{axis}]"), low, -LARGEST..=LARGEST);
            let key = format!("high[{axis}]");
            checker.range(&key, high, -LARGEST..=LARGEST);
            checker.demand_together(&key, high, low <= high, "at least `low`");
        }
    }
}

impl Check for Reset {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("position_noise", self.position_noise, 0.0..=LARGEST);
        checker.range("velocity_noise", self.velocity_noise, 0.0..=LARGEST);
        for (name, position) in &self.initial_positions {
            let key = format!("initial_positions.{name}");
            checker.range(&key, *position, -LARGEST..=LARGEST);
        }
    }
}
