//! Text files, and text for people.

use crate::{Error, Origin, OutOfRange, Result, disk};
use mbmpo_core::Violations;
use mbmpo_core::ron_text::{self, PlacedValue, TextError};
pub(crate) use mbmpo_core::ron_text::{brief, options, plain_types};
use serde::de::DeserializeOwned;
use std::path::Path;

/// A path of keys without the name of the algorithm: `algorithm.batch_steps` for
/// `algorithm.Trpo.batch_steps`.
pub(crate) fn plain_path(path: &str) -> String {
    let mut keys: Vec<_> = path.split('.').collect();
    if keys[0] == "algorithm" && keys.len() > 1 && keys[1].starts_with(char::is_uppercase) {
        keys.remove(1);
    }
    keys.join(".")
}

/// Largest text file \[bytes\]: files that people write have kilobytes, the metrics of the longest
/// runs a few megabytes.
const LARGEST_FILE: u64 = 64 << 20;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = disk::read(path, LARGEST_FILE)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let (valid, origin) = (String::from_utf8_lossy(valid), path.to_string_lossy());
        TextError::at(valid.len(), &valid, &origin, "this is not text in UTF-8").into()
    })
}

/// The name of a file without directory and extension; a text that is no path as it is.
pub(crate) fn stem(path: &str) -> String {
    let stem = Path::new(path).file_stem();
    stem.map_or_else(
        || path.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// Parses RON; error messages call it `file`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T> {
    Ok(ron_text::parse_with(text, file, &moved)?)
}

/// Keys of the experiment that were keys of the algorithm in earlier versions.
const MOVED: [&str; 2] = ["horizon", "evaluation_episodes"];

/// The message for a key that was moved out of the algorithm.
fn moved(parent: &str, key: &str) -> Option<String> {
    (parent.starts_with("algorithm") && MOVED.contains(&key)).then(|| {
        format!(
            "`{key}` is no key of the algorithm any more: move it out of the parentheses, beside `algorithm`"
        )
    })
}

/// The violations with their lines and columns in the text of `file`.
pub(crate) fn place(text: &str, file: &str, violations: Violations) -> Vec<OutOfRange> {
    let placed = ron_text::locate(text, file, violations);
    placed.into_iter().map(OutOfRange::from).collect()
}

impl From<PlacedValue> for OutOfRange {
    fn from(PlacedValue { place, value }: PlacedValue) -> Self {
        Self {
            origin: Origin::File(place),
            value,
        }
    }
}

impl From<TextError> for Error {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Parse {
                origin,
                line,
                column,
                message,
            } => Self::Parse {
                file: origin,
                line,
                column,
                message,
            },
            TextError::Invalid(values) => {
                Self::Invalid(values.into_iter().map(OutOfRange::from).collect())
            }
        }
    }
}

/// Rows as lines with aligned columns, the first `left` of them to the left, the others to the
/// right.
pub(crate) fn table<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            text += &if column < left {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
