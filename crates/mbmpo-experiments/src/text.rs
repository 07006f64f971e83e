//! RON with errors that a person can act on.

use crate::{Error, Result, nearest};
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;
use std::path::Path;

/// `, did you mean …?` or the list of what there is.
pub(crate) fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(candidate) => format!(", did you mean `{candidate}`?"),
        None => format!("; there are {}", quote(known)),
    }
}

fn quote(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// How we read and write RON: `Some` is never spelled out, and an algorithm's parameters follow its name.
pub(crate) fn options() -> ron::Options {
    ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES)
}

/// A path of keys without the name of the algorithm: `algorithm.horizon` for `algorithm.Trpo.horizon`.
pub(crate) fn plain_path(path: &str) -> String {
    let mut keys: Vec<_> = path.split('.').collect();
    if keys[0] == "algorithm" && keys.len() > 1 && keys[1].starts_with(char::is_uppercase) {
        keys.remove(1);
    }
    keys.join(".")
}

/// Files that a person writes are kilobytes, metrics of the longest runs a few megabytes.
const LARGEST_FILE: u64 = 64 << 20;

/// Reads a file that a person named.
pub(crate) fn read(path: &Path) -> Result<String> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let refused = |what: &str| unreadable(std::io::Error::other(what.to_owned()));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // a pipe or a device may never end
    if !metadata.is_file() {
        return Err(refused("it is not a file"));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(refused("it is larger than 64 MiB"));
    }
    std::io::read_to_string(file).map_err(unreadable)
}

/// Bytes of RON: what a person writes is kilobytes, and what is wrong with it is told value by value.
const LARGEST_RON: usize = 1 << 20;

/// Parses RON; `file` is what error messages call it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T> {
    if text.len() > LARGEST_RON {
        return Err(Error::Parse {
            file: file.to_owned(),
            line: 1,
            column: 1,
            message: "it is larger than 1 MiB: a configuration or a task is kilobytes".to_owned(),
        });
    }
    let error = |spanned: ron::error::SpannedError, key: &str| {
        let (line, column) = locate(text, &spanned);
        Error::Parse {
            file: file.to_owned(),
            line,
            column,
            message: explain(&spanned.code, key),
        }
    };
    let mut deserializer =
        ron::Deserializer::from_str_with_options(text, &options()).map_err(|e| error(e, "."))?;
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
        let key = plain_path(&e.path().to_string());
        error(deserializer.span_error(e.into_inner()), &key)
    })?;
    let end = deserializer.end();
    end.map_err(|code| error(deserializer.span_error(code), "."))?;
    Ok(value)
}

/// Line and column of the offending word: RON knows where its parser stood, which may be just after it.
fn locate(text: &str, spanned: &ron::error::SpannedError) -> (usize, usize) {
    use ron::Error::{DuplicateStructField, NoSuchEnumVariant, NoSuchStructField};
    let (start, end) = (spanned.span.start, spanned.span.end);
    let word = match &spanned.code {
        NoSuchStructField { found, .. } | NoSuchEnumVariant { found, .. } => found.as_str(),
        DuplicateStructField { field, .. } => field,
        _ => return (start.line, start.col),
    };
    let lines: Vec<&str> = text.lines().collect();
    for number in (start.line.saturating_sub(1)..=end.line).rev() {
        let Some(line) = number.checked_sub(1).and_then(|i| lines.get(i)) else {
            continue;
        };
        let code = line.split("//").next().unwrap_or_default();
        if let Some(at) = code.find(word) {
            return (number, code[..at].chars().count() + 1);
        }
    }
    (start.line, start.col)
}

fn explain(error: &ron::Error, key: &str) -> String {
    match error {
        ron::Error::NoSuchStructField {
            expected, found, ..
        } => {
            format!("unknown key `{found}`{}", suggestion(found, expected))
        }
        ron::Error::MissingStructField { field, .. } if key == "." => {
            format!("key `{field}` is missing")
        }
        ron::Error::MissingStructField { field, .. } => {
            format!("key `{field}` is missing in `{key}`")
        }
        ron::Error::DuplicateStructField { field, .. } => format!("key `{field}` is there twice"),
        ron::Error::NoSuchEnumVariant {
            expected, found, ..
        } => {
            format!("`{key}` cannot be `{found}`{}", suggestion(found, expected))
        }
        other => {
            let message = plain_types(&lower_first(&other.to_string()));
            // the parser stood between two keys
            match key.strip_suffix(".?").unwrap_or(key) {
                "." | "?" => message,
                key => format!("`{key}`: {message}"),
            }
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => first.to_lowercase().chain(rest).collect(),
        None => String::new(),
    }
}

/// Says "a number" for what serde calls `f64`, and so on.
pub(crate) fn plain_types(message: &str) -> String {
    let names = [
        ("expected integer", "expected a whole number"),
        (
            "integer is out of bounds",
            "expected a whole number from 0 on",
        ),
        ("expected float", "expected a number"),
        ("expected opening `[`", "expected a list such as [128, 128]"),
        (
            "expected identifier",
            "expected a name first, as in `algorithm: MbMpo(…)`",
        ),
        ("expected usize", "expected a whole number from 0 on"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a map", "expected a map such as {\"all\": 2}"),
        ("expected a sequence", "expected a list such as [128, 128]"),
    ];
    names
        .iter()
        .fold(message.to_owned(), |text, (serde, plain)| {
            text.replace(serde, plain)
        })
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
