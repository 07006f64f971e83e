//! Matrix products, arranged as in Goto and van de Geijn 2008: a tile of the result stays in
//! registers while the terms of its sums are streamed from packed factors.

use crate::packed::{GROUP, Panel, Panels, Strips, TILE_ROWS, panels};
use pulp::{Arch, Simd, WithSimd, bytemuck};

/// Terms of a sum per pass over the result: a panel of the right factor (two vectors wide) then
/// fills the first-level cache.
const DEPTH: usize = 512;
/// Rows of the left factor that are multiplied with a panel before the next panel.
const BLOCK_ROWS: usize = 16 * TILE_ROWS;

impl Panels {
    /// C = A B for A `[rows, depth]` and C `[rows, columns]`, in row-major order. Calls
    /// `finish(i, rows)` for each block of finished rows of C, which begins with row i; every row
    /// is in one block.
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
    /// The rows of C = Aᵀ B from row `first` on, in row-major order, as many as fit into `c`.
    ///
    /// # Panics
    /// When A and B differ in depth, `first` is not a multiple of [`TILE_ROWS`], or `c` is not a
    /// whole number of existing rows.
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

/// A left factor.
trait Left: Copy {
    /// Σ_k A[i,k] B[k,j] for R rows from row `row` on, over the terms from `k` on that are in `b`,
    /// V vectors wide.
    fn sums<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        k: usize,
        b: &[[S::f32s; V]],
    ) -> [[S::f32s; V]; R];
}

/// A left factor in row-major order.
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
        // groups of a size that the compiler knows need one bounds check each
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

/// A left factor in strips of [`TILE_ROWS`] columns.
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
    /// Whether the product is added to C.
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
            // at least one pass: a product of depth 0 is 0
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

/// The tiles below each other in a panel.
struct Tiles<'a, L> {
    left: L,
    b: &'a [f32],
    panel: &'a Panel,
    k: usize,
    /// Whether the sums are added to C.
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
            // the compiler knows these sizes, and so keeps the sums in registers
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

    /// Takes the sums by value, so that those of whole tiles stay in registers.
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
    use crate::packed::{PackRows, PackTransposed};
    use pulp::{Scalar, Scalar128b, Scalar512b};

    /// A B with B packed from rows and from its transpose, with the vector length of `simd`.
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

    /// Fails when a product is right only with this processor's vector length: others are longer,
    /// shorter or 1.
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
