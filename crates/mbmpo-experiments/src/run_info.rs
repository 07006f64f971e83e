use crate::run_directory::INFO;
use crate::{DeviceKind, Error, Result, text};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;

/// What `run.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Of mbmpo.
    pub version: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the preset, after that of the algorithm unless it is MB-MPO.
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
    /// How often it was taken up again.
    #[serde(default)]
    pub resumed: u32,
    /// What saving it took so far.
    #[serde(default)]
    pub checkpoints: Saved,
}

/// What checkpoints cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// How many were made.
    pub count: usize,
    /// The time that it took \[s\].
    pub seconds: f64,
    /// Size of the latest.
    pub bytes: u64,
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
            resumed: 0,
            checkpoints: Saved::default(),
        }
    }

    /// Reads `run.json`.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        serde_json::from_str(&text::read(file)?).map_err(|error| Error::Parse {
            file: file.display().to_string(),
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        })
    }

    /// `run.json` of the run in `path`; nothing where there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(path: &Path) -> Result<Option<Self>> {
        let file = path.join(INFO);
        file.exists().then(|| Self::read(&file)).transpose()
    }

    /// `ENVIRONMENT-PRESET-seedSEED`.
    pub fn label(&self) -> String {
        format!("{}-{}-seed{}", self.environment, self.preset, self.seed)
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
    /// Stopped and saved.
    Interrupted,
}
