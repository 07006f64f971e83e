use crate::{Archive, Persist, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// A stream of random numbers: ChaCha with 8 rounds, the same on every platform.
pub type Stream = ChaCha8Rng;

/// The use of a stream of random numbers.
///
/// The numbers behind the names are part of the meaning of every seed: never renumber them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights of the policy (index 0) and of a critic (index 1).
    PolicyWeights,
    /// Initial weights of the ensemble; indexed by member.
    ModelWeights,
    /// Resets and actions of a counted real episode; indexed by episode. `collect_batch` of
    /// [`Experience`](crate::Experience) uses 1,000,000 · iteration + batch for the iteration.
    Collect,
    /// Resets and actions of an evaluated real episode; indexed by episode. An algorithm that
    /// evaluates several policies tells them apart by the iteration.
    Evaluate,
    /// Split and shuffles of an ensemble member's data; indexed by member.
    Fit,
    /// First states of imagined rollouts; indexed by imagination phase and task.
    ImaginedStart,
    /// Action noise of imagined rollouts; indexed by imagination phase and task.
    ImaginedAction,
    /// Tests and benchmarks.
    Test,
    /// Minibatches and sampled actions of learning on real data; indexed by use.
    Update,
    /// Noise on the parameters of an exploring policy; indexed by use.
    Exploration,
    /// Members and noise of imagined transitions; indexed by imagination phase and task.
    ImaginedStep,
    /// Noise of predictions that measure a model's error; indexed by steps ahead.
    ModelError,
    /// Noise of predictions that are compared between members; indexed by use.
    Disagreement,
    /// A purpose of an algorithm outside these crates, told apart by a number of its own.
    Own(u16),
}

impl Purpose {
    /// The number in the name of a stream, below 2³².
    fn number(self) -> u64 {
        match self {
            Self::PolicyWeights => 1,
            Self::ModelWeights => 2,
            Self::Collect => 3,
            Self::Evaluate => 4,
            Self::Fit => 5,
            Self::ImaginedStart => 6,
            Self::ImaginedAction => 7,
            Self::Test => 8,
            Self::Update => 9,
            Self::Exploration => 10,
            Self::ImaginedStep => 11,
            Self::ModelError => 12,
            Self::Disagreement => 13,
            Self::Own(number) => 0x1_0000 + u64::from(number),
        }
    }
}

/// The random streams of a run, by name.
///
/// The key (seed, purpose, iteration, index) *is* the ChaCha key, so a stream depends on nothing
/// else: not on earlier draws, nor on the number of threads. (After [`Self::reseed`] the number of
/// the attempt is part of it.)
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

    /// Changes the numbers of every stream, for another attempt.
    pub fn reseed(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
    }

    /// The stream of that name, from its beginning.
    pub fn stream(&self, purpose: Purpose, iteration: u64, index: u64) -> Stream {
        let purpose = purpose.number() | u64::from(self.attempt) << 32;
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
    /// The seed is not part of the state: it belongs to the configuration.
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        let mut attempt = u64::from(self.attempt);
        archive.number("attempt", &mut attempt)?;
        self.attempt =
            u32::try_from(attempt).map_err(|_| archive.refuse("attempt", "below 2³²"))?;
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
        again.reseed();
        let next = again.stream(Purpose::Collect, 2, 3).next_u64();
        assert_ne!(reference, next);
        assert_ne!(draw(1, Purpose::Own(3), 2, 3), reference);
        assert_ne!(
            draw(1, Purpose::Own(3), 2, 3),
            draw(1, Purpose::Own(4), 2, 3)
        );
    }
}
