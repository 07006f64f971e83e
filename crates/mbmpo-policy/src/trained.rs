use crate::safetensors_io::{self, File, LoadError};
use crate::{GaussianPolicy, Mlp, Normalizer};
use mbmpo_core::{Error, Policy, Result as CoreResult, SavedPolicy, Stream};

/// A deterministic policy a = μ(s) on normalised observations, where μ is an [`Mlp`].
#[derive(Debug, Clone, PartialEq)]
pub struct DeterministicPolicy {
    /// The architecture.
    pub network: Mlp,
    /// `[parameters]`
    pub parameters: Vec<f32>,
    /// The normaliser of observations.
    pub normalizer: Normalizer,
}

impl Policy for DeterministicPolicy {
    fn act(&self, observation: &[f32], _stream: &mut Stream) -> Vec<f32> {
        let input = self.normalizer.apply(observation);
        self.network.forward_one(&self.parameters, &input)
    }
}

/// A trained policy of one of the algorithms of this project, with its file format.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainedPolicy {
    /// A stochastic policy.
    Gaussian(GaussianPolicy),
    /// A policy without noise.
    Deterministic(DeterministicPolicy),
}

/// The key of the file's metadata that holds the architecture of a deterministic policy.
const NETWORK: &str = "network";

impl TrainedPolicy {
    /// Number of components of an observation and of an action.
    pub fn dims(&self) -> (usize, usize) {
        let sizes = match self {
            Self::Gaussian(policy) => policy.network().sizes(),
            Self::Deterministic(policy) => &policy.network.sizes,
        };
        match sizes {
            [first, .., last] => (*first, *last),
            _ => (0, 0),
        }
    }

    /// The policy in the safetensors format. For a Gaussian policy see
    /// [`GaussianPolicy::to_safetensors`]; of a deterministic policy the file holds `parameters`
    /// `[parameters]`, the normaliser, and the architecture in its metadata.
    ///
    /// # Errors
    /// When serialisation fails, which does not happen for a valid policy.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LoadError> {
        let policy = match self {
            Self::Gaussian(policy) => return policy.to_safetensors(),
            Self::Deterministic(policy) => policy,
        };
        let network = serde_json::to_string(&policy.network)
            .map_err(|error| LoadError::Part(NETWORK.to_owned(), error.to_string()))?;
        let count = policy.parameters.len();
        let mut tensors = vec![(
            "parameters".to_owned(),
            vec![count],
            policy.parameters.clone(),
        )];
        safetensors_io::add_normalizer(&policy.normalizer, &mut tensors);
        safetensors_io::write(&tensors, (NETWORK, network))
    }

    /// Reads the format of [`Self::to_safetensors`].
    ///
    /// # Errors
    /// When the bytes are not safetensors, or not a policy.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, LoadError> {
        let file = File::open(bytes)?;
        let Some(network) = file.metadata.get(NETWORK) else {
            return GaussianPolicy::from_safetensors(bytes).map(Self::Gaussian);
        };
        let network: Mlp = serde_json::from_str(network)
            .map_err(|error| LoadError::Part(NETWORK.to_owned(), error.to_string()))?;
        let size = |size: &usize| (1..=8192).contains(size);
        let sound = (2..=18).contains(&network.sizes.len())
            && network.sizes.iter().all(size)
            && network.joining == 0;
        if !sound {
            let wanted = "a network of 1 to 17 layers with 1 to 8192 units each".to_owned();
            return Err(LoadError::Part(NETWORK.to_owned(), wanted));
        }
        let parameters = file.tensor("parameters", &[network.parameter_count()])?;
        let normalizer = file
            .normalizer(network.sizes[0])?
            .ok_or_else(|| LoadError::Part("observation.mean".to_owned(), "present".to_owned()))?;
        Ok(Self::Deterministic(DeterministicPolicy {
            network,
            parameters,
            normalizer,
        }))
    }
}

impl Policy for TrainedPolicy {
    fn act(&self, observation: &[f32], stream: &mut Stream) -> Vec<f32> {
        match self {
            Self::Gaussian(policy) => policy.act(observation, stream),
            Self::Deterministic(policy) => policy.act(observation, stream),
        }
    }
}

impl From<GaussianPolicy> for TrainedPolicy {
    fn from(policy: GaussianPolicy) -> Self {
        Self::Gaussian(policy)
    }
}

impl From<DeterministicPolicy> for TrainedPolicy {
    fn from(policy: DeterministicPolicy) -> Self {
        Self::Deterministic(policy)
    }
}

impl SavedPolicy for GaussianPolicy {
    fn to_bytes(&self) -> CoreResult<Vec<u8>> {
        self.to_safetensors().map_err(unusable)
    }

    fn from_bytes(bytes: &[u8]) -> CoreResult<Self> {
        Self::from_safetensors(bytes).map_err(unusable)
    }

    fn dims(&self) -> (usize, usize) {
        (self.network().sizes()[0], self.network().action_dim())
    }
}

impl SavedPolicy for DeterministicPolicy {
    fn to_bytes(&self) -> CoreResult<Vec<u8>> {
        TrainedPolicy::from(self.clone())
            .to_safetensors()
            .map_err(unusable)
    }

    fn from_bytes(bytes: &[u8]) -> CoreResult<Self> {
        match TrainedPolicy::from_safetensors(bytes).map_err(unusable)? {
            TrainedPolicy::Deterministic(policy) => Ok(policy),
            TrainedPolicy::Gaussian(_) => Err(Error::Description(
                "the policy acts with noise, and one without is expected".to_owned(),
            )),
        }
    }

    fn dims(&self) -> (usize, usize) {
        match self.network.sizes[..] {
            [first, .., last] => (first, last),
            _ => (0, 0),
        }
    }
}

fn unusable(error: LoadError) -> Error {
    Error::Description(error.to_string())
}
