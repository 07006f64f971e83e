//! The lock of a run directory: one process at a time works on it.

use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// A lock on a file, held until it is dropped. The system releases it when the process ends, even
/// by a kill, so there are no stale locks. The file contains the id of the process, for the error
/// message of others.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the directory `run` by its file `lock`, which is never removed.
    pub(crate) fn take(run: &Path) -> Result<Self> {
        let path = run.join("lock");
        let unwritable = |source| Error::Unwritable {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // only for the message
                let _ = file.take(20).read_to_string(&mut holder);
                return Err(Error::Locked {
                    path: run.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(unwritable)?;
        Ok(Self { _file: file })
    }
}
