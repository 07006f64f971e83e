//! Standard output and standard error, without panics.

use mbmpo_experiments::{Error, Result};
use std::io::{self, ErrorKind, Write};

/// A result on standard output. Whoever closes the pipe early has what they wanted.
pub fn say(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Write {
            path: "standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// A message on standard error.
pub fn complain(text: &str) {
    // nowhere is left to report a failure to
    let _ = writeln!(io::stderr(), "{text}");
}
