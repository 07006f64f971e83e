//! Evaluation of tasks on tensors with one entry per row.

use super::{Number, Transitions};
use burn::tensor::{DType, Tensor};

/// A batch of transitions on a device.
#[derive(Debug, Clone)]
pub struct TensorTransitions {
    /// s: `[rows, observation]`
    pub observations: Tensor<2>,
    /// a: `[rows, action]`
    pub actions: Tensor<2>,
    /// s': `[rows, observation]`
    pub next_observations: Tensor<2>,
}

fn column(matrix: &Tensor<2>, index: usize) -> Tensor<1> {
    matrix.clone().narrow(1, index, 1).squeeze_dim(1)
}

impl Transitions for TensorTransitions {
    type Number = Tensor<1>;

    fn observation(&self, component: usize) -> Tensor<1> {
        column(&self.observations, component)
    }

    fn action(&self, component: usize) -> Tensor<1> {
        column(&self.actions, component)
    }

    fn next_observation(&self, component: usize) -> Tensor<1> {
        column(&self.next_observations, component)
    }

    fn action_dim(&self) -> usize {
        self.actions.dims()[1]
    }

    fn zero(&self) -> Tensor<1> {
        let [rows, _] = self.observations.dims();
        let dtype: DType = self.observations.dtype();
        Tensor::zeros([rows], (&self.observations.device(), dtype))
    }
}

impl Number for Tensor<1> {
    fn scale(self, factor: f64) -> Self {
        self.mul_scalar(factor)
    }

    fn offset(self, constant: f64) -> Self {
        self.add_scalar(constant)
    }

    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    fn clamp(self, low: f64, high: f64) -> Self {
        Self::clamp(self, low, high)
    }

    fn within(self, low: f64, high: f64) -> Self {
        let above = self.clone().greater_equal_elem(low).float();
        let below = self.lower_equal_elem(high).float();
        above * below
    }
}
