use crate::{
    DeviceKind, Error, ExperimentConfig, Result, RobotFiles, Sink, learning_curve, preset, text,
};
use mbmpo_core::{Checked, Environment, IterationMetrics};
use mbmpo_policy::TrainedPolicy;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const CONFIG: &str = "config.ron";
const INFO: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
const POLICY: &str = "policy.safetensors";
const CURVE: &str = "learning_curve.svg";
const ROBOT: &str = "robot.xml";
const TASK: &str = "task.ron";

/// What `run.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Of mbmpo.
    pub version: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the preset, or the file.
    pub preset: String,
    /// The seed.
    pub seed: u64,
    /// Where tensors lived.
    pub device: DeviceKind,
    /// Number of threads.
    pub threads: usize,
    /// How the run is doing.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The policy that it fine-tunes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The command line that made it.
    pub command: Vec<String>,
    /// When it began \[seconds since 1970\].
    pub started: u64,
}

impl RunInfo {
    /// What is known when a run begins, now.
    pub fn begin(
        environment: &str,
        preset: &str,
        seed: u64,
        device: DeviceKind,
        threads: usize,
        command: &[String],
    ) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: environment.to_owned(),
            preset: preset.to_owned(),
            seed,
            device,
            threads,
            status: Status::Running,
            error: None,
            start: None,
            command: command.to_vec(),
            started: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// `ENVIRONMENT-PRESET-seedSEED`.
    pub fn label(&self) -> String {
        format!(
            "{}-{}-seed{}",
            self.environment,
            preset::label(&self.preset),
            self.seed
        )
    }
}

/// How a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Under way, or killed.
    Running,
    /// Done.
    Finished,
    /// Ended with an error.
    Failed,
}

/// The directory of a run: `config.ron` (resolved), `run.json`, and, after each iteration, `metrics.jsonl`,
/// `policy.safetensors` and `learning_curve.svg`. With a robot of one's own also `robot.xml` and `task.ron`, copies of its
/// files as they were when the run began, which the run uses.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    info: RunInfo,
    metrics: File,
    history: Vec<IterationMetrics>,
}

impl RunDirectory {
    /// Makes the directory and writes what is known before the run. Without `path` it becomes
    /// `runs/ENVIRONMENT-PRESET-seedSEED`, with a number behind it where that is taken.
    ///
    /// # Errors
    /// When the directory has a run in it, or cannot be written to.
    pub fn create(
        path: Option<&Path>,
        config: &Checked<ExperimentConfig>,
        info: RunInfo,
    ) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => free_path(&info.label()),
        };
        if let Some(found) = found_in(&path) {
            return Err(Error::RunExists {
                path,
                found: found.to_owned(),
            });
        }
        let mut own = (**config).clone();
        let copies = match own.environment.files.take() {
            Some(files) => {
                own.environment.files = Some(copied_files());
                vec![
                    (ROBOT, text::read(&files.robot)?),
                    (TASK, text::read(&files.task)?),
                ]
            }
            None => vec![],
        };
        let ron = own.to_ron()?;
        let unwritable = |source| Error::Unwritable {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(unwritable)?;
        for (name, text) in copies {
            fs::write(path.join(name), text).map_err(unwritable)?;
        }
        fs::write(path.join(CONFIG), ron).map_err(unwritable)?;
        write_info(&path, &info).map_err(unwritable)?;
        let metrics = File::create(path.join(METRICS)).map_err(unwritable)?;
        Ok(Self {
            path,
            info,
            metrics,
            history: Vec::new(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The environment of the run, with the copies that it has of a robot's files.
    pub(crate) fn environment(&self, config: &ExperimentConfig) -> Result<Box<dyn Environment>> {
        let mut environment = config.environment.clone();
        let files = environment.files.take();
        environment.files = files.map(|_| copied_files().within(&self.path));
        environment.make()
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Notes in `run.json` how the run ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, outcome: Result<(), &Error>) -> Result<()> {
        match outcome {
            Ok(()) => self.info.status = Status::Finished,
            Err(error) => {
                self.info.status = Status::Failed;
                self.info.error = Some(error.to_string());
            }
        }
        write_info(&self.path, &self.info).map_err(|source| self.write_error(INFO, source))
    }

    /// Replaces a file, so that whoever reads it sees the old or the new one, never a part.
    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = self.path.join(format!(".{name}.new"));
        fs::write(&temporary, content)
            .and_then(|()| fs::rename(&temporary, self.path.join(name)))
            .map_err(|source| self.write_error(name, source))
    }

    fn write_error(&self, name: &str, source: io::Error) -> Error {
        Error::Write {
            path: self.path.join(name),
            source,
        }
    }
}

impl<P: Clone + Into<TrainedPolicy>> Sink<P> for RunDirectory {
    fn record(&mut self, metrics: &IterationMetrics, policy: &P) -> Result<()> {
        let mut line = serde_json::to_vec(metrics).map_err(|e| Error::System(e.to_string()))?;
        line.push(b'\n');
        self.metrics
            .write_all(&line)
            .and_then(|()| self.metrics.flush())
            .map_err(|source| self.write_error(METRICS, source))?;
        let policy: TrainedPolicy = policy.clone().into();
        let weights = policy
            .to_safetensors()
            .map_err(|e| Error::System(e.to_string()))?;
        self.replace(POLICY, &weights)?;
        self.history.push(metrics.clone());
        let curve = learning_curve(&self.info.label(), &self.history);
        self.replace(CURVE, curve.as_bytes())
    }
}

/// The configuration and the policy of the run in `path`.
pub(crate) fn load(path: &Path) -> Result<(Checked<ExperimentConfig>, TrainedPolicy)> {
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
    let policy = require(POLICY)?;
    let config = preset::read_file(&config)?;
    let bytes = fs::read(&policy).map_err(|source| Error::Unreadable {
        path: policy.clone(),
        source,
    })?;
    let policy = TrainedPolicy::from_safetensors(&bytes)
        .map_err(|error| Error::Mismatch(format!("{}: {error}", policy.display())))?;
    Ok((config, policy))
}

/// The metrics of the run in `path`, one entry an iteration.
///
/// # Errors
/// When there is no such file, or a line is not what this version writes.
pub fn read_metrics(path: &Path) -> Result<Vec<IterationMetrics>> {
    let file = path.join(METRICS);
    parse_metrics(&text::read(&file)?, &file.display().to_string())
}

/// The metrics in the text of a `metrics.jsonl`, one entry a line; `file` is what error messages call it.
///
/// # Errors
/// When a line is not what this version writes.
pub fn parse_metrics(text: &str, file: &str) -> Result<Vec<IterationMetrics>> {
    let parse = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| Error::Parse {
            file: file.to_owned(),
            line: i + 1,
            column: error.column(),
            message: error.to_string(),
        })
    };
    text.lines().enumerate().map(parse).collect()
}

/// As `config.ron` of a run has them.
fn copied_files() -> RobotFiles {
    RobotFiles {
        robot: ROBOT.into(),
        task: TASK.into(),
    }
}

fn found_in(path: &Path) -> Option<&'static str> {
    let ours = [CONFIG, INFO, METRICS, POLICY, CURVE, ROBOT, TASK];
    ours.into_iter().find(|name| path.join(name).exists())
}

/// `runs/NAME`, with a number behind it where that is taken.
pub fn free_path(name: &str) -> PathBuf {
    let first = Path::new("runs").join(name);
    let numbered = (2..).map(|i| Path::new("runs").join(format!("{name}-{i}")));
    std::iter::once(first)
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_default()
}

fn write_info(path: &Path, info: &RunInfo) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(info)?;
    text.push('\n');
    fs::write(path.join(INFO), text)
}
