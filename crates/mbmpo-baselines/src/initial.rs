//! Random networks of the right sizes, from the streams in which every algorithm draws them.

use burn::tensor::Device;
use mbmpo_core::{Checked, Experience, Purpose, Result};
use mbmpo_policy::{GaussianMlp, PolicyConfig, ValueNetwork};

/// A random policy for the environment: its architecture and θ.
pub(crate) fn policy(
    experience: &Experience,
    config: &Checked<PolicyConfig>,
) -> (GaussianMlp, Vec<f64>) {
    let (observation_dim, action_dim) = experience.dims();
    let network = GaussianMlp::new(config, observation_dim, action_dim);
    let mut stream = experience.streams().stream(Purpose::PolicyWeights, 0, 0);
    let theta = network.initial_parameters(config, &mut stream);
    (network, theta)
}

/// A random value network with tanh layers of these sizes, and its parameters.
pub(crate) fn values(
    experience: &Experience,
    hidden: &[usize],
    device: &Device,
) -> Result<(ValueNetwork, Vec<f64>)> {
    let (observation_dim, _) = experience.dims();
    let mut stream = experience.streams().stream(Purpose::PolicyWeights, 0, 1);
    let network = ValueNetwork::new(hidden, observation_dim, device, &mut stream)?;
    Ok(network)
}
