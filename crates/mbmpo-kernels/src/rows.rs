//! Sums of a row with every row of a matrix, and of all rows.

use crate::vectorized;

/// Adds `row` `[columns]` to every row of `rows` `[_, columns]`. Meant for the `finish` of a
/// product, which is already compiled for the processor's vector instructions.
#[inline(always)]
pub fn add_to_rows(rows: &mut [f32], row: &[f32]) {
    for sums in rows.chunks_exact_mut(row.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

/// Adds the rows of `rows` `[_, columns]` to `sums` `[columns]`, in order.
pub fn sum_rows(sums: &mut [f32], rows: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(sums.len()) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += x;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when rows and columns are mixed up, or the previous contents are lost.
    #[test]
    fn by_hand() {
        let mut rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        add_to_rows(&mut rows, &[10.0, 20.0, 30.0]);
        assert_eq!(rows, [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
        let mut sums = [1.0, 0.0, 0.0];
        sum_rows(&mut sums, &rows);
        assert_eq!(sums, [26.0, 47.0, 69.0]);
    }
}
