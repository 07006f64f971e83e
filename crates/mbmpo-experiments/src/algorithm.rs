use crate::{Error, Result, nearest};
use mbmpo_baselines::{AcktrConfig, DdpgConfig, PpoConfig, TrpoConfig, VpgConfig};
use mbmpo_core::{Check, Checker};
use mbmpo_meta::MbMpoConfig;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How something is learned: an algorithm and its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AlgorithmConfig {
    /// Model-based meta-policy optimisation.
    MbMpo(MbMpoConfig),
    /// Trust region policy optimization.
    Trpo(TrpoConfig),
    /// Proximal policy optimization.
    Ppo(PpoConfig),
    /// Deep deterministic policy gradient.
    Ddpg(DdpgConfig),
    /// Actor critic using Kronecker-factored trust region.
    Acktr(AcktrConfig),
    /// Vanilla policy gradient.
    Vpg(VpgConfig),
}

/// Which algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlgorithmKind {
    /// Model-based meta-policy optimisation.
    #[default]
    MbMpo,
    /// Trust region policy optimization.
    Trpo,
    /// Proximal policy optimization.
    Ppo,
    /// Deep deterministic policy gradient.
    Ddpg,
    /// Actor critic using Kronecker-factored trust region.
    Acktr,
    /// Vanilla policy gradient.
    Vpg,
}

impl AlgorithmKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MbMpo,
        Self::Trpo,
        Self::Ppo,
        Self::Ddpg,
        Self::Acktr,
        Self::Vpg,
    ];

    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MbMpo => "mb-mpo",
            Self::Trpo => "trpo",
            Self::Ppo => "ppo",
            Self::Ddpg => "ddpg",
            Self::Acktr => "acktr",
            Self::Vpg => "vpg",
        }
    }
}

impl fmt::Display for AlgorithmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AlgorithmKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "algorithm",
            name: name.to_owned(),
            nearest: nearest(name, Self::ALL.map(Self::name)).map(str::to_owned),
            known: Self::ALL.map(|kind| kind.name().to_owned()).to_vec(),
        })
    }
}

impl AlgorithmConfig {
    /// Which algorithm it is.
    pub fn kind(&self) -> AlgorithmKind {
        match self {
            Self::MbMpo(_) => AlgorithmKind::MbMpo,
            Self::Trpo(_) => AlgorithmKind::Trpo,
            Self::Ppo(_) => AlgorithmKind::Ppo,
            Self::Ddpg(_) => AlgorithmKind::Ddpg,
            Self::Acktr(_) => AlgorithmKind::Acktr,
            Self::Vpg(_) => AlgorithmKind::Vpg,
        }
    }

    /// Length of an episode \[control steps\]; the environment's own where absent.
    pub fn horizon(&self) -> Option<usize> {
        self.clone().horizon_mut().to_owned()
    }

    pub(crate) fn horizon_mut(&mut self) -> &mut Option<usize> {
        match self {
            Self::MbMpo(config) => &mut config.horizon,
            Self::Trpo(config) => &mut config.horizon,
            Self::Ppo(config) => &mut config.horizon,
            Self::Ddpg(config) => &mut config.horizon,
            Self::Acktr(config) => &mut config.horizon,
            Self::Vpg(config) => &mut config.horizon,
        }
    }

    /// The parameters of MB-MPO, where it is that.
    pub fn mb_mpo(&self) -> Option<&MbMpoConfig> {
        match self {
            Self::MbMpo(config) => Some(config),
            _ => None,
        }
    }
}

impl Check for AlgorithmConfig {
    fn inspect(&self, checker: &mut Checker) {
        match self {
            Self::MbMpo(config) => config.inspect(checker),
            Self::Trpo(config) => config.inspect(checker),
            Self::Ppo(config) => config.inspect(checker),
            Self::Ddpg(config) => config.inspect(checker),
            Self::Acktr(config) => config.inspect(checker),
            Self::Vpg(config) => config.inspect(checker),
        }
    }
}
