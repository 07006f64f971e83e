//! The same random stream and actions give the same bits, after any history, in every copy and on
//! every thread.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{stream, uniform};
use mbmpo_core::{Environment, Stream};
use mbmpo_envs::{NAMES, Simulated, Variant, make};
use rayon::prelude::*;

/// All numbers of an episode, as bits.
fn episode(environment: &mut dyn Environment, stream: &mut Stream, count: usize) -> Vec<u32> {
    let first = environment.reset(stream);
    let mut bits: Vec<_> = first.iter().map(|x| x.to_bits()).collect();
    bits.extend(steps(environment, stream, count));
    bits
}

fn steps(environment: &mut dyn Environment, stream: &mut Stream, count: usize) -> Vec<u32> {
    let dim = environment.action_dim();
    (0..count)
        .flat_map(|_| {
            let step = environment.step(&uniform(dim, stream)).unwrap();
            let bits: Vec<_> = step.observation.iter().map(|x| x.to_bits()).collect();
            [bits, vec![step.reward.to_bits()]].concat()
        })
        .collect()
}

fn environments() -> impl Iterator<Item = Box<dyn Simulated>> {
    let names = NAMES.iter();
    names.map(|name| make(name, Variant::Paper).unwrap())
}

/// Two environments with the same stream agree; another stream differs.
#[test]
fn same_stream_same_bits() {
    for (mut a, mut b) in environments().zip(environments()) {
        let first = episode(a.as_mut(), &mut stream(1), 300);
        assert_eq!(first, episode(b.as_mut(), &mut stream(1), 300));
        assert_ne!(first, episode(b.as_mut(), &mut stream(2), 300));
    }
}

/// After a reset, a used environment gives the same bits as a fresh one.
#[test]
fn reset_forgets() {
    for (mut fresh, mut used) in environments().zip(environments()) {
        for i in 0..5 {
            episode(used.as_mut(), &mut stream(10 + i), 70);
        }
        assert_eq!(
            episode(used.as_mut(), &mut stream(3), 200),
            episode(fresh.as_mut(), &mut stream(3), 200),
            "{}",
            fresh.name()
        );
    }
}

/// A copy made in the middle of an episode, feet on the ground, continues like the original and
/// does not affect it.
#[test]
fn copies_continue() {
    for mut original in environments() {
        let mut random = stream(4);
        episode(original.as_mut(), &mut random, 60);
        let mut copy = original.boxed_clone();
        let copied = steps(copy.as_mut(), &mut random.clone(), 100);
        let kept = steps(original.as_mut(), &mut random, 100);
        assert_eq!(kept, copied, "{}", original.name());
    }
}

/// Episodes on a pool of threads equal those on one.
#[test]
fn threads_agree() {
    let run = |index: u64| {
        environments()
            .map(|mut environment| episode(environment.as_mut(), &mut stream(index), 200))
            .collect::<Vec<_>>()
    };
    let serial: Vec<_> = (0..8).map(run).collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();
    let parallel: Vec<_> = pool.install(|| (0..8_u64).into_par_iter().map(run).collect());
    assert_eq!(serial, parallel);
}
