//! Copies that step in parallel give the same bits as one after the other, and an error names the
//! copy.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{cheetah, stream, uniform};
use mbmpo_core::{Environment, Error, Step, Stream};
use mbmpo_envs::VectorEnvironment;

const COPIES: usize = 5;
const STEPS: usize = 100;

fn streams() -> Vec<Stream> {
    (0..COPIES as u64).map(stream).collect()
}

fn actions() -> Vec<Vec<f32>> {
    let mut random = stream(100);
    (0..STEPS)
        .map(|_| uniform(6 * COPIES, &mut random))
        .collect()
}

fn one_after_the_other() -> (Vec<Vec<f32>>, Vec<Vec<Step>>) {
    let mut copies: Vec<_> = (0..COPIES).map(|_| cheetah()).collect();
    let mut streams = streams();
    let pairs = copies.iter_mut().zip(&mut streams);
    let first = pairs.map(|(copy, stream)| copy.reset(stream)).collect();
    let step = |actions: &Vec<f32>| {
        let pairs = copies.iter_mut().zip(actions.chunks(6));
        pairs
            .map(|(copy, action)| copy.step(action).unwrap())
            .collect()
    };
    (first, actions().iter().map(step).collect())
}

/// Fails when a result depends on the number of threads, or a copy gets another's action or stream.
#[test]
fn threads_do_not_matter() {
    let expected = one_after_the_other();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let together = pool.install(|| {
            let mut copies = VectorEnvironment::new(&cheetah(), COPIES);
            let first = copies.reset(&mut streams()).unwrap();
            let steps: Vec<_> = actions().iter().map(|a| copies.step(a).unwrap()).collect();
            (first, steps)
        });
        assert!(together == expected, "{threads} threads");
    }
}

/// Fails when an error does not name the first copy that diverged, or a wrong size is accepted.
#[test]
fn errors_name_the_copy() {
    let mut fast = cheetah();
    fast.set_state(&[0.0; 9], &[1e300; 9]).unwrap();
    let mut copies = VectorEnvironment::new(&fast, 2);
    let error = copies.step(&[0.0; 12]).unwrap_err();
    assert!(
        matches!(&error, Error::Copy { index: 0, source } if matches!(**source, Error::Diverged { .. })),
        "{error}"
    );
    assert!(matches!(
        copies.step(&[0.0; 11]),
        Err(Error::Shape { expected: 12, .. })
    ));
    assert!(copies.reset(&mut [stream(0)]).is_err());
    assert_eq!(copies.copies().len(), 2);
}
