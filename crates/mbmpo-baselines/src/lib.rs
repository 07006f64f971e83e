//! The model-free algorithms that the paper compares MB-MPO with (its figure 1), and the vanilla
//! policy gradient with which it fine-tunes (its section 5). One file each, in the order of its
//! paper:
//!
//! - [`trpo`]: Schulman et al. 2015, on the trust region that MB-MPO uses, too;
//! - [`ppo`]: Schulman et al. 2017, the clipped surrogate;
//! - [`ddpg`]: Lillicrap et al. 2016, with parameter noise (Plappert et al. 2018);
//! - [`acktr`]: Wu et al. 2017, on the curvature of [`kfac`] (Martens and Grosse 2015);
//! - [`vpg`]: vanilla policy gradient, from scratch or from a trained policy.
//!
//! ```
//! use burn::tensor::Device;
//! use mbmpo_baselines::{Vpg, VpgConfig};
//! use mbmpo_core::{Algorithm, Check, Setup, Silent};
//! use mbmpo_envs::{Variant, make};
//! use mbmpo_policy::PolicyConfig;
//!
//! let config = VpgConfig {
//!     batch_steps: 600,
//!     policy: PolicyConfig { hidden: vec![16], ..PolicyConfig::default() },
//!     ..VpgConfig::default()
//! };
//! let setup = Setup::new(make("point-2d", Variant::Paper)?, 1);
//! let mut vpg = Vpg::new(config.check()?, setup, &Device::flex())?;
//! let metrics = vpg.iterate(&mut Silent)?;
//! assert!(metrics.return_pre_mean < 0.0);
//! # Ok::<(), mbmpo_core::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod acktr;
mod critic;
pub mod ddpg;
mod initial;
pub mod kfac;
pub mod ppo;
mod replay;
mod reward_scale;
pub mod trpo;
pub mod vpg;

pub use acktr::{Acktr, AcktrConfig};
pub use ddpg::{Ddpg, DdpgConfig};
pub use ppo::{Ppo, PpoConfig};
pub use trpo::{Trpo, TrpoConfig};
pub use vpg::{Vpg, VpgConfig};
