//! The kernels at the sizes that MB-MPO needs, on one thread; packing is included where a factor
//! changes every time.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mbmpo_kernels::{Panels, Strips, add_transposed_product, tanh, vectorized};

fn main() {
    divan::main();
}

fn matrix(rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| (i % 7) as f32 - 3.0).collect()
}

/// [rows x depth] x [depth x columns] with the right factor packed beforehand; items are
/// floating-point operations.
#[divan::bench(args = [[500, 512, 512], [50, 512, 512], [25, 512, 512], [500, 23, 512], [500, 512, 17], [1000, 32, 32], [1000, 17, 32], [1000, 32, 6]])]
fn product(bencher: Bencher, [rows, depth, columns]: [usize; 3]) {
    let (a, b) = (matrix(rows, depth), matrix(depth, columns));
    let mut panels = Panels::default();
    panels.pack(columns, [&b[..]]);
    let mut c = vec![0.0; rows * columns];
    bencher
        .counter(ItemsCount::new(2 * rows * depth * columns))
        .bench_local(|| panels.product(black_box(&a), &mut c, |_, _| {}));
}

/// The gradient of weights in a training step: activations and deltas are packed first.
#[divan::bench(args = [[500, 512, 512], [500, 23, 512], [500, 512, 17], [250, 32, 32]])]
fn transposed_product(bencher: Bencher, [rows, inputs, outputs]: [usize; 3]) {
    let (a, b) = (matrix(rows, inputs), matrix(rows, outputs));
    let (mut strips, mut panels) = (Strips::default(), Panels::default());
    let mut c = vec![0.0; inputs * outputs];
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| {
            strips.pack(inputs, [black_box(&a[..])]);
            panels.pack(outputs, [&b[..]]);
            strips.product(0, &panels, &mut c);
        });
}

/// The same without packing.
#[divan::bench(args = [[100, 32, 32], [100, 17, 32], [100, 32, 6], [250, 32, 32]])]
fn unpacked_transposed_product(bencher: Bencher, [rows, inputs, outputs]: [usize; 3]) {
    let (a, b) = (matrix(rows, inputs), matrix(rows, outputs));
    let mut c = vec![0.0; inputs * outputs];
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| add_transposed_product(black_box(&a), inputs, &b, outputs, &mut c));
}

#[divan::bench]
fn pack(bencher: Bencher) {
    let (b, mut panels) = (matrix(512, 512), Panels::default());
    bencher.bench_local(|| panels.pack(512, [black_box(&b[..])]));
}

#[divan::bench]
fn pack_transposed(bencher: Bencher) {
    let (b, mut panels) = (matrix(512, 512), Panels::default());
    bencher.bench_local(|| panels.pack_transposed(512, black_box(&b)));
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
