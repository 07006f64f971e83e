//! Checkpoints: the whole training state in a file, and a manifest with the digest of that file.
//!
//! `checkpoints/N.safetensors` has the arrays of a [`State`]; `checkpoints/N.json` is its manifest,
//! a line of JSON and a line with the BLAKE3 digest of that line. Both are written under another
//! name, flushed to the disk and renamed, the manifest last: if the manifest exists, the checkpoint
//! is complete. The latest [`KEPT`] are kept.

use crate::disk::{Disk, read};
pub use crate::position::Position;
use crate::{Error, Result};
use mbmpo_core::{Array, State};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Version of the file format, increased with every change. In format 1 the keys `horizon` and
/// `evaluation_episodes` belonged to the algorithm, and arrays had other names; in format 2 MB-MPO
/// kept fewer numbers of an iteration.
pub const FORMAT: u64 = 3;

/// Number of checkpoints that are kept.
pub const KEPT: usize = 3;

/// Largest manifest \[bytes\]; they have a few hundred.
const LARGEST_MANIFEST: u64 = 1 << 16;

/// The files of a checkpoint, and the point of the run at which it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] of the version that wrote it.
    pub format: u64,
    /// Version of mbmpo that wrote it.
    pub version: String,
    /// Digest of everything that decides the numbers of the run: its configuration (but for the
    /// budget of real steps), seed and device.
    pub run: Digest,
    /// The point of the run at which it was made.
    pub position: Position,
    /// Digest of `metrics.jsonl` up to there.
    pub metrics: Digest,
    /// Digest of the file with the state.
    pub state: Digest,
}

/// Length and BLAKE3 of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Number of bytes.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal digits.
    pub blake3: String,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from(&*blake3::Hasher::new().update(bytes))
    }
}

impl From<&blake3::Hasher> for Digest {
    fn from(seen: &blake3::Hasher) -> Self {
        Self {
            bytes: seen.count(),
            blake3: seen.finalize().to_hex().to_string(),
        }
    }
}

impl Manifest {
    /// The contents of its file.
    ///
    /// # Errors
    /// When the serializer fails, which it does for no valid manifest.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_string(self).map_err(|e| Error::System(e.to_string()))?;
        let digest = blake3::hash(text.as_bytes()).to_hex();
        text.push('\n');
        text.push_str(&digest);
        text.push('\n');
        Ok(text.into_bytes())
    }

    /// Reads the bytes of [`Self::to_bytes`]; `file` is their name in error messages.
    ///
    /// # Errors
    /// When a byte was changed, or this version does not know the format.
    pub fn from_bytes(bytes: &[u8], file: &Path) -> Result<Self> {
        let damaged = |what: &str| Error::Damaged {
            path: file.to_owned(),
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (line, digest) = text
            .split_once('\n')
            .ok_or_else(|| damaged("it ends early"))?;
        if digest.strip_suffix('\n') != Some(&blake3::hash(line.as_bytes()).to_hex()) {
            return Err(damaged("its digest does not match"));
        }
        let value: serde_json::Value =
            serde_json::from_str(line).map_err(|e| damaged(&e.to_string()))?;
        let format = value["format"].as_u64().unwrap_or(0);
        let value = migrate(value, format).ok_or_else(|| Error::Format {
            path: file.to_owned(),
            found: format,
            known: FORMAT,
        })?;
        serde_json::from_value(value).map_err(|e| damaged(&e.to_string()))
    }
}

/// A manifest of an older format in the present one; nothing for an unknown format.
fn migrate(manifest: serde_json::Value, format: u64) -> Option<serde_json::Value> {
    match format {
        FORMAT => Some(manifest),
        // for format 4: 3 => migrate(…, 4)
        _ => None,
    }
}

/// The arrays of a state as a safetensors file.
///
/// # Errors
/// When the serializer fails, which it does for no valid state.
pub fn encode(state: &State) -> Result<Vec<u8>> {
    let bytes: Vec<(&str, Dtype, usize, Vec<u8>)> = state
        .arrays
        .iter()
        .map(|(name, array)| {
            let (dtype, length, bytes) = match array {
                Array::F32(x) => (Dtype::F32, x.len(), flat(x, |x| x.to_le_bytes())),
                Array::F64(x) => (Dtype::F64, x.len(), flat(x, |x| x.to_le_bytes())),
                Array::U64(x) => (Dtype::U64, x.len(), flat(x, |x| x.to_le_bytes())),
            };
            (name.as_str(), dtype, length, bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, dtype, length, bytes)| {
            Ok((*name, TensorView::new(*dtype, vec![*length], bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|error| Error::System(error.to_string()))
}

fn flat<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let bytes: Vec<[u8; N]> = values.iter().map(|&x| bytes(x)).collect();
    bytes.into_flattened()
}

/// Reads the bytes of [`encode`]; `file` is their name in error messages.
///
/// # Errors
/// When the bytes are not safetensors, or a tensor has a type that no state has.
pub fn decode(bytes: &[u8], file: &Path) -> Result<State> {
    let damaged = |what: String| Error::Damaged {
        path: file.to_owned(),
        what,
    };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
    let arrays = tensors.iter().map(|(name, view)| {
        let data = view.data();
        let array = match view.dtype() {
            Dtype::F32 => Array::F32(numbers(data, f32::from_le_bytes)),
            Dtype::F64 => Array::F64(numbers(data, f64::from_le_bytes)),
            Dtype::U64 => Array::U64(numbers(data, u64::from_le_bytes)),
            other => return Err(damaged(format!("`{name}` is of type {other:?}"))),
        };
        Ok((name.to_owned(), array))
    });
    Ok(State {
        arrays: arrays.collect::<Result<_>>()?,
    })
}

fn numbers<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers.iter().map(|&bytes| number(bytes)).collect()
}

/// The checkpoints of a run.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    directory: PathBuf,
    disk: Box<dyn Disk>,
}

impl Checkpoints {
    pub(crate) fn new(directory: PathBuf, disk: Box<dyn Disk>) -> Self {
        Self { directory, disk }
    }

    /// The numbers of the existing checkpoints, the newest first.
    ///
    /// # Errors
    /// When the directory exists and cannot be read.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>> {
        let paths = self.paths()?;
        let numbers = paths.iter().filter_map(|path| number_of(path, "json"));
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    fn paths(&self) -> Result<Vec<PathBuf>> {
        let read = || -> io::Result<Vec<PathBuf>> {
            let entries = match fs::read_dir(&self.directory) {
                // a dangling link, such as to a disk that is not mounted, is an error and not an
                // empty directory
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && !self.directory.is_symlink() =>
                {
                    return Ok(Vec::new());
                }
                entries => entries?,
            };
            entries.map(|entry| Ok(entry?.path())).collect()
        };
        read().map_err(|source| Error::Unreadable {
            path: self.directory.clone(),
            source,
        })
    }

    /// Path of a manifest.
    pub(crate) fn manifest_path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:06}.json"))
    }

    fn state_path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:06}.safetensors"))
    }

    /// Writes a checkpoint, removes all but the latest [`KEPT`], and returns its size in bytes.
    ///
    /// # Errors
    /// When it cannot be written; earlier checkpoints are then unchanged.
    pub(crate) fn save(&mut self, mut manifest: Manifest, state: &State) -> Result<u64> {
        let bytes = encode(state)?;
        manifest.state = Digest::of(&bytes);
        let numbers = self.numbers()?;
        let number = numbers.first().map_or(1, |newest| newest + 1);
        let (state_path, manifest_path) = (self.state_path(number), self.manifest_path(number));
        let manifest = manifest.to_bytes()?;
        let written = self
            .make_directory(numbers.is_empty())
            .and_then(|()| self.disk.replace(&state_path, &bytes))
            .and_then(|()| self.disk.replace(&manifest_path, &manifest))
            .and_then(|()| self.disk.sync_directory(&self.directory));
        if let Err(source) = written {
            // the manifest first, so that there is never a manifest without its state
            for path in [&manifest_path, &state_path] {
                let _ = self.disk.remove(path);
            }
            return Err(Error::Save {
                path: state_path,
                source,
                kept: numbers.first().map(|&newest| self.manifest_path(newest)),
            });
        }
        self.drop_old(number);
        Ok((bytes.len() + manifest.len()) as u64)
    }

    fn make_directory(&mut self, first: bool) -> io::Result<()> {
        self.disk.make_directory(&self.directory)?;
        match self.directory.parent() {
            Some(parent) if first => self.disk.sync_directory(parent),
            _ => Ok(()),
        }
    }

    /// Removes all checkpoints but the latest [`KEPT`] up to `newest`. A file that cannot be
    /// removed is tried again after the next checkpoint.
    fn drop_old(&mut self, newest: u64) {
        let paths = self.paths().unwrap_or_default();
        let mut numbers: Vec<u64> = (paths.iter().filter_map(|path| number_of(path, "json")))
            .filter(|&number| number <= newest)
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let old = numbers.split_off(numbers.len().min(KEPT));
        for number in old {
            let _ = self.disk.remove(&self.manifest_path(number));
        }
        for path in paths {
            let stale = number_of(&path, "safetensors").is_some_and(|n| !numbers.contains(&n));
            // a temporary file of a process that was killed while writing
            if stale || path.extension().is_some_and(|extension| extension == "new") {
                let _ = self.disk.remove(&path);
            }
        }
    }

    /// The manifest and the state of a checkpoint.
    ///
    /// # Errors
    /// When a file is missing, or a byte of it was changed.
    pub(crate) fn load(&self, number: u64) -> Result<(Manifest, State)> {
        let path = self.manifest_path(number);
        let manifest = Manifest::from_bytes(&whole(&path, LARGEST_MANIFEST)?, &path)?;
        let path = self.state_path(number);
        let bytes = whole(&path, manifest.state.bytes)?;
        if Digest::of(&bytes) != manifest.state {
            return Err(Error::Damaged {
                path,
                what: "its digest is not that of the manifest".to_owned(),
            });
        }
        let state = decode(&bytes, &path)?;
        Ok((manifest, state))
    }
}

/// The number of a file such as `000012.json`.
fn number_of(path: &Path, extension: &str) -> Option<u64> {
    let ours = path.extension()? == extension;
    let name = path.file_stem()?.to_str()?;
    ours.then(|| name.parse().ok())?
}

/// Reads a file; one that is larger than `largest`, or no regular file, counts as damaged.
fn whole(path: &Path, largest: u64) -> Result<Vec<u8>> {
    read(path, largest).map_err(|error| match error {
        Error::Unreadable { path, source } if source.kind() == io::ErrorKind::Other => {
            let what = source.to_string();
            Error::Damaged { path, what }
        }
        error => error,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A disk that works for this number of operations and then fails; a write fails half-way.
    #[derive(Debug, Clone)]
    struct Failing(Arc<AtomicUsize>);

    impl Failing {
        fn may(&self) -> io::Result<()> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            if left == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Ok(())
        }
    }

    impl Disk for Failing {
        fn make_directory(&mut self, path: &Path) -> io::Result<()> {
            self.may().and_then(|()| RealDisk.make_directory(path))
        }

        fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            if let Err(full) = self.may() {
                RealDisk.write(path, &bytes[..bytes.len() / 2])?;
                return Err(full);
            }
            RealDisk.write(path, bytes)
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.may().and_then(|()| RealDisk.rename(from, to))
        }

        fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
            self.may().and_then(|()| RealDisk.sync_directory(path))
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.may().and_then(|()| RealDisk.remove(path))
        }
    }

    fn state(x: f64) -> State {
        State {
            arrays: [("theta".to_owned(), Array::F64(vec![x; 50]))].into(),
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            version: "0.0.0".to_owned(),
            run: Digest::of(b"run"),
            position: Position::default(),
            metrics: Digest::of(b""),
            state: Digest::of(b""),
        }
    }

    /// The disk becomes full at each operation of a save in turn. Fails when a failed save leaves
    /// files that look like a checkpoint, harms the one before, or is not reported with the path of
    /// that one.
    #[test]
    fn a_save_that_fails_leaves_the_checkpoint_before() {
        let mut operations = 0;
        loop {
            let parent = tempfile::tempdir().unwrap();
            let budget = Failing(Arc::new(AtomicUsize::new(usize::MAX)));
            let mut checkpoints =
                Checkpoints::new(parent.path().to_owned(), Box::new(budget.clone()));
            checkpoints.save(manifest(), &state(1.0)).unwrap();
            budget.0.store(operations, Ordering::Relaxed);
            let saved = checkpoints.save(manifest(), &state(2.0));
            let newest = checkpoints.numbers().unwrap()[0];
            let (_, found) = checkpoints.load(newest).unwrap();
            match saved {
                Ok(_) => {
                    assert_eq!(found, state(2.0));
                    break;
                }
                Err(error) => {
                    // when only the directory could not be flushed, the new checkpoint is there
                    // until the system crashes
                    let expected = if newest == 1 { state(1.0) } else { state(2.0) };
                    assert_eq!(found, expected, "{operations}");
                    assert!(operations == 5 || newest == 1, "{operations}");
                    assert_eq!(error.exit_code(), 3);
                    let message = error.to_string();
                    assert!(message.contains("000001.json is as it was"), "{message}");
                }
            }
            // with room again, saving works
            budget.0.store(usize::MAX, Ordering::Relaxed);
            checkpoints.save(manifest(), &state(3.0)).unwrap();
            let (_, found) = checkpoints.load(checkpoints.numbers().unwrap()[0]).unwrap();
            assert_eq!(found, state(3.0));
            operations += 1;
        }
        // make the directory; write and rename two files; flush the directory
        assert_eq!(operations, 6);
    }

    /// Fails when a type of number is not written, or an empty array is lost.
    #[test]
    fn every_kind_of_array_comes_back() {
        let arrays = [
            ("a", Array::F32(vec![f32::MIN_POSITIVE, -0.0])),
            ("b.c", Array::F64(vec![0.1, f64::INFINITY])),
            ("d", Array::U64(vec![u64::MAX])),
            ("e", Array::F32(vec![])),
        ];
        let state = State {
            arrays: arrays.map(|(name, array)| (name.to_owned(), array)).into(),
        };
        let bytes = encode(&state).unwrap();
        assert_eq!(decode(&bytes, Path::new("x")).unwrap(), state);
        assert!(bytes == encode(&state).unwrap());
    }
}
