//! Text files, and text for people.

use crate::{Result, disk};
use mbmpo_core::ron_text::{self, TextError};
pub(crate) use mbmpo_core::ron_text::{brief, options, plain_types};
use serde::de::DeserializeOwned;
use std::path::Path;

/// A path of keys without the name of the algorithm: `algorithm.horizon` for `algorithm.Trpo.horizon`.
pub(crate) fn plain_path(path: &str) -> String {
    let mut keys: Vec<_> = path.split('.').collect();
    if keys[0] == "algorithm" && keys.len() > 1 && keys[1].starts_with(char::is_uppercase) {
        keys.remove(1);
    }
    keys.join(".")
}

/// Largest text file \[bytes\]: files that people write have kilobytes, the metrics of the longest runs a few
/// megabytes.
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

/// Parses RON; error messages call it `file`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T> {
    Ok(ron_text::parse(text, file)?)
}

/// Rows as lines with aligned columns, the first `left` of them to the left, the others to the right.
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
