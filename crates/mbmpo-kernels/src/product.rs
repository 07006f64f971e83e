//! Matrix products, arranged as in Goto and van de Geijn 2008: a tile of the result stays in
//! registers while the terms of its sums are streamed from a panel of the right factor.

use crate::fused::add_multiple;
use crate::panels::{GROUP, Layout, Panel, Panels, TILE_ROWS, split, tile_vectors};
use pulp::{Simd, WithSimd};

/// Terms of a sum per pass of the unrolled inner loop.
const UNROLL: usize = 8;
/// Columns of a panel whose size the compiler knows, besides [`GROUP`]: those of small policies.
const HALF: usize = GROUP / 2;
/// Parts of a sum that are added up without a pass over memory: as many as the groups of 512 units.
const MOST_SEGMENTS: usize = 8;

/// C = A B, where the matrices `b` below each other are B, each a [`Panels::factor`]. `c` are the
/// entries of C `[rows of A, columns of B]`, in panels of [`GROUP`] columns; they may be a group of
/// a wider matrix. Calls `finish` for each panel of C with its entries, while they are in the
/// cache.
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions or not of
/// these widths.
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

/// C = Σ A B over the pairs (A, B), otherwise as [`product`]. Without a pair, C stays as it is.
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions or not of
/// these widths.
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
    for (left, b) in factors {
        left.matrix.choice.assert_same(right.choice);
        b.choice.assert_same(right.choice);
        assert!(
            left.matrix.layout() == Layout::Groups
                && b.layout() == Layout::Tiles
                && b.columns() == right.columns(),
            "A must be in panels of {GROUP} columns, and B a factor of equally many columns"
        );
    }
    let [_, lanes] = right.widths();
    for panel in split(right.columns(), [GROUP, lanes]) {
        let c = &mut c[panel.range(rows)];
        multiply_panel(factors, panel, c);
        choice.run(
            #[inline(always)]
            || finish(panel, c),
        );
    }
}

/// The columns of a panel of C. Compiled once, whatever is done with C next.
fn multiply_panel(factors: &[(PanelRows<'_>, &Panels)], panel: Panel, c: &mut [f32]) {
    let ((left, right), rows) = (factors[0], factors[0].0.matrix.rows());
    let tiles = right.panels();
    let columns = panel.first..panel.first + GROUP;
    for tile in tiles.filter(|tile| columns.contains(&tile.first)) {
        let mut segments = [(left, &[][..]); MOST_SEGMENTS];
        let mut carry = false;
        for factors in factors.chunks(MOST_SEGMENTS) {
            for (segment, (left, b)) in segments.iter_mut().zip(factors) {
                *segment = (*left, &b.data()[tile.range(b.rows())]);
            }
            right.choice.dispatch(TileProduct {
                segments: &segments[..factors.len()],
                rows,
                width: tile.stride,
                c: &mut c[tile.first - panel.first..],
                stride: panel.stride,
                carry,
                add: false,
            });
            carry = true;
        }
    }
}

/// The columns of a group of C = Σ Aᵀ B over the pairs (A, B), which are in panels of [`GROUP`]
/// columns. C is a [`Panels::factor`]; without a pair, or such a group, it stays as it is.
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions or not of
/// these widths.
pub fn transposed_product(pairs: &[(&Panels, &Panels)], group: usize, c: &mut [f32]) {
    multiply_transposed(pairs, group, c, false);
}

/// The same added to C.
///
/// # Panics
/// When the sizes do not go together, or the matrices are for different instructions or not of
/// these widths.
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
            a.layout() == Layout::Groups && b.layout() == Layout::Groups,
            "A and B must be in panels of {GROUP} columns"
        );
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
    let [tile, lanes] = choice.instructions().tile();
    let mut panels = b.panels();
    let Some(panel) = panels.find(|panel| panel.first == first) else {
        return;
    };
    for left in a.panels() {
        for tile in split(panel.columns, [tile, lanes]) {
            let c = &mut c[tile.range(rows)];
            let c = &mut c[left.first * tile.stride..][..left.columns * tile.stride];
            let mut carry = false;
            for pairs in pairs.chunks(MOST_SEGMENTS) {
                let mut segments = [(PanelColumns::default(), &[][..]); MOST_SEGMENTS];
                for (segment, (a, b)) in segments.iter_mut().zip(pairs) {
                    let columns = PanelColumns {
                        panel: &a.data()[left.range(a.rows())],
                        strides: [left.stride, panel.stride],
                        tile: tile.first,
                    };
                    *segment = (columns, &b.data()[panel.range(b.rows())]);
                }
                choice.dispatch(TileProduct {
                    segments: &segments[..pairs.len()],
                    rows: left.columns,
                    width: tile.stride,
                    c,
                    stride: tile.stride,
                    carry,
                    add,
                });
                carry = true;
            }
        }
    }
}

/// A left factor A, or a part of it.
trait Left: Copy {
    /// sums += Σ_k A[i,k] B[k,j] for R rows from `row` on and the V vectors of columns of a tile.
    /// What `b` holds depends on A.
    fn accumulate<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        b: &[f32],
        sums: &mut [[S::f32s; V]; R],
    );
}

/// The columns of A from `first` on. Of B, the columns of the tile are given.
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
        b: &[f32],
        sums: &mut [[S::f32s; V]; R],
    ) {
        let (b, _) = S::as_simd_f32s(b);
        let (mut b, _) = b.as_chunks::<V>();
        let (rows, data) = (self.matrix.rows(), self.matrix.data());
        let mut k = self.first;
        // panels of sizes that the compiler knows
        while k.is_multiple_of(GROUP)
            && let Some((now, later)) = b.split_first_chunk::<GROUP>()
            && let Some(a) = rows_of(&data[k * rows..], row)
        {
            accumulate_panel::<S, R, V, GROUP>(simd, a, now, sums);
            k += GROUP;
            b = later;
        }
        if [k % GROUP, self.matrix.columns() - k] == [0, HALF]
            && let Ok(b) = <&[_; HALF]>::try_from(b)
            && let Some(a) = rows_of(&data[k * rows..], row)
        {
            return accumulate_panel::<S, R, V, HALF>(simd, a, b, sums);
        }
        while !b.is_empty() {
            let panel = panel_of(self.matrix, k);
            let within = k - panel.first;
            let (now, later) = b.split_at(b.len().min(panel.columns - within));
            let a = &data[panel.range(rows)];
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
}

/// Aᵀ for the columns A of a panel. Of B, the panel that has the tile is given.
#[derive(Clone, Copy, Default)]
struct PanelColumns<'a> {
    panel: &'a [f32],
    /// Entries of a row of the panel, and of that of B.
    strides: [usize; 2],
    /// First column of the tile in the panel of B.
    tile: usize,
}

impl Left for PanelColumns<'_> {
    #[inline(always)]
    fn accumulate<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        b: &[f32],
        sums: &mut [[S::f32s; V]; R],
    ) {
        let Self {
            panel,
            strides,
            tile,
        } = self;
        // the compiler knows the strides of whole panels
        if strides == [GROUP; 2] {
            return accumulate_columns(simd, panel, row, b, tile, sums);
        }
        let rows = panel
            .chunks_exact(strides[0])
            .zip(b.chunks_exact(strides[1]));
        for (a, b) in rows {
            let a = &a[row..][..R];
            let b = vectors::<S, V>(&b[tile..]);
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[r], b);
            }
        }
    }
}

/// The first V vectors of `numbers`.
#[inline(always)]
fn vectors<S: Simd, const V: usize>(numbers: &[f32]) -> &[S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(&numbers[..V * S::F32_LANES]);
    let (vectors, _) = vectors.as_chunks::<V>();
    &vectors[0]
}

/// The panel of a column of a matrix in panels of [`GROUP`] columns.
#[inline(always)]
fn panel_of(matrix: &Panels, column: usize) -> Panel {
    let first = column / GROUP * GROUP;
    let columns = GROUP.min(matrix.columns() - first);
    let [_, lanes] = matrix.widths();
    Panel {
        first,
        columns,
        stride: columns.next_multiple_of(lanes),
    }
}

/// R rows of a panel of W columns, from `row` on.
#[inline(always)]
fn rows_of<const R: usize, const W: usize>(panel: &[f32], row: usize) -> Option<&[[f32; W]; R]> {
    panel.as_chunks().0.get(row..)?.first_chunk()
}

/// sums += Σ_k A[i,k] B[k,j] for R rows of a panel of W columns.
#[inline(always)]
fn accumulate_panel<S: Simd, const R: usize, const V: usize, const W: usize>(
    simd: S,
    a: &[[f32; W]; R],
    b: &[[S::f32s; V]; W],
    sums: &mut [[S::f32s; V]; R],
) {
    for first in (0..W).step_by(UNROLL) {
        for k in first..first + UNROLL {
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[r][k], &b[k]);
            }
        }
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

/// sums += Σ_k A[k,i] B[k,j] for R columns from `column` on of a whole panel `a`, and V vectors of
/// columns from `tile` on of a whole panel `b`.
#[inline(always)]
fn accumulate_columns<S: Simd, const R: usize, const V: usize>(
    simd: S,
    a: &[f32],
    column: usize,
    b: &[f32],
    tile: usize,
    sums: &mut [[S::f32s; V]; R],
) {
    if column + R > GROUP || tile + V * S::F32_LANES > GROUP {
        return;
    }
    let (a, a_rest) = a.as_chunks::<GROUP>().0.as_chunks::<UNROLL>();
    let (b, b_rest) = b.as_chunks::<GROUP>().0.as_chunks::<UNROLL>();
    for (a, b) in a.iter().zip(b) {
        for k in 0..UNROLL {
            let b = vectors::<S, V>(&b[k][tile..]);
            for r in 0..R {
                add_multiple(simd, &mut sums[r], a[k][column + r], b);
            }
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        let b = vectors::<S, V>(&b[tile..]);
        for r in 0..R {
            add_multiple(simd, &mut sums[r], a[column + r], b);
        }
    }
}

/// Some columns of C = Σ A B over segments of the sums.
struct TileProduct<'a, L> {
    /// A part of A, and the same part of B.
    segments: &'a [(L, &'a [f32])],
    /// Rows of A and C.
    rows: usize,
    /// Number of columns, with padding.
    width: usize,
    /// The entries of C from the first of these columns on.
    c: &'a mut [f32],
    /// Entries between two rows of C.
    stride: usize,
    /// Whether the sums go on from C.
    carry: bool,
    /// Whether the sums are added to C.
    add: bool,
}

impl<L: Left> WithSimd for TileProduct<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.width / S::F32_LANES {
            4 => self.tiles::<S, 4>(simd),
            3 => self.tiles::<S, 3>(simd),
            2 => self.tiles::<S, 2>(simd),
            _ => self.tiles::<S, 1>(simd),
        }
    }
}

impl<L: Left> TileProduct<'_, L> {
    /// All tiles, V vectors wide.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize>(&mut self, simd: S) {
        // such tiles do not occur, and shall not be compiled
        if V > tile_vectors::<S>() {
            return;
        }
        let mut row = 0;
        while row < self.rows {
            let rows = self.rows - row;
            let height = if V == 1 && rows >= 2 * TILE_ROWS {
                // six sums would not hide the latency
                self.tile::<S, 12, V>(simd, row);
                12
            } else {
                // the last two of equal height: few sums would not hide the latency
                let height = match rows {
                    12.. => 6,
                    7.. => rows.div_ceil(2),
                    _ => rows,
                };
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
        // loops over constants: the sums stay in registers
        if self.carry && !self.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = *vectors::<S, V>(&self.c[(row + r) * self.stride..]);
            }
        }
        for (left, b) in self.segments {
            left.accumulate::<S, R, V>(simd, row, b, &mut sums);
        }
        let rows = &mut self.c[row * self.stride..];
        for (r, sums) in sums.iter().enumerate() {
            let c = &mut rows[r * self.stride..][..V * S::F32_LANES];
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
