//! Products must equal the textbook's, for sizes that are and are not multiples of tiles, vectors
//! and panels, and the bits of an entry must depend neither on the other entries nor on the
//! instruction set.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_kernels::{
    GROUP, Instructions, Panels, add_transposed_product, product, sum_of_products,
    transposed_product,
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

fn pack(set: Instructions, columns: usize, rows: &[f32]) -> Panels {
    packed(Panels::for_instructions(set).unwrap(), columns, rows)
}

fn factor(set: Instructions, columns: usize, rows: &[f32]) -> Panels {
    let empty = Panels::for_instructions(set).unwrap();
    packed(empty.as_factor(), columns, rows)
}

/// Packed from two parts, over previous contents. The padding is not a number: it must not matter.
fn packed(mut matrix: Panels, columns: usize, rows: &[f32]) -> Panels {
    matrix.resize(rows.len() / columns, columns);
    matrix.data_mut().fill(f32::NAN);
    let (top, bottom) = rows.split_at(rows.len() / columns / 3 * columns);
    matrix.pack(columns, [top, bottom]);
    matrix
}

fn unpack(matrix: &Panels) -> Vec<f32> {
    let mut rows = vec![0.0];
    matrix.unpack(&mut rows);
    rows
}

/// Checks every kind of product with every instruction set of this processor.
fn check(sizes: [usize; 3]) {
    for set in Instructions::available() {
        check_with(set, sizes);
    }
}

fn check_with(set: Instructions, [rows, depth, columns]: [usize; 3]) {
    let what = format!("{set}: {rows} x {depth} x {columns}");
    let (a, b) = (matrix(rows, depth, 1), matrix(depth, columns, 2));
    let expected = textbook(&a, &b, [rows, depth, columns]);
    let (left, right) = (pack(set, depth, &a), factor(set, columns, &b));
    assert_eq!((right.rows(), right.columns()), (depth, columns));
    assert_eq!(unpack(&right), b, "{what}, packed");

    // B in one part and in several below each other
    let parts: Vec<_> = b
        .chunks(depth.div_ceil(3) * columns)
        .map(|rows| factor(set, columns, rows))
        .collect();
    for b in [vec![&right], parts.iter().collect()] {
        let mut c = pack(set, columns, &vec![f32::NAN; rows * columns]);
        let mut finished = 0;
        product(&left, &b, c.data_mut(), |panel, entries| {
            assert_eq!(entries.len(), panel.stride * rows);
            entries.iter_mut().for_each(|entry| *entry += 1.0);
            finished += panel.columns;
        });
        assert_eq!(finished, columns);
        let less_one: Vec<f32> = unpack(&c).iter().map(|entry| entry - 1.0).collect();
        assert_eq!(less_one, expected, "{what}");
    }

    let twice = [(&left, &right), (&left, &right)];
    let mut c = pack(set, columns, &vec![f32::NAN; rows * columns]);
    sum_of_products(&twice, c.data_mut(), |_, _| {});
    let doubled: Vec<f32> = expected.iter().map(|x| 2.0 * x).collect();
    assert_eq!(unpack(&c), doubled, "{what}, sum of products");

    // A from its transpose, and both factors in parts below each other
    let a_transposed = transposed(&a, depth);
    let half = depth.div_ceil(2);
    let parts: Vec<_> = (a_transposed.chunks(half * rows))
        .zip(b.chunks(half * columns))
        .map(|(a, b)| (pack(set, rows, a), pack(set, columns, b)))
        .collect();
    let pairs: Vec<_> = parts.iter().map(|(a, b)| (a, b)).collect();
    let mut c = factor(set, columns, &vec![f32::NAN; rows * columns]);
    for group in 0..columns.div_ceil(GROUP) {
        transposed_product(&pairs, group, c.group_mut(group));
    }
    assert_eq!(unpack(&c), expected, "{what}, A from its transpose");
    for group in 0..columns.div_ceil(GROUP) {
        add_transposed_product(&pairs, group, c.group_mut(group));
    }
    assert_eq!(unpack(&c), doubled, "{what}, A from its transpose, added");

    let mut of_transposed = Panels::for_instructions(set).unwrap().as_factor();
    of_transposed.pack_transposed(columns, &transposed(&b, columns));
    assert_eq!(
        unpack(&of_transposed),
        b,
        "{what}, packed from the transpose"
    );
    of_transposed.scale_and_transpose(&right, &vec![2.0; columns]);
    let doubled: Vec<f32> = transposed(&b, columns).iter().map(|x| 2.0 * x).collect();
    assert_eq!(unpack(&of_transposed), doubled, "{what}, transposed");
}

/// Fails when a tile at an edge, a narrow panel or a part of a sum is wrong.
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
        [31, 9, 130],
    ] {
        check(sizes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fails when a combination of sizes is handled by the wrong tile.
    #[test]
    fn any_small_size(rows in 1_usize..40, depth in 1_usize..40, columns in 1_usize..150) {
        check([rows, depth, columns]);
    }
}

/// Fails when a sum of more parts than are added up in registers loses some.
#[test]
fn many_parts() {
    for set in Instructions::available() {
        many_parts_with(set);
    }
}

fn many_parts_with(set: Instructions) {
    let (rows, parts, columns) = (5, 150, 7);
    let (a, b) = (matrix(rows, parts, 1), matrix(parts, columns, 2));
    let left = pack(set, parts, &a);
    let below: Vec<_> = b
        .chunks(columns)
        .map(|row| factor(set, columns, row))
        .collect();
    let mut c = pack(set, columns, &vec![0.0; rows * columns]);
    product(
        &left,
        &below.iter().collect::<Vec<_>>(),
        c.data_mut(),
        |_, _| {},
    );
    let expected = textbook(&a, &b, [rows, parts, columns]);
    assert_eq!(unpack(&c), expected);
    let rows_of_a: Vec<_> = transposed(&a, parts)
        .chunks(rows)
        .map(|row| pack(set, rows, row))
        .collect();
    let below: Vec<_> = b
        .chunks(columns)
        .map(|row| pack(set, columns, row))
        .collect();
    let pairs: Vec<_> = rows_of_a.iter().zip(&below).collect();
    let mut c = factor(set, columns, &vec![0.0; rows * columns]);
    transposed_product(&pairs, 0, c.data_mut());
    assert_eq!(unpack(&c), expected);
}

/// Irregular numbers, whose sums depend on the order of their terms.
fn irregular(count: usize, x: f32) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * x).sin()).collect()
}

/// Fails when the order of a row's sums depends on the other rows: dividing rows among threads
/// would change bits.
#[test]
fn a_row_alone_has_the_same_bits() {
    for set in Instructions::available() {
        for columns in [9, 37] {
            a_row_alone(set, columns);
        }
    }
}

fn a_row_alone(set: Instructions, columns: usize) {
    let (rows, depth) = (23, 600);
    let (a, b) = (
        irregular(rows * depth, 0.618),
        irregular(depth * columns, 0.414),
    );
    let right = factor(set, columns, &b);
    let multiply = |a: &[f32]| {
        let left = pack(set, depth, a);
        let mut c = pack(set, columns, &vec![0.0; left.rows() * columns]);
        product(&left, &[&right], c.data_mut(), |_, _| {});
        unpack(&c)
    };
    let together = multiply(&a);
    for (a, expected) in a.chunks_exact(depth).zip(together.chunks_exact(columns)) {
        assert_eq!(multiply(a), expected);
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
    for columns in [9, 37, 81] {
        compare_sets(columns);
    }
}

fn compare_sets(columns: usize) {
    let (rows, depth) = (37, 1100);
    let (a, b) = (
        irregular(rows * depth, 0.618),
        irregular(depth * columns, 0.414),
    );
    let results: Vec<_> = Instructions::available()
        .map(|set| {
            let (left, right) = (pack(set, depth, &a), factor(set, columns, &b));
            let left_transposed = pack(set, rows, &transposed(&a, depth));
            let mut c = pack(set, columns, &vec![0.0; rows * columns]);
            product(&left, &[&right], c.data_mut(), |_, _| {});
            let right = pack(set, columns, &b);
            let mut d = factor(set, columns, &vec![0.0; rows * columns]);
            for group in 0..columns.div_ceil(GROUP) {
                transposed_product(&[(&left_transposed, &right)], group, d.group_mut(group));
            }
            assert_eq!(unpack(&c), unpack(&d), "{set}");
            unpack(&c)
        })
        .collect();
    for result in &results {
        assert_eq!(*result, results[0]);
    }
}

/// Fails when an empty product leaves the previous contents, or divides by zero.
#[test]
fn empty_factors() {
    let empty = Panels::default();
    product(&empty, &[&Panels::factor()], &mut [], |_, _| {});
    product(&empty, &[], &mut [], |_, _| {});
    transposed_product(&[], 0, &mut []);
    transposed_product(&[(&empty, &empty)], 0, &mut []);
    let mut c = factor(Instructions::in_use(), 3, &[1.0; 15]);
    let pair = (&Panels::zeros(0, 5), &Panels::zeros(0, 3));
    transposed_product(&[pair], 0, c.data_mut());
    assert_eq!(unpack(&c), [0.0; 15]);
    let (left, mut right) = (Panels::zeros(2, 0), Panels::factor());
    right.pack(3, [&[][..]]);
    let mut c = pack(Instructions::in_use(), 3, &[1.0; 6]);
    product(&left, &[&right], c.data_mut(), |_, _| {});
    assert_eq!(unpack(&c), [0.0; 6]);
    right.pack_transposed(3, &[]);
    assert_eq!((right.rows(), right.columns()), (0, 3));
}

/// Fails when sizes that do not match are read past their end, or silently cut.
#[test]
#[should_panic(expected = "must have as many columns as B has rows")]
fn sizes_must_agree() {
    let (a, b) = (Panels::zeros(2, 3), Panels::zero_factor(2, 2));
    let mut c = Panels::zeros(2, 2);
    product(&a, &[&b], c.data_mut(), |_, _| {});
}
