//! Going back to the latest checkpoint.

use super::layout::CHECKPOINTS;
use super::{MetricsLog, RunDirectory};
use crate::position::Position;
use crate::{Error, Result, Status};
use mbmpo_core::Persist;
use std::io;

impl RunDirectory {
    /// Restores `algorithm` from the latest intact checkpoint, and cuts the metrics back to there.
    /// `notice` is called with a warning for each damaged checkpoint, after which the one before it
    /// is tried. A run that ended before its first checkpoint starts again from the beginning.
    ///
    /// # Errors
    /// When there should be a checkpoint and none is intact, when one is of another configuration
    /// or format, or when one cannot be read.
    pub fn restore(
        &mut self,
        algorithm: &mut impl Persist,
        mut notice: impl FnMut(&str),
    ) -> Result<()> {
        let mut damage = None;
        for number in self.checkpoints.numbers()? {
            match self.try_restore(number, algorithm) {
                Ok(position) => {
                    self.position = position;
                    return Ok(());
                }
                Err(error) if is_damage(&error) => {
                    notice(&format!("{error}; trying the checkpoint before it"));
                    damage.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if damage.is_none() && matches!(self.status_at_open, Status::Running | Status::Failed) {
            match MetricsLog::lines(&self.path) {
                0 => {}
                n => notice(&format!(
                    "nothing was saved; its {n} iterations are done again"
                )),
            }
            return self.cut_metrics(&[]);
        }
        let source = damage.unwrap_or_else(|| Error::Damaged {
            path: self.path.join(CHECKPOINTS),
            what: "there is no checkpoint in it".to_owned(),
        });
        Err(Error::NoCheckpoint {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }

    fn try_restore(&mut self, number: u64, algorithm: &mut impl Persist) -> Result<Position> {
        let (manifest, state) = self.checkpoints.load(number)?;
        let path = self.checkpoints.manifest_path(number);
        let damaged = |what: String| Error::Damaged {
            path: path.clone(),
            what,
        };
        if manifest.run != self.run {
            return Err(Error::Differs {
                path: self.path.clone(),
                what: "its checkpoints are of another configuration".to_owned(),
            });
        }
        let kept = self.metrics.beginning(&manifest.metrics)?;
        let kept = kept.ok_or_else(|| damaged("metrics.jsonl was changed since".to_owned()))?;
        state
            .restore(algorithm)
            .map_err(|error| damaged(error.to_string()))?;
        self.cut_metrics(&kept)?;
        Ok(manifest.position)
    }
}

/// Whether to try the checkpoint before it.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } => true,
        Error::Unreadable { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
