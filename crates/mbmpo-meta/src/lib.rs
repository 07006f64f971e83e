//! Model-based meta-policy optimisation (MB-MPO; Clavera, Rothfuss et al. 2018).
//!
//! [`MbMpo`] is Algorithm 1 of the paper, in [`mb_mpo`]; the parts it is made of are [`imagine`], the inner step and
//! the meta-objective with its gradient, [`objective`].

#![forbid(unsafe_code)]

mod config;
pub mod imagine;
pub mod mb_mpo;
pub mod objective;

pub use config::MbMpoConfig;
pub use mb_mpo::MbMpo;
