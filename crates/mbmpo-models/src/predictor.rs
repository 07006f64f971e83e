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
        let shift = self
            .input
            .mean
            .iter()
            .zip(&inverse)
            .map(|(mean, inverse)| -mean * inverse);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::normalizer::Normalizer;
    use mbmpo_core::{Purpose, Streams};

    /// Fails when folding forgets a mean, a deviation, or mixes up inputs and targets.
    #[test]
    fn folded_equals_unfolded() {
        let device = Device::flex();
        let mut stream = Streams::new(0).stream(Purpose::Test, 0, 0);
        let network = Network::new(&[3, 16, 2], true, &mut stream, &device);
        let normalization = Normalization {
            input: Normalizer {
                mean: vec![1.0, -2.0, 0.5],
                std: vec![0.5, 3.0, 0.0],
            },
            target: Normalizer {
                mean: vec![0.1, -0.2],
                std: vec![0.3, 2.0],
            },
        };
        let model = Predictor::new(vec![normalization.fold(network.affine(), &device)]);
        let observations = Tensor::<2>::from_data([[0.3, -1.0], [2.0, 5.0]], &device);
        let actions = Tensor::<2>::from_data([[0.5], [-1.0]], &device);
        let folded = model.predict(0, observations.clone(), actions.clone());

        // the third input does not vary, so it is 0 in standardised units
        let standardised =
            Tensor::<2>::from_data([[-1.4, 1.0 / 3.0, 0.0], [2.0, 7.0 / 3.0, 0.0]], &device);
        let std = Tensor::<2>::from_data([[0.3, 2.0]], &device);
        let mean = Tensor::<2>::from_data([[0.1, -0.2]], &device);
        let unfolded = observations + forward(&network.affine(), standardised) * std + mean;
        let error = (folded - unfolded).abs().max().into_scalar::<f32>();
        assert!(error < 1e-5, "{error}");
    }
}
