use crate::{AlgorithmConfig, EnvironmentConfig, Error, Result, text};
use mbmpo_core::{Check, Checker};
use ron::ser::PrettyConfig;
use serde::{Deserialize, Serialize};

/// Everything that decides what a run does, apart from its seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// What is learned.
    pub environment: EnvironmentConfig,
    /// Real environment steps to learn from, 1 to 1e12: training stops after the first iteration that reaches
    /// them. Paper, figure 1: 100,000 and more.
    pub real_steps: usize,
    /// How it is learned.
    pub algorithm: AlgorithmConfig,
}

impl Check for ExperimentConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.nested("environment", &self.environment);
        checker.range("real_steps", self.real_steps, 1..=1_000_000_000_000);
        checker.nested("algorithm", &self.algorithm);
    }
}

impl ExperimentConfig {
    /// The configuration in RON, as `--preset FILE.ron` reads it.
    ///
    /// # Errors
    /// When the library refuses, which no configuration of ours makes it do.
    pub fn to_ron(&self) -> Result<String> {
        let pretty = PrettyConfig::new().compact_arrays(true);
        text::options()
            .to_string_pretty(self, pretty)
            .map(|text| text + "\n")
            .map_err(|error| Error::System(error.to_string()))
    }

    /// Makes the environment, not yet reset.
    ///
    /// # Errors
    /// When there is none of that name, or a file of the robot is wrong.
    pub fn make_environment(&self) -> Result<Box<dyn mbmpo_core::Environment>> {
        self.environment.make()
    }
}
