//! Making a run directory, and resuming a run.

use super::layout::{
    CHECKPOINTS, CONFIG, INFO, ROBOT, TASK, copied_files, default_path, require_no_run,
};
use super::{MetricsLog, Pace, RunDirectory};
use crate::checkpoint::{Checkpoints, Digest};
use crate::difference::{difference, without_budget};
use crate::disk::{Disk, RealDisk};
use crate::lock::Lock;
use crate::position::Position;
use crate::{AlgorithmChoice, Error, ExperimentConfig, Result, RunInfo, Status, text};
use mbmpo_core::Checked;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl RunDirectory {
    /// [`Self::resume`] or [`Self::create`].
    ///
    /// # Errors
    /// Those of either.
    pub fn open<C: AlgorithmChoice>(
        path: Option<&Path>,
        config: &Checked<ExperimentConfig<C>>,
        info: RunInfo,
        resume: bool,
    ) -> Result<Self> {
        if resume {
            Self::resume(path, config, info)
        } else {
            Self::create(path, config, info)
        }
    }

    /// Makes the directory and writes the configuration and `run.json`. Without `path` it becomes
    /// `runs/ENVIRONMENT-PRESET-seedSEED`, with a number behind it where that is taken.
    ///
    /// # Errors
    /// When there is a run in the directory, it is in use, or it cannot be written to.
    pub fn create<C: AlgorithmChoice>(
        path: Option<&Path>,
        config: &Checked<ExperimentConfig<C>>,
        info: RunInfo,
    ) -> Result<Self> {
        let path = path.map_or_else(|| default_path(&info.label(), false), Path::to_owned);
        require_no_run(&path)?;
        Self::begin(path, config, info, true)
    }

    /// Resumes the run in the directory from its latest checkpoint, or makes one where there is
    /// none. Without `path` it is the latest of the directories that [`Self::create`] makes.
    ///
    /// # Errors
    /// When the run there was made with another configuration (but for the budget of real steps),
    /// seed or device, it is in use, or a file cannot be read or written.
    pub fn resume<C: AlgorithmChoice>(
        path: Option<&Path>,
        config: &Checked<ExperimentConfig<C>>,
        info: RunInfo,
    ) -> Result<Self> {
        let path = path.map_or_else(|| default_path(&info.label(), true), Path::to_owned);
        // the last file that is written when a run begins
        if !path.join(INFO).exists() {
            let checkpoints = Checkpoints::new(path.join(CHECKPOINTS), Box::new(RealDisk));
            let empty = MetricsLog::lines(&path) == 0 && checkpoints.numbers()?.is_empty();
            return if empty {
                Self::begin(path, config, info, false)
            } else {
                Err(Error::Incomplete {
                    path,
                    missing: INFO,
                })
            };
        }
        let lock = Lock::take(&path)?;
        let old = RunInfo::read(&path.join(INFO))?;
        require_same(&path, &old, config, &info)?;
        let stored = StoredConfig::of(config)?;
        let status_at_open = old.status;
        let info = RunInfo {
            threads: info.threads,
            instructions: info.instructions,
            ..old
        };
        let mut directory = Self::assemble(path, &stored, info, lock)?;
        directory.status_at_open = status_at_open;
        Ok(directory)
    }

    /// Writes what a run has before its first iteration. A `fresh` directory has no file of a run
    /// in it.
    fn begin<C: AlgorithmChoice>(
        path: PathBuf,
        config: &Checked<ExperimentConfig<C>>,
        info: RunInfo,
        fresh: bool,
    ) -> Result<Self> {
        let stored = StoredConfig::of(config)?;
        let unwritable = unwritable(&path);
        fs::create_dir_all(&path).map_err(&unwritable)?;
        let lock = Lock::take(&path)?;
        // files that another process made before this one had the lock
        if fresh || path.join(INFO).exists() {
            require_no_run(&path)?;
        }
        let mut directory = Self::assemble(path.clone(), &stored, info, lock)?;
        let config = [(CONFIG, stored.config.to_ron()?)];
        for (name, text) in stored.files.into_iter().chain(config) {
            let written = RealDisk.replace(&path.join(name), text.as_bytes());
            written.map_err(&unwritable)?;
        }
        directory.write_info()?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let synced = RealDisk.sync_directory(parent.unwrap_or(Path::new(".")));
        synced.map_err(&unwritable)?;
        Ok(directory)
    }

    fn assemble<C: AlgorithmChoice>(
        path: PathBuf,
        stored: &StoredConfig<C>,
        info: RunInfo,
        lock: Lock,
    ) -> Result<Self> {
        let decisive = without_budget(&stored.config).to_ron()?;
        let run = format!("{decisive}\n{}\n{}\n", info.seed, info.device);
        Ok(Self {
            metrics: MetricsLog::open(&path).map_err(unwritable(&path))?,
            checkpoints: Checkpoints::new(path.join(CHECKPOINTS), Box::new(RealDisk)),
            run: Digest::of(run.as_bytes()),
            path,
            info,
            position: Position::default(),
            pace: Pace::new(Duration::ZERO),
            status_at_open: Status::Running,
            config: stored.config.to_ron()?,
            _lock: lock,
        })
    }
}

/// Requires that the run in `path`, whose `run.json` is `old`, is the one of `config` and `new`:
/// the same configuration (but for the budget of real steps), seed, device and start.
pub(crate) fn require_same<C: AlgorithmChoice>(
    path: &Path,
    old: &RunInfo,
    config: &Checked<ExperimentConfig<C>>,
    new: &RunInfo,
) -> Result<()> {
    match StoredConfig::of(config)?.difference(path, old, new)? {
        Some(what) => Err(Error::Differs {
            path: path.to_owned(),
            what,
        }),
        None => Ok(()),
    }
}

/// A configuration as a run directory has it: with copies of a robot's files.
struct StoredConfig<C> {
    config: ExperimentConfig<C>,
    /// Names and contents of the copies.
    files: Vec<(&'static str, String)>,
}

impl<C: AlgorithmChoice> StoredConfig<C> {
    fn of(config: &ExperimentConfig<C>) -> Result<Self> {
        let mut config = config.clone();
        let files = match config.environment.files.take() {
            Some(files) => {
                config.environment.files = Some(copied_files());
                vec![
                    (ROBOT, text::read(&files.robot)?),
                    (TASK, text::read(&files.task)?),
                ]
            }
            None => vec![],
        };
        Ok(Self { config, files })
    }

    /// How the run in `path`, whose `run.json` is `old`, differs from the one of this configuration
    /// and `new`.
    fn difference(&self, path: &Path, old: &RunInfo, new: &RunInfo) -> Result<Option<String>> {
        let file = path.join(CONFIG);
        let there = ExperimentConfig::<C>::from_ron(&text::read(&file)?, &file.to_string_lossy())?;
        if let Some(what) = difference(&there, &self.config)? {
            return Ok(Some(what));
        }
        for (name, text) in &self.files {
            if text::read(&path.join(name))? != *text {
                return Ok(Some(format!("{name} there is not that of this command")));
            }
        }
        let start = |info: &RunInfo| {
            let start = info.start.as_deref();
            start.unwrap_or("a policy of its own").to_owned()
        };
        let values = |info: &RunInfo| {
            [
                ("seed", info.seed.to_string()),
                ("device", info.device.to_string()),
                ("start", start(info)),
            ]
        };
        let mut pairs = values(old).into_iter().zip(values(new));
        let different = pairs.find(|((_, there), (_, here))| there != here);
        Ok(different
            .map(|((what, there), (_, here))| format!("the {what} there is {there}, here {here}")))
    }
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Unwritable {
        path: path.clone(),
        source,
    }
}
