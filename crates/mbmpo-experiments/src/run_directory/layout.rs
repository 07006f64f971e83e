//! The names of the files in a run directory, and of run directories.

use crate::{Error, Result, RobotFiles};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "config.ron";
pub(crate) const INFO: &str = "run.json";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const POLICY: &str = "policy.safetensors";
pub(crate) const CURVE: &str = "learning_curve.svg";
pub(crate) const ROBOT: &str = "robot.xml";
pub(crate) const TASK: &str = "task.ron";
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// The first file of a run that is in `path`.
pub(super) fn found_in(path: &Path) -> Option<&'static str> {
    let ours = [
        CONFIG,
        INFO,
        METRICS,
        POLICY,
        CURVE,
        ROBOT,
        TASK,
        CHECKPOINTS,
    ];
    ours.into_iter().find(|name| path.join(name).exists())
}

/// Requires that there is no run in `path`, which may exist.
pub(crate) fn require_no_run(path: &Path) -> Result<()> {
    match found_in(path) {
        Some(found) => Err(Error::RunExists {
            path: path.to_owned(),
            found: found.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The copies of a robot's files, relative to the run directory.
pub(super) fn copied_files() -> RobotFiles {
    RobotFiles {
        robot: ROBOT.into(),
        task: TASK.into(),
    }
}

/// The directory of results of that name: a new one, `runs/NAME` or `runs/NAME-N` with the lowest N
/// from 2 on that is free; to `resume`, the existing one with the highest N, or `runs/NAME` where
/// there is none.
pub fn default_path(name: &str, resume: bool) -> PathBuf {
    if resume {
        latest_path(name)
    } else {
        free_path(name)
    }
}

fn free_path(name: &str) -> PathBuf {
    let runs = Path::new("runs");
    let numbered = (2_u64..).map(|number| runs.join(format!("{name}-{number}")));
    let mut paths = std::iter::once(runs.join(name)).chain(numbered);
    paths.find(|path| !path.exists()).unwrap_or_default()
}

fn latest_path(name: &str) -> PathBuf {
    let number = |found: &str| match found.strip_prefix(name)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse::<u64>().ok(),
    };
    let entries = fs::read_dir("runs").into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let number = number(entry.file_name().to_str()?)?;
        Some((number, entry.path()))
    });
    let latest = found.max_by_key(|(number, _)| *number);
    latest.map_or_else(|| Path::new("runs").join(name), |(_, path)| path)
}
