//! The file operations that keep a run safe.

use crate::{Error, Result};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Operations on files, from which [`Disk::replace`] makes an atomic write. A trait, so that tests
/// can let them fail.
pub(crate) trait Disk: Debug + Send {
    /// Makes a directory, with its parents, if it does not exist.
    fn make_directory(&mut self, path: &Path) -> io::Result<()>;
    /// Writes a file and flushes it to the disk.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Renames a file, replacing the one of that name.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Flushes the names in a directory to the disk.
    fn sync_directory(&mut self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Writes a file under another name and then renames it.
    fn replace(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = temporary(path);
        let outcome = self
            .write(&new, bytes)
            .and_then(|()| self.rename(&new, path));
        if outcome.is_err() {
            let _ = self.remove(&new);
        }
        outcome
    }
}

/// The bytes of a file; an error where there are more than `largest`.
pub(crate) fn read(path: &Path, largest: u64) -> Result<Vec<u8>> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let refused = |what: String| unreadable(io::Error::other(what));
    let file = File::open(path).map_err(unreadable)?;
    // a pipe or a device may never end
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(refused("it is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    // the file may grow meanwhile
    let mut limited = file.take(largest.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > largest {
        return Err(refused(format!("it is larger than {largest} bytes")));
    }
    Ok(bytes)
}

/// The name of a file while it is written: `.NAME.new`.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// The file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        // on other systems a directory cannot be opened, and renaming needs no flush
        if cfg!(unix) {
            File::open(path)?.sync_all()?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
