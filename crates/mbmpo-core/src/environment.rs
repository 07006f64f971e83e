use crate::{BoxSpace, Result, Stream, Task};

/// What one control step gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The next observation.
    pub observation: Vec<f32>,
    /// The task's reward of this transition.
    pub reward: f32,
    /// Whether the task ended the episode here. Running out of time is not termination: whoever counts
    /// the steps decides on the horizon.
    pub terminated: bool,
}

/// A Markov decision process that can be sampled by acting in it (section 3.1 of the paper).
///
/// Actions are in policy units, `[-1, 1]` per component; an environment clips what it is given and scales it to
/// its motors. The reward and the termination are those of [`Environment::task`] for
/// (observation, clipped action, next observation).
pub trait Environment: Send + Sync {
    /// The name under which the command line knows it.
    fn name(&self) -> &str;

    /// Number of components of an observation.
    fn observation_dim(&self) -> usize;

    /// The box of actions.
    fn action_space(&self) -> &BoxSpace;

    /// Default length of an episode \[control steps\].
    fn horizon(&self) -> usize;

    /// Length of a control step \[s\].
    fn control_time_step(&self) -> f64;

    /// Reward and termination.
    fn task(&self) -> &Task;

    /// Starts an episode from the initial distribution `p_0` and returns the first observation. Whatever happened
    /// before leaves no trace.
    fn reset(&mut self, stream: &mut Stream) -> Vec<f32>;

    /// Applies `action` for one control step.
    ///
    /// # Errors
    /// When the simulation diverges, or `action` has the wrong number of components.
    fn step(&mut self, action: &[f32]) -> Result<Step>;

    /// The whole state between two steps as bytes, little endian; the same on every platform. After a step that was an
    /// error there is no state to come back to, and [`Self::restore`] may refuse the bytes.
    fn snapshot(&self) -> Vec<u8>;

    /// Goes back to the state of a [`Self::snapshot`], after which every bit is as it was then.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of an environment like this one; its state is then as before.
    fn restore(&mut self, snapshot: &[u8]) -> Result<()>;

    /// A copy that goes its own way, in the same state.
    fn boxed_clone(&self) -> Box<dyn Environment>;
}
