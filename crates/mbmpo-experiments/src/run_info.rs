use crate::run_directory::INFO;
use crate::{DeviceKind, Error, Result, instructions, text};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;

/// The contents of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Version of mbmpo.
    pub version: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the preset, after that of the algorithm unless it is MB-MPO.
    pub preset: String,
    /// The seed.
    pub seed: u64,
    /// Device of the tensors.
    pub device: DeviceKind,
    /// Number of threads.
    pub threads: usize,
    /// Vector instructions of the networks, from [`Instructions`](crate::Instructions); absent for
    /// other devices than the CPU, and in runs before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Status of the run.
    pub status: Status,
    /// The error with which it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The policy that it fine-tunes; absent for a run from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The command line that began it.
    pub command: Vec<String>,
    /// When it began \[seconds since 1970\].
    pub started: u64,
    /// Number of times that it was resumed.
    #[serde(default)]
    pub resumed: u32,
    /// Cost of its checkpoints so far.
    #[serde(default)]
    pub checkpoints: Saved,
}

/// The cost of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// Number of checkpoints made.
    pub count: usize,
    /// Time spent on them \[s\].
    pub seconds: f64,
    /// Size of the latest \[bytes\].
    pub bytes: u64,
}

impl RunInfo {
    /// The contents for a run that begins now, with the instructions in use.
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
            instructions: instructions::in_use(device),
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

/// The status of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// In progress, or killed.
    Running,
    /// The budget is used up.
    Finished,
    /// Ended with an error.
    Failed,
    /// Stopped and saved.
    Interrupted,
}
