//! Learned models of the dynamics, and imagination in them (section 4.1 and appendix A.3 of the
//! paper).
//!
//! An [`Ensemble`] learns Δs = s' - s from real [`Trajectories`](mbmpo_core::Trajectories). It is a
//! [`LearnedModel`](mbmpo_core::LearnedModel); frozen it is a [`Predictor`], the
//! [`DynamicsModel`](mbmpo_core::DynamicsModel) in which [`imagination`] runs rollouts of any
//! controller. All of it works on any Burn device, every random number comes from named
//! [`Streams`](mbmpo_core::Streams), and on the CPU results are the same bits at any number of
//! threads.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use mbmpo_core::{Check, DynamicsModel, LearnedModel, Purpose, Streams, Trajectories};
//! use mbmpo_models::{Ensemble, EnsembleConfig};
//! use rand::RngExt;
//!
//! // 400 transitions of s' = 0.9 s + 0.5 a
//! let streams = Streams::new(1);
//! let mut random = streams.stream(Purpose::Test, 0, 0);
//! let mut data = Trajectories::new(1, 1);
//! for _ in 0..400 {
//!     let (s, a) = (random.random_range(-1.0..1.0_f32), random.random_range(-1.0..1.0_f32));
//!     data.push(&[s], &[a], &[0.9 * s + 0.5 * a], 0.0);
//! }
//! data.end_path(false);
//!
//! let config = EnsembleConfig {
//!     members: 2,
//!     hidden: vec![32],
//!     learning_rate: 1e-2,
//!     batch_size: 50,
//!     max_epochs: 60,
//!     ..EnsembleConfig::default()
//! };
//! let device = Device::flex();
//! let mut ensemble = Ensemble::new(config.check()?, 1, 1, &streams, &device);
//! ensemble.fit(&data, &streams, 0)?;
//!
//! let s = Tensor::from_data([[0.4]], &device);
//! let a = Tensor::from_data([[-0.2]], &device);
//! let next = ensemble.freeze()?.step(1, s, a, &mut random)?.into_scalar::<f32>();
//! assert!((next - 0.26).abs() < 0.03);
//! # Ok::<(), mbmpo_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod cpu_network;
mod disagreement;
mod early_stopping;
mod ensemble;
mod fit;
pub mod imagination;
mod network;
mod normalizer;
mod prediction_error;
mod predictor;
mod tensor_network;

pub use config::{EnsembleConfig, Shuffle};
pub use disagreement::Disagreement;
pub use early_stopping::RollingStop;
pub use ensemble::Ensemble;
pub use prediction_error::prediction_error;
pub use predictor::Predictor;
