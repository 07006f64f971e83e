//! Factors of matrix products, packed in the order in which [`crate::product`] reads them.

use pulp::{Arch, Simd, WithSimd};

/// Rows of a tile: with two vectors per row, the sums fill the registers and hide the latency of a
/// multiplication. Work should be divided into multiples of it.
pub const TILE_ROWS: usize = 6;
/// Terms of a sum per pass of the unrolled inner loop.
pub(crate) const GROUP: usize = 8;

/// A packed right factor B `[depth, columns]` of products A B: panels of columns two vectors wide,
/// the last one perhaps narrower.
#[derive(Debug, Clone, Default)]
pub struct Panels {
    pub(crate) data: Vec<f32>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
}

/// A packed left factor Aᵀ of products Aᵀ B: strips of six columns of A.
#[derive(Debug, Clone, Default)]
pub struct Strips {
    pub(crate) data: Vec<f32>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
}

impl Panels {
    /// Number of rows.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Takes the rows of `parts`, each `[_, columns]` in row-major order, one below the other.
    ///
    /// # Panics
    /// When a part does not consist of whole rows.
    pub fn pack<'a>(&mut self, columns: usize, parts: impl IntoIterator<Item = &'a [f32]>) {
        let parts: Vec<&[f32]> = parts.into_iter().collect();
        let depth = parts.iter().map(|part| part.len() / columns.max(1)).sum();
        assert!(
            parts.iter().map(|part| part.len()).sum::<usize>() == depth * columns,
            "parts must be whole rows"
        );
        self.resize(depth, columns);
        Arch::new().dispatch(PackRows {
            panels: self,
            parts: &parts,
        });
    }

    /// Takes the transpose of `matrix` `[columns, depth]`.
    ///
    /// # Panics
    /// When `matrix` does not consist of `columns` rows of the same length.
    pub fn pack_transposed(&mut self, columns: usize, matrix: &[f32]) {
        let depth = matrix.len() / columns.max(1);
        assert!(matrix.len() == depth * columns, "rows must be equally long");
        self.resize(depth, columns);
        Arch::new().dispatch(PackTransposed {
            panels: self,
            matrix,
        });
    }

    pub(crate) fn resize(&mut self, depth: usize, columns: usize) {
        self.depth = depth;
        self.columns = columns;
        // padded to twice the longest vector (AVX-512), more than any panel needs; the padding only
        // enters entries of tiles that are not stored
        self.data.resize(columns.div_ceil(32) * 32 * depth, 0.0);
    }
}

impl Strips {
    /// Takes the rows of `parts`, each `[_, columns]` in row-major order, one below the other.
    ///
    /// # Panics
    /// When a part does not consist of whole rows.
    pub fn pack<'a>(&mut self, columns: usize, parts: impl IntoIterator<Item = &'a [f32]>) {
        /// Strips that are filled side by side: three cache lines of every row.
        const BESIDE: usize = 8;
        let parts: Vec<&[f32]> = parts.into_iter().collect();
        self.depth = parts.iter().map(|part| part.len() / columns.max(1)).sum();
        self.columns = columns;
        assert!(
            parts.iter().map(|part| part.len()).sum::<usize>() == self.depth * columns,
            "parts must be whole rows"
        );
        let strip = TILE_ROWS * self.depth;
        self.data.resize(columns.div_ceil(TILE_ROWS) * strip, 0.0);
        if strip == 0 {
            return;
        }
        let width = BESIDE * TILE_ROWS;
        for (group, strips) in self.data.chunks_mut(BESIDE * strip).enumerate() {
            let first = group * width;
            let width = width.min(columns - first);
            let rows = parts.iter().flat_map(|part| part.chunks_exact(columns));
            for (k, row) in rows.enumerate() {
                let (whole, rest) = row[first..first + width].as_chunks::<TILE_ROWS>();
                let at = k * TILE_ROWS;
                let mut strips = strips.chunks_exact_mut(strip);
                for (entries, strip) in whole.iter().zip(&mut strips) {
                    strip[at..at + TILE_ROWS].copy_from_slice(entries);
                }
                if let Some(strip) = strips.next() {
                    strip[at..at + rest.len()].copy_from_slice(rest);
                }
            }
        }
    }
}

/// Position of a panel in [`Panels`].
pub(crate) struct Panel {
    /// First column.
    pub first: usize,
    /// Number of columns.
    pub width: usize,
    /// Width with padding: one vector or two.
    pub stride: usize,
    /// Offset in the data.
    pub start: usize,
}

/// The panels of a factor of this size.
#[inline(always)]
pub(crate) fn panels<S: Simd>(depth: usize, columns: usize) -> impl Iterator<Item = Panel> {
    let widest = 2 * S::F32_LANES;
    (0..columns.div_ceil(widest)).map(move |panel| {
        let first = panel * widest;
        let width = widest.min(columns - first);
        Panel {
            first,
            width,
            stride: if width > S::F32_LANES {
                widest
            } else {
                S::F32_LANES
            },
            start: first * depth,
        }
    })
}

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
                    // the compiler knows this size
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

/// Writes [`GROUP`] rows of `rows` `[_, depth]` as columns of `out`, whose rows are `stride` apart:
/// square by square, which the compiler turns into vector shuffles.
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
