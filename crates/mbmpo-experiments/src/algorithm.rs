//! The algorithms that come with the program. Each is entered once, in the list at the end of this
//! file.

use crate::error::by_name;
use crate::{Error, Result};
use mbmpo_baselines::{Acktr, Ddpg, Ppo, Trpo, Vpg};
use mbmpo_core::{Check, Checker, SavedPolicy, Trainable};
use mbmpo_meta::{MbMpo, MbMpoConfig};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A [`Trainable`] that experiments can run: its configuration can be copied and shared between
/// threads.
pub trait Runnable: Trainable<Config: Clone + Send + Sync, Policy: SavedPolicy + 'static> {}

impl<A: Trainable<Config: Clone + Send + Sync, Policy: SavedPolicy + 'static>> Runnable for A {}

/// A function that is generic over the type of the algorithm, see [`AlgorithmChoice::visit`].
pub trait AlgorithmVisitor {
    /// Its result.
    type Output;

    /// Calls it with the algorithm `A` and its hyper-parameters.
    fn visit<A: Runnable>(self, config: &A::Config) -> Self::Output;
}

/// The `algorithm` of an [`ExperimentConfig`](crate::ExperimentConfig): hyper-parameters that know
/// the algorithm to which they belong. [`AlgorithmConfig`] is one; an algorithm in another crate
/// implements it for its own configuration, as in `examples/cross_entropy_method.rs`:
///
/// ```ignore
/// impl AlgorithmChoice for CrossEntropyConfig {
///     fn visit<V: AlgorithmVisitor>(&self, visitor: V) -> V::Output {
///         visitor.visit::<CrossEntropy>(self)
///     }
/// }
/// ```
pub trait AlgorithmChoice:
    Check + Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
    /// Calls `visitor` with the type of the algorithm.
    fn visit<V: AlgorithmVisitor>(&self, visitor: V) -> V::Output;

    /// Name of the algorithm.
    fn name(&self) -> &'static str {
        struct Name;

        impl AlgorithmVisitor for Name {
            type Output = &'static str;

            fn visit<A: Runnable>(self, _config: &A::Config) -> &'static str {
                A::NAME
            }
        }

        self.visit(Name)
    }

    /// Reports the values that are out of range with episodes of this length \[control steps\].
    fn inspect_horizon(&self, horizon: usize, checker: &mut Checker) {
        struct Inspect<'a>(usize, &'a mut Checker);

        impl AlgorithmVisitor for Inspect<'_> {
            type Output = ();

            fn visit<A: Runnable>(self, config: &A::Config) {
                A::inspect_horizon(config, self.0, self.1);
            }
        }

        self.visit(Inspect(horizon, checker));
    }
}

/// A configuration that is embedded in the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preset {
    pub name: &'static str,
    /// Names of the environments that it is for; all others where empty.
    pub environments: &'static [&'static str],
    /// RON.
    pub text: &'static str,
}

/// The smallest run of an algorithm on the 2D point that uses all of its parts, for tests that stop
/// and resume runs. It takes 60 real steps in each iteration.
#[derive(Debug, Clone, Copy)]
pub struct Tiny {
    /// Name of the preset.
    pub preset: &'static str,
    /// `key.path=value`, as the overrides of [`preset::resolve`](crate::preset::resolve).
    pub settings: &'static [&'static str],
}

/// Defines [`AlgorithmConfig`] and [`AlgorithmKind`] from a list of the types that implement
/// [`Trainable`].
macro_rules! algorithms {
    ($(
        $(#[$doc:meta])*
        $algorithm:ident {
            presets: [$($preset:literal for [$($environment:literal),*] in $file:literal),* $(,)?],
            tiny: $base:literal with [$($setting:literal),* $(,)?],
        }
    )*) => {
        /// An algorithm and its hyper-parameters, as in `algorithm: Trpo(batch_steps: 4000, …)`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum AlgorithmConfig {
            $($(#[$doc])* $algorithm(<$algorithm as Trainable>::Config),)*
        }

        /// The name of an algorithm; by default the first of the list. Serialized as its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum AlgorithmKind {
            $($(#[$doc])* $algorithm,)*
        }

        const COUNT: usize = [$(stringify!($algorithm)),*].len();

        impl AlgorithmKind {
            /// All of them.
            pub const ALL: [Self; COUNT] = [$(Self::$algorithm),*];

            /// Name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$algorithm => <$algorithm as Trainable>::NAME,)*
                }
            }

            /// The smallest run that uses all parts of the algorithm.
            pub fn tiny(self) -> Tiny {
                match self {
                    $(Self::$algorithm => Tiny {
                        preset: $base,
                        settings: &[$($setting),*],
                    },)*
                }
            }

            /// The embedded presets, of the default name first; of those with one name the first
            /// that is for an environment counts.
            pub(crate) fn presets(self) -> &'static [Preset] {
                match self {
                    $(Self::$algorithm => &[$(Preset {
                        name: $preset,
                        environments: &[$($environment),*],
                        text: include_str!(concat!("../../../configs/", $file)),
                    }),*],)*
                }
            }
        }

        impl AlgorithmConfig {
            /// The algorithm.
            pub fn kind(&self) -> AlgorithmKind {
                match self {
                    $(Self::$algorithm(_) => AlgorithmKind::$algorithm,)*
                }
            }
        }

        impl AlgorithmChoice for AlgorithmConfig {
            fn visit<V: AlgorithmVisitor>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$algorithm(config) => visitor.visit::<$algorithm>(config),)*
                }
            }
        }
    };
}

impl Default for AlgorithmKind {
    fn default() -> Self {
        Self::ALL[0]
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
        by_name("algorithm", name, Self::ALL, Self::name)
    }
}

impl Serialize for AlgorithmKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for AlgorithmKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

impl AlgorithmConfig {
    /// The parameters of MB-MPO; nothing for another algorithm.
    pub fn mb_mpo(&self) -> Option<&MbMpoConfig> {
        match self {
            Self::MbMpo(config) => Some(config),
            _ => None,
        }
    }
}

impl Check for AlgorithmConfig {
    fn inspect(&self, checker: &mut Checker) {
        struct Inspect<'a>(&'a mut Checker);

        impl AlgorithmVisitor for Inspect<'_> {
            type Output = ();

            fn visit<A: Runnable>(self, config: &A::Config) {
                config.inspect(self.0);
            }
        }

        self.visit(Inspect(checker));
    }
}

algorithms! {
    /// Model-based meta-policy optimisation.
    MbMpo {
        presets: [
            "tuned" for ["point-2d"] in "point-2d/tuned.ron",
            "tuned" for ["ant", "walker2d"] in "robot/tuned-ant-walker2d.ron",
            "tuned" for [] in "robot/tuned.ron",
            "paper" for ["point-2d"] in "point-2d/paper.ron",
            "paper" for ["ant", "walker2d"] in "robot/paper-ant-walker2d.ron",
            "paper" for [] in "robot/paper.ron",
            "quick" for ["point-2d"] in "point-2d/quick.ron",
            "quick" for [] in "robot/quick.ron",
            "authors" for ["point-2d"] in "point-2d/authors.ron",
            "authors" for [] in "robot/authors.ron",
        ],
        tiny: "quick" with [
            "algorithm.initial_random_steps=60",
            "algorithm.real_steps_per_iteration=60",
            "algorithm.imagined_rollouts_per_task=3",
            "algorithm.meta_steps=3",
            "algorithm.policy.hidden=[8]",
            "algorithm.ensemble.members=2",
            "algorithm.ensemble.hidden=[16, 8]",
            "algorithm.ensemble.max_epochs=3",
        ],
    }

    /// Trust region policy optimization.
    Trpo {
        presets: [
            "tuned" for [] in "trpo/tuned.ron",
            "authors" for [] in "trpo/authors.ron",
        ],
        tiny: "tuned" with ["algorithm.batch_steps=60"],
    }

    /// Proximal policy optimization.
    Ppo {
        presets: [
            "tuned" for [] in "ppo/tuned.ron",
            "authors" for [] in "ppo/authors.ron",
        ],
        tiny: "tuned" with ["algorithm.batch_steps=60", "algorithm.minibatches=3"],
    }

    /// Deep deterministic policy gradient.
    Ddpg {
        presets: [
            "tuned" for [] in "ddpg/tuned.ron",
            "authors" for [] in "ddpg/authors.ron",
        ],
        tiny: "tuned" with [
            "algorithm.cycles=2",
            "algorithm.rollout_steps=30",
            "algorithm.train_steps=5",
            "algorithm.batch_size=8",
            "algorithm.noise_interval=4",
        ],
    }

    /// Actor critic using Kronecker-factored trust region.
    Acktr {
        presets: [
            "tuned" for [] in "acktr/tuned.ron",
            "authors" for [] in "acktr/authors.ron",
        ],
        tiny: "tuned" with ["algorithm.batch_steps=60", "algorithm.critic_steps=2"],
    }

    /// Vanilla policy gradient.
    Vpg {
        presets: ["tuned" for [] in "vpg/tuned.ron"],
        tiny: "tuned" with ["algorithm.batch_steps=60"],
    }
}
