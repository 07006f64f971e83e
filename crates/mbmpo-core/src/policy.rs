use crate::{BoxSpace, Stream};
use rand::RngExt;

/// Something that acts: observation to action.
pub trait Policy: Sync {
    /// Draws an action for `observation`. It may lie outside the environment's box, which clips it.
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32>;
}

impl<P: Policy + ?Sized> Policy for &P {
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        (**self).act(observation, stream)
    }
}

/// The uniform random controller of the first iteration (section 4.3 of the paper).
#[derive(Debug, Clone, PartialEq)]
pub struct UniformPolicy(pub BoxSpace);

impl Policy for UniformPolicy {
    fn act(&self, _observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        let BoxSpace { low, high } = &self.0;
        low.iter()
            .zip(high)
            .map(|(&low, &high)| stream.random_range(low..=high))
            .collect()
    }
}
