use crate::{AlgorithmChoice, AlgorithmConfig, EnvironmentConfig, Error, OutOfRange, Result, text};
use mbmpo_core::{Check, Checked, Checker, Setup};
use mbmpo_envs::Simulated;
use ron::ser::PrettyConfig;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything that decides the numbers of a run, apart from its seed. `C` is [`AlgorithmConfig`],
/// or the configuration of an algorithm in another crate. There is no default: presets
/// name an environment or leave it to the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig<C = AlgorithmConfig> {
    /// The real environment.
    pub environment: EnvironmentConfig,
    /// Real environment steps to learn from, 1 to 1e12: training stops after the first iteration
    /// that reaches them. Paper, figure 1: 100,000 and more.
    pub real_steps: usize,
    /// Length of real and imagined episodes \[control steps\], 1 to 100,000. Default: the
    /// environment's own.
    #[serde(default)]
    pub horizon: Option<usize>,
    /// Real episodes of each report, 1 to 100,000; they are neither counted nor learned from.
    /// Default: 20, as the authors of MB-MPO, one for each of 20 tasks.
    #[serde(default = "evaluation_episodes")]
    pub evaluation_episodes: usize,
    /// The algorithm and its hyper-parameters.
    pub algorithm: C,
}

fn evaluation_episodes() -> usize {
    20
}

/// Transitions of a report, which are in memory at once.
const LARGEST_REPORT: usize = 10_000_000;

impl<C: AlgorithmChoice> Check for ExperimentConfig<C> {
    fn inspect(&self, checker: &mut Checker) {
        checker.nested("environment", &self.environment);
        checker.range("real_steps", self.real_steps, 1..=1_000_000_000_000);
        let horizon = self.horizon.unwrap_or(1);
        checker.range("horizon", horizon, 1..=100_000);
        let episodes = self.evaluation_episodes;
        checker.range("evaluation_episodes", episodes, 1..=100_000);
        checker.nested("algorithm", &self.algorithm);
        checker.demand_together(
            "evaluation_episodes",
            episodes,
            episodes.saturating_mul(horizon) <= LARGEST_REPORT,
            "at most 10,000,000 steps a report (episodes times horizon)",
        );
        if let Some(horizon) = self.horizon {
            checker.nested("algorithm", &AtHorizon(&self.algorithm, horizon));
        }
    }
}

/// The ranges of an algorithm's parameters that depend on the length of an episode.
struct AtHorizon<'a, C>(&'a C, usize);

impl<C: AlgorithmChoice> Check for AtHorizon<'_, C> {
    fn inspect(&self, checker: &mut Checker) {
        self.0.inspect_horizon(self.1, checker);
    }
}

impl<C: AlgorithmChoice> ExperimentConfig<C> {
    /// Parses and checks a configuration in RON; `origin` is its name in error messages. Paths are
    /// left as they are.
    ///
    /// # Errors
    /// When it is not RON, a key is unknown or missing, or a value is of the wrong type or out of
    /// range.
    pub fn from_ron(source: &str, origin: &str) -> Result<Checked<Self>> {
        let config: Self = text::parse(source, origin)?;
        let place = |wrong| Error::Invalid(text::place(source, origin, wrong));
        config.check().map_err(place)
    }

    /// [`Self::from_ron`] from a file, whose paths are relative to its directory.
    pub(crate) fn read(path: &Path) -> Result<Checked<Self>> {
        let origin = path.to_string_lossy();
        let mut config = Self::from_ron(&text::read(path)?, &origin)?.into_inner();
        let directory = path.parent().unwrap_or(Path::new(""));
        config.environment.rebase(directory);
        let place = |wrong| Error::Invalid(OutOfRange::all(&origin, wrong));
        config.check().map_err(place)
    }

    /// The configuration in RON, as [`Self::from_ron`] reads it.
    ///
    /// # Errors
    /// When the serializer fails, which it does for no valid configuration.
    pub fn to_ron(&self) -> Result<String> {
        let pretty = PrettyConfig::new().compact_arrays(true);
        text::options()
            .to_string_pretty(self, pretty)
            .map(|text| text + "\n")
            .map_err(|error| Error::System(error.to_string()))
    }

    /// The environment, not yet reset.
    ///
    /// # Errors
    /// When there is none of that name, or a file of the robot is wrong.
    pub fn make_environment(&self) -> Result<Box<dyn Simulated>> {
        self.environment.make()
    }

    /// What the algorithm is given besides its hyper-parameters.
    pub(crate) fn setup(&self, environment: Box<dyn Simulated>, seed: u64) -> Setup {
        let horizon = self.horizon.unwrap_or_else(|| environment.horizon());
        Setup {
            horizon,
            evaluation_episodes: self.evaluation_episodes,
            ..Setup::new(environment, seed)
        }
    }
}
