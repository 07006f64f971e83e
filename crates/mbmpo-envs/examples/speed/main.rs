//! Prints control steps a second of every environment, or of those named: `name steps/s steps/s`, for one thread and
//! for all. `docs/benchmarks/environments.py` runs it beside MuJoCo; `RAYON_NUM_THREADS` sets how many all are.

mod episodes;

use episodes::{Episodes, STEPS};
use mbmpo_core::Result;
use mbmpo_envs::NAMES;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// How long each of them is measured.
const TIME: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let mut names: Vec<_> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names = NAMES.map(str::to_string).to_vec();
    }
    for name in names {
        let copies = 0..rayon::current_num_threads();
        let mut copies: Vec<_> = copies
            .map(|copy| Episodes::new(&name, copy as u64))
            .collect::<Result<_>>()?;
        let one = speed(&mut copies[..1]);
        let all = speed(&mut copies);
        println!("{name} {one:.0} {all:.0}");
    }
    Ok(())
}

/// Control steps a second of all copies together, each on a thread.
fn speed(copies: &mut [Episodes]) -> f64 {
    let run = |copies: &mut [Episodes]| copies.par_iter_mut().for_each(Episodes::run);
    // caches and clocks warm up
    run(copies);
    let start = Instant::now();
    let mut steps = 0;
    while start.elapsed() < TIME {
        run(copies);
        steps += copies.len() * STEPS;
    }
    steps as f64 / start.elapsed().as_secs_f64()
}
