//! Mean, standard deviation and quantiles.

/// The mean; 0 for no numbers.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len().max(1) as f64
}

/// The standard deviation of a population (division by n); 0 for no numbers.
pub fn deviation(x: &[f64]) -> f64 {
    let center = mean(x);
    mean(&x.iter().map(|x| (x - center).powi(2)).collect::<Vec<_>>()).sqrt()
}

/// The quantiles `q`, each from 0 (the minimum) to 1 (the maximum), with linear interpolation
/// between neighbours (NumPy's default); NaN for no numbers.
pub fn quantiles<const N: usize>(x: &[f64], q: [f64; N]) -> [f64; N] {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    q.map(|q| {
        let position = q.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
        let (below, share) = (position.floor(), position.fract());
        match (sorted.get(below as usize), sorted.get(below as usize + 1)) {
            (Some(low), Some(high)) => low + share * (high - low),
            (Some(last), None) => *last,
            (None, _) => f64::NAN,
        }
    })
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

    /// Fails when the numbers are not sorted, or a quantile between two of them is one of them.
    #[test]
    fn quantiles_as_numpy_has_them() {
        let x = [5.0, 1.0, 3.0, 2.0];
        assert_eq!(quantiles(&x, [0.0, 0.25, 0.5, 1.0]), [1.0, 1.75, 2.5, 5.0]);
        assert!(quantiles(&[], [0.5])[0].is_nan());
    }
}
