//! How fast the environments are: control steps a second under random actions, resets included.
//!
//! `cargo bench -p mbmpo-envs` measures all of them, `cargo bench -p mbmpo-envs -- half-cheetah` one. "items/s" are
//! control steps a second of all threads together. `docs/benchmarks/environments.py` compares them with MuJoCo.

#[path = "../examples/speed/episodes.rs"]
mod episodes;

use divan::Bencher;
use divan::counter::ItemsCount;
use episodes::{Episodes, STEPS};
use mbmpo_envs::NAMES;
use rayon::prelude::*;

fn main() {
    divan::main();
}

#[allow(clippy::unwrap_used, reason = "there is an environment of every name")]
fn episodes(name: &str, index: u64) -> Episodes {
    Episodes::new(name, index).unwrap()
}

/// An episode at a time.
#[divan::bench(args = NAMES, sample_size = 5)]
fn one_thread(bencher: Bencher, name: &str) {
    let mut episodes = episodes(name, 0);
    bencher
        .counter(ItemsCount::new(STEPS))
        .bench_local(|| episodes.run());
}

/// As many episodes at a time as there are threads, each in a copy of its own.
#[divan::bench(args = NAMES, sample_size = 5)]
fn all_threads(bencher: Bencher, name: &str) {
    let copies = 0..rayon::current_num_threads();
    let mut copies: Vec<_> = copies.map(|copy| episodes(name, copy as u64)).collect();
    bencher
        .counter(ItemsCount::new(STEPS * copies.len()))
        .bench_local(|| copies.par_iter_mut().for_each(Episodes::run));
}
