//! Mean and standard deviation.

/// The mean; 0 for no numbers.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len().max(1) as f64
}

/// The standard deviation of a population (division by n); 0 for no numbers.
pub fn deviation(x: &[f64]) -> f64 {
    let center = mean(x);
    mean(&x.iter().map(|x| (x - center).powi(2)).collect::<Vec<_>>()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the deviation is that of a sample (division by n - 1), or nothing gives NaN.
    #[test]
    fn by_hand() {
        assert_eq!((mean(&[1.0, 3.0]), deviation(&[1.0, 3.0])), (2.0, 1.0));
        assert_eq!((mean(&[]), deviation(&[])), (0.0, 0.0));
    }
}
