//! Matrix products, arranged as in Goto and van de Geijn 2008: a tile of the result stays in
//! registers while the terms of its sums are streamed from a panel of the right factor.

use crate::fused::add_multiple;
use crate::panels::{GROUP, Panel, Panels, TILE_ROWS, panel_vectors};
use pulp::{Simd, WithSimd};

/// Terms of a sum per pass of the unrolled inner loop.
const UNROLL: usize = 8;
/// Parts of a sum that are added up in registers, before the rest is added in memory: as many as the
/// groups of 4,096 units.
const MOST_SEGMENTS: usize = 64;

/// C = A B, where the matrices `b` below each other are B. C `[rows of A, columns of B]` may be a
/// group of the columns of a wider matrix. Calls `finish` for each panel of C with its entries,
/// while they are in the cache.
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions.
pub fn product(a: &Panels, b: &[&Panels], c: &mut [f32], finish: impl FnMut(Panel, &mut [f32])) {
    let depth: usize = b.iter().map(|b| b.rows()).sum();
    assert!(
        a.columns() == depth,
        "A [{}, {}] must have as many columns as B has rows: {depth}",
        a.rows(),
        a.columns(),
    );
    let mut first = 0;
    let factors = b.iter().map(|b| {
        let left = PanelRows { matrix: a, first };
        first += b.rows();
        (left, *b)
    });
    multiply(&factors.collect::<Vec<_>>(), c, finish);
}

/// C = Σ A B over the pairs (A, B), otherwise as [`product`].
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions.
pub fn sum_of_products(
    pairs: &[(&Panels, &Panels)],
    c: &mut [f32],
    finish: impl FnMut(Panel, &mut [f32]),
) {
    let factors = pairs.iter().map(|(a, b)| {
        assert!(
            a.columns() == b.rows() && a.rows() == pairs[0].0.rows(),
            "A [{}, {}] must have as many columns as B [{}, {}] has rows, and C {} rows",
            a.rows(),
            a.columns(),
            b.rows(),
            b.columns(),
            pairs[0].0.rows(),
        );
        let left = PanelRows {
            matrix: a,
            first: 0,
        };
        (left, *b)
    });
    multiply(&factors.collect::<Vec<_>>(), c, finish);
}

#[inline(always)]
fn multiply(
    factors: &[(PanelRows<'_>, &Panels)],
    c: &mut [f32],
    mut finish: impl FnMut(Panel, &mut [f32]),
) {
    let Some((left, right)) = factors.first() else {
        return;
    };
    let (rows, choice) = (left.matrix.rows(), left.matrix.choice);
    if rows == 0 {
        return;
    }
    for panel in right.panels() {
        let c = &mut c[panel.range(rows)];
        multiply_panel(factors, panel, c);
        choice.run(
            #[inline(always)]
            || finish(panel, c),
        );
    }
}

/// Compiled once, whatever is done with C next.
fn multiply_panel(factors: &[(PanelRows<'_>, &Panels)], panel: Panel, c: &mut [f32]) {
    let ((left, right), rows) = (factors[0], factors[0].0.matrix.rows());
    let mut segments = [(left, &[][..]); MOST_SEGMENTS];
    let mut add = false;
    for factors in factors.chunks(MOST_SEGMENTS) {
        for (segment, (left, b)) in segments.iter_mut().zip(factors) {
            left.matrix.choice.assert_same(right.choice);
            b.choice.assert_same(right.choice);
            assert!(b.columns() == right.columns(), "B must have equal columns");
            *segment = (*left, &b.data()[panel.range(b.rows())]);
        }
        right.choice.dispatch(PanelProduct {
            segments: &segments[..factors.len()],
            rows,
            c,
            panel,
            add,
        });
        add = true;
    }
}

/// The columns of a group of C = Σ Aᵀ B over the pairs (A, B).
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions.
pub fn transposed_product(pairs: &[(&Panels, &Panels)], group: usize, c: &mut [f32]) {
    multiply_transposed(pairs, group, c, false);
}

/// The same added to C.
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions.
pub fn add_transposed_product(pairs: &[(&Panels, &Panels)], group: usize, c: &mut [f32]) {
    multiply_transposed(pairs, group, c, true);
}

fn multiply_transposed(pairs: &[(&Panels, &Panels)], group: usize, c: &mut [f32], add: bool) {
    let Some((a, b)) = pairs.first() else { return };
    let (rows, columns, choice) = (a.columns(), b.columns(), a.choice);
    for (a, b) in pairs {
        choice.assert_same(a.choice);
        choice.assert_same(b.choice);
        assert!(
            a.rows() == b.rows() && a.columns() == rows && b.columns() == columns,
            "A [{}, {}] and B [{}, {}] must have equally many rows, and C [{rows}, {columns}]",
            a.rows(),
            a.columns(),
            b.rows(),
            b.columns(),
        );
    }
    let first = group * GROUP;
    let panels = b.panels();
    for panel in panels.filter(|panel| (first..first + GROUP).contains(&panel.first)) {
        let in_group = Panel {
            first: panel.first - first,
            ..panel
        };
        let c = &mut c[in_group.range(rows)];
        let mut segments = [(PanelColumns { matrix: a }, &[][..]); MOST_SEGMENTS];
        let mut add = add;
        for pairs in pairs.chunks(MOST_SEGMENTS) {
            for (segment, (a, b)) in segments.iter_mut().zip(pairs) {
                let right = &b.data()[panel.range(b.rows())];
                *segment = (PanelColumns { matrix: a }, right);
            }
            choice.dispatch(PanelProduct {
                segments: &segments[..pairs.len()],
                rows,
                c,
                panel,
                add,
            });
            add = true;
        }
    }
}

/// A left factor A, or a part of it.
trait Left: Copy {
    /// sums += Σ_k A[i,k] B[k,j] for R rows from `row` on, where V vectors wide rows `b` are given.
    fn accumulate<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        b: &[[S::f32s; V]],
        sums: &mut [[S::f32s; V]; R],
    );

    /// Rows from `row` on that can be in one tile.
    fn contiguous<S: Simd>(self, row: usize) -> usize;
}

/// The columns of A from `first` on.
#[derive(Clone, Copy)]
struct PanelRows<'a> {
    matrix: &'a Panels,
    first: usize,
}

impl Left for PanelRows<'_> {
    #[inline(always)]
    fn accumulate<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        mut b: &[[S::f32s; V]],
        sums: &mut [[S::f32s; V]; R],
    ) {
        let mut k = self.first;
        while !b.is_empty() {
            let panel = panel_of::<S>(self.matrix, k);
            let within = k - panel.first;
            let (now, later) = b.split_at(b.len().min(panel.columns - within));
            let a = &self.matrix.data()[panel.range(self.matrix.rows())];
            accumulate_rows(
                simd,
                &a[row * panel.stride + within..],
                panel.stride,
                now,
                sums,
            );
            k += now.len();
            b = later;
        }
    }

    #[inline(always)]
    fn contiguous<S: Simd>(self, _: usize) -> usize {
        usize::MAX
    }
}

/// Aᵀ for A in panels.
#[derive(Clone, Copy)]
struct PanelColumns<'a> {
    matrix: &'a Panels,
}

impl Left for PanelColumns<'_> {
    #[inline(always)]
    fn accumulate<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        b: &[[S::f32s; V]],
        sums: &mut [[S::f32s; V]; R],
    ) {
        let panel = panel_of::<S>(self.matrix, row);
        let a = &self.matrix.data()[panel.range(self.matrix.rows())];
        let column = row - panel.first;
        // the compiler knows the strides of whole panels
        match panel.stride {
            64 => accumulate_columns::<S, R, V, 64>(simd, a, column, b, sums),
            16 => accumulate_columns::<S, R, V, 16>(simd, a, column, b, sums),
            _ => {
                for (a, b) in a.chunks_exact(panel.stride).zip(b) {
                    let a = &a[column..][..R];
                    for r in 0..R {
                        add_multiple(simd, &mut sums[r], a[r], b);
                    }
                }
            }
        }
    }

    /// To the end of a panel.
    #[inline(always)]
    fn contiguous<S: Simd>(self, row: usize) -> usize {
        let panel = panel_of::<S>(self.matrix, row);
        panel.first + panel.columns - row
    }
}

/// The panel of a column.
#[inline(always)]
fn panel_of<S: Simd>(matrix: &Panels, column: usize) -> Panel {
    let width = panel_vectors::<S>() * S::F32_LANES;
    let first = column / width * width;
    let columns = width.min(matrix.columns() - first);
    Panel {
        first,
        columns,
        stride: columns.next_multiple_of(S::F32_LANES),
    }
}

/// sums += Σ_k A[i,k] B[k,j] for R rows, `stride` entries apart, from the beginning of `a` on.
#[inline(always)]
fn accumulate_rows<S: Simd, const R: usize, const V: usize>(
    simd: S,
    a: &[f32],
    stride: usize,
    b: &[[S::f32s; V]],
    sums: &mut [[S::f32s; V]; R],
) {
    // groups of a size that the compiler knows need one bounds check each
    let mut rows: [(&[[f32; UNROLL]], &[f32]); R] = [(&[], &[]); R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = a[r * stride..][..b.len()].as_chunks();
    }
    let (b, b_rest) = b.as_chunks::<UNROLL>();
    for (i, b) in b.iter().enumerate() {
        let mut group = [&[0.0; UNROLL]; R];
        for r in 0..R {
            group[r] = &rows[r].0[i];
        }
        for k in 0..UNROLL {
            for r in 0..R {
                add_multiple(simd, &mut sums[r], group[r][k], &b[k]);
            }
        }
    }
    for (k, b) in b_rest.iter().enumerate() {
        for r in 0..R {
            add_multiple(simd, &mut sums[r], rows[r].1[k], b);
        }
    }
}

/// sums += Σ_k A[k,i] B[k,j] for R columns from `column` on of a panel `a` that is `W` wide.
#[inline(always)]
fn accumulate_columns<S: Simd, const R: usize, const V: usize, const W: usize>(
    simd: S,
    a: &[f32],
    column: usize,
    b: &[[S::f32s; V]],
    sums: &mut [[S::f32s; V]; R],
) {
    if column + R > W {
        return;
    }
    let (a, _) = a.as_chunks::<W>();
    let (a, a_rest) = a.as_chunks::<UNROLL>();
    let (b, b_rest) = b.as_chunks::<UNROLL>();
    for (a, b) in a.iter().zip(b) {
        for k in 0..UNROLL {
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[k][column + r], &b[k]);
            }
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        for r in 0..R {
            add_multiple(simd, &mut sums[r], a[column + r], b);
        }
    }
}

/// A panel of C = Σ A B over segments of the sums.
struct PanelProduct<'a, L> {
    /// A part of A, and the panel of the same part of B.
    segments: &'a [(L, &'a [f32])],
    /// Rows of A and C.
    rows: usize,
    /// The entries of the panel of C.
    c: &'a mut [f32],
    /// The panel of B and C.
    panel: Panel,
    /// Whether the product is added to C.
    add: bool,
}

impl<L: Left> WithSimd for PanelProduct<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.panel.stride / S::F32_LANES {
            4 => self.tiles::<S, 4>(simd),
            3 => self.tiles::<S, 3>(simd),
            2 => self.tiles::<S, 2>(simd),
            _ => self.tiles::<S, 1>(simd),
        }
    }
}

impl<L: Left> PanelProduct<'_, L> {
    /// All tiles, V vectors wide.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize>(&mut self, simd: S) {
        // such tiles do not occur, and shall not be compiled
        if V > panel_vectors::<S>() {
            return;
        }
        let Some((left, _)) = self.segments.first() else {
            return;
        };
        let mut row = 0;
        while row < self.rows {
            let rows = (self.rows - row).min(left.contiguous::<S>(row));
            let height = if V == 1 && rows >= 2 * TILE_ROWS {
                // six sums would not hide the latency
                self.tile::<S, 12, V>(simd, row);
                12
            } else {
                let height = TILE_ROWS.min(rows);
                match height {
                    6 => self.tile::<S, 6, V>(simd, row),
                    5 => self.tile::<S, 5, V>(simd, row),
                    4 => self.tile::<S, 4, V>(simd, row),
                    3 => self.tile::<S, 3, V>(simd, row),
                    2 => self.tile::<S, 2, V>(simd, row),
                    _ => self.tile::<S, 1, V>(simd, row),
                }
                height
            };
            row += height;
        }
    }

    /// R rows of V vectors of C.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize) {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (left, b) in self.segments {
            let (b, _) = S::as_simd_f32s(b);
            let (b, _) = b.as_chunks::<V>();
            left.accumulate::<S, R, V>(simd, row, b, &mut sums);
        }
        // loops over constants: the sums stay in registers
        let rows = &mut self.c[row * V * S::F32_LANES..];
        for (r, sums) in sums.iter().enumerate() {
            let c = &mut rows[r * V * S::F32_LANES..][..V * S::F32_LANES];
            let (c, _) = S::as_mut_simd_f32s(c);
            for v in 0..V {
                c[v] = if self.add {
                    simd.add_f32s(c[v], sums[v])
                } else {
                    sums[v]
                };
            }
        }
    }
}
