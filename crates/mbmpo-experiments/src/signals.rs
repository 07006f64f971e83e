//! Ctrl-C and its like: the first asks a run to save and stop, the second ends the process at once.

use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What was asked for so far.
#[derive(Debug, Clone)]
pub struct Signals {
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> Result<Self> {
        let (number, asked) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let register = |signal| -> io::Result<()> {
            // in this order: what the first signal sets is not yet seen by its own shutdown
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            flag::register_usize(signal, Arc::clone(&number), signal as usize)?;
            Ok(())
        };
        let registered = [SIGINT, SIGTERM].into_iter().try_for_each(register);
        registered.map_err(|e| Error::System(format!("cannot listen for signals: {e}")))?;
        Ok(Self { number })
    }

    /// The latest: 2 for Ctrl-C (SIGINT), 15 for SIGTERM.
    pub fn latest(&self) -> Option<i32> {
        i32::try_from(self.number.load(Ordering::Relaxed))
            .ok()
            .filter(|signal| *signal != 0)
    }
}
