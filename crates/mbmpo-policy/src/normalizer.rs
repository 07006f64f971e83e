use mbmpo_core::{Archive, Persist, Result};

/// Running mean and standard deviation of rows, which normalise later rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningNormalizer {
    count: f64,
    mean: Vec<f64>,
    /// Sums of squared deviations from the mean.
    squares: Vec<f64>,
    clip: f64,
}

/// The function x ↦ clip((x - mean) / std).
#[derive(Debug, Clone, PartialEq)]
pub struct Normalizer {
    /// `[dim]`
    pub mean: Vec<f32>,
    /// `[dim]`, positive.
    pub std: Vec<f32>,
    /// Results are clipped to plus or minus this.
    pub clip: f32,
}

impl RunningNormalizer {
    /// The statistics of no rows of `dim` components yet; results are clipped to plus or minus
    /// `clip`.
    pub fn new(dim: usize, clip: f64) -> Self {
        Self {
            count: 0.0,
            mean: vec![0.0; dim],
            squares: vec![0.0; dim],
            clip,
        }
    }

    /// Adds `rows` `[n, dim]` to the statistics.
    pub fn update(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.mean.len()) {
            self.count += 1.0;
            for ((x, mean), squares) in row.iter().zip(&mut self.mean).zip(&mut self.squares) {
                let difference = f64::from(*x) - *mean;
                *mean += difference / self.count;
                *squares += difference * (f64::from(*x) - *mean);
            }
        }
    }

    /// Standard deviation (population) of every component; 1 where it is 0 so far.
    pub fn std(&self) -> Vec<f64> {
        let std = |squares: &f64| (squares / self.count.max(1.0)).sqrt();
        let positive = |std: f64| if std > 1e-8 { std } else { 1.0 };
        self.squares.iter().map(std).map(positive).collect()
    }

    /// The normaliser with the present statistics.
    pub fn normalizer(&self) -> Normalizer {
        Normalizer {
            mean: self.mean.iter().map(|&x| x as f32).collect(),
            std: self.std().into_iter().map(|x| x as f32).collect(),
            clip: self.clip as f32,
        }
    }
}

impl Persist for RunningNormalizer {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.number("count", &mut self.count)?;
        archive.array("mean", &mut self.mean)?;
        archive.array("squares", &mut self.squares)
    }
}

impl Normalizer {
    /// The normalised `rows` `[n, dim]`.
    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut rows = rows.to_vec();
        for row in rows.chunks_exact_mut(self.mean.len()) {
            for (x, (mean, std)) in row.iter_mut().zip(self.mean.iter().zip(&self.std)) {
                *x = ((*x - mean) / std).clamp(-self.clip, self.clip);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the batches do not share their statistics, when the deviation is not that of the
    /// population, or when the clip is missing.
    #[test]
    fn statistics_are_those_of_all_batches() {
        let mut running = RunningNormalizer::new(2, 1.5);
        assert_eq!(running.normalizer().apply(&[0.5, -9.0]), [0.5, -1.5]);
        running.update(&[1.0, 5.0, 2.0, 5.0]);
        running.update(&[6.0, 5.0]);
        let normalizer = running.normalizer();
        assert_eq!(normalizer.mean, [3.0, 5.0]);
        let std = (14.0_f32 / 3.0).sqrt();
        assert!((normalizer.std[0] - std).abs() < 1e-6);
        assert_eq!(normalizer.std[1], 1.0);
        let row = normalizer.apply(&[4.0, 8.0]);
        assert!((row[0] - 1.0 / std).abs() < 1e-6);
        assert_eq!(row[1], 1.5);
    }
}
