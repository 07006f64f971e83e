//! Ctrl-C and SIGTERM: the first asks a run to save and stop, the second ends the process at once.

use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The signals received so far.
#[derive(Debug, Clone)]
pub struct Signals {
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// Registers the handlers.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> Result<Self> {
        let (number, asked) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let register = |signal| -> io::Result<()> {
            // in this order, so that the first signal does not see the flag that it sets itself
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            flag::register_usize(signal, Arc::clone(&number), signal as usize)?;
            Ok(())
        };
        let registered = [SIGINT, SIGTERM].into_iter().try_for_each(register);
        registered.map_err(|e| Error::System(format!("cannot listen for signals: {e}")))?;
        Ok(Self { number })
    }

    /// The latest signal: 2 for Ctrl-C (SIGINT), 15 for SIGTERM.
    pub fn latest(&self) -> Option<i32> {
        i32::try_from(self.number.load(Ordering::Relaxed))
            .ok()
            .filter(|signal| *signal != 0)
    }
}
