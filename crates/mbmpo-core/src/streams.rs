use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// A stream of random numbers: ChaCha with 8 rounds, the same on every platform.
pub type Stream = ChaCha8Rng;

/// What a stream of random numbers is for.
///
/// The discriminants are part of every seed's meaning: never renumber them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights of the policy (index 0) and of a critic (index 1).
    PolicyWeights = 1,
    /// Initial weights of the ensemble; indexed by member.
    ModelWeights = 2,
    /// Resets and actions of a real episode that is added to the data; indexed by episode.
    Collect = 3,
    /// Resets and actions of a real episode that only measures; indexed by episode.
    Evaluate = 4,
    /// Split and shuffles of an ensemble member's data; indexed by member.
    Fit = 5,
    /// First states of imagined rollouts; indexed by imagination phase and task.
    ImaginedStart = 6,
    /// Action noise of imagined rollouts; indexed by imagination phase and task.
    ImaginedAction = 7,
    /// Tests and benchmarks.
    Test = 8,
    /// What learning without a model draws: minibatches, sampled actions; indexed by use.
    Update = 9,
    /// Noise on the parameters of an exploring policy; indexed by use.
    Exploration = 10,
}

/// Every random number of a run, by name.
///
/// The key (seed, purpose, iteration, index) *is* the ChaCha key, so a stream depends on nothing else: not on
/// what was drawn before, nor on the number of threads.
///
/// ```
/// use mbmpo_core::{Purpose, Streams};
/// use rand::RngExt;
///
/// let streams = Streams::new(7);
/// let first: f64 = streams.stream(Purpose::Test, 3, 0).random();
/// let again: f64 = streams.stream(Purpose::Test, 3, 0).random();
/// let other: f64 = streams.stream(Purpose::Test, 3, 1).random();
/// assert_eq!(first, again);
/// assert_ne!(first, other);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed they were made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream of that name, from its beginning.
    pub fn stream(&self, purpose: Purpose, iteration: u64, index: u64) -> Stream {
        let mut key = [0; 32];
        for (part, word) in
            key.chunks_exact_mut(8)
                .zip([self.seed, purpose as u64, iteration, index])
        {
            part.copy_from_slice(&word.to_le_bytes());
        }
        Stream::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    /// Fails when a part of the name is ignored, or when the byte layout (hence every run) changes.
    #[test]
    fn each_part_of_the_name_matters() {
        let draw = |seed, purpose, iteration, index| {
            Streams::new(seed)
                .stream(purpose, iteration, index)
                .next_u64()
        };
        let reference = draw(1, Purpose::Collect, 2, 3);
        assert_ne!(reference, draw(2, Purpose::Collect, 2, 3));
        assert_ne!(reference, draw(1, Purpose::Evaluate, 2, 3));
        assert_ne!(reference, draw(1, Purpose::Collect, 3, 3));
        assert_ne!(reference, draw(1, Purpose::Collect, 2, 4));
        assert_ne!(
            draw(1, Purpose::Collect, 2, 3),
            draw(1, Purpose::Collect, 3, 2)
        );
    }
}
