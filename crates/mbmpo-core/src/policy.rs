use crate::{Result, Stream};
use rand::RngExt;

/// A controller without memory: observation to action.
pub trait Policy: Sync {
    /// Draws an action for `observation`. It may lie outside `[-1, 1]`; the environment clips it.
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32>;
}

impl<P: Policy + ?Sized> Policy for &P {
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        (**self).act(observation, stream)
    }
}

/// A policy that can be stored in a file and used again without the algorithm that trained it. It
/// need not be a network: a planner stores its model and its settings.
pub trait SavedPolicy: Policy + Send {
    /// The policy in its file format.
    ///
    /// # Errors
    /// When the format cannot hold it.
    fn to_bytes(&self) -> Result<Vec<u8>>;

    /// Reads the bytes of [`Self::to_bytes`].
    ///
    /// # Errors
    /// When they are not such a policy.
    fn from_bytes(bytes: &[u8]) -> Result<Self>
    where
        Self: Sized;

    /// Number of components of an observation and of an action.
    fn dims(&self) -> (usize, usize);
}

/// The uniform random controller of the first iteration (section 4.3 of the paper): every component
/// of an action is uniform in `[-1, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct UniformPolicy {
    /// Number of components of an action.
    pub action_dim: usize,
}

impl Policy for UniformPolicy {
    fn act(&self, _observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        let mut component = || stream.random_range(-1.0..=1.0);
        (0..self.action_dim).map(|_| component()).collect()
    }
}
