//! Reading the configuration and the policy of a run.

use super::layout::{CONFIG, POLICY};
use crate::disk::read;
use crate::{AlgorithmChoice, Error, ExperimentConfig, Result};
use mbmpo_core::Checked;
use std::path::{Path, PathBuf};

/// The largest networks that a configuration may ask for.
const LARGEST_POLICY: u64 = 2 << 30;

/// The configuration and the policy of a run.
pub(crate) struct Finished<C> {
    pub config: Checked<ExperimentConfig<C>>,
    /// Bytes of a [`SavedPolicy`](mbmpo_core::SavedPolicy).
    pub policy: Vec<u8>,
    /// The file of the policy.
    pub policy_file: PathBuf,
}

impl<C: AlgorithmChoice> Finished<C> {
    /// Those of the run in `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let not_a_run = |looked_for: &str| Error::NotARun {
            path: path.to_owned(),
            looked_for: looked_for.to_owned(),
        };
        if !path.is_dir() {
            return Err(not_a_run("such directory"));
        }
        let require = |name: &str| {
            let file = path.join(name);
            if file.is_file() {
                Ok(file)
            } else {
                Err(not_a_run(name))
            }
        };
        let config = require(CONFIG)?;
        let policy_file = require(POLICY)?;
        Ok(Self {
            config: ExperimentConfig::read(&config)?,
            policy: read(&policy_file, LARGEST_POLICY)?,
            policy_file,
        })
    }

    /// The policy, read by `from_bytes`.
    pub(crate) fn policy<P>(
        &self,
        from_bytes: impl FnOnce(&[u8]) -> mbmpo_core::Result<P>,
    ) -> Result<P> {
        from_bytes(&self.policy)
            .map_err(|error| Error::Mismatch(format!("{}: {error}", self.policy_file.display())))
    }
}
