use crate::network::{Affine, forward};
use crate::normalizer::Normalization;
use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::DynamicsModel;

/// A fitted ensemble, frozen and made fast: weight normalisation, the standardisation of (s, a) and the scale of Δs
/// are folded into plain weights.
#[derive(Debug, Clone)]
pub struct Predictor {
    members: Vec<Vec<Affine>>,
}

impl Predictor {
    pub(crate) fn new(members: Vec<Vec<Affine>>) -> Self {
        Self { members }
    }
}

impl DynamicsModel for Predictor {
    fn members(&self) -> usize {
        self.members.len()
    }

    /// The member's network gives Δs; the prediction is s + Δs (section 4.1 of the paper).
    fn predict(&self, member: usize, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        let input = Tensor::cat(vec![observations.clone(), actions], 1);
        forward(&self.members[member], input) + observations
    }
}

impl Normalization {
    /// Layers that take raw (s, a) and give raw Δs, from layers in standardised units.
    pub(crate) fn fold(&self, mut layers: Vec<Affine>, device: &Device) -> Vec<Affine> {
        let tensor = |values: Vec<f64>, shape: [usize; 2]| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, shape), device)
        };
        let (inputs, targets) = (self.input.mean.len(), self.target.mean.len());
        let inverse = self.input.inverse_std();
        let shift = self.input.mean.iter().zip(&inverse).map(|(mean, inverse)| -mean * inverse);
        let shift = tensor(shift.collect(), [1, inputs]);
        let inverse = tensor(inverse, [inputs, 1]);
        if let Some((weights, bias)) = layers.first_mut() {
            // ((x - mean) inverse) W + b
            *bias = bias.clone() + shift.matmul(weights.clone());
            *weights = weights.clone() * inverse;
        }
        let std = tensor(self.target.std.clone(), [1, targets]);
        let mean = tensor(self.target.mean.clone(), [1, targets]);
        if let Some((weights, bias)) = layers.last_mut() {
            *weights = weights.clone() * std.clone();
            *bias = bias.clone() * std + mean;
        }
        layers
    }
}
