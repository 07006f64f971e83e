use serde::{Deserialize, Serialize};

/// An axis-aligned box of actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxSpace {
    /// Lower bound of every component.
    pub low: Vec<f32>,
    /// Upper bound of every component.
    pub high: Vec<f32>,
}

impl BoxSpace {
    /// The box `[-1, 1]^dim` in which policies act, whatever the robot's motors take.
    pub fn unit(dim: usize) -> Self {
        Self {
            low: vec![-1.0; dim],
            high: vec![1.0; dim],
        }
    }

    /// Number of components.
    pub fn dim(&self) -> usize {
        self.low.len()
    }

    /// The nearest point of the box; a NaN becomes the lower bound.
    pub fn clip(&self, point: &[f32]) -> Vec<f32> {
        point
            .iter()
            .zip(self.low.iter().zip(&self.high))
            .map(|(x, (&low, &high))| x.max(low).min(high))
            .collect()
    }
}
