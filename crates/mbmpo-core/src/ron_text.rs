//! Reading RON, with errors that name the text, the line, the column and the key, and suggest a
//! name for a mistyped one.
//!
//! ```
//! use mbmpo_core::{Check, Checker, ron_text};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Adaptation { learning_rate: f64 }
//!
//! impl Check for Adaptation {
//!     fn inspect(&self, checker: &mut Checker) {
//!         checker.range("learning_rate", self.learning_rate, 0.0..=10.0);
//!     }
//! }
//!
//! let read = |text| ron_text::read::<Adaptation>(text, "my.ron").map_err(|error| error.to_string());
//! assert!(read("(learning_rate: 1e-3)").is_ok());
//! assert_eq!(
//!     read("(\n    learning_rat: 1e-3,\n)").err().as_deref(),
//!     Some("my.ron:2:5: unknown key `learning_rat`, did you mean `learning_rate`?")
//! );
//! assert_eq!(
//!     read("(learning_rate: -1)").err().as_deref(),
//!     Some("my.ron:1:17: `learning_rate` is -1, allowed is 0 to 10")
//! );
//! ```

use crate::{Check, Checked, InvalidValue, Violations, nearest, ron_spans};
use ron::error::SpannedError;
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use std::fmt::{self, Write};

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A syntax error, an unknown or missing key, or a value of the wrong type.
    #[error("{origin}:{line}:{column}: {message}")]
    Parse {
        /// Name of the text, such as a file.
        origin: String,
        /// Counts from 1.
        line: usize,
        /// Counts from 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Values out of range, one a line.
    #[error("{}", lines(.0))]
    Invalid(Vec<PlacedValue>),
}

impl TextError {
    /// An error at the byte `offset` of `text`, which is called `origin`.
    pub fn at(offset: usize, text: &str, origin: &str, message: &str) -> Self {
        let (line, column) = ron_spans::line_and_column(text, offset);
        Self::Parse {
            origin: origin.to_owned(),
            line,
            column,
            message: message.to_owned(),
        }
    }
}

/// A value out of range and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedValue {
    /// `ORIGIN:LINE:COLUMN`, or the origin alone where its text does not have the key.
    pub place: String,
    /// The value.
    pub value: InvalidValue,
}

impl fmt::Display for PlacedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.value)
    }
}

fn lines(values: &[PlacedValue]) -> impl fmt::Display {
    let lines: Vec<_> = values.iter().map(PlacedValue::to_string).collect();
    lines.join("\n")
}

/// The violations with their lines and columns in `text`, which is called `origin`.
pub fn locate(text: &str, origin: &str, violations: Violations) -> Vec<PlacedValue> {
    let keys = violations.0.iter().map(|value| value.key.as_str());
    let offsets = ron_spans::values(text, keys);
    let place = |value: &InvalidValue| match offsets.get(value.key.as_str()) {
        Some(&offset) => {
            let (line, column) = ron_spans::line_and_column(text, offset);
            format!("{origin}:{line}:{column}")
        }
        None => origin.to_owned(),
    };
    let places: Vec<_> = violations.0.iter().map(place).collect();
    let values = places.into_iter().zip(violations.0);
    values
        .map(|(place, value)| PlacedValue { place, value })
        .collect()
}

/// The RON options for reading and writing: `Some` is left out, and the fields of a struct in a
/// variant follow the variant's name.
pub fn options() -> ron::Options {
    ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES)
}

/// Parses and checks `text`, which error messages call `origin`.
///
/// # Errors
/// When [`parse`] fails, or values are out of range: all of them, with their lines and columns.
pub fn read<T: DeserializeOwned + Check>(
    text: &str,
    origin: &str,
) -> Result<Checked<T>, TextError> {
    let value: T = parse(text, origin)?;
    let place = |wrong| TextError::Invalid(locate(text, origin, wrong));
    value.check().map_err(place)
}

/// Longest text \[bytes\]: parameters take kilobytes, and every invalid value is reported with its
/// place.
const LARGEST_TEXT: usize = 1 << 20;

/// Parses `text`, which error messages call `origin`; ranges are not checked.
///
/// # Errors
/// When it is not RON, a key is unknown, missing or there twice, or a value is of the wrong type.
pub fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, TextError> {
    parse_with(text, origin, &|_, _| None)
}

/// As [`parse`]; an unknown key `key` in `parent` gets the message of `advice(parent, key)`, where
/// it has one.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_with<T: DeserializeOwned>(
    text: &str,
    origin: &str,
    advice: &dyn Fn(&str, &str) -> Option<String>,
) -> Result<T, TextError> {
    let source = Source {
        text,
        origin,
        advice,
    };
    if text.len() > LARGEST_TEXT {
        return Err(source.error_at(0, "the text is larger than 1 MiB"));
    }
    let mut deserializer = ron::Deserializer::from_str_with_options(text, &options())
        .map_err(|error| source.error(&error, "."))?;
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let key = key(error.path());
        source.error(&deserializer.span_error(error.into_inner()), &key)
    })?;
    let end = deserializer.end();
    end.map_err(|code| source.error(&deserializer.span_error(code), "."))?;
    // the parser would take the last of two equal keys of a map
    if let Some((key, offset)) = ron_spans::twice(text) {
        return Err(source.error_at(offset, &format!("key `{key}` is there twice")));
    }
    Ok(value)
}

/// A path as in [`InvalidValue::key`], which leaves out the names of variants; `.` for the whole
/// text.
fn key(path: &Path) -> String {
    let mut key = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                let _ = write!(key, "[{index}]");
            }
            Segment::Map { key: name } => {
                key.push_str(if key.is_empty() { "" } else { "." });
                key.push_str(name);
            }
            Segment::Enum { .. } => {}
            Segment::Unknown => key.push_str(if key.is_empty() { "?" } else { ".?" }),
        }
    }
    if key.is_empty() { ".".to_owned() } else { key }
}

/// A text, its name, and messages for unknown keys.
struct Source<'a> {
    text: &'a str,
    origin: &'a str,
    advice: &'a dyn Fn(&str, &str) -> Option<String>,
}

impl Source<'_> {
    fn error_at(&self, offset: usize, message: &str) -> TextError {
        TextError::at(offset, self.text, self.origin, &brief(message))
    }

    /// The parser's error at `key`, with a better place and message where they can be had.
    fn error(&self, spanned: &SpannedError, key: &str) -> TextError {
        let text = self.text;
        let stopped = ron_spans::offset(text, spanned.span.start.line, spanned.span.start.col);
        let word = ron_spans::around(text, stopped).filter(|_| is_structural(&spanned.code));
        if let Some((offset, key, word)) = word {
            let whole = word.parse::<f64>().is_ok();
            let expected = if whole {
                ": expected a whole number"
            } else {
                ""
            };
            return self.error_at(offset, &format!("`{key}` cannot be `{word}`{expected}"));
        }
        let parent = if key == "." { "" } else { key };
        let parent = parent.trim_end_matches('?').trim_end_matches('.');
        let before = ron_spans::last_inside(text, parent, stopped);
        let message = match before.filter(|_| matches!(spanned.code, ron::Error::ExpectedComma)) {
            Some(before) => format!("expected a comma after `{before}`"),
            None => self.explain(&spanned.code, key),
        };
        self.error_at(self.locate(spanned, key), &message)
    }

    fn explain(&self, error: &ron::Error, key: &str) -> String {
        let advice = match error {
            ron::Error::NoSuchStructField { found, .. } => (self.advice)(key, found),
            _ => None,
        };
        advice.unwrap_or_else(|| explain(error, key))
    }

    /// The offset of the offending word: the parser's position may be just before or after it.
    fn locate(&self, spanned: &SpannedError, key: &str) -> usize {
        use ron::Error::{
            DuplicateStructField, MissingStructField, NoSuchEnumVariant, NoSuchStructField,
        };
        let text = self.text;
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
}

/// Whether the parser expected the end of a value.
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

/// `, did you mean …?`, or the list of known names.
fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(candidate) => format!(", did you mean `{candidate}`?"),
        None => {
            let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("; there are {}", quoted.join(", "))
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

/// `message` without its middle where it is very long: an offending value may have megabytes.
pub fn brief(message: &str) -> String {
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

/// A message of serde or RON with plain names of types: "a number" for `f64`, and so on.
pub fn plain_types(message: &str) -> String {
    let names = [
        ("expected integer", "expected a whole number"),
        (
            "integer is out of bounds",
            "expected a whole number from 0 to 18446744073709551615",
        ),
        ("expected string or map", "expected a name"),
        (
            "invalid type: unit variant, expected newtype variant",
            "expected keys after the name, as in Name(key: value)",
        ),
        ("expected string", "expected a text in quotes"),
        ("expected float", "expected a number"),
        ("expected opening `[`", "expected a list such as [128, 128]"),
        (
            "expected identifier",
            "expected a name, as in `key: Name` or `key: Name(key: value)`",
        ),
        ("expected usize", "expected a whole number from 0 on"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a map", "expected a map such as {\"all\": 2}"),
        ("expected a sequence", "expected a list such as [128, 128]"),
    ];
    // the name of the struct follows
    let message = match message.split_once("expected struct ") {
        Some((before, _)) => format!("{before}{KEYS}"),
        None => message.to_owned(),
    };
    names
        .iter()
        .fold(message, |text, (serde, plain)| text.replace(serde, plain))
}
