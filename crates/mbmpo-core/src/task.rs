//! Reward and termination as data.
//!
//! The paper takes the reward function as given (section 4.2) and evaluates it on predicted states. Here it is a
//! list of terms with one definition, [`Task::reward`], generic over what the numbers are: `f32` for a real
//! transition, a tensor with one entry per row for imagined ones.
//!
//! ```
//! use mbmpo_core::task::{RewardTerm, Task, Transition};
//!
//! // half-cheetah: forward velocity is component 8 of the observation
//! let task = Task {
//!     reward: vec![
//!         RewardTerm::NextObservation { component: 8, weight: 1.0 },
//!         RewardTerm::ControlCost { weight: 0.1 },
//!     ],
//!     ..Task::default()
//! };
//! let (s, a, mut next) = ([0.0; 17], [1.0; 6], [0.0; 17]);
//! next[8] = 2.0;
//! let reward = task.reward(&Transition { observation: &s, action: &a, next_observation: &next });
//! assert!((reward - (2.0 - 0.6)).abs() < 1e-6);
//! ```

#[cfg(feature = "tensor")]
mod tensor;

#[cfg(feature = "tensor")]
pub use tensor::TensorTransitions;

use serde::{Deserialize, Serialize};
use std::ops::{Add, Mul};

/// What an environment asks for: a reward and the conditions that end an episode.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The reward is the sum of these.
    pub reward: Vec<RewardTerm>,
    /// The sum is clipped to plus or minus this, where given.
    #[serde(default)]
    pub reward_clip: Option<f64>,
    /// The episode ends as soon as one of these holds.
    #[serde(default)]
    pub termination: Vec<TerminationTerm>,
}

/// A summand of the reward r(s, a, s').
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RewardTerm {
    /// `weight * s'[component]`: a velocity, say.
    NextObservation {
        /// Index into the observation.
        component: usize,
        /// Factor.
        weight: f64,
    },
    /// `-weight * |a|²`, actions in policy units.
    ControlCost {
        /// Factor.
        weight: f64,
    },
    /// A constant for every step survived.
    Alive {
        /// The constant.
        bonus: f64,
    },
    /// `-weight * distance to the origin` of some components of the observation.
    Distance {
        /// Indices into the observation.
        components: Vec<usize>,
        /// Of the state before or after the step.
        of: Moment,
        /// How long a vector is.
        norm: Norm,
        /// Factor.
        weight: f64,
    },
}

/// Which end of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The state s that the action was taken in.
    Before,
    /// The state s' that it led to.
    After,
}

/// How long a vector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Norm {
    /// Its Euclidean length.
    Euclidean,
    /// The square of that.
    Squared,
}

/// A condition on s' that ends an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TerminationTerm {
    /// Ends where a component leaves `[low, high]`, or is not finite.
    Outside {
        /// Index into the observation.
        component: usize,
        /// Lowest healthy value.
        low: f64,
        /// Highest healthy value.
        high: f64,
    },
    /// Ends where all `components` lie within `half_width` of the origin: the goal is reached.
    Reached {
        /// Indices into the observation.
        components: Vec<usize>,
        /// Half the width of the goal box.
        half_width: f64,
    },
}

/// What a task computes with: one number, or one per row of a batch.
pub trait Number: Clone + Add<Output = Self> + Mul<Output = Self> {
    /// `factor * self`.
    fn scale(self, factor: f64) -> Self;
    /// `self + constant`.
    fn offset(self, constant: f64) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// The nearest number in `[low, high]`.
    fn clamp(self, low: f64, high: f64) -> Self;
    /// 1 in `[low, high]`, 0 elsewhere and for a NaN.
    fn within(self, low: f64, high: f64) -> Self;
}

/// Transitions (s, a, s') by their components.
pub trait Transitions {
    /// The numbers they are made of.
    type Number: Number;
    /// Component of s.
    fn observation(&self, component: usize) -> Self::Number;
    /// Component of a.
    fn action(&self, component: usize) -> Self::Number;
    /// Component of s'.
    fn next_observation(&self, component: usize) -> Self::Number;
    /// Number of components of a.
    fn action_dim(&self) -> usize;
    /// Zero.
    fn zero(&self) -> Self::Number;
}

impl Task {
    /// r(s, a, s').
    pub fn reward<T: Transitions>(&self, transitions: &T) -> T::Number {
        let sum = self.reward.iter().fold(transitions.zero(), |sum, term| {
            term.add_to(sum, transitions)
        });
        match self.reward_clip {
            Some(bound) => sum.clamp(-bound, bound),
            None => sum,
        }
    }

    /// 1 where the episode ends, 0 where it goes on.
    pub fn termination<T: Transitions>(&self, transitions: &T) -> T::Number {
        let healthy = |end: T::Number| end.scale(-1.0).offset(1.0);
        let alive = self
            .termination
            .iter()
            .map(|term| healthy(term.evaluate(transitions)))
            .reduce(|a, b| a * b)
            .unwrap_or_else(|| transitions.zero().offset(1.0));
        healthy(alive)
    }

    /// The largest index into the observation that a term uses, plus one.
    pub fn required_observation_dim(&self) -> usize {
        let of_reward = self.reward.iter().flat_map(|term| match term {
            RewardTerm::NextObservation { component, .. } => vec![*component],
            RewardTerm::Distance { components, .. } => components.clone(),
            RewardTerm::ControlCost { .. } | RewardTerm::Alive { .. } => vec![],
        });
        let of_termination = self.termination.iter().flat_map(|term| match term {
            TerminationTerm::Outside { component, .. } => vec![*component],
            TerminationTerm::Reached { components, .. } => components.clone(),
        });
        of_reward
            .chain(of_termination)
            .max()
            .map_or(0, |largest| largest + 1)
    }
}

impl RewardTerm {
    fn add_to<T: Transitions>(&self, sum: T::Number, transitions: &T) -> T::Number {
        match self {
            Self::NextObservation { component, weight } => {
                sum + transitions.next_observation(*component).scale(*weight)
            }
            Self::ControlCost { weight } => {
                let actions = (0..transitions.action_dim()).map(|i| transitions.action(i));
                sum + sum_of_squares(transitions, actions).scale(-weight)
            }
            Self::Alive { bonus } => sum.offset(*bonus),
            Self::Distance {
                components,
                of,
                norm,
                weight,
            } => {
                let vector = components.iter().map(|&i| match of {
                    Moment::Before => transitions.observation(i),
                    Moment::After => transitions.next_observation(i),
                });
                let squared = sum_of_squares(transitions, vector);
                let distance = match norm {
                    Norm::Euclidean => squared.sqrt(),
                    Norm::Squared => squared,
                };
                sum + distance.scale(-weight)
            }
        }
    }
}

impl TerminationTerm {
    fn evaluate<T: Transitions>(&self, transitions: &T) -> T::Number {
        match self {
            Self::Outside {
                component,
                low,
                high,
            } => transitions
                .next_observation(*component)
                .within(*low, *high)
                .scale(-1.0)
                .offset(1.0),
            Self::Reached {
                components,
                half_width,
            } => components
                .iter()
                .map(|&i| {
                    transitions
                        .next_observation(i)
                        .within(-half_width, *half_width)
                })
                .fold(transitions.zero().offset(1.0), |a, b| a * b),
        }
    }
}

fn sum_of_squares<T: Transitions>(
    transitions: &T,
    vector: impl Iterator<Item = T::Number>,
) -> T::Number {
    vector.fold(transitions.zero(), |sum, x| sum + x.clone() * x)
}

/// One transition on slices.
#[derive(Debug, Clone, Copy)]
pub struct Transition<'a> {
    /// s
    pub observation: &'a [f32],
    /// a
    pub action: &'a [f32],
    /// s'
    pub next_observation: &'a [f32],
}

impl Transitions for Transition<'_> {
    type Number = f32;

    fn observation(&self, component: usize) -> f32 {
        self.observation[component]
    }

    fn action(&self, component: usize) -> f32 {
        self.action[component]
    }

    fn next_observation(&self, component: usize) -> f32 {
        self.next_observation[component]
    }

    fn action_dim(&self) -> usize {
        self.action.len()
    }

    fn zero(&self) -> f32 {
        0.0
    }
}

impl Number for f32 {
    fn scale(self, factor: f64) -> Self {
        self * factor as f32
    }

    fn offset(self, constant: f64) -> Self {
        self + constant as f32
    }

    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn clamp(self, low: f64, high: f64) -> Self {
        self.clamp(low as f32, high as f32)
    }

    fn within(self, low: f64, high: f64) -> Self {
        let inside = (low as f32..=high as f32).contains(&self);
        if inside { 1.0 } else { 0.0 }
    }
}
