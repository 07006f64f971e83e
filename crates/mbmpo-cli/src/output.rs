//! Standard output and standard error, without panics.

use mbmpo_experiments::{Error, Result};
use std::io::{self, ErrorKind, Write};

/// Prints a result on standard output. A closed pipe is no error.
pub fn say(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Write {
            path: "standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Prints a message on standard error.
pub fn complain(text: &str) {
    // a failure cannot be reported anywhere
    let _ = writeln!(io::stderr(), "{text}");
}
