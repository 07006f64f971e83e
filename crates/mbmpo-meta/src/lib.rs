//! Model-based meta-policy optimisation (MB-MPO; Clavera, Rothfuss et al. 2018).
//!
//! [`MbMpo`] is Algorithm 1 of the paper, in [`mb_mpo`]. The inner step and the meta-objective with
//! its gradient are in [`objective`]; imagination is in [`mbmpo_models::imagination`].

#![forbid(unsafe_code)]

mod config;
mod log;
pub mod mb_mpo;
pub mod objective;

pub use config::MbMpoConfig;
pub use mb_mpo::MbMpo;
