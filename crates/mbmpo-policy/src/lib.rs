//! Stochastic policies and the pieces of policy-gradient algorithms.
//!
//! - [`GaussianMlp`]: the architecture of a Gaussian policy whose mean is a small neural network, a
//!   function of a flat parameter vector θ; [`GaussianPolicy`] is a policy with its parameters;
//! - [`GaussianActor`]: a Gaussian policy that acts in many episodes side by side;
//! - [`ValueNetwork`]: a value function V(s); [`Mlp`]: a multilayer perceptron that is
//!   differentiable by its inputs as well;
//! - [`TrainedPolicy`]: a trained policy with its file format;
//! - [`advantage`]: linear feature baseline and generalised advantage estimation;
//! - [`batch`]: policy gradient, surrogate objective and KL divergence of many samples, with their
//!   derivatives, in parallel, on any device;
//! - [`surrogate`]: surrogate objective and KL divergence on tensors;
//! - [`cpu`]: the policy on slices, for the CPU;
//! - [`trust_region`]: the TRPO step for any objective;
//! - [`Adam`]; [`RunningNormalizer`] of observations.
//!
//! ```
//! use mbmpo_core::{Check, Policy, Purpose, Streams};
//! use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
//!
//! let config = PolicyConfig { hidden: vec![64, 64], ..PolicyConfig::default() }.check()?;
//! let streams = Streams::new(1);
//! let network = GaussianMlp::new(&config, 17, 6);
//! let mut stream = streams.stream(Purpose::PolicyWeights, 0, 0);
//! let theta = network.initial_parameters(&config, &mut stream);
//! let policy = GaussianPolicy::new(network, &theta);
//! let action = policy.act(&[0.0; 17], &mut streams.stream(Purpose::Test, 0, 0));
//! assert_eq!(action.len(), 6);
//! # Ok::<(), mbmpo_core::Violations>(())
//! ```

#![forbid(unsafe_code)]

mod actor;
mod adam;
pub mod advantage;
pub mod batch;
pub mod cpu;
mod gaussian_mlp;
mod mlp;
mod normalizer;
mod policy;
mod safetensors_io;
mod sums;
pub mod surrogate;
mod tensors;
mod trained;
pub mod trust_region;
mod value;

pub use actor::GaussianActor;
pub use adam::Adam;
pub use gaussian_mlp::{BoundMlp, Forward, GaussianMlp, PolicyConfig};
pub use mlp::{Activation, Mlp};
pub use normalizer::{Normalizer, RunningNormalizer};
pub use policy::{GaussianPolicy, MeanPolicy};
pub use safetensors_io::LoadError;
pub use trained::{DeterministicPolicy, TrainedPolicy};
pub use value::ValueNetwork;
