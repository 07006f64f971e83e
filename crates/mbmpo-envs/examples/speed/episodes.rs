//! What the benchmark and the comparison with MuJoCo measure.

use mbmpo_core::{Purpose, Result, Stream, Streams};
use mbmpo_envs::{Variant, VectorEnvironment, make};
use rand::RngExt;

/// Control steps of an episode.
const STEPS: usize = 200;

/// Environments that step together: enough for the threads to share out evenly.
const COPIES: usize = 16;

/// Control steps of [`Episodes::run`].
pub const ALL_STEPS: usize = STEPS * COPIES;

/// Copies of an environment and the uniform actions that every episode takes, drawn beforehand: drawing them is not
/// what is measured.
pub struct Episodes {
    copies: VectorEnvironment,
    actions: Vec<Vec<f32>>,
    streams: Vec<Stream>,
}

impl Episodes {
    /// # Errors
    /// When there is no environment of that name.
    pub fn new(name: &str) -> Result<Self> {
        let environment = make(name, Variant::Paper)?;
        let streams = Streams::new(1);
        let mut random = streams.stream(Purpose::Test, 0, COPIES as u64);
        let dim = environment.action_dim() * COPIES;
        let mut actions = || (0..dim).map(|_| random.random_range(-1.0..1.0)).collect();
        Ok(Self {
            actions: (0..STEPS).map(|_| actions()).collect(),
            copies: VectorEnvironment::new(environment.as_ref(), COPIES),
            streams: (0..COPIES as u64)
                .map(|copy| streams.stream(Purpose::Test, 0, copy))
                .collect(),
        })
    }

    /// A reset and [`STEPS`] steps of all copies, past termination, on the threads of the current pool.
    ///
    /// # Errors
    /// When the physics gives up, which tests of robustness exclude.
    pub fn run(&mut self) -> Result<()> {
        self.copies.reset(&mut self.streams)?;
        for actions in &self.actions {
            self.copies.step(actions)?;
        }
        Ok(())
    }
}
