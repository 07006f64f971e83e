//! Reading RON, with errors that name the place, the key and a correction.

use crate::config::MOVED;
use crate::{Error, Origin, OutOfRange, Result, disk, nearest, ron_spans};
use mbmpo_core::{InvalidValue, Violations};
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

/// The dialect of RON: without `Some(…)`, and the fields of an enum's variant directly behind its
/// name.
pub(crate) fn options() -> ron::Options {
    ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES)
}

/// A path of keys without the name of the algorithm: `algorithm.batch_steps` for
/// `algorithm.Trpo.batch_steps`.
pub(crate) fn plain_path(path: &str) -> String {
    let mut keys: Vec<_> = path.split('.').collect();
    if keys[0] == "algorithm" && keys.len() > 1 && keys[1].starts_with(char::is_uppercase) {
        keys.remove(1);
    }
    keys.join(".")
}

/// Largest text file \[bytes\]; the metrics of the longest runs have a few megabytes.
const LARGEST_FILE: u64 = 64 << 20;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = disk::read(path, LARGEST_FILE)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let (line, column) = ron_spans::line_and_column(&before, valid);
        Error::Parse {
            file: path.to_string_lossy().into_owned(),
            line,
            column,
            message: "this is not text in UTF-8".to_owned(),
        }
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

/// Largest RON file \[bytes\]; configurations and tasks have a few kilobytes.
const LARGEST_RON: usize = 1 << 20;

/// Parses RON; `file` is its name in error messages.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T> {
    if text.len() > LARGEST_RON {
        return Err(Error::Parse {
            file: file.to_owned(),
            line: 1,
            column: 1,
            message: "it is larger than 1 MiB: a configuration or a task is kilobytes".to_owned(),
        });
    }
    let error_at = |offset: usize, message: &str| {
        let (line, column) = ron_spans::line_and_column(text, offset);
        Error::Parse {
            file: file.to_owned(),
            line,
            column,
            message: brief(message),
        }
    };
    let error = |spanned: ron::error::SpannedError, key: &str| {
        let stopped = ron_spans::offset(text, spanned.span.start.line, spanned.span.start.col);
        match ron_spans::around(text, stopped).filter(|_| is_structural(&spanned.code)) {
            Some((offset, key, word)) => {
                let whole = word.parse::<f64>().is_ok();
                let expected = if whole {
                    ": expected a whole number"
                } else {
                    ""
                };
                error_at(offset, &format!("`{key}` cannot be `{word}`{expected}"))
            }
            None => {
                let parent = if key == "." { "" } else { key };
                let before = ron_spans::last_inside(
                    text,
                    parent.trim_end_matches('?').trim_end_matches('.'),
                    stopped,
                )
                .filter(|_| matches!(spanned.code, ron::Error::ExpectedComma));
                let message = match before {
                    Some(before) => format!("expected a comma after `{before}`"),
                    None => explain(&spanned.code, key),
                };
                error_at(locate(text, &spanned, key), &message)
            }
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
    // in a map the parser keeps the last of two equal keys
    if let Some((key, place)) = ron_spans::twice(text) {
        return Err(error_at(place, &format!("key `{key}` is there twice")));
    }
    Ok(value)
}

/// Whether the parser read a value of another type and then did not find the expected end.
fn is_structural(error: &ron::Error) -> bool {
    use ron::Error::{
        ExpectedArrayEnd, ExpectedComma, ExpectedMapEnd, ExpectedStructLikeEnd, TrailingCharacters,
    };
    matches!(
        error,
        ExpectedArrayEnd
            | ExpectedComma
            | ExpectedMapEnd
            | ExpectedStructLikeEnd
            | TrailingCharacters
    )
}

/// The offset of the wrong word; the parser reports where it stopped, which may be just before or
/// after it.
fn locate(text: &str, spanned: &ron::error::SpannedError, key: &str) -> usize {
    use ron::Error::{
        DuplicateStructField, MissingStructField, NoSuchEnumVariant, NoSuchStructField,
    };
    let (start, end) = (spanned.span.start, spanned.span.end);
    let end = ron_spans::offset(text, end.line, end.col);
    let place = match &spanned.code {
        NoSuchStructField { found, .. } | NoSuchEnumVariant { found, .. } => {
            ron_spans::last(text, found, end)
        }
        DuplicateStructField { field, .. } => ron_spans::last(text, field, end),
        MissingStructField { .. } => {
            let key = if key == "." { "" } else { key };
            ron_spans::values(text, [key].into_iter()).remove(key)
        }
        _ => None,
    };
    let stopped = ron_spans::offset(text, start.line, start.col);
    place
        .or_else(|| Some(ron_spans::around(text, stopped)?.0))
        .unwrap_or_else(|| ron_spans::skip_space(text, stopped))
}

/// Adds the line and column in `file` to every value.
pub(crate) fn place(text: &str, file: &str, violations: Violations) -> Vec<OutOfRange> {
    let keys = violations.0.iter().map(|value| value.key.as_str());
    let places = ron_spans::values(text, keys);
    let origin = |value: &InvalidValue| match places.get(value.key.as_str()) {
        Some(&place) => {
            let (line, column) = ron_spans::line_and_column(text, place);
            format!("{file}:{line}:{column}")
        }
        None => file.to_owned(),
    };
    let origins: Vec<_> = violations.0.iter().map(origin).collect();
    let values = origins.into_iter().zip(violations.0);
    let placed = |(origin, value)| OutOfRange {
        origin: Origin::File(origin),
        value,
    };
    values.map(placed).collect()
}

fn explain(error: &ron::Error, key: &str) -> String {
    match error {
        ron::Error::NoSuchStructField { found, .. }
            if key.starts_with("algorithm") && MOVED.contains(&found.as_str()) =>
        {
            format!(
                "`{found}` is no key of the algorithm any more: move it out of the parentheses, beside `algorithm`"
            )
        }
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
        ron::Error::ExpectedNamedStructLike(_)
        | ron::Error::ExpectedStructLike
        | ron::Error::ExpectedDifferentStructName { .. } => match key {
            "." => KEYS.to_owned(),
            key => format!("`{key}`: {KEYS}"),
        },
        ron::Error::SuggestRawIdentifier(found) | ron::Error::InvalidIdentifier(found) => {
            let key = key.strip_suffix(".?").unwrap_or(key);
            format!("`{key}`: expected a name, not `{found}`")
        }
        ron::Error::InvalidIntegerDigit { .. } => {
            format!("`{key}`: expected a whole number in digits, such as 1000000")
        }
        other => {
            let message = plain_types(&lower_first(&other.to_string()));
            // the parser stopped between two keys
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

/// The beginning and the end of a long message: a wrong value may have megabytes.
pub(crate) fn brief(message: &str) -> String {
    const END: usize = 400;
    let Some((last, _)) = message.char_indices().nth_back(END) else {
        return message.to_owned();
    };
    match message.char_indices().nth(END) {
        Some((first, _)) if first < last => {
            format!("{}…{}", &message[..first], &message[last..])
        }
        _ => message.to_owned(),
    }
}

const KEYS: &str = "expected keys in parentheses, as in (key: value)";

/// Replaces the type names of serde: "a number" for `f64`, and so on.
pub(crate) fn plain_types(message: &str) -> String {
    let names = [
        ("expected integer", "expected a whole number"),
        (
            "integer is out of bounds",
            "expected a whole number from 0 to 18446744073709551615",
        ),
        ("expected string or map", "expected a name"),
        (
            "invalid type: unit variant, expected newtype variant",
            "expected keys after the name, as in MbMpo(key: value)",
        ),
        ("expected string", "expected a text in quotes"),
        ("expected float", "expected a number"),
        ("expected opening `[`", "expected a list such as [128, 128]"),
        (
            "expected identifier",
            "expected a name, as in `algorithm: MbMpo(…)` or `variant: Paper`",
        ),
        ("expected usize", "expected a whole number from 0 on"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a map", "expected a map such as {\"all\": 2}"),
        ("expected a sequence", "expected a list such as [128, 128]"),
    ];
    // the name of the struct is one of the code
    let message = match message.split_once("expected struct ") {
        Some((before, _)) => format!("{before}{KEYS}"),
        None => message.to_owned(),
    };
    names
        .iter()
        .fold(message, |text, (serde, plain)| text.replace(serde, plain))
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
