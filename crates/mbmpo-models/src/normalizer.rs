use mbmpo_core::{Archive, Persist, Result, Trajectories};

/// Mean and standard deviation of each component of some rows.
///
/// A component that does not vary (standard deviation below 1e-8 of its magnitude, or of 1) has
/// *inverse* 0, so it is 0 once standardised. As an input it therefore has no influence, however
/// far an imagined state drifts from the constant; as a target it is predicted as its mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normalizer {
    /// `[dim]`
    pub mean: Vec<f64>,
    /// `[dim]`; 0 for a component that does not vary.
    pub std: Vec<f64>,
}

impl Normalizer {
    /// The statistics of `rows` rows of `dim` components each, `component(row, i)` being one of
    /// them.
    fn measure(rows: usize, dim: usize, component: impl Fn(usize, usize) -> f64) -> Self {
        let average = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let mut sums = vec![0.0; dim];
            for row in 0..rows {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum += of(row, i);
                }
            }
            sums.iter().map(|sum| sum / rows as f64).collect()
        };
        let mean = average(&component);
        let variance = average(&|row, i| (component(row, i) - mean[i]).powi(2));
        let std = variance.iter().zip(&mean).map(|(variance, mean)| {
            let std = variance.sqrt();
            // 1e-10 as in the authors' `normalize`
            let constant = std < 1e-8 * mean.abs().max(1.0);
            if constant { 0.0 } else { std + 1e-10 }
        });
        Self {
            std: std.collect(),
            mean,
        }
    }

    /// `1 / std`, or 0 for a component that does not vary.
    pub fn inverse_std(&self) -> Vec<f64> {
        let invert = |&std: &f64| if std > 0.0 { 1.0 / std } else { 0.0 };
        self.std.iter().map(invert).collect()
    }

    fn standardize(&self, rows: usize, component: impl Fn(usize, usize) -> f64) -> Vec<f32> {
        let inverse = self.inverse_std();
        let dim = self.mean.len();
        let mut out = Vec::with_capacity(rows * dim);
        for row in 0..rows {
            out.extend((0..dim).map(|i| ((component(row, i) - self.mean[i]) * inverse[i]) as f32));
        }
        out
    }
}

/// The statistics of (s, a) and of Δs = s' - s over the whole data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normalization {
    /// Of s, then a.
    pub input: Normalizer,
    /// Of Δs.
    pub target: Normalizer,
}

/// Standardised training data; row-major.
#[derive(Debug)]
pub(crate) struct Standardized {
    /// Number of transitions n.
    pub rows: usize,
    /// Observation and action components together.
    pub input_dim: usize,
    /// Observation components.
    pub target_dim: usize,
    /// `[n, input_dim]`
    pub inputs: Vec<f32>,
    /// `[n, target_dim]`
    pub targets: Vec<f32>,
}

impl Persist for Normalization {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        for (name, part) in [("input", &mut self.input), ("target", &mut self.target)] {
            archive.array(&format!("{name}.mean"), &mut part.mean)?;
            archive.array(&format!("{name}.std"), &mut part.std)?;
        }
        Ok(())
    }
}

impl Normalization {
    /// Mean 0 and deviation 1, for untrained networks.
    pub fn identity(observation_dim: usize, action_dim: usize) -> Self {
        let unit = |dim| Normalizer {
            mean: vec![0.0; dim],
            std: vec![1.0; dim],
        };
        Self {
            input: unit(observation_dim + action_dim),
            target: unit(observation_dim),
        }
    }

    /// The statistics of `data`, and `data` standardised by them.
    pub fn of(data: &Trajectories) -> (Self, Standardized) {
        let (rows, target_dim) = (data.len(), data.observation_dim);
        let input_dim = target_dim + data.action_dim;
        let input = |row: usize, i: usize| {
            f64::from(if i < target_dim {
                data.observations[row * target_dim + i]
            } else {
                data.actions[row * data.action_dim + i - target_dim]
            })
        };
        let target = |row: usize, i: usize| {
            let at = row * target_dim + i;
            f64::from(data.next_observations[at]) - f64::from(data.observations[at])
        };
        let statistics = Self {
            input: Normalizer::measure(rows, input_dim, input),
            target: Normalizer::measure(rows, target_dim, target),
        };
        let standardized = Standardized {
            rows,
            input_dim,
            target_dim,
            inputs: statistics.input.standardize(rows, input),
            targets: statistics.target.standardize(rows, target),
        };
        (statistics, standardized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the deviation is that of a sample (n - 1), when Δs is not next minus present, or
    /// when a constant component is divided by its rounding error.
    #[test]
    fn statistics_of_a_small_table() {
        let mut data = Trajectories::new(2, 1);
        data.push(&[1.0, 0.1], &[-1.0], &[2.0, 0.1], 0.0);
        data.push(&[3.0, 0.1], &[1.0], &[1.0, 0.1], 0.0);
        let (statistics, table) = Normalization::of(&data);
        assert_eq!(statistics.input.mean[0], 2.0);
        assert!((statistics.input.std[0] - 1.0).abs() < 1e-9);
        assert_eq!(statistics.input.std[1], 0.0);
        assert_eq!(statistics.target.mean, [-0.5, 0.0]);
        assert!((statistics.target.std[0] - 1.5).abs() < 1e-9);
        assert_eq!(table.inputs, [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]);
        assert_eq!(table.targets, [1.0, 0.0, -1.0, 0.0]);
    }
}
