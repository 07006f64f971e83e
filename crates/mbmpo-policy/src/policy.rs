use crate::safe::{self, LoadError};
use crate::{GaussianMlp, Normalizer};
use mbmpo_core::{Policy, Stream};
use mbmpo_kernels::tanh;
use rand::RngExt;
use rand_distr::StandardNormal;

const RETURN_STD: &str = "return.std";

/// A [`GaussianMlp`] with its parameters: acts on the host, one observation at a time, without any tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianPolicy {
    network: GaussianMlp,
    parameters: Vec<f32>,
    normalizer: Option<Normalizer>,
    return_std: Option<f32>,
}

impl GaussianPolicy {
    /// The policy π_θ.
    pub fn new(network: GaussianMlp, theta: &[f64]) -> Self {
        Self {
            network,
            parameters: theta.iter().map(|&x| x as f32).collect(),
            normalizer: None,
            return_std: None,
        }
    }

    /// The same policy with θ in place of its parameters.
    #[must_use]
    pub fn with_parameters(&self, theta: &[f64]) -> Self {
        Self {
            parameters: theta.iter().map(|&x| x as f32).collect(),
            ..self.clone()
        }
    }

    /// The same policy on observations that are normalised first.
    #[must_use]
    pub fn with_normalizer(self, normalizer: Normalizer) -> Self {
        Self {
            normalizer: Some(normalizer),
            ..self
        }
    }

    /// Notes the standard deviation of the discounted return, by which rewards were divided in training. It does not
    /// change what the policy does.
    #[must_use]
    pub fn with_return_std(self, std: f32) -> Self {
        Self {
            return_std: Some(std),
            ..self
        }
    }

    /// The standard deviation of the discounted return, by which rewards were divided in training.
    pub fn return_std(&self) -> Option<f32> {
        self.return_std
    }

    /// What is done to observations first.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.normalizer.as_ref()
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
        let mut signal = match &self.normalizer {
            Some(normalizer) => normalizer.apply(observation),
            None => observation.to_vec(),
        };
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

    /// The parameters in the safetensors format: `layers.N.weight` `[inputs, outputs]`, `layers.N.bias`, `log_std`, and
    /// where observations are normalised `observation.mean`, `.std` and
    /// `.clip`, where rewards were `return.std`.
    ///
    /// # Errors
    /// When the library refuses, which no policy of ours makes it do.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LoadError> {
        let part = |part: crate::gaussian_mlp::Part| {
            let entries = self.parameters[part.range].to_vec();
            (part.name, part.shape, entries)
        };
        let mut parts: Vec<_> = self.network.parts().into_iter().map(part).collect();
        let floor = self.network.min_log_std().to_string();
        if let Some(normalizer) = &self.normalizer {
            safe::add_normalizer(normalizer, &mut parts);
        }
        if let Some(std) = self.return_std {
            parts.push((RETURN_STD.to_owned(), vec![1], vec![std]));
        }
        safe::write(&parts, ("min_log_std", floor))
    }

    /// Reads what [`Self::to_safetensors`] wrote; the architecture follows from the shapes.
    ///
    /// # Errors
    /// When the bytes are not safetensors, or not a policy.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, LoadError> {
        let file = safe::File::open(bytes)?;
        let floor = file.metadata.get("min_log_std");
        let floor = floor.and_then(|text| text.parse::<f64>().ok());
        let min_log_std = floor.filter(|x| x.is_finite()).unwrap_or(f64::MIN);
        let mut sizes = Vec::new();
        for i in 0.. {
            let name = format!("layers.{i}.weight");
            let Ok(weight) = file.tensors.tensor(&name) else {
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
        let Some(&observation_dim) = sizes.first() else {
            return Err(LoadError::Part(
                "layers.0.weight".to_owned(),
                "there".to_owned(),
            ));
        };
        let network = GaussianMlp::from_sizes(sizes, min_log_std);
        let mut parameters = Vec::new();
        for part in network.parts() {
            parameters.extend(file.tensor(&part.name, &part.shape)?);
        }
        Ok(Self {
            network,
            parameters,
            normalizer: file.normalizer(observation_dim)?,
            return_std: match file.tensors.tensor(RETURN_STD) {
                Ok(_) => Some(file.tensor(RETURN_STD, &[1])?[0]),
                Err(_) => None,
            },
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
