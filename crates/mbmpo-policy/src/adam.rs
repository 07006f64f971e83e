use mbmpo_core::{Archive, Persist, Result};

/// Adam (Kingma and Ba 2015) on a flat parameter vector, as in its paper: bias-corrected moments, ε
/// outside the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    learning_rate: f64,
    epsilon: f64,
    /// Moving averages of the gradients and of their squares.
    moments: [Vec<f64>; 2],
    steps: u64,
}

const BETAS: [f64; 2] = [0.9, 0.999];

impl Adam {
    /// The optimiser of `count` parameters, before its first step.
    pub fn new(count: usize, learning_rate: f64, epsilon: f64) -> Self {
        Self {
            learning_rate,
            epsilon,
            moments: [vec![0.0; count], vec![0.0; count]],
            steps: 0,
        }
    }

    /// One step that increases the function with this `gradient` at `theta`.
    pub fn ascend(&mut self, theta: &mut [f64], gradient: &[f64]) {
        self.steps = self.steps.saturating_add(1);
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let corrections = BETAS.map(|beta| 1.0 - beta.powi(steps));
        let [first, second] = &mut self.moments;
        for (((theta, g), m), v) in theta.iter_mut().zip(gradient).zip(first).zip(second) {
            *m += (1.0 - BETAS[0]) * (g - *m);
            *v += (1.0 - BETAS[1]) * (g * g - *v);
            let (mean, square) = (*m / corrections[0], *v / corrections[1]);
            *theta += self.learning_rate * mean / (square.sqrt() + self.epsilon);
        }
    }
}

impl Persist for Adam {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        let [first, second] = &mut self.moments;
        archive.array("first_moment", first)?;
        archive.array("second_moment", second)?;
        archive.number("steps", &mut self.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps computed by hand; fails when a moment, its correction or the direction is wrong.
    #[test]
    fn two_steps_by_hand() {
        let mut adam = Adam::new(1, 0.1, 1e-3);
        let mut theta = [1.0];
        adam.ascend(&mut theta, &[2.0]);
        let first = 1.0 + 0.1 * 2.0 / (2.0 + 1e-3);
        assert!((theta[0] - first).abs() < 1e-12);
        adam.ascend(&mut theta, &[-1.0]);
        let mean: f64 = (0.1 * 2.0 * 0.9 - 0.1) / (1.0 - 0.81);
        let square: f64 = (0.001 * 4.0 * 0.999 + 0.001) / (1.0 - 0.999 * 0.999);
        let second = first + 0.1 * mean / (square.sqrt() + 1e-3);
        assert!((theta[0] - second).abs() < 1e-12);
    }
}
