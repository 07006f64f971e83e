//! Small dense symmetric positive definite matrices, a few rows each: a general library spends longer on finding out
//! how small they are than on solving.

use std::ops::{Index, IndexMut};

/// A symmetric matrix of which the lower triangle counts.
#[derive(Debug, Default)]
pub(super) struct Symmetric {
    size: usize,
    /// Rows one after the other, the upper triangle unused.
    entries: Vec<f64>,
}

impl Symmetric {
    pub fn zeros(size: usize) -> Self {
        Self {
            size,
            entries: vec![0.0; size * size],
        }
    }

    /// Becomes a diagonal matrix.
    pub fn set_diagonal(&mut self, diagonal: &[f64]) {
        self.entries.fill(0.0);
        for (i, &entry) in diagonal.iter().enumerate() {
            self[(i, i)] = entry;
        }
    }

    /// Adds `factor v vᵀ`.
    pub fn add_outer(&mut self, factor: f64, vector: &[f64]) {
        for (i, &entry) in vector.iter().enumerate() {
            if entry != 0.0 {
                let scale = factor * entry;
                let row = &mut self.entries[i * self.size..=i * self.size + i];
                for (sum, other) in row.iter_mut().zip(vector) {
                    *sum += scale * other;
                }
            }
        }
    }

    /// The product with a vector.
    pub fn multiply(&self, vector: &[f64], product: &mut [f64]) {
        product.fill(0.0);
        for i in 0..self.size {
            let row = &self.entries[i * self.size..i * self.size + i];
            product[i] += dot(row, vector) + self[(i, i)] * vector[i];
            for (sum, entry) in product.iter_mut().zip(row) {
                *sum += entry * vector[i];
            }
        }
    }

    /// Becomes its Cholesky factor `L` with `L Lᵀ` what it was. False where it was not positive definite, or not
    /// finite.
    #[must_use]
    pub fn factorize(&mut self) -> bool {
        let size = self.size;
        for i in 0..size {
            let (above, row) = self.entries.split_at_mut(i * size);
            for j in 0..i {
                let other = &above[j * size..=j * size + j];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let square = row[i] - dot(&row[..i], &row[..i]);
            // a NaN is not above 0 either
            if !(square > 0.0 && square.is_finite()) {
                return false;
            }
            row[i] = square.sqrt();
        }
        true
    }

    /// With `self` a factor: turns `b` into the solution `x` of `L Lᵀ x = b`.
    pub fn solve(&self, vector: &mut [f64]) {
        let size = self.size;
        for i in 0..size {
            let row = &self.entries[i * size..=i * size + i];
            vector[i] = (vector[i] - dot(&row[..i], &vector[..i])) / row[i];
        }
        for i in (0..size).rev() {
            let row = &self.entries[i * size..=i * size + i];
            let (before, rest) = vector.split_at_mut(i);
            rest[0] /= row[i];
            for (entry, factor) in before.iter_mut().zip(row) {
                *entry -= factor * rest[0];
            }
        }
    }
}

impl Index<(usize, usize)> for Symmetric {
    type Output = f64;

    fn index(&self, (row, column): (usize, usize)) -> &f64 {
        &self.entries[row * self.size + column]
    }
}

impl IndexMut<(usize, usize)> for Symmetric {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut f64 {
        &mut self.entries[row * self.size + column]
    }
}

impl Clone for Symmetric {
    fn clone(&self) -> Self {
        Self {
            size: self.size,
            entries: self.entries.clone(),
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.size = source.size;
        self.entries.clone_from(&source.entries);
    }
}

/// The scalar product.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::Symmetric;

    /// A factorised matrix solves what it multiplied.
    #[test]
    fn solve_undoes_multiply() {
        let mut matrix = Symmetric::zeros(3);
        matrix.set_diagonal(&[1.0, 2.0, 3.0]);
        matrix.add_outer(0.5, &[1.0, -2.0, 4.0]);
        matrix.add_outer(2.0, &[0.0, 1.0, 1.0]);
        let mut product = [0.0; 3];
        matrix.multiply(&[3.0, -1.0, 2.0], &mut product);
        // by hand: diagonal (3, -2, 6), outer products 0.5 * 13 * (1, -2, 4) and 2 * 1 * (0, 1, 1)
        assert_eq!(product, [9.5, -13.0, 34.0]);
        assert!(matrix.factorize());
        matrix.solve(&mut product);
        for (x, expected) in product.iter().zip([3.0, -1.0, 2.0]) {
            assert!((x - expected).abs() < 1e-14);
        }
    }

    /// What cannot be factorised is reported.
    #[test]
    fn indefinite() {
        for entry in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
            let mut matrix = Symmetric::zeros(2);
            matrix.set_diagonal(&[1.0, entry]);
            assert!(!matrix.factorize(), "{entry}");
        }
    }
}
