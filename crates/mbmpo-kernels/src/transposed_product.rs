//! C += Aᵀ B for narrow A and B, without packing.

use crate::TILE_ROWS;
use crate::fused::add_multiple;
use crate::instructions::dispatch;
use pulp::{Simd, WithSimd, bytemuck};

/// Rows of A and B per pass: of two factors with 32 columns they fill the first-level cache.
const DEPTH: usize = 128;

/// C += Aᵀ B for A `[rows, inputs]`, B `[rows, outputs]` and C `[inputs, outputs]`, in row-major
/// order. Meant for factors that are a few vectors wide: packing them would take as long
/// as the product.
///
/// # Panics
/// When the sizes do not go together.
pub fn add_transposed_product(a: &[f32], inputs: usize, b: &[f32], outputs: usize, c: &mut [f32]) {
    let rows = a.len() / inputs.max(1);
    assert!(
        a.len() == rows * inputs && b.len() == rows * outputs && c.len() == inputs * outputs,
        "A [{} entries] and B [{} entries] must have equally many rows for C [{inputs}, {outputs}]",
        a.len(),
        b.len(),
    );
    if rows == 0 || c.is_empty() {
        return;
    }
    // vectors run along the columns of the wider factor
    let (left, right, strides) = if outputs < inputs {
        ((b, outputs), (a, inputs), (1, outputs))
    } else {
        ((a, inputs), (b, outputs), (outputs, 1))
    };
    for (left_rows, right_rows) in left
        .0
        .chunks(DEPTH * left.1)
        .zip(right.0.chunks(DEPTH * right.1))
    {
        dispatch(TransposedProduct {
            left: left_rows,
            height: left.1,
            right: right_rows,
            width: right.1,
            c,
            strides,
        });
    }
}

struct TransposedProduct<'a> {
    /// `[depth, height]`
    left: &'a [f32],
    height: usize,
    /// `[depth, width]`
    right: &'a [f32],
    width: usize,
    c: &'a mut [f32],
    /// Strides in C between neighbouring columns of `left` and of `right`.
    strides: (usize, usize),
}

impl WithSimd for TransposedProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut j = 0;
        while j < self.width {
            let columns = self.width - j;
            let wide = columns >= 2 * S::F32_LANES;
            for i in (0..self.height).step_by(TILE_ROWS) {
                match (TILE_ROWS.min(self.height - i), wide) {
                    (6, true) => self.tile::<S, 6, 2>(simd, i, j),
                    (5, true) => self.tile::<S, 5, 2>(simd, i, j),
                    (4, true) => self.tile::<S, 4, 2>(simd, i, j),
                    (3, true) => self.tile::<S, 3, 2>(simd, i, j),
                    (2, true) => self.tile::<S, 2, 2>(simd, i, j),
                    (_, true) => self.tile::<S, 1, 2>(simd, i, j),
                    (6, false) => self.tile::<S, 6, 1>(simd, i, j),
                    (5, false) => self.tile::<S, 5, 1>(simd, i, j),
                    (4, false) => self.tile::<S, 4, 1>(simd, i, j),
                    (3, false) => self.tile::<S, 3, 1>(simd, i, j),
                    (2, false) => self.tile::<S, 2, 1>(simd, i, j),
                    (_, false) => self.tile::<S, 1, 1>(simd, i, j),
                }
            }
            j += if wide {
                2 * S::F32_LANES
            } else {
                columns.min(S::F32_LANES)
            };
        }
    }
}

impl TransposedProduct<'_> {
    /// The products of R columns of the left factor from i on with V vectors of columns of the
    /// right one from j on; a single vector may reach beyond the last column.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, i: usize, j: usize) {
        let columns = (V * S::F32_LANES).min(self.width - j);
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let rows = self.left.chunks_exact(self.height);
        for (a, b) in rows.zip(self.right.chunks_exact(self.width)) {
            let a = &a[i..i + R];
            let mut terms = [simd.splat_f32s(0.0); V];
            if V == 1 {
                terms[0] = simd.partial_load_f32s(&b[j..j + columns]);
            } else {
                let (b, _) = S::as_simd_f32s(&b[j..j + V * S::F32_LANES]);
                terms.copy_from_slice(&b[..V]);
            }
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[r], &terms);
            }
        }
        if self.strides.1 == 1 && columns == V * S::F32_LANES {
            for (r, sums) in sums.iter().enumerate() {
                let c = &mut self.c[(i + r) * self.strides.0 + j..][..V * S::F32_LANES];
                let (c, _) = S::as_mut_simd_f32s(c);
                for v in 0..V {
                    c[v] = simd.add_f32s(c[v], sums[v]);
                }
            }
        } else {
            self.add_part::<S, R, V>(sums, i, j, columns);
        }
    }

    /// Takes the sums by value, so that those of whole tiles stay in registers.
    #[inline(always)]
    fn add_part<S: Simd, const R: usize, const V: usize>(
        &mut self,
        sums: [[S::f32s; V]; R],
        i: usize,
        j: usize,
        columns: usize,
    ) {
        for (r, sums) in sums.iter().enumerate() {
            let sums: &[f32] = bytemuck::cast_slice(sums);
            let first = (i + r) * self.strides.0 + j * self.strides.1;
            let entries = self.c[first..].iter_mut().step_by(self.strides.1);
            for (c, sum) in entries.zip(&sums[..columns]) {
                *c += sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Scalar, Scalar128b, Scalar512b};

    fn product<S: Simd>(simd: S, a: &[f32], height: usize, b: &[f32], width: usize) -> Vec<f32> {
        let mut c = vec![1.0; height * width];
        simd.vectorize(TransposedProduct {
            left: a,
            height,
            right: b,
            width,
            c: &mut c,
            strides: (width, 1),
        });
        c
    }

    /// Fails when a sum is right only with this processor's vector length: others are longer,
    /// shorter or 1.
    #[test]
    fn vectors_of_any_length() {
        let (rows, height, width) = (9, 8, 53);
        let whole =
            |count: usize| -> Vec<f32> { (0..count).map(|i| (i * 7 % 11) as f32 - 5.0).collect() };
        let (a, b) = (whole(rows * height), whole(rows * width));
        let mut expected = vec![1.0; height * width];
        for i in 0..height {
            for j in 0..width {
                let terms = (0..rows).map(|r| a[r * height + i] * b[r * width + j]);
                expected[i * width + j] += terms.sum::<f32>();
            }
        }
        assert_eq!(product(Scalar, &a, height, &b, width), expected);
        assert_eq!(product(Scalar128b, &a, height, &b, width), expected);
        assert_eq!(product(Scalar512b, &a, height, &b, width), expected);
    }
}
