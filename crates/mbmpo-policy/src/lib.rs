//! Stochastic policies and the pieces of policy-gradient algorithms.
//!
//! - [`GaussianMlp`]: a Gaussian whose mean is a small neural network, as a function of a flat parameter vector θ;
//!   [`GaussianPolicy`] is one with its parameters, ready to act;
//! - [`GaussianActor`]: one that acts in many episodes side by side;
//! - [`ValueNetwork`]: a critic V(s); [`Mlp`]: any small perceptron, differentiable by its inputs as well;
//! - [`TrainedPolicy`]: what a run leaves behind, with its file format;
//! - [`advantage`]: linear feature baseline and generalised advantage estimation;
//! - [`surrogate`]: vanilla policy gradient, importance-weighted surrogate and KL divergence of a batch;
//! - [`batch`]: their sums over many samples, in parallel, on any device;
//! - [`cpu`]: policy, gradients and sums once more, fused, for the CPU;
//! - [`trust_region`]: the TRPO step for any objective; [`Adam`]; [`RunningNormalizer`] of observations.
//!
//! ```
//! use mbmpo_core::{Check, Policy, Purpose, Streams};
//! use mbmpo_policy::{GaussianMlp, GaussianPolicy, PolicyConfig};
//!
//! let config = PolicyConfig { hidden: vec![32, 32], initial_std: 1.0, min_std: 1e-6, output_scale: 1.0 }.check()?;
//! let streams = Streams::new(1);
//! let network = GaussianMlp::new(&config, 17, 6);
//! let parameters = network.initial_parameters(&config, &mut streams.stream(Purpose::PolicyWeights, 0, 0));
//! let policy = GaussianPolicy::new(network, &parameters);
//! let action = policy.act(&[0.0; 17], &mut streams.stream(Purpose::Test, 0, 0));
//! assert_eq!(action.len(), 6);
//! # Ok::<(), mbmpo_core::Violations>(())
//! ```

#![forbid(unsafe_code)]

mod actor;
mod adam;
pub mod advantage;
pub mod batch;
mod chunks;
pub mod cpu;
mod gaussian_mlp;
mod mlp;
mod normalizer;
mod policy;
mod safe;
pub mod surrogate;
mod trained;
pub mod trust_region;
mod value;

pub use actor::GaussianActor;
pub use adam::Adam;
pub use gaussian_mlp::{BoundMlp, Forward, GaussianMlp, PolicyConfig};
pub use mlp::{Activation, Mlp};
pub use normalizer::{Normalizer, RunningNormalizer};
pub use policy::GaussianPolicy;
pub use safe::LoadError;
pub use trained::{DeterministicPolicy, TrainedPolicy};
pub use value::ValueNetwork;
