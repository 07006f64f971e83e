//! Sums of a row with every row of a panel, and of all its rows. Meant for the `finish` of a
//! product, which is already compiled for the processor's vector instructions.

/// Adds `row` `[stride]` to every row of `rows` `[_, stride]`.
#[inline(always)]
pub fn add_to_rows(rows: &mut [f32], row: &[f32]) {
    #[inline(always)]
    fn add<const N: usize>(rows: &mut [f32], row: &[f32]) {
        let (row, _) = row.as_chunks::<N>();
        for rows in rows.chunks_exact_mut(row.len() * N) {
            for (sums, x) in rows.as_chunks_mut::<N>().0.iter_mut().zip(row) {
                for i in 0..N {
                    sums[i] += x[i];
                }
            }
        }
    }
    // the compiler knows the most frequent widths
    match row.len() {
        0 => (),
        64 => add::<64>(rows, row),
        32 => add::<32>(rows, row),
        16 => add::<16>(rows, row),
        8 => add::<8>(rows, row),
        _ => add::<1>(rows, row),
    }
}

/// Adds the rows of `rows` `[_, stride]` to `sums` `[stride]`, in order.
#[inline(always)]
pub fn sum_rows(sums: &mut [f32], rows: &[f32]) {
    #[inline(always)]
    fn sum<const N: usize>(sums: &mut [f32], rows: &[f32]) {
        let (sums, _) = sums.as_chunks_mut::<N>();
        if let [sums] = sums {
            let mut total = *sums;
            for row in rows.as_chunks::<N>().0 {
                for i in 0..N {
                    total[i] += row[i];
                }
            }
            *sums = total;
            return;
        }
        for rows in rows.chunks_exact(sums.len() * N) {
            for (sums, x) in sums.iter_mut().zip(rows.as_chunks::<N>().0) {
                for i in 0..N {
                    sums[i] += x[i];
                }
            }
        }
    }
    match sums.len() {
        0 => (),
        64 => sum::<64>(sums, rows),
        32 => sum::<32>(sums, rows),
        16 => sum::<16>(sums, rows),
        8 => sum::<8>(sums, rows),
        _ => sum::<1>(sums, rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when rows and columns are mixed up, or the previous contents are lost.
    #[test]
    fn small_numbers() {
        for width in [0, 1, 3, 8, 16, 32, 48, 64] {
            let mut rows: Vec<f32> = (0..2 * width).map(|i| i as f32).collect();
            let row: Vec<f32> = (0..width).map(|i| 100.0 * i as f32).collect();
            add_to_rows(&mut rows, &row);
            let mut sums = vec![1.0; width];
            sum_rows(&mut sums, &rows);
            for i in 0..width {
                assert_eq!(rows[width + i], (width + i) as f32 + 100.0 * i as f32);
                assert_eq!(sums[i], 1.0 + (width + 2 * i) as f32 + 200.0 * i as f32);
            }
        }
    }
}
