//! Products must equal the textbook's, for sizes that are and are not multiples of tiles, vectors
//! and caches, and the bits of an entry must not depend on the other entries.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_kernels::{
    GROUP, Instructions, Panels, add_transposed_product, product, transposed_product,
};
use proptest::prelude::*;

/// Small whole numbers, whose products and sums are exact.
fn matrix(rows: usize, columns: usize, seed: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|i| ((i * 7919 + seed * 104_729) % 13) as f32 - 6.0)
        .collect()
}

fn textbook(a: &[f32], b: &[f32], [rows, depth, columns]: [usize; 3]) -> Vec<f32> {
    let mut c = vec![0.0; rows * columns];
    for i in 0..rows {
        for j in 0..columns {
            c[i * columns + j] = (0..depth)
                .map(|k| a[i * depth + k] * b[k * columns + j])
                .sum();
        }
    }
    c
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..matrix.len())
        .map(|i| matrix[i % rows * columns + i / rows])
        .collect()
}

/// Checks every kind of product in every instruction set of this processor.
fn check(sizes: [usize; 3]) {
    for set in Instructions::available() {
        check_with(set, sizes);
    }
}

fn check_with(set: Instructions, [rows, depth, columns]: [usize; 3]) {
    let empty = Panels::for_instructions(set).unwrap();
    let (a, b) = (matrix(rows, depth, 1), matrix(depth, columns, 2));
    let expected = textbook(&a, &b, [rows, depth, columns]);
    // previous contents do not matter, neither of the result nor of the packed factor
    let mut panels = empty.clone();
    panels.pack(3, [&matrix(700, 3, 4)[..]]);
    let (top, bottom) = b.split_at(depth / 3 * columns);
    panels.pack(columns, [top, bottom]);
    assert_eq!((panels.rows(), panels.columns()), (depth, columns));

    let mut c = vec![f32::NAN; rows * columns];
    let finished = std::cell::RefCell::new(vec![0; rows]);
    panels.product(&a, &mut c, |first, block| {
        for (row, count) in block
            .chunks_exact(columns)
            .zip(&mut finished.borrow_mut()[first..])
        {
            assert!(row.iter().all(|entry| !entry.is_nan()));
            *count += 1;
        }
        block.iter_mut().for_each(|entry| *entry += 1.0);
    });
    assert!(finished.borrow().iter().all(|count| *count == 1));
    c.iter_mut().for_each(|entry| *entry -= 1.0);
    assert_eq!(c, expected, "{rows} x {depth} x {columns}");

    let mut sum = matrix(rows, columns, 5);
    panels.add_product(&a, &mut sum, |_, block| {
        block.iter_mut().for_each(|entry| *entry *= 2.0);
    });
    let doubled = matrix(rows, columns, 5).into_iter().zip(&expected);
    let doubled: Vec<f32> = doubled.map(|(before, c)| 2.0 * (before + c)).collect();
    assert_eq!(sum, doubled, "{rows} x {depth} x {columns}, added");

    let mut of_transposed = empty.clone();
    of_transposed.pack_transposed(columns, &transposed(&b, columns));
    let mut c = vec![f32::NAN; rows * columns];
    of_transposed.product(&a, &mut c, |_, _| {});
    assert_eq!(
        c, expected,
        "{rows} x {depth} x {columns}, B from its transpose"
    );

    // all in panels: A B, with B in one part and in three, and (Aᵀ)ᵀ B, with A and B in two parts
    let pack = |columns: usize, rows: &[f32]| {
        let mut matrix = empty.clone();
        matrix.pack(columns, [rows]);
        matrix
    };
    let factor = pack(depth, &a);
    let parts: Vec<_> = b
        .chunks(depth.div_ceil(3) * columns)
        .map(|rows| pack(columns, rows))
        .collect();
    for b in [vec![&panels], parts.iter().collect()] {
        let mut c = empty.clone();
        c.resize(rows, columns);
        product(&factor, &b, c.data_mut(), |panel, entries| {
            assert_eq!(entries.len(), panel.stride * rows);
            entries.iter_mut().for_each(|entry| *entry += 1.0);
        });
        let mut unpacked = vec![0.0];
        c.unpack(&mut unpacked);
        unpacked.iter_mut().for_each(|entry| *entry -= 1.0);
        assert_eq!(
            unpacked, expected,
            "{set}: {rows} x {depth} x {columns}, in panels"
        );
    }

    let a_transposed = transposed(&a, depth);
    let half = depth.div_ceil(2);
    let parts: Vec<_> = (a_transposed.chunks(half * rows))
        .zip(b.chunks(half * columns))
        .map(|(a, b)| (pack(rows, a), pack(columns, b)))
        .collect();
    let pairs: Vec<_> = parts.iter().map(|(a, b)| (a, b)).collect();
    let mut c = empty.clone();
    c.resize(rows, columns);
    for group in 0..columns.div_ceil(GROUP) {
        transposed_product(&pairs, group, c.group_mut(group));
    }
    let mut unpacked = Vec::new();
    c.unpack(&mut unpacked);
    assert_eq!(
        unpacked, expected,
        "{set}: {rows} x {depth} x {columns}, A from its transpose"
    );

    let mut of_transposed = empty.clone();
    of_transposed.scale_and_transpose(&panels, &vec![2.0; columns]);
    of_transposed.unpack(&mut unpacked);
    let doubled: Vec<f32> = transposed(&b, columns).iter().map(|x| 2.0 * x).collect();
    assert_eq!(unpacked, doubled, "{set}: {depth} x {columns}, transposed");

    let mut sum = matrix(rows, columns, 5);
    add_transposed_product(&a_transposed, rows, &b, columns, &mut sum);
    let after = matrix(rows, columns, 5).into_iter().zip(&expected);
    let after: Vec<f32> = after.map(|(before, c)| before + c).collect();
    assert_eq!(
        sum, after,
        "{rows} x {depth} x {columns}, A from its transpose, added"
    );
}

/// Fails when a tile at an edge, a narrow panel, a sum longer than one pass or a block of rows is
/// wrong.
#[test]
fn odd_sizes() {
    for sizes in [
        [1, 1, 1],
        [6, 8, 16],
        [7, 3, 17],
        [100, 23, 40],
        [97, 512, 33],
        [193, 513, 24],
        [13, 1025, 9],
    ] {
        check(sizes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fails when a combination of sizes is handled by the wrong tile.
    #[test]
    fn any_small_size(rows in 1_usize..40, depth in 1_usize..40, columns in 1_usize..70) {
        check([rows, depth, columns]);
    }
}

/// Fails when the order of a row's sums depends on the other rows: dividing rows among threads
/// would change bits.
#[test]
fn a_row_alone_has_the_same_bits() {
    let (rows, depth, columns) = (23, 600, 37);
    let numbers =
        |count: usize| -> Vec<f32> { (0..count).map(|i| (i as f32 * 0.618).sin()).collect() };
    let (a, b) = (numbers(rows * depth), numbers(depth * columns));
    let mut panels = Panels::default();
    panels.pack(columns, [&b[..]]);
    let mut together = vec![0.0; rows * columns];
    panels.product(&a, &mut together, |_, _| {});
    let mut alone = vec![0.0; columns];
    for (a, expected) in a.chunks_exact(depth).zip(together.chunks_exact(columns)) {
        panels.product(a, &mut alone, |_, _| {});
        assert_eq!(alone, expected);
    }
}

/// Fails when an instruction set does not fuse multiplications with additions, or sums in an order
/// of its own: results would differ between machines.
#[test]
fn every_instruction_set_gives_the_same_bits() {
    let missing = Instructions::ALL.into_iter().filter(|set| {
        let mut available = Instructions::available();
        available.all(|other| other != *set)
    });
    println!("not on this machine: {:?}", missing.collect::<Vec<_>>());
    let numbers =
        |count: usize, x: f32| -> Vec<f32> { (0..count).map(|i| (i as f32 * x).sin()).collect() };
    let (rows, depth, columns) = (37, 1100, 81);
    let (a, b) = (
        numbers(rows * depth, 0.618),
        numbers(depth * columns, 0.414),
    );
    let results: Vec<_> = Instructions::available()
        .map(|set| {
            let mut factors = [(); 5].map(|()| Panels::for_instructions(set).unwrap());
            let [left, right, left_transposed, c, d] = &mut factors;
            left.pack(depth, [&a[..]]);
            right.pack(columns, [&b[..]]);
            left_transposed.scale_and_transpose(left, &vec![1.0; depth]);
            c.resize(rows, columns);
            product(left, &[&*right], c.data_mut(), |_, _| {});
            d.resize(rows, columns);
            for group in 0..columns.div_ceil(GROUP) {
                transposed_product(&[(&*left_transposed, &*right)], group, d.group_mut(group));
            }
            let mut in_rows = vec![0.0; rows * columns];
            right.product(&a, &mut in_rows, |_, _| {});
            let mut unpacked = [Vec::new(), Vec::new()];
            c.unpack(&mut unpacked[0]);
            d.unpack(&mut unpacked[1]);
            assert_eq!(unpacked[0], in_rows, "{set}");
            assert_eq!(unpacked[1], in_rows, "{set}");
            in_rows
        })
        .collect();
    for result in &results {
        assert_eq!(*result, results[0]);
    }
}

/// Fails when an empty product leaves the previous contents, or divides by zero.
#[test]
fn empty_factors() {
    let mut panels = Panels::default();
    panels.product(&[], &mut [], |_, _| {});
    panels.pack(3, [&[][..]]);
    let mut c = [1.0; 6];
    panels.product(&[], &mut c, |_, _| {});
    assert_eq!(c, [0.0; 6]);
    panels.pack_transposed(3, &[]);
    assert_eq!((panels.rows(), panels.columns()), (0, 3));
}

/// Fails when sizes that do not match are read past their end, or silently cut.
#[test]
#[should_panic(expected = "equally many rows")]
fn sizes_must_agree() {
    let mut panels = Panels::default();
    panels.pack(2, [&[1.0, 2.0, 3.0, 4.0][..]]);
    panels.product(&[1.0; 3], &mut [0.0; 4], |_, _| {});
}
