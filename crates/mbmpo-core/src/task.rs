//! Reward and termination as data.
//!
//! The paper takes the reward function as given (section 4.2) and evaluates it on predicted states.
//! Here it is a list of terms with one definition, [`Task::reward`], generic over the type of
//! number: `f32` for a real transition, a tensor with one entry per row for imagined ones.
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

use crate::{Check, Checker};
use serde::{Deserialize, Serialize};
use std::ops::{Add, Mul};

/// A reward and the conditions that end an episode.
///
/// `Component` identifies a component of the observation: an index for evaluation, a label in a
/// file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task<Component = usize> {
    /// Terms of the reward, which is their sum.
    pub reward: Vec<RewardTerm<Component>>,
    /// Bound on the absolute value of the sum, to which it is clipped.
    #[serde(default)]
    pub reward_clip: Option<f64>,
    /// Conditions, any of which ends the episode.
    #[serde(default = "Vec::new")]
    pub termination: Vec<TerminationTerm<Component>>,
}

/// A summand of the reward r(s, a, s').
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RewardTerm<Component = usize> {
    /// `weight * s'[component]`, for example a velocity.
    NextObservation {
        /// Component of the observation.
        component: Component,
        /// Factor.
        weight: f64,
    },
    /// `-weight * |a|²`, actions in policy units.
    ControlCost {
        /// Factor.
        weight: f64,
    },
    /// A constant for every step.
    Alive {
        /// The constant.
        bonus: f64,
    },
    /// `-weight * distance to the origin` of some components of the observation.
    Distance {
        /// Components of the observation.
        components: Vec<Component>,
        /// The state before or after the step.
        of: Moment,
        /// Norm that measures the distance.
        norm: Norm,
        /// Factor.
        weight: f64,
    },
}

/// One of the two states of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The state s in which the action is taken.
    Before,
    /// The next state s'.
    After,
}

/// Norm of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Norm {
    /// Euclidean norm.
    Euclidean,
    /// Squared Euclidean norm.
    Squared,
}

/// A condition on s' that ends an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TerminationTerm<Component = usize> {
    /// One of `components` is outside `[low, high]` or not finite.
    Outside {
        /// Components of the observation.
        components: Vec<Component>,
        /// Lowest healthy value.
        low: f64,
        /// Highest healthy value.
        high: f64,
    },
    /// All `components` are within `half_width` of 0: the goal is reached.
    Reached {
        /// Components of the observation.
        components: Vec<Component>,
        /// Half the width of the goal box.
        half_width: f64,
    },
}

/// The numbers of a task: one number, or one per row of a batch.
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

/// Access to transitions (s, a, s') by component.
pub trait Transitions {
    /// Type of a component.
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

    /// 1 where the episode ends, else 0.
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

    /// Number of components that an observation needs: the largest index in a term, plus one.
    pub fn required_observation_dim(&self) -> usize {
        let of_reward = self.reward.iter().flat_map(|term| match term {
            RewardTerm::NextObservation { component, .. } => vec![*component],
            RewardTerm::Distance { components, .. } => components.clone(),
            RewardTerm::ControlCost { .. } | RewardTerm::Alive { .. } => vec![],
        });
        let of_termination = self.termination.iter().flat_map(|term| match term {
            TerminationTerm::Outside { components, .. }
            | TerminationTerm::Reached { components, .. } => components.clone(),
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
        let all_within = |components: &[usize], low: f64, high: f64| {
            // an infinite bound excludes infinity
            let (low, high) = (low.max(f32::MIN.into()), high.min(f32::MAX.into()));
            components
                .iter()
                .map(|&i| transitions.next_observation(i).within(low, high))
                .reduce(|a, b| a * b)
                .unwrap_or_else(|| transitions.zero().offset(1.0))
        };
        match self {
            Self::Outside {
                components,
                low,
                high,
            } => all_within(components, *low, *high).scale(-1.0).offset(1.0),
            Self::Reached {
                components,
                half_width,
            } => all_within(components, -half_width, *half_width),
        }
    }
}

/// Bound on absolute weights, so that sums are finite in single precision.
const LARGEST_WEIGHT: f64 = 1e9;

impl<Component> Task<Component> {
    /// The same task with every component replaced by `name` of it.
    ///
    /// # Errors
    /// The first error of `name`.
    pub fn try_map<C, E>(
        self,
        mut name: impl FnMut(Component) -> Result<C, E>,
    ) -> Result<Task<C>, E> {
        let name = &mut name;
        Ok(Task {
            reward: self
                .reward
                .into_iter()
                .map(|term| term.try_map(name))
                .collect::<Result<_, E>>()?,
            reward_clip: self.reward_clip,
            termination: self
                .termination
                .into_iter()
                .map(|term| term.try_map(name))
                .collect::<Result<_, E>>()?,
        })
    }
}

impl<Component> RewardTerm<Component> {
    fn try_map<C, E>(
        self,
        name: &mut impl FnMut(Component) -> Result<C, E>,
    ) -> Result<RewardTerm<C>, E> {
        Ok(match self {
            Self::NextObservation { component, weight } => RewardTerm::NextObservation {
                component: name(component)?,
                weight,
            },
            Self::ControlCost { weight } => RewardTerm::ControlCost { weight },
            Self::Alive { bonus } => RewardTerm::Alive { bonus },
            Self::Distance {
                components,
                of,
                norm,
                weight,
            } => RewardTerm::Distance {
                components: components.into_iter().map(name).collect::<Result<_, E>>()?,
                of,
                norm,
                weight,
            },
        })
    }
}

impl<Component> TerminationTerm<Component> {
    fn try_map<C, E>(
        self,
        name: &mut impl FnMut(Component) -> Result<C, E>,
    ) -> Result<TerminationTerm<C>, E> {
        Ok(match self {
            Self::Outside {
                components,
                low,
                high,
            } => TerminationTerm::Outside {
                components: components.into_iter().map(name).collect::<Result<_, E>>()?,
                low,
                high,
            },
            Self::Reached {
                components,
                half_width,
            } => TerminationTerm::Reached {
                components: components.into_iter().map(name).collect::<Result<_, E>>()?,
                half_width,
            },
        })
    }
}

impl<Component> Check for Task<Component> {
    fn inspect(&self, checker: &mut Checker) {
        for (i, term) in self.reward.iter().enumerate() {
            checker.nested(&format!("reward[{i}]"), term);
        }
        if let Some(bound) = self.reward_clip {
            checker.positive("reward_clip", bound);
        }
        for (i, term) in self.termination.iter().enumerate() {
            checker.nested(&format!("termination[{i}]"), term);
        }
    }
}

impl<Component> Check for RewardTerm<Component> {
    fn inspect(&self, checker: &mut Checker) {
        let range = -LARGEST_WEIGHT..=LARGEST_WEIGHT;
        match self {
            Self::NextObservation { weight, .. } | Self::ControlCost { weight } => {
                checker.range("weight", *weight, range);
            }
            Self::Alive { bonus } => checker.range("bonus", *bonus, range),
            Self::Distance {
                components, weight, ..
            } => {
                checker.range("weight", *weight, range);
                require_components(checker, components);
            }
        }
    }
}

impl<Component> Check for TerminationTerm<Component> {
    fn inspect(&self, checker: &mut Checker) {
        match self {
            Self::Outside {
                components,
                low,
                high,
            } => {
                require_components(checker, components);
                let bounds = format!("{low} to {high}");
                checker.demand("low", bounds, low < high, "a number below `high`");
            }
            Self::Reached {
                components,
                half_width,
            } => {
                require_components(checker, components);
                checker.positive("half_width", *half_width);
            }
        }
    }
}

fn require_components<Component>(checker: &mut Checker, components: &[Component]) {
    let count = components.len();
    checker.demand("components", "empty", count > 0, "at least one component");
}

fn sum_of_squares<T: Transitions>(
    transitions: &T,
    vector: impl Iterator<Item = T::Number>,
) -> T::Number {
    vector.fold(transitions.zero(), |sum, x| sum + x.clone() * x)
}

/// A transition on slices.
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
