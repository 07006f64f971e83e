//! A run in progress: its files, and where in the run it is.

mod layout;
mod metrics_log;
mod opening;
mod pace;
mod reading;
mod restoring;

pub use layout::default_path;
pub(crate) use layout::{INFO, require_no_run};
pub use metrics_log::{parse_metrics, read_metrics};
pub(crate) use opening::require_same;
pub(crate) use reading::Finished;

use crate::checkpoint::{Checkpoints, Digest, FORMAT, Manifest};
use crate::disk::{Disk, RealDisk, temporary};
use crate::lock::Lock;
use crate::position::Position;
use crate::{
    AlgorithmChoice, Error, ExperimentConfig, OutOfRange, Result, RunInfo, Status, learning_curve,
};
use layout::{CONFIG, CURVE, METRICS, POLICY, copied_files};
use mbmpo_core::{Check, IterationMetrics, Persist, SavedPolicy, State};
use mbmpo_envs::Simulated;
use metrics_log::MetricsLog;
use pace::Pace;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The directory of a run: `config.ron` (the configuration with every override), `run.json`, and,
/// after each iteration, `metrics.jsonl`, `policy.safetensors` and `learning_curve.svg`; in
/// `checkpoints` the state from which it can be resumed, see [`checkpoint`](crate::checkpoint).
/// With a user's robot also `robot.xml` and `task.ron`, copies of its files as they were when the
/// run began, which the run uses. One process at a time can work on it.
///
/// `policy.safetensors` has the bytes of [`SavedPolicy::to_bytes`]; the networks of this workspace,
/// and whatever else is saved as named arrays, are safetensors.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    info: RunInfo,
    metrics: MetricsLog,
    position: Position,
    /// Digest of configuration, seed and device.
    run: Digest,
    checkpoints: Checkpoints,
    pace: Pace,
    /// The status of the run when it was opened.
    status_at_open: Status,
    /// For `config.ron`, which is written again when the run continues.
    config: String,
    _lock: Lock,
}

impl RunDirectory {
    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The environment of the run, with its copies of a robot's files. Checks the configuration
    /// with the horizon of that environment where it has none.
    pub(crate) fn environment<C: AlgorithmChoice>(
        &self,
        config: &ExperimentConfig<C>,
    ) -> Result<Box<dyn Simulated>> {
        let mut config = config.clone();
        let files = config.environment.files.take();
        config.environment.files = files.map(|_| copied_files().within(&self.path));
        let environment = config.environment.make()?;
        config.horizon.get_or_insert(environment.horizon());
        let origin = self.path.join(CONFIG).display().to_string();
        let place = |wrong| Error::Invalid(OutOfRange::all(&origin, wrong));
        config.check().map_err(place)?;
        Ok(environment)
    }

    /// The outcome; a failure is noted in `run.json`.
    pub(crate) fn note_failure<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            // the reason of the failure matters more than that it could not be noted
            let _ = self.finish(Err(error));
        }
        outcome
    }

    /// The contents of `run.json`.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// The metrics so far, one entry an iteration.
    pub fn history(&self) -> &[IterationMetrics] {
        self.metrics.history()
    }

    /// How far the run has come.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The manifest of the latest checkpoint.
    pub(crate) fn latest_checkpoint(&self) -> Option<PathBuf> {
        let numbers = self.checkpoints.numbers().ok();
        let newest = numbers.and_then(|numbers| numbers.first().copied());
        newest.map(|number| self.checkpoints.manifest_path(number))
    }

    /// Drops the metrics after the bytes that are `kept`.
    fn cut_metrics(&mut self, kept: &[u8]) -> Result<()> {
        let history = self.metrics.parse(kept)?;
        let cut = self.metrics.cut(kept, history);
        cut.map_err(|source| self.write_error(METRICS, source))
    }

    /// Writes `config.ron` and sets the status to running.
    pub(crate) fn mark_running(&mut self) -> Result<()> {
        let config = std::mem::take(&mut self.config);
        self.write_durably(CONFIG, config.as_bytes())?;
        self.info.status = Status::Running;
        self.info.error = None;
        self.info.resumed += u32::from(self.position != Position::default());
        self.write_info()
    }

    /// Counts a part of an iteration.
    pub(crate) fn part_done(&mut self, real_steps: usize, wall_seconds: f64) {
        self.position.parts += 1;
        self.position.real_steps = real_steps;
        self.position.wall_seconds = wall_seconds;
    }

    /// Sets the position, to which the caller has restored the algorithm.
    pub(crate) fn set_position(&mut self, position: Position) {
        self.position = position;
    }

    /// Adds the metrics of an iteration and replaces the policy by the one at its end.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn record(&mut self, metrics: &IterationMetrics, policy: &dyn SavedPolicy) -> Result<()> {
        let appended = self.metrics.append(metrics);
        appended.map_err(|source| self.write_error(METRICS, source))?;
        self.position = Position {
            iterations: self.history().len(),
            parts: 0,
            real_steps: metrics.real_steps,
            wall_seconds: metrics.wall_seconds,
            attempts: 0,
        };
        self.publish(policy)
    }

    /// Writes the policy at the end of the latest iteration, and the learning curve up to there.
    pub(crate) fn publish(&self, policy: &dyn SavedPolicy) -> Result<()> {
        self.write_without_sync(POLICY, &policy.to_bytes()?)?;
        let curve = learning_curve(&self.info.label(), self.history());
        self.write_without_sync(CURVE, curve.as_bytes())
    }

    /// Whether a checkpoint is due, `seconds` after the last. Without `seconds`: after every
    /// iteration, and every minute within a long one, unless that would take more than 2 % of the
    /// time.
    pub(crate) fn is_due(&self, seconds: Option<f64>) -> bool {
        self.pace.is_due(self.position, seconds)
    }

    /// Saves a checkpoint with the state of `algorithm` at the present position.
    ///
    /// # Errors
    /// When the disk does not take it; earlier checkpoints are then as they were.
    pub fn save(&mut self, algorithm: &mut impl Persist) -> Result<()> {
        let start = Instant::now();
        let state = State::of(algorithm)?;
        self.metrics
            .sync()
            .map_err(|source| self.write_error(METRICS, source))?;
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run.clone(),
            position: self.position,
            metrics: self.metrics.digest(),
            // filled in when it is written
            state: Digest::of(&[]),
        };
        let bytes = self.checkpoints.save(manifest, &state)?;
        let cost = start.elapsed();
        self.pace = Pace::new(cost);
        let saved = &mut self.info.checkpoints;
        saved.count += 1;
        saved.seconds += cost.as_secs_f64();
        saved.bytes = bytes;
        Ok(())
    }

    /// Notes in `run.json` how the run ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, outcome: Result<(), &Error>) -> Result<()> {
        match outcome {
            Ok(()) => {
                let policy = File::open(self.path.join(POLICY)).and_then(|file| file.sync_all());
                policy.map_err(|source| self.write_error(POLICY, source))?;
                self.info.status = Status::Finished;
            }
            Err(Error::Interrupted { .. }) => self.info.status = Status::Interrupted,
            Err(error) => {
                self.info.status = Status::Failed;
                self.info.error = Some(error.to_string());
            }
        }
        self.write_info()
    }

    fn write_info(&mut self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.info);
        let text = text.map_err(|e| Error::System(e.to_string()))? + "\n";
        self.write_durably(INFO, text.as_bytes())
    }

    /// Replaces a file, so that a reader sees the old or the new one, never a part, and waits for
    /// the disk.
    fn write_durably(&mut self, name: &str, content: &[u8]) -> Result<()> {
        RealDisk
            .replace(&self.path.join(name), content)
            .and_then(|()| RealDisk.sync_directory(&self.path))
            .map_err(|source| self.write_error(name, source))
    }

    /// Replaces a file that can be made again from a checkpoint, without waiting for the disk.
    fn write_without_sync(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let new = temporary(&path);
        fs::write(&new, content)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| self.write_error(name, source))
    }

    fn write_error(&self, name: &str, source: io::Error) -> Error {
        Error::Save {
            path: self.path.join(name),
            source,
            kept: self.latest_checkpoint(),
        }
    }
}
