//! Right factors in the order in which products read them.

use crate::product::{GROUP, Panels, panels};
use pulp::{Simd, WithSimd};

pub(crate) struct PackRows<'a> {
    pub panels: &'a mut Panels,
    pub parts: &'a [&'a [f32]],
}

impl WithSimd for PackRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Panels {
            data,
            depth,
            columns,
        } = self.panels;
        for panel in panels::<S>(*depth, *columns) {
            let out = &mut data[panel.start..][..panel.stride * *depth];
            let rows = self
                .parts
                .iter()
                .flat_map(|part| part.chunks_exact(*columns));
            for (out, row) in out.chunks_exact_mut(panel.stride).zip(rows) {
                let row = &row[panel.first..][..panel.width];
                if panel.width == 2 * S::F32_LANES {
                    // of a size that the compiler knows
                    out[..2 * S::F32_LANES].copy_from_slice(&row[..2 * S::F32_LANES]);
                } else {
                    out[..panel.width].copy_from_slice(row);
                }
            }
        }
    }
}

pub(crate) struct PackTransposed<'a> {
    pub panels: &'a mut Panels,
    pub matrix: &'a [f32],
}

impl WithSimd for PackTransposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Panels {
            data,
            depth,
            columns,
        } = self.panels;
        if *depth == 0 {
            return;
        }
        for panel in panels::<S>(*depth, *columns) {
            let out = &mut data[panel.start..][..panel.stride * *depth];
            let columns = &self.matrix[panel.first * *depth..][..panel.width * *depth];
            for (group, columns) in columns.chunks(GROUP * *depth).enumerate() {
                let out = &mut out[group * GROUP..];
                if columns.len() == GROUP * *depth {
                    transpose_group(columns, *depth, out, panel.stride);
                    continue;
                }
                for (c, column) in columns.chunks_exact(*depth).enumerate() {
                    for (k, entry) in column.iter().enumerate() {
                        out[k * panel.stride + c] = *entry;
                    }
                }
            }
        }
    }
}

/// [`GROUP`] rows of `rows` `[_, depth]` as columns of `out`, whose rows are `stride` apart: square by square, which the
/// compiler turns into shuffles of vectors.
#[inline(always)]
fn transpose_group(rows: &[f32], depth: usize, out: &mut [f32], stride: usize) {
    let mut squares: [(&[[f32; GROUP]], &[f32]); GROUP] = [(&[], &[]); GROUP];
    for (r, squares) in squares.iter_mut().enumerate() {
        *squares = rows[r * depth..][..depth].as_chunks();
    }
    for square in 0..depth / GROUP {
        let mut transposed = [[0.0; GROUP]; GROUP];
        for (r, row) in squares.iter().enumerate() {
            for (k, column) in transposed.iter_mut().enumerate() {
                column[r] = row.0[square][k];
            }
        }
        for (k, column) in transposed.iter().enumerate() {
            out[(square * GROUP + k) * stride..][..GROUP].copy_from_slice(column);
        }
    }
    let rest = depth / GROUP * GROUP;
    for (r, row) in squares.iter().enumerate() {
        for (k, entry) in row.1.iter().enumerate() {
            out[(rest + k) * stride + r] = *entry;
        }
    }
}
