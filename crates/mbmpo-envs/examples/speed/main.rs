//! Prints control steps a second of every environment, or of those named: `name steps/s steps/s`, on one thread and on
//! all. `docs/benchmarks/environments.py` runs it beside MuJoCo; `RAYON_NUM_THREADS` sets how many all are.

mod episodes;

use episodes::{ALL_STEPS, Episodes};
use mbmpo_core::Result;
use mbmpo_envs::NAMES;
use rayon::ThreadPoolBuilder;
use std::error::Error;
use std::time::{Duration, Instant};

/// One thread and all are measured in turn, so often and for so long, and the median counts: what else the machine does in
/// the meantime slows both alike.
const ROUNDS: usize = 11;
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
        // caches and clocks warm up
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

/// Control steps a second.
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
