use crate::{Result, Stream, Task};

/// The outcome of one control step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The next observation.
    pub observation: Vec<f32>,
    /// Reward of this transition.
    pub reward: f32,
    /// Whether the episode ended here. Running out of time is not termination: the caller counts
    /// the steps and applies the horizon.
    pub terminated: bool,
}

/// A Markov decision process that can be sampled by acting in it (section 3.1 of the paper).
///
/// An action is in policy units: every component is in `[-1, 1]`, whatever the motors take. The
/// environment clips it ([`clip_action`](crate::clip_action)) and scales it to its motors.
///
/// This is all that collecting real trajectories needs. Imagination needs [`Tasked`] as well, and
/// saving a state in the middle of an episode needs [`Snapshot`].
pub trait Environment: Send + Sync {
    /// Name on the command line, in run directories and in error messages.
    fn name(&self) -> &str;

    /// Number of components of an observation.
    fn observation_dim(&self) -> usize;

    /// Number of components of an action.
    fn action_dim(&self) -> usize;

    /// Default length of an episode \[control steps\].
    fn horizon(&self) -> usize;

    /// Length of a control step \[s\].
    fn control_time_step(&self) -> f64;

    /// Starts an episode from the initial distribution `p_0` and returns the first observation,
    /// which depends on `stream` alone.
    fn reset(&mut self, stream: &mut Stream) -> Vec<f32>;

    /// Applies `action`, clipped to `[-1, 1]`, for one control step.
    ///
    /// # Errors
    /// When the simulation diverges, or `action` has the wrong number of components.
    fn step(&mut self, action: &[f32]) -> Result<Step>;

    /// An independent copy in the same state.
    fn boxed_clone(&self) -> Box<dyn Environment>;
}

/// An environment whose reward and termination are data, so that they can also be evaluated on
/// imagined transitions (section 4.2 of the paper takes the reward function as given).
pub trait Tasked: Environment {
    /// Reward and termination. [`Environment::step`] returns those of (observation, clipped action,
    /// next observation).
    fn task(&self) -> &Task;
}

/// An environment whose state can be saved and restored.
pub trait Snapshot: Environment {
    /// The whole state between two steps, as little-endian bytes that are the same on every
    /// platform. After a step that failed the state is undefined, and [`Self::restore`] may refuse
    /// its bytes.
    fn snapshot(&self) -> Vec<u8>;

    /// Restores the state of a [`Self::snapshot`], bit for bit.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of an environment like this one; the state is then
    /// unchanged.
    fn restore(&mut self, snapshot: &[u8]) -> Result<()>;
}
