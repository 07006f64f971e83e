//! The kernels at the sizes that MB-MPO needs, on one thread.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mbmpo_kernels::{GROUP, Instructions, Panels, product, tanh, transposed_product, vectorized};

/// `INSTRUCTIONS=avx2 cargo bench` measures these.
fn main() {
    if let Ok(name) = std::env::var("INSTRUCTIONS") {
        let set: Instructions = name.parse().unwrap();
        set.select().unwrap();
    }
    divan::main();
}

fn matrix(rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| (i % 7) as f32 - 3.0).collect()
}

fn panels(rows: usize, columns: usize) -> Panels {
    packed(Panels::default(), rows, columns)
}

fn factor(rows: usize, columns: usize) -> Panels {
    packed(Panels::factor(), rows, columns)
}

fn packed(mut panels: Panels, rows: usize, columns: usize) -> Panels {
    panels.pack(columns, [&matrix(rows, columns)[..]]);
    panels
}

/// [rows x depth] x [depth x columns], all in panels; items are floating-point operations.
#[divan::bench(args = [[500, 512, 512], [66, 512, 512], [36, 512, 512], [66, 23, 512], [66, 512, 17], [200, 32, 32], [200, 17, 32], [200, 32, 6]])]
fn in_panels(bencher: Bencher, [rows, depth, columns]: [usize; 3]) {
    let (a, b, mut c) = (
        panels(rows, depth),
        factor(depth, columns),
        panels(rows, columns),
    );
    bencher
        .counter(ItemsCount::new(2 * rows * depth * columns))
        .bench_local(|| product(black_box(&a), &[&b], c.data_mut(), |_, _| {}));
}

/// The gradient of weights in a training step, whose batch comes in parts.
#[divan::bench(args = [[66, 512, 512], [66, 23, 512], [66, 512, 17], [50, 32, 32], [50, 17, 32], [50, 6, 32]])]
fn gradient(bencher: Bencher, [rows, inputs, outputs]: [usize; 3]) {
    let parts: Vec<_> = (0..8)
        .map(|_| (panels(rows, inputs), panels(rows, outputs)))
        .collect();
    let pairs: Vec<_> = parts.iter().map(|(a, b)| (a, b)).collect();
    let mut c = factor(inputs, outputs);
    bencher
        .counter(ItemsCount::new(16 * rows * inputs * outputs))
        .bench_local(|| {
            for group in 0..outputs.div_ceil(GROUP) {
                transposed_product(black_box(&pairs), group, c.group_mut(group));
            }
        });
}

#[divan::bench]
fn pack(bencher: Bencher) {
    let (b, mut panels) = (matrix(512, 512), Panels::factor());
    bencher.bench_local(|| panels.pack(512, [black_box(&b[..])]));
}

/// A group of columns of a layer.
#[divan::bench]
fn scale_and_transpose(bencher: Bencher) {
    let (b, mut to) = (factor(512, GROUP), Panels::factor());
    let factors = [2.0; GROUP];
    bencher.bench_local(|| to.scale_and_transpose(black_box(&b), &factors));
}

/// Items are entries.
#[divan::bench]
fn tanh_of_32_000(bencher: Bencher) {
    let mut x = matrix(1000, 32);
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        vectorized(
            #[inline(always)]
            || black_box(&mut x).iter_mut().for_each(|x| *x = tanh(*x)),
        );
    });
}
