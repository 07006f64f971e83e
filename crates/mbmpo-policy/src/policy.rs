use crate::safetensors_io::{self, File, LoadError};
use crate::{GaussianMlp, Normalizer};
use mbmpo_core::{Policy, Stream};
use mbmpo_kernels::{tanh, vectorized};
use rand::RngExt;
use rand_distr::StandardNormal;

const RETURN_STD: &str = "return.std";

/// A [`GaussianMlp`] with its parameters, which acts on one observation at a time, on slices.
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

    /// The same policy with parameters θ.
    #[must_use]
    pub fn with_parameters(&self, theta: &[f64]) -> Self {
        Self {
            parameters: theta.iter().map(|&x| x as f32).collect(),
            ..self.clone()
        }
    }

    /// The same policy, normalising its observations.
    #[must_use]
    pub fn with_normalizer(self, normalizer: Normalizer) -> Self {
        Self {
            normalizer: Some(normalizer),
            ..self
        }
    }

    /// The same policy with a record of the standard deviation of the discounted return, by which
    /// rewards were divided in training. It has no effect on actions.
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

    /// The normaliser of observations.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.normalizer.as_ref()
    }

    /// The architecture.
    pub fn network(&self) -> &GaussianMlp {
        &self.network
    }

    /// θ, see [`GaussianMlp`] for the order.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Mean action `[action]` for one observation.
    pub fn mean(&self, observation: &[f32]) -> Vec<f32> {
        vectorized(
            #[inline(always)]
            || self.forward(observation, |_| ()),
        )
    }

    /// The policy without noise, whose action is the mean.
    pub fn without_noise(&self) -> MeanPolicy<'_> {
        MeanPolicy(self)
    }

    /// The share of the hidden units whose tanh is beyond ±0.9 for this observation; such a unit
    /// hardly passes on what its inputs say, and learns slowly.
    pub fn saturation(&self, observation: &[f32]) -> f64 {
        let (mut saturated, mut units) = (0, 0);
        self.forward(observation, |hidden| {
            units += hidden.len();
            saturated += hidden.iter().filter(|x| x.abs() > 0.9).count();
        });
        saturated as f64 / units.max(1) as f64
    }

    /// KL divergence KL(π ‖ `other`) of the Gaussians at one observation.
    pub fn kl_divergence(&self, other: &Self, observation: &[f32]) -> f64 {
        let (means, stds) = (self.mean(observation), self.std());
        let (other_means, other_stds) = (other.mean(observation), other.std());
        let components = means
            .iter()
            .zip(&stds)
            .zip(other_means.iter().zip(&other_stds));
        components
            .map(|((mean, std), (other_mean, other_std))| {
                let ratio = f64::from(std / other_std);
                let distance = f64::from((mean - other_mean) / other_std);
                0.5 * (ratio * ratio + distance * distance - 1.0) - ratio.ln()
            })
            .sum()
    }

    #[inline(always)]
    fn forward(&self, observation: &[f32], mut see_hidden: impl FnMut(&[f32])) -> Vec<f32> {
        let last = self.network.sizes().len() - 2;
        let mut input = match &self.normalizer {
            Some(normalizer) => normalizer.apply(observation),
            None => observation.to_vec(),
        };
        let mut rest = self.parameters.as_slice();
        for (i, (inputs, outputs)) in self.network.layers().enumerate() {
            let (weights, after) = rest.split_at(inputs * outputs);
            let (biases, after) = after.split_at(outputs);
            rest = after;
            let mut sum = biases.to_vec();
            for (x, row) in input.iter().zip(weights.chunks_exact(outputs)) {
                sum.iter_mut().zip(row).for_each(|(sum, w)| *sum += x * w);
            }
            if i < last {
                sum.iter_mut().for_each(|x| *x = tanh(*x));
                see_hidden(&sum);
            }
            input = sum;
        }
        input
    }

    /// Standard deviation of every action component.
    pub fn std(&self) -> Vec<f32> {
        let start = self.parameters.len() - self.network.action_dim();
        self.parameters[start..]
            .iter()
            .map(|log_std| self.network.clamp_log_std(*log_std).exp())
            .collect()
    }

    /// The policy in the safetensors format: `layers.N.weight` `[inputs, outputs]`, `layers.N.bias`
    /// and `log_std`; where observations are normalised also `observation.mean`, `observation.std`
    /// and `observation.clip`; where rewards were normalised also `return.std`.
    ///
    /// # Errors
    /// When serialisation fails, which does not happen for a valid policy.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LoadError> {
        let ranges = self.network.named_ranges().into_iter();
        let mut tensors: Vec<_> = ranges
            .map(|part| (part.name, part.shape, self.parameters[part.range].to_vec()))
            .collect();
        let min_log_std = self.network.min_log_std().to_string();
        if let Some(normalizer) = &self.normalizer {
            safetensors_io::add_normalizer(normalizer, &mut tensors);
        }
        if let Some(std) = self.return_std {
            tensors.push((RETURN_STD.to_owned(), vec![1], vec![std]));
        }
        safetensors_io::write(&tensors, ("min_log_std", min_log_std))
    }

    /// Reads the format of [`Self::to_safetensors`]; the architecture follows from the shapes.
    ///
    /// # Errors
    /// When the bytes are not safetensors, or not a policy.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, LoadError> {
        let file = File::open(bytes)?;
        let min_log_std = file.metadata.get("min_log_std");
        let min_log_std = min_log_std.and_then(|text| text.parse::<f64>().ok());
        let min_log_std = min_log_std.filter(|x| x.is_finite()).unwrap_or(f64::MIN);
        let mut sizes = Vec::new();
        for i in 0.. {
            let name = format!("layers.{i}.weight");
            let Ok(weight) = file.tensors.tensor(&name) else {
                break;
            };
            let (inputs, outputs) = match *weight.shape() {
                [inputs, outputs] if inputs > 0 && outputs > 0 => (inputs, outputs),
                _ => {
                    let wanted = "a matrix that is not empty".to_owned();
                    return Err(LoadError::Part(name, wanted));
                }
            };
            if i == 0 {
                sizes.push(inputs);
            }
            sizes.push(outputs);
        }
        let Some(&observation_dim) = sizes.first() else {
            let name = "layers.0.weight".to_owned();
            return Err(LoadError::Part(name, "present".to_owned()));
        };
        let network = GaussianMlp::from_sizes(sizes, min_log_std);
        let mut parameters = Vec::new();
        for part in network.named_ranges() {
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

/// A [`GaussianPolicy`] without noise.
#[derive(Debug, Clone, Copy)]
pub struct MeanPolicy<'a>(&'a GaussianPolicy);

impl Policy for MeanPolicy<'_> {
    fn act(&self, observation: &[f32], _stream: &mut Stream) -> Vec<f32> {
        self.0.mean(observation)
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
