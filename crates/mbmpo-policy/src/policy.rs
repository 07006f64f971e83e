use crate::GaussianMlp;
use mbmpo_core::{Policy, Stream};
use mbmpo_kernels::tanh;
use rand::RngExt;
use rand_distr::StandardNormal;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// A [`GaussianMlp`] with its parameters: acts on the host, one observation at a time, without any tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianPolicy {
    network: GaussianMlp,
    parameters: Vec<f32>,
}

impl GaussianPolicy {
    /// The policy π_θ.
    pub fn new(network: GaussianMlp, theta: &[f64]) -> Self {
        Self {
            network,
            parameters: theta.iter().map(|&x| x as f32).collect(),
        }
    }

    /// Its architecture.
    pub fn network(&self) -> &GaussianMlp {
        &self.network
    }

    /// θ, see [`GaussianMlp`] for the order.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Mean action for one observation.
    pub fn mean(&self, observation: &[f32]) -> Vec<f32> {
        let last = self.network.sizes().len() - 2;
        let mut signal = observation.to_vec();
        let mut rest = self.parameters.as_slice();
        for (i, (inputs, outputs)) in self.network.layers().enumerate() {
            let (weights, after) = rest.split_at(inputs * outputs);
            let (biases, after) = after.split_at(outputs);
            rest = after;
            let mut sum = biases.to_vec();
            for (x, row) in signal.iter().zip(weights.chunks_exact(outputs)) {
                sum.iter_mut().zip(row).for_each(|(sum, w)| *sum += x * w);
            }
            if i < last {
                sum.iter_mut().for_each(|x| *x = tanh(*x));
            }
            signal = sum;
        }
        signal
    }

    /// Standard deviation of every action component.
    pub fn std(&self) -> Vec<f32> {
        let start = self.parameters.len() - self.network.action_dim();
        self.parameters[start..]
            .iter()
            .map(|log_std| self.network.floored(*log_std).exp())
            .collect()
    }

    /// The parameters in the safetensors format: `layers.N.weight` `[inputs, outputs]`, `layers.N.bias`, `log_std`.
    ///
    /// # Errors
    /// When the library refuses, which no policy of ours makes it do.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LoadError> {
        let bytes: Vec<u8> = self
            .parameters
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let views = self
            .network
            .parts()
            .into_iter()
            .map(|part| {
                let span = 4 * part.range.start..4 * part.range.end;
                Ok((
                    part.name,
                    TensorView::new(Dtype::F32, part.shape, &bytes[span])?,
                ))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        let floor = self.network.min_log_std().to_string();
        let metadata = HashMap::from([("min_log_std".to_owned(), floor)]);
        Ok(safetensors::serialize(views, Some(metadata))?)
    }

    /// Reads what [`Self::to_safetensors`] wrote; the architecture follows from the shapes.
    ///
    /// # Errors
    /// When the bytes are not safetensors, or not a policy.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, LoadError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let min_log_std = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get("min_log_std"))
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::MIN);
        let tensors = SafeTensors::deserialize(bytes)?;
        let mut sizes = Vec::new();
        for i in 0.. {
            let name = format!("layers.{i}.weight");
            let Ok(weight) = tensors.tensor(&name) else {
                break;
            };
            let (inputs, outputs) = match *weight.shape() {
                [inputs, outputs] if inputs > 0 && outputs > 0 => (inputs, outputs),
                _ => {
                    return Err(LoadError::Part(
                        name,
                        "a matrix that is not empty".to_owned(),
                    ));
                }
            };
            if i == 0 {
                sizes.push(inputs);
            }
            sizes.push(outputs);
        }
        if sizes.is_empty() {
            return Err(LoadError::Part(
                "layers.0.weight".to_owned(),
                "there".to_owned(),
            ));
        }
        let network = GaussianMlp::from_sizes(sizes, min_log_std);
        let mut parameters = Vec::new();
        for part in network.parts() {
            let wanted = || LoadError::Part(part.name.clone(), format!("F32 {:?}", part.shape));
            let view = tensors.tensor(&part.name).map_err(|_| wanted())?;
            if view.dtype() != Dtype::F32 || view.shape() != part.shape {
                return Err(wanted());
            }
            let (numbers, _) = view.data().as_chunks::<4>();
            parameters.extend(numbers.iter().map(|&x| f32::from_le_bytes(x)));
        }
        Ok(Self {
            network,
            parameters,
        })
    }
}

impl Policy for GaussianPolicy {
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        let mut action = self.mean(observation);
        for (a, std) in action.iter_mut().zip(self.std()) {
            let noise: f32 = stream.sample(StandardNormal);
            *a += std * noise;
        }
        action
    }
}

/// Why bytes are not a policy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not in the safetensors format.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is missing or of another shape.
    #[error("not a policy: tensor `{0}` must be {1}")]
    Part(String, String),
}
