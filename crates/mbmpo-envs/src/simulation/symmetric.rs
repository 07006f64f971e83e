//! Dense symmetric positive definite matrices of a few rows, for which a general library's overhead
//! exceeds the work.

use std::ops::{Index, IndexMut};

/// A symmetric matrix, of which the lower triangle is stored.
#[derive(Debug, Default)]
pub(super) struct Symmetric {
    size: usize,
    /// Row-major; the upper triangle is unused.
    entries: Vec<f64>,
}

impl Symmetric {
    pub fn zeros(size: usize) -> Self {
        Self {
            size,
            entries: vec![0.0; size * size],
        }
    }

    /// Sets the matrix to a diagonal one.
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

    /// Replaces the matrix by a factor `L`, where `Lᵀ L` is the matrix. False where it is not
    /// positive definite or not finite.
    ///
    /// Elimination goes from the last row to the first, from the robot's extremities to its root,
    /// so that the zeros between different limbs stay (Featherstone 2005, "Efficient factorization
    /// of the joint-space inertia matrix for branched kinematic trees"). The diagonal holds
    /// reciprocals.
    #[must_use]
    pub fn factorize(&mut self) -> bool {
        let size = self.size;
        for k in (0..size).rev() {
            let (above, row) = self.entries.split_at_mut(k * size);
            let pivot = row[k];
            // also false for a NaN
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            let scale = 1.0 / pivot.sqrt();
            row[k] = scale;
            for entry in &mut row[..k] {
                *entry *= scale;
            }
            for i in 0..k {
                let entry = row[i];
                if entry != 0.0 {
                    let other = &mut above[i * size..=i * size + i];
                    for (sum, entry_too) in other.iter_mut().zip(&*row) {
                        *sum -= entry * entry_too;
                    }
                }
            }
        }
        true
    }

    /// Replaces `b` by the solution `x` of `Lᵀ L x = b`, where `self` is the factor.
    pub fn solve(&self, vector: &mut [f64]) {
        let size = self.size;
        for k in (0..size).rev() {
            let row = &self.entries[k * size..=k * size + k];
            let (before, rest) = vector.split_at_mut(k);
            rest[0] *= row[k];
            for (entry, factor) in before.iter_mut().zip(row) {
                *entry -= factor * rest[0];
            }
        }
        for i in 0..size {
            let row = &self.entries[i * size..=i * size + i];
            vector[i] = (vector[i] - dot(&row[..i], &vector[..i])) * row[i];
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

    /// Fails when solving does not invert multiplication, or a product by hand differs.
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

    /// Fails when a matrix that is not positive definite or not finite counts as factorised.
    #[test]
    fn indefinite() {
        for entry in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
            let mut matrix = Symmetric::zeros(2);
            matrix.set_diagonal(&[1.0, entry]);
            assert!(!matrix.factorize(), "{entry}");
        }
    }
}
