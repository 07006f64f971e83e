//! What the benchmark and the comparison with MuJoCo measure.

use mbmpo_core::{Environment, Purpose, Result, Stream, Streams};
use mbmpo_envs::{Variant, make};
use rand::RngExt;

/// Control steps of an episode.
pub const STEPS: usize = 200;

/// An environment and the uniform actions that every episode in it takes, drawn beforehand: drawing them is not
/// what is measured.
pub struct Episodes {
    environment: Box<dyn Environment>,
    actions: Vec<Vec<f32>>,
    stream: Stream,
}

impl Episodes {
    /// Copies with different indices get different actions and first states.
    ///
    /// # Errors
    /// When there is no environment of that name.
    pub fn new(name: &str, index: u64) -> Result<Self> {
        let environment = make(name, Variant::Paper)?;
        let mut stream = Streams::new(1).stream(Purpose::Test, 0, index);
        let dim = environment.action_space().dim();
        let mut action = || (0..dim).map(|_| stream.random_range(-1.0..1.0)).collect();
        let actions = (0..STEPS).map(|_| action()).collect();
        Ok(Self {
            environment,
            actions,
            stream,
        })
    }

    /// A reset and [`STEPS`] steps, past termination and back to a first state when the physics gives up.
    pub fn run(&mut self) {
        self.environment.reset(&mut self.stream);
        for action in &self.actions {
            if self.environment.step(action).is_err() {
                self.environment.reset(&mut self.stream);
            }
        }
    }
}
