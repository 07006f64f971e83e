//! Ensembles of dynamics networks: normalisation, fitting with early stopping, prediction (section 4.1 and
//! appendix A.3 of the paper).
//!
//! An [`Ensemble`] learns Δs = s' - s from real [`Trajectories`](mbmpo_core::Trajectories); its [`Predictor`] is the
//! [`DynamicsModel`](mbmpo_core::DynamicsModel) that imagination steps. Both work on any Burn device, every random
//! number comes from named [`Streams`](mbmpo_core::Streams), and on the CPU results are the same bits at any number
//! of threads.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use mbmpo_core::{Check, DynamicsModel, Purpose, Streams, Trajectories};
//! use mbmpo_models::{Ensemble, EnsembleConfig, Shuffle};
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
//!     weight_normalization: true,
//!     learning_rate: 1e-2,
//!     adam_epsilon: 1e-8,
//!     batch_size: 50,
//!     max_epochs: 60,
//!     validation_share: 0.2,
//!     rolling_persistence: 0.95,
//!     rolling_start: 1.5,
//!     shuffle: Shuffle::Rows,
//! };
//! let device = Device::flex();
//! let mut ensemble = Ensemble::new(config.check()?, 1, 1, &streams, &device);
//! ensemble.fit(&data, &streams, 0)?;
//!
//! let s = Tensor::from_data([[0.4]], &device);
//! let a = Tensor::from_data([[-0.2]], &device);
//! let next = ensemble.predictor()?.predict(1, s, a).into_scalar::<f32>();
//! assert!((next - 0.26).abs() < 0.03);
//! # Ok::<(), mbmpo_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod cpu_network;
mod ensemble;
mod fit;
pub mod imagination;
mod network;
mod normalizer;
mod predictor;
mod stop;
mod tensor_network;

pub use config::{EnsembleConfig, Shuffle};
pub use ensemble::Ensemble;
pub use predictor::Predictor;
pub use stop::RollingStop;
