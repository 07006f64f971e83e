//! Matrix products, as Goto and van de Geijn 2008 arrange them: tiles of the result stay in registers while the terms of
//! their sums stream by.

use crate::pack::{PackRows, PackTransposed};
use pulp::{Arch, Simd, WithSimd, bytemuck};

/// Rows of a tile: with two vectors in each, the sums fill the registers and hide the latency of a multiplication. A
/// piece of work should have a multiple of it.
pub const TILE_ROWS: usize = 6;
/// Terms of a sum that are added in one go: a panel of the right factor (two vectors wide) then fills the
/// first-level cache.
const DEPTH: usize = 512;
/// Terms that are added without asking between them whether there are more.
pub(crate) const GROUP: usize = 8;
/// Rows of the left factor that meet a panel before the next one comes.
const BLOCK_ROWS: usize = 16 * TILE_ROWS;

/// The right factor B `[depth, columns]` of products A B, in the order in which they read it: panels of columns two
/// vectors wide, the last one perhaps narrower.
#[derive(Debug, Clone, Default)]
pub struct Panels {
    pub(crate) data: Vec<f32>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
}

/// The left factor Aᵀ of products Aᵀ B, in the order in which they read it: strips of six columns of A.
#[derive(Debug, Clone, Default)]
pub struct Strips {
    data: Vec<f32>,
    depth: usize,
    columns: usize,
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

    fn resize(&mut self, depth: usize, columns: usize) {
        self.depth = depth;
        self.columns = columns;
        // twice the longest vector there is (AVX-512), more than any panel needs; what stands beside the columns only
        // reaches entries of tiles that nobody keeps
        self.data.resize(columns.div_ceil(32) * 32 * depth, 0.0);
    }

    /// C = A B for A `[rows, depth]` and C `[rows, columns]`, in row-major order; then `finish(i, rows)` for `rows` of C
    /// that begin with row i, until every row has been finished once.
    ///
    /// # Panics
    /// When the sizes of `a` and `c` do not go together.
    pub fn product(&self, a: &[f32], c: &mut [f32], finish: impl FnMut(usize, &mut [f32])) {
        self.run(a, c, false, finish);
    }

    /// C += A B, otherwise as [`Self::product`].
    ///
    /// # Panics
    /// When the sizes of `a` and `c` do not go together.
    pub fn add_product(&self, a: &[f32], c: &mut [f32], finish: impl FnMut(usize, &mut [f32])) {
        self.run(a, c, true, finish);
    }

    #[inline(always)]
    fn run(&self, a: &[f32], c: &mut [f32], add: bool, finish: impl FnMut(usize, &mut [f32])) {
        let rows = c.len() / self.columns.max(1);
        assert!(
            a.len() == rows * self.depth && c.len() == rows * self.columns,
            "A [{} entries] and C [{} entries] must have equally many rows for B [{}, {}]",
            a.len(),
            c.len(),
            self.depth,
            self.columns,
        );
        Arch::new().dispatch(Product {
            left: Rows {
                data: a,
                depth: self.depth,
            },
            right: self,
            c,
            add,
            finish,
        });
    }
}

impl Strips {
    /// Takes the rows of `parts`, each `[_, columns]` in row-major order, one below the other.
    ///
    /// # Panics
    /// When a part does not consist of whole rows.
    pub fn pack<'a>(&mut self, columns: usize, parts: impl IntoIterator<Item = &'a [f32]>) {
        /// Strips that are filled side by side: three lines of the cache of every row.
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

    /// The rows of C = Aᵀ B, in row-major order, that begin with row `first`, as many as fit into `c`.
    ///
    /// # Panics
    /// When A and B differ in depth, or `first` is not a multiple of [`TILE_ROWS`], or `c` is not a whole number of
    /// rows that there are.
    pub fn product(&self, first: usize, right: &Panels, c: &mut [f32]) {
        let rows = c.len() / right.columns.max(1);
        assert!(
            self.depth == right.depth
                && first.is_multiple_of(TILE_ROWS)
                && first + rows <= self.columns
                && c.len() == rows * right.columns,
            "C [{} entries] must be rows from {first} of A^T [{}, {}] B [{}, {}]",
            c.len(),
            self.columns,
            self.depth,
            right.depth,
            right.columns,
        );
        Arch::new().dispatch(Product {
            left: Columns {
                data: &self.data[first * self.depth..],
                depth: self.depth,
            },
            right,
            c,
            add: false,
            finish: |_, _: &mut [f32]| {},
        });
    }
}

/// Where a panel lies.
pub(crate) struct Panel {
    /// Its first column.
    pub first: usize,
    /// Its columns.
    pub width: usize,
    /// Columns that it has room for: one vector or two.
    pub stride: usize,
    /// Where its numbers begin.
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

/// A left factor.
trait Left: Copy {
    /// Σ_k A[i,k] B[k,j] for R rows from row `row` on and the terms from `k` on that `b`, V vectors wide, has.
    fn sums<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        k: usize,
        b: &[[S::f32s; V]],
    ) -> [[S::f32s; V]; R];
}

/// Row-major.
#[derive(Clone, Copy)]
struct Rows<'a> {
    data: &'a [f32],
    depth: usize,
}

impl Left for Rows<'_> {
    #[inline(always)]
    fn sums<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        k: usize,
        b: &[[S::f32s; V]],
    ) -> [[S::f32s; V]; R] {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        // terms in groups of a size that the compiler knows: it then asks once a group whether they are there
        let mut a: [(&[[f32; GROUP]], &[f32]); R] = [(&[], &[]); R];
        for (r, a) in a.iter_mut().enumerate() {
            *a = self.data[(row + r) * self.depth + k..][..b.len()].as_chunks();
        }
        let (b, b_rest) = b.as_chunks::<GROUP>();
        for (i, b) in b.iter().enumerate() {
            let mut group = [&[0.0; GROUP]; R];
            for r in 0..R {
                group[r] = &a[r].0[i];
            }
            for k in 0..GROUP {
                for r in 0..R {
                    add_multiple(simd, &mut sums[r], group[r][k], &b[k]);
                }
            }
        }
        for (k, b) in b_rest.iter().enumerate() {
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[r].1[k], b);
            }
        }
        sums
    }
}

/// Strips of [`TILE_ROWS`].
#[derive(Clone, Copy)]
struct Columns<'a> {
    data: &'a [f32],
    depth: usize,
}

impl Left for Columns<'_> {
    #[inline(always)]
    fn sums<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        k: usize,
        b: &[[S::f32s; V]],
    ) -> [[S::f32s; V]; R] {
        let strip = &self.data[row * self.depth + k * TILE_ROWS..];
        let (a, _) = strip.as_chunks::<TILE_ROWS>();
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (a, b) in a.iter().zip(b) {
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[r], b);
            }
        }
        sums
    }
}

/// sums += a b
#[inline(always)]
fn add_multiple<S: Simd, const V: usize>(
    simd: S,
    sums: &mut [S::f32s; V],
    a: f32,
    b: &[S::f32s; V],
) {
    let a = simd.splat_f32s(a);
    for v in 0..V {
        sums[v] = simd.mul_add_e_f32s(a, b[v], sums[v]);
    }
}

struct Product<'a, L, F> {
    left: L,
    right: &'a Panels,
    c: &'a mut [f32],
    /// Whether the product is added to what C holds.
    add: bool,
    finish: F,
}

impl<L: Left, F: FnMut(usize, &mut [f32])> WithSimd for Product<'_, L, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product {
            left,
            right,
            c,
            add,
            mut finish,
        } = self;
        let columns = right.columns;
        if columns == 0 {
            return;
        }
        for (block, c) in c.chunks_mut(BLOCK_ROWS * columns).enumerate() {
            let rows = c.len() / columns;
            // at least once: a product of depth 0 is 0
            let mut k = 0;
            loop {
                let depth = DEPTH.min(right.depth - k);
                for panel in panels::<S>(right.depth, columns) {
                    let b = &right.data[panel.start + k * panel.stride..][..depth * panel.stride];
                    let tiles = Tiles {
                        left,
                        b,
                        panel: &panel,
                        k,
                        add: add || k > 0,
                        columns,
                    };
                    let mut row = 0;
                    while row < rows {
                        let above = block * BLOCK_ROWS + row;
                        let c = &mut c[row * columns..];
                        let height = TILE_ROWS.min(rows - row);
                        match height {
                            6 => tiles.run::<S, 6>(simd, above, c),
                            5 => tiles.run::<S, 5>(simd, above, c),
                            4 => tiles.run::<S, 4>(simd, above, c),
                            3 => tiles.run::<S, 3>(simd, above, c),
                            2 => tiles.run::<S, 2>(simd, above, c),
                            _ => tiles.run::<S, 1>(simd, above, c),
                        }
                        row += height;
                    }
                }
                k += depth;
                if k == right.depth {
                    break;
                }
            }
            finish(block * BLOCK_ROWS, c);
        }
    }
}

/// What the tiles below each other in a panel have in common.
struct Tiles<'a, L> {
    left: L,
    b: &'a [f32],
    panel: &'a Panel,
    k: usize,
    /// Whether the sums are added to what C holds.
    add: bool,
    columns: usize,
}

impl<L: Left> Tiles<'_, L> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(&self, simd: S, row: usize, c: &mut [f32]) {
        if self.panel.stride == S::F32_LANES {
            self.tile::<S, R, 1>(simd, row, c);
        } else {
            self.tile::<S, R, 2>(simd, row, c);
        }
    }

    /// R rows of V vectors of C, the first of which begins `c`.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&self, simd: S, row: usize, c: &mut [f32]) {
        let (b, _) = S::as_simd_f32s(self.b);
        let (b, _) = b.as_chunks::<V>();
        let sums = self.left.sums::<S, R, V>(simd, row, self.k, b);
        if self.panel.width == V * S::F32_LANES {
            // sizes that the compiler knows, so that the sums never leave the registers
            for (r, sums) in sums.iter().enumerate() {
                let c = &mut c[r * self.columns + self.panel.first..][..V * S::F32_LANES];
                let (c, _) = S::as_mut_simd_f32s(c);
                for v in 0..V {
                    c[v] = if self.add {
                        simd.add_f32s(c[v], sums[v])
                    } else {
                        sums[v]
                    };
                }
            }
        } else {
            self.store_part::<S, R, V>(sums, c);
        }
    }

    /// By value: the sums of other tiles need no place in memory.
    #[inline(always)]
    fn store_part<S: Simd, const R: usize, const V: usize>(
        &self,
        sums: [[S::f32s; V]; R],
        c: &mut [f32],
    ) {
        for (r, sums) in sums.iter().enumerate() {
            let c = &mut c[r * self.columns + self.panel.first..][..self.panel.width];
            let sums: &[f32] = bytemuck::cast_slice(sums);
            for (c, sum) in c.iter_mut().zip(sums) {
                *c = if self.add { *c + sum } else { *sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Scalar, Scalar128b, Scalar512b};

    /// Packs B, both ways, and multiplies with vectors of the length that `simd` has.
    fn products<S: Simd>(
        simd: S,
        a: &[f32],
        b: &[f32],
        [rows, depth, columns]: [usize; 3],
    ) -> [Vec<f32>; 2] {
        let transposed: Vec<f32> = (0..b.len())
            .map(|i| b[i % depth * columns + i / depth])
            .collect();
        [false, true].map(|from_transposed| {
            let mut panels = Panels::default();
            panels.resize(depth, columns);
            if from_transposed {
                simd.vectorize(PackTransposed {
                    panels: &mut panels,
                    matrix: &transposed,
                });
            } else {
                simd.vectorize(PackRows {
                    panels: &mut panels,
                    parts: &[b],
                });
            }
            let mut c = vec![f32::NAN; rows * columns];
            simd.vectorize(Product {
                left: Rows { data: a, depth },
                right: &panels,
                c: &mut c,
                add: false,
                finish: |_, _: &mut [f32]| {},
            });
            c
        })
    }

    /// Fails when a product is right only for this processor's vectors: others have longer ones, shorter ones or none.
    #[test]
    fn vectors_of_any_length() {
        let sizes @ [rows, depth, columns] = [13, 21, 53];
        let whole =
            |count: usize| -> Vec<f32> { (0..count).map(|i| (i * 7 % 11) as f32 - 5.0).collect() };
        let (a, b) = (whole(rows * depth), whole(depth * columns));
        let mut expected = vec![0.0; rows * columns];
        for i in 0..rows {
            for j in 0..columns {
                let terms = (0..depth).map(|k| a[i * depth + k] * b[k * columns + j]);
                expected[i * columns + j] = terms.sum();
            }
        }
        let all = [
            products(Scalar, &a, &b, sizes),
            products(Scalar128b, &a, &b, sizes),
            products(Scalar512b, &a, &b, sizes),
        ];
        for product in all.as_flattened() {
            assert_eq!(*product, expected);
        }
    }
}
