use crate::{Archive, Persist, Result};
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
/// what was drawn before, nor on the number of threads. (After [`Self::redraw`] the number of the attempt is part of it.)
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
    attempt: u32,
}

impl Streams {
    /// The streams of a run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, attempt: 0 }
    }

    /// The seed they were made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// From now on every stream has other numbers: for another attempt at what went wrong with these.
    pub fn redraw(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
    }

    /// The stream of that name, from its beginning.
    pub fn stream(&self, purpose: Purpose, iteration: u64, index: u64) -> Stream {
        // a purpose is a small number
        let purpose = purpose as u64 | u64::from(self.attempt) << 32;
        let mut key = [0; 32];
        for (part, word) in key
            .chunks_exact_mut(8)
            .zip([self.seed, purpose, iteration, index])
        {
            part.copy_from_slice(&word.to_le_bytes());
        }
        Stream::from_seed(key)
    }
}

impl Persist for Streams {
    /// The seed is no state: it belongs to the configuration.
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        let mut attempt = u64::from(self.attempt);
        archive.number("attempt", &mut attempt)?;
        self.attempt = u32::try_from(attempt).map_err(|_| archive.refuse("attempt", "smaller"))?;
        Ok(())
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
        let mut again = Streams::new(1);
        again.redraw();
        let next = again.stream(Purpose::Collect, 2, 3).next_u64();
        assert_ne!(reference, next);
    }
}
