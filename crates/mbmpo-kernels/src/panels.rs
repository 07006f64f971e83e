//! Matrices in the order in which products read and write them.

use crate::instructions::{Choice, Instructions, Unavailable};
use pulp::Simd;
use std::ops::Range;

/// Rows of a tile of a product: with the vectors of a panel per row, the sums fill the registers
/// and hide the latency of a multiplication. Rows should be divided among threads in multiples of
/// it.
pub const TILE_ROWS: usize = 6;
/// Columns of a group. Columns should be divided among threads in groups.
pub const GROUP: usize = 64;

/// A matrix `[rows, columns]` in panels: all rows of the first few columns in row-major order,
/// then all rows of the next few. The last panel may be narrower than the others; it is padded to
/// whole vectors. What the padding holds never enters another entry.
///
/// The panels of [`Self::default`] are [`GROUP`] wide. Those of [`Self::factor`], for the right
/// factors of products, are as wide as the tiles that the processor computes at once: two vectors,
/// or four where it has 32 registers. A product then reads them from first to last.
#[derive(Debug, Clone, Default)]
pub struct Panels {
    data: Vec<f32>,
    rows: usize,
    columns: usize,
    layout: Layout,
    pub(crate) choice: Choice,
}

/// How wide panels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    #[default]
    Groups,
    Tiles,
}

/// Some columns of [`Panels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panel {
    /// First column.
    pub first: usize,
    /// Number of columns.
    pub columns: usize,
    /// Entries of a row, with padding: whole vectors.
    pub stride: usize,
}

impl Panel {
    /// Place of its `rows` rows in the data.
    #[inline(always)]
    pub fn range(&self, rows: usize) -> Range<usize> {
        self.first * rows..(self.first + self.stride) * rows
    }

    /// Its columns, with padding, in an array of all columns.
    #[inline(always)]
    pub fn padded(&self) -> Range<usize> {
        self.first..self.first + self.stride
    }
}

/// Vectors of a tile: with [`TILE_ROWS`] rows, 12 of 16 registers or 24 of 32 hold the sums.
#[inline(always)]
pub(crate) const fn tile_vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// The panels of `columns` columns, `width` wide at most, in vectors of `lanes` numbers.
#[inline(always)]
pub(crate) fn split(
    columns: usize,
    [width, lanes]: [usize; 2],
) -> impl Iterator<Item = Panel> + Clone {
    (0..columns).step_by(width).map(move |first| {
        let columns = width.min(columns - first);
        Panel {
            first,
            columns,
            stride: columns.next_multiple_of(lanes),
        }
    })
}

impl Panels {
    /// A matrix without entries, for these instructions; [`Self::default`] takes those in use.
    ///
    /// # Errors
    /// When the processor does not have them.
    pub fn for_instructions(instructions: Instructions) -> Result<Self, Unavailable> {
        Ok(Self {
            choice: Choice::of(instructions)?,
            ..Self::default()
        })
    }

    /// A matrix without entries, for right factors of products.
    pub fn factor() -> Self {
        Self::default().as_factor()
    }

    /// The same for the instructions of this matrix, which loses its entries.
    pub fn as_factor(self) -> Self {
        Self {
            layout: Layout::Tiles,
            choice: self.choice,
            ..Self::default()
        }
    }

    /// The instructions that it is for.
    pub fn instructions(&self) -> Instructions {
        self.choice.instructions()
    }

    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        let mut matrix = Self::default();
        matrix.resize(rows, columns);
        matrix
    }

    /// A matrix of zeros, for right factors of products.
    pub fn zero_factor(rows: usize, columns: usize) -> Self {
        let mut matrix = Self::factor();
        matrix.resize(rows, columns);
        matrix
    }

    /// Width of a panel, and numbers in a vector.
    pub(crate) fn widths(&self) -> [usize; 2] {
        let [tile, lanes] = self.choice.instructions().tile();
        match self.layout {
            Layout::Groups => [GROUP, lanes],
            Layout::Tiles => [tile, lanes],
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All entries, in panels, with their padding.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All entries, in panels, with their padding.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// `entries` `[columns]` with zeros beyond, as long as a row with its padding.
    pub fn row(&self, entries: &[f32]) -> Vec<f32> {
        let mut row = entries.to_vec();
        row.resize(self.padded_columns(), 0.0);
        row
    }

    /// Entries of a row with its padding.
    pub fn padded_columns(&self) -> usize {
        let [_, lanes] = self.widths();
        self.columns.next_multiple_of(lanes)
    }

    /// The panels, from left to right.
    pub fn panels(&self) -> impl Iterator<Item = Panel> + Clone + use<> {
        split(self.columns, self.widths())
    }

    /// The entries of the columns of a group, in panels.
    pub fn group(&self, group: usize) -> &[f32] {
        let first = group * GROUP * self.rows;
        &self.data[first..self.data.len().min(first + GROUP * self.rows)]
    }

    /// The entries of the columns of a group, in panels.
    pub fn group_mut(&mut self, group: usize) -> &mut [f32] {
        let first = group * GROUP * self.rows;
        let end = self.data.len().min(first + GROUP * self.rows);
        &mut self.data[first..end]
    }

    /// Gives the matrix another size. Entries are 0 if the size is new, and otherwise as before.
    pub fn resize(&mut self, rows: usize, columns: usize) {
        if (rows, columns) != (self.rows, self.columns) {
            (self.rows, self.columns) = (rows, columns);
            self.data.clear();
            self.data.resize(self.padded_columns() * rows, 0.0);
        }
    }

    /// Takes the rows of `parts`, each `[_, columns]` in row-major order, one below the other.
    ///
    /// # Panics
    /// When a part does not consist of whole rows.
    pub fn pack<'a>(&mut self, columns: usize, parts: impl IntoIterator<Item = &'a [f32]>) {
        let parts: Vec<&[f32]> = parts.into_iter().collect();
        let rows = parts.iter().map(|part| part.len() / columns.max(1)).sum();
        assert!(
            parts.iter().map(|part| part.len()).sum::<usize>() == rows * columns,
            "parts must be whole rows"
        );
        self.resize(rows, columns);
        let panels = self.panels();
        let data = &mut self.data;
        self.choice.run(
            #[inline(always)]
            || {
                for panel in panels {
                    let from = parts.iter().flat_map(|part| part.chunks_exact(columns));
                    let rows = data[panel.range(rows)].chunks_exact_mut(panel.stride);
                    let columns = panel.first..panel.first + panel.columns;
                    if panel.columns == GROUP {
                        // the compiler knows this size
                        for (row, from) in rows.zip(from) {
                            row[..GROUP].copy_from_slice(&from[panel.first..][..GROUP]);
                        }
                    } else {
                        for (row, from) in rows.zip(from) {
                            row[..panel.columns].copy_from_slice(&from[columns.clone()]);
                        }
                    }
                }
            },
        );
    }

    /// Takes the transpose of `matrix` `[columns, rows]` in row-major order.
    ///
    /// # Panics
    /// When `matrix` does not consist of `columns` rows of the same length.
    pub fn pack_transposed(&mut self, columns: usize, matrix: &[f32]) {
        let rows = matrix.len() / columns.max(1);
        assert!(matrix.len() == rows * columns, "rows must be equally long");
        self.resize(rows, columns);
        for panel in self.panels() {
            let out = &mut self.data[panel.range(rows)];
            for (c, column) in matrix[panel.first * rows..][..panel.columns * rows]
                .chunks_exact(rows.max(1))
                .enumerate()
            {
                for (out, entry) in out.chunks_exact_mut(panel.stride).zip(column) {
                    out[c] = *entry;
                }
            }
        }
    }

    /// Takes the transpose of `matrix` `[columns, rows]`, the columns of `matrix` multiplied by
    /// `factors` `[rows]`.
    ///
    /// # Panics
    /// When there are fewer factors, or `matrix` is for other instructions.
    pub fn scale_and_transpose(&mut self, matrix: &Panels, factors: &[f32]) {
        self.choice.assert_same(matrix.choice);
        self.resize(matrix.columns, matrix.rows);
        let (from, to) = (matrix.panels(), self.panels());
        let data = &mut self.data;
        let rows = [matrix.rows, matrix.columns];
        self.choice.run(
            #[inline(always)]
            || {
                for (from, to) in from.flat_map(|from| to.clone().map(move |to| (from, to))) {
                    let source = &matrix.data[from.range(rows[0])];
                    let source = &source[to.first * from.stride..][..to.columns * from.stride];
                    let target = &mut data[to.range(rows[1])];
                    let target = &mut target[from.first * to.stride..][..from.columns * to.stride];
                    let factors = &factors[from.first..][..from.columns];
                    transpose(source, from.stride, factors, target, to.stride);
                }
            },
        );
    }

    /// The entries in row-major order.
    pub fn unpack(&self, rows: &mut Vec<f32>) {
        rows.clear();
        rows.resize(self.rows * self.columns, 0.0);
        for panel in self.panels() {
            let from = self.data[panel.range(self.rows)].chunks_exact(panel.stride);
            for (to, from) in rows.chunks_exact_mut(self.columns).zip(from) {
                to[panel.first..][..panel.columns].copy_from_slice(&from[..panel.columns]);
            }
        }
    }
}

/// Side of the squares that are transposed at once.
const SQUARE: usize = 8;

/// Writes the rows of `source`, which are `from` entries apart, as columns of `target`, whose rows
/// are `to` entries apart. The columns of `source` are multiplied by `factors`, one for each.
/// Square by square, which the compiler turns into vector shuffles.
#[inline(always)]
fn transpose(source: &[f32], from: usize, factors: &[f32], target: &mut [f32], to: usize) {
    let rows = source.len() / from;
    let (whole_rows, whole_columns) = (rows / SQUARE * SQUARE, factors.len() / SQUARE * SQUARE);
    for (first, source) in source.chunks_exact(SQUARE * from).enumerate() {
        let first = first * SQUARE;
        let mut rows: [&[[f32; SQUARE]]; SQUARE] = [&[]; SQUARE];
        for (row, source) in rows.iter_mut().zip(source.chunks_exact(from)) {
            *row = source[..whole_columns].as_chunks().0;
        }
        let (factors, _) = factors.as_chunks::<SQUARE>();
        let targets = target.chunks_exact_mut(SQUARE * to);
        for (c, (factors, target)) in factors.iter().zip(targets).enumerate() {
            let mut square = [[0.0; SQUARE]; SQUARE];
            for r in 0..SQUARE {
                for k in 0..SQUARE {
                    square[k][r] = rows[r][c][k] * factors[k];
                }
            }
            for (target, square) in target.chunks_exact_mut(to).zip(&square) {
                target[first..][..SQUARE].copy_from_slice(square);
            }
        }
    }
    for (r, source) in source.chunks_exact(from).enumerate() {
        let begin = if r < whole_rows { whole_columns } else { 0 };
        for (c, factor) in factors.iter().enumerate().skip(begin) {
            target[c * to + r] = source[c] * factor;
        }
    }
}
