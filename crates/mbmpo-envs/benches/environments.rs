//! How fast the environments are: control steps a second under random actions, resets included.
//!
//! `cargo bench -p mbmpo-envs` measures all of them, `cargo bench -p mbmpo-envs -- half-cheetah` one. "items/s" are
//! control steps a second of all threads together. `docs/benchmarks/environments.py` compares them with MuJoCo.

#[path = "../examples/speed/episodes.rs"]
mod episodes;

use divan::Bencher;
use divan::counter::ItemsCount;
use episodes::{ALL_STEPS, Episodes};
use mbmpo_envs::NAMES;
use rayon::ThreadPoolBuilder;

fn main() {
    divan::main();
}

#[divan::bench(args = NAMES.iter().copied(), sample_size = 1)]
fn one_thread(bencher: Bencher, name: &str) {
    measure(bencher, name, 1);
}

#[divan::bench(args = NAMES.iter().copied(), sample_size = 1)]
fn all_threads(bencher: Bencher, name: &str) {
    measure(bencher, name, 0);
}

/// 0 threads are all that there are.
#[allow(
    clippy::unwrap_used,
    reason = "there is an environment of every name, and threads can be had"
)]
fn measure(bencher: Bencher, name: &str, threads: usize) {
    let mut episodes = Episodes::new(name).unwrap();
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.unwrap();
    bencher
        .counter(ItemsCount::new(ALL_STEPS))
        .bench_local(|| pool.install(|| episodes.run().unwrap()));
}
