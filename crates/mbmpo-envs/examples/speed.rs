//! Prints control steps per second under random actions, resets included, of every environment or
//! of those named: `name steps/s steps/s`, on one thread and on all. `RAYON_NUM_THREADS` sets the
//! number of all threads. `docs/benchmarks/environments.py` runs it beside MuJoCo.

use mbmpo_core::{Purpose, Result, Stream, Streams};
use mbmpo_envs::{NAMES, Variant, VectorEnvironment, make};
use rand::RngExt;
use rayon::ThreadPoolBuilder;
use std::error::Error;
use std::time::{Duration, Instant};

/// Measurements of each kind, in turn, so that other load slows both alike; the median counts.
const ROUNDS: usize = 11;
/// Least length of a measurement.
const TIME: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn Error>> {
    let mut names: Vec<_> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names = NAMES.iter().map(ToString::to_string).collect();
    }
    let one = ThreadPoolBuilder::new().num_threads(1).build()?;
    let all = ThreadPoolBuilder::new().build()?;
    for name in names {
        let mut episodes = Episodes::new(&name)?;
        // warm up
        all.install(|| speed(&mut episodes))?;
        let mut speeds = [vec![], vec![]];
        for _ in 0..ROUNDS {
            speeds[0].push(one.install(|| speed(&mut episodes))?);
            speeds[1].push(all.install(|| speed(&mut episodes))?);
        }
        let [one, all] = speeds.map(median);
        println!("{name} {one:.0} {all:.0}");
    }
    Ok(())
}

/// Control steps per second.
fn speed(episodes: &mut Episodes) -> Result<f64> {
    let start = Instant::now();
    let mut steps = 0;
    while start.elapsed() < TIME {
        episodes.run()?;
        steps += ALL_STEPS;
    }
    Ok(steps as f64 / start.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Control steps of an episode.
const STEPS: usize = 200;

/// Environments that step together: enough to divide evenly among the threads.
const COPIES: usize = 16;

/// Control steps of [`Episodes::run`].
const ALL_STEPS: usize = STEPS * COPIES;

/// Copies of an environment, and the uniform actions of an episode, drawn beforehand so that
/// drawing is not measured.
struct Episodes {
    copies: VectorEnvironment,
    actions: Vec<Vec<f32>>,
    streams: Vec<Stream>,
}

impl Episodes {
    /// # Errors
    /// When there is no environment of that name.
    fn new(name: &str) -> Result<Self> {
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

    /// A reset and [`STEPS`] steps of all copies, past termination, on the threads of the current
    /// pool.
    ///
    /// # Errors
    /// When the simulation diverges.
    fn run(&mut self) -> Result<()> {
        self.copies.reset(&mut self.streams)?;
        for actions in &self.actions {
            self.copies.step(actions)?;
        }
        Ok(())
    }
}
