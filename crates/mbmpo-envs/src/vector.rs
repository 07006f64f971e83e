use mbmpo_core::{Environment, Error, Result, Step, Stream};
use rayon::prelude::*;

/// Copies of an environment that reset and step together, in parallel on the current Rayon pool.
/// The results are those of the copies one after the other, at any number of threads.
///
/// ```
/// use mbmpo_core::{Purpose, Streams};
/// use mbmpo_envs::{PointMass, Variant, VectorEnvironment};
///
/// let mut points = VectorEnvironment::new(&PointMass::new(Variant::Paper), 2);
/// let streams = Streams::new(1);
/// let mut streams: Vec<_> = (0..2).map(|i| streams.stream(Purpose::Test, 0, i)).collect();
/// points.reset(&mut streams)?;
/// let steps = points.step(&[0.1, 0.2, 0.3, 0.4])?;
/// assert_eq!(steps.len(), 2);
/// # Ok::<(), mbmpo_core::Error>(())
/// ```
pub struct VectorEnvironment {
    copies: Vec<Box<dyn Environment>>,
    action_dim: usize,
}

impl VectorEnvironment {
    /// This many copies of `environment`, each in its present state.
    pub fn new(environment: &dyn Environment, copies: usize) -> Self {
        Self {
            copies: (0..copies).map(|_| environment.boxed_clone()).collect(),
            action_dim: environment.action_dim(),
        }
    }

    /// The copies.
    pub fn copies(&self) -> &[Box<dyn Environment>] {
        &self.copies
    }

    /// Starts an episode in every copy, with a stream each, and returns the first observations.
    ///
    /// # Errors
    /// When the number of streams differs from that of the copies.
    pub fn reset(&mut self, streams: &mut [Stream]) -> Result<Vec<Vec<f32>>> {
        Error::check_shape("streams", self.copies.len(), streams.len())?;
        let pairs = self.copies.par_iter_mut().zip(streams);
        Ok(pairs.map(|(copy, stream)| copy.reset(stream)).collect())
    }

    /// Applies an action to every copy: `[copies * action]`.
    ///
    /// # Errors
    /// When the number of actions is wrong; [`Error::Copy`] when copies diverge: the first of them
    /// is reported, and all copies have taken their step.
    pub fn step(&mut self, actions: &[f32]) -> Result<Vec<Step>> {
        let expected = self.copies.len() * self.action_dim;
        Error::check_shape("actions", expected, actions.len())?;
        let actions = actions.par_chunks_exact(self.action_dim.max(1));
        let steps: Vec<_> = self
            .copies
            .par_iter_mut()
            .zip(actions)
            .map(|(copy, action)| copy.step(action))
            .collect();
        let index = |(index, step): (usize, Result<Step>)| {
            step.map_err(|source| Error::Copy {
                index,
                source: Box::new(source),
            })
        };
        steps.into_iter().enumerate().map(index).collect()
    }
}
