/// Stops a fit when the rolling average of its validation losses rises (paper, A.3; authors'
/// `dynamics_ensemble.py`).
///
/// The average starts at `start` times the first loss, so that it falls at first and a single bad
/// epoch does not stop the fit. (A.3 prints "as soon as the rolling validation loss average
/// decreases"; the authors' code stops when it increases, which must be meant.)
///
/// ```
/// use mbmpo_models::RollingStop;
///
/// let mut stop = RollingStop::new(0.5, 1.5);
/// assert!(!stop.update(4.0)); // 0.5 * 1.5 * 4 + 0.5 * 4 = 5; the first epoch never stops
/// assert!(!stop.update(3.0)); // 0.5 * 5 + 0.5 * 3 = 4
/// assert!(!stop.update(4.0)); // 4: not above the one before
/// assert!(stop.update(4.5)); // 4.25
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RollingStop {
    persistence: f64,
    start: f64,
    average: Option<f64>,
}

impl RollingStop {
    /// The rule before the first epoch; see
    /// [`rolling_persistence`](crate::EnsembleConfig::rolling_persistence) and
    /// [`rolling_start`](crate::EnsembleConfig::rolling_start).
    pub fn new(persistence: f64, start: f64) -> Self {
        Self {
            persistence,
            start,
            average: None,
        }
    }

    /// Adds the validation loss of an epoch; true when the average rose and training should stop.
    ///
    /// The first epoch never stops. (The authors compare the first average with twice the first
    /// loss, which never stops either with their start of 1.5.)
    pub fn update(&mut self, validation_loss: f64) -> bool {
        let previous = self.average.unwrap_or(self.start * validation_loss);
        let average = self.persistence * previous + (1.0 - self.persistence) * validation_loss;
        let first = self.average.replace(average).is_none();
        !first && average > previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the first epoch's loss does not move the average itself, or when losses are
    /// compared instead of averages. By hand, p = 0.9, start 1.5: 10 → 14.5, 12 → 14.25, 14 →
    /// 14.225, 14 → 14.2025, 15 → 14.28225.
    #[test]
    fn stops_where_the_average_rises() {
        let mut stop = RollingStop::new(0.9, 1.5);
        let mut averages = Vec::new();
        let mut verdicts = Vec::new();
        for loss in [10.0, 12.0, 14.0, 14.0, 15.0] {
            verdicts.push(stop.update(loss));
            averages.push(stop.average.unwrap());
        }
        let expected = [14.5, 14.25, 14.225, 14.2025, 14.28225];
        for (average, expected) in averages.iter().zip(expected) {
            assert!((average - expected).abs() < 1e-12, "{averages:?}");
        }
        assert_eq!(verdicts, [false, false, false, false, true]);
    }

    /// Fails when a start below 1 stops at once.
    #[test]
    fn never_stops_after_one_epoch() {
        assert!(!RollingStop::new(0.95, 0.5).update(1.0));
        assert!(!RollingStop::new(0.95, 3.0).update(1.0));
    }
}
