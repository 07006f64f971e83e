use crate::checkpoint::Digest;
use crate::disk::read;
use crate::{Error, Result, text};
use mbmpo_core::IterationMetrics;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use super::layout::METRICS;

/// Millions of iterations.
const LARGEST: u64 = 4 << 30;

/// `metrics.jsonl` of a run in progress.
#[derive(Debug)]
pub(super) struct MetricsLog {
    path: PathBuf,
    file: File,
    /// Running BLAKE3 of the file.
    hasher: blake3::Hasher,
    history: Vec<IterationMetrics>,
}

impl MetricsLog {
    /// Opens or creates the file in the directory of a run. Before the first [`Self::append`] it
    /// must be [cut](Self::cut).
    pub(super) fn open(run: &Path) -> io::Result<Self> {
        let path = run.join(METRICS);
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)?;
        Ok(Self {
            path,
            file,
            hasher: blake3::Hasher::new(),
            history: Vec::new(),
        })
    }

    /// The metrics so far, one entry an iteration.
    pub(super) fn history(&self) -> &[IterationMetrics] {
        &self.history
    }

    /// Length and digest of the metrics so far.
    pub(super) fn digest(&self) -> Digest {
        Digest::from(&self.hasher)
    }

    /// The prefix of the file with this digest; `None` if the prefix does not match.
    pub(super) fn beginning(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let mut bytes = read(&self.path, LARGEST)?;
        let length = usize::try_from(digest.bytes).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Ok(None);
        }
        bytes.truncate(length);
        Ok((Digest::of(&bytes) == *digest).then_some(bytes))
    }

    /// The metrics in the bytes of the file.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Vec<IterationMetrics>> {
        let file = self.path.display().to_string();
        parse_metrics(&String::from_utf8_lossy(bytes), &file)
    }

    /// Drops everything after the first bytes of the file, which are `kept` and hold `history`.
    pub(super) fn cut(&mut self, kept: &[u8], history: Vec<IterationMetrics>) -> io::Result<()> {
        let length = kept.len() as u64;
        self.file.set_len(length)?;
        self.file.seek(io::SeekFrom::Start(length))?;
        self.history = history;
        self.hasher = blake3::Hasher::new();
        self.hasher.update(kept);
        Ok(())
    }

    /// Adds a line.
    pub(super) fn append(&mut self, metrics: &IterationMetrics) -> io::Result<()> {
        let mut line = serde_json::to_vec(metrics)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.hasher.update(&line);
        self.history.push(metrics.clone());
        Ok(())
    }

    /// Waits until the disk has all lines.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Number of lines in the file of a run; 0 where there is none.
    pub(super) fn lines(run: &Path) -> usize {
        fs::read_to_string(run.join(METRICS)).map_or(0, |text| text.lines().count())
    }
}

/// The metrics of the run in `path`, one entry an iteration.
///
/// # Errors
/// When there is no such file, or a line is not what this version writes.
pub fn read_metrics(path: &Path) -> Result<Vec<IterationMetrics>> {
    let file = path.join(METRICS);
    parse_metrics(&text::read(&file)?, &file.display().to_string())
}

/// The metrics in the text of a `metrics.jsonl`, one entry a line; `file` is its name in error
/// messages.
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
