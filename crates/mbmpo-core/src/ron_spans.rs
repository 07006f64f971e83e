//! Offsets of keys and values in a RON text. The parser does not keep them, so a scanner walks over
//! the text again; it accepts any text, also one that is not RON.

use std::collections::{HashMap, HashSet};

/// Deepest nesting that the parser accepts.
const DEEPEST: usize = 128;

/// Whether a key or a value begins at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Key,
    Value,
}

/// The offset of the value of each of `keys` that the text has. A key is a path such as
/// `algorithm.policy.hidden[0]`, without the names of variants.
pub(crate) fn values<'k>(
    text: &str,
    keys: impl Iterator<Item = &'k str>,
) -> HashMap<&'k str, usize> {
    let mut places: HashMap<&str, Option<usize>> = keys.map(|key| (key, None)).collect();
    walk(text, |token, path, offset| {
        if token == Token::Value
            && let Some(place) = places.get_mut(path)
        {
            place.get_or_insert(offset);
        }
    });
    let found = |(key, place): (_, Option<usize>)| Some((key, place?));
    places.into_iter().filter_map(found).collect()
}

/// The offset of the last key or value that is `word` and begins before `end`.
pub(crate) fn last(text: &str, word: &str, end: usize) -> Option<usize> {
    let mut place = None;
    walk(text, |_, _, offset| {
        let rest = text.get(offset..).unwrap_or_default();
        let rest = rest.strip_prefix('"').unwrap_or(rest);
        let after = rest.strip_prefix(word);
        if offset < end && after.is_some_and(|after| !after.starts_with(in_word)) {
            place = Some(offset);
        }
    });
    place
}

/// The value whose first word contains `offset`, not at its ends: the value's offset, its path and
/// the word.
pub(crate) fn around(text: &str, offset: usize) -> Option<(usize, String, &str)> {
    let mut place = None;
    walk(text, |token, path, begin| {
        let word = &text[begin..skip_word(text, begin)];
        let inside = begin < offset && offset < begin + word.len();
        if token == Token::Value && inside && !word.starts_with(['(', '[', '{']) {
            place = Some((begin, path.to_owned(), word));
        }
    });
    place
}

/// The path of the last of the keys inside `parent` that begins before `end`.
pub(crate) fn last_inside(text: &str, parent: &str, end: usize) -> Option<String> {
    let mut last = None;
    walk(text, |token, path, begin| {
        let own = path.strip_prefix(parent).unwrap_or_default();
        let own = if parent.is_empty() {
            path
        } else {
            own.strip_prefix('.').unwrap_or_default()
        };
        if token == Token::Key && begin < end && !own.is_empty() && !own.contains('.') {
            last = Some(path.to_owned());
        }
    });
    last
}

/// The path of a key that occurs twice in the same map, and the offset of the second one.
pub(crate) fn twice(text: &str) -> Option<(String, usize)> {
    let (mut known, mut second) = (HashSet::new(), None);
    walk(text, |token, path, offset| {
        if token == Token::Key && second.is_none() && !known.insert(path.to_owned()) {
            second = Some((path.to_owned(), offset));
        }
    });
    second
}

/// Line and column, both counted from 1.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The offset of a line and column; the end of the text where it is shorter.
pub(crate) fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let rest = &text[before..];
    let inside = rest.char_indices().nth(column.saturating_sub(1));
    before + inside.map_or(rest.len(), |(offset, _)| offset)
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '.')
}

/// An open bracket.
struct Open {
    /// Length of the path of the value that it opens.
    path: usize,
    /// Number of commas so far.
    index: usize,
    /// Opened by `Some(…)`, which is not part of a path.
    transparent: bool,
}

/// Calls `visit` with every key and value, its path and its offset.
fn walk(text: &str, mut visit: impl FnMut(Token, &str, usize)) {
    let mut path = String::new();
    let mut open: Vec<Open> = Vec::new();
    // since the last comma, colon or opening bracket
    let (mut after_key, mut last_word) = (false, None);
    let mut at = skip_attributes(text, skip_space(text, 0));
    while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let begin = at;
        match next {
            ',' => {
                at += 1;
                if let Some(bracket) = open.last_mut() {
                    bracket.index += 1;
                    path.truncate(bracket.path);
                }
                (after_key, last_word) = (false, None);
            }
            ')' | ']' | '}' => {
                at += 1;
                if let Some(bracket) = open.pop() {
                    path.truncate(bracket.path);
                }
                (after_key, last_word) = (false, Some(""));
            }
            ':' => at += 1,
            _ => {
                let bracket = matches!(next, '(' | '[' | '{');
                at = if bracket { at + 1 } else { skip_word(text, at) };
                let word = text.get(begin..at).unwrap_or_default();
                if !bracket && text[skip_space(text, at)..].starts_with(':') {
                    if let Some(bracket) = open.last() {
                        path.truncate(bracket.path);
                    }
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(word.trim_start_matches("r#").trim_matches('"'));
                    visit(Token::Key, &path, begin);
                    (after_key, last_word) = (true, None);
                } else {
                    if last_word.is_none() {
                        let of = open.last().filter(|of| !after_key && !of.transparent);
                        if let Some(of) = of {
                            path.truncate(of.path);
                            path.push_str(&format!("[{}]", of.index));
                        }
                        visit(Token::Value, &path, begin);
                    }
                    if bracket {
                        open.push(Open {
                            path: path.len(),
                            index: 0,
                            transparent: last_word == Some("Some"),
                        });
                        (after_key, last_word) = (false, None);
                    } else {
                        last_word = Some(word);
                    }
                }
            }
        }
        if open.len() > DEEPEST {
            return;
        }
        at = skip_space(text, at);
    }
}

/// The offset after white space and comments.
pub(crate) fn skip_space(text: &str, mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if trimmed.starts_with("//") {
            at += trimmed.find('\n').unwrap_or(trimmed.len());
        } else if trimmed.starts_with("/*") {
            at += block_comment(trimmed);
        } else {
            return at;
        }
    }
}

/// The length of a comment, which may contain others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        match text.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The offset after `#![enable(…)]`.
fn skip_attributes(text: &str, mut at: usize) -> usize {
    while text[at..].starts_with("#!") {
        let end = text[at..].find(']').map_or(text.len(), |end| at + end + 1);
        at = skip_space(text, end);
    }
    at
}

/// The offset after a name, number, string or character.
fn skip_word(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let raw = rest.trim_start_matches('b').strip_prefix('r');
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(inside) = raw[hashes..].strip_prefix('"') {
            let begin = text.len() - inside.len();
            let close = format!("\"{}", "#".repeat(hashes));
            return inside
                .find(&close)
                .map_or(text.len(), |end| begin + end + close.len());
        }
    }
    let quoted = rest.strip_prefix('b').unwrap_or(rest);
    if let Some(quote) = quoted.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let begin = text.len() - quoted.len() + 1;
        let mut escaped = false;
        for (offset, c) in text[begin..].char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return begin + offset + 1,
                _ => {}
            }
        }
        return text.len();
    }
    let end = |c: char| {
        let special = matches!(
            c,
            '(' | ')' | '[' | ']' | '{' | '}' | ',' | ':' | '"' | '\'' | '/'
        );
        special || c.is_whitespace()
    };
    let length = rest
        .char_indices()
        .skip(1)
        .find(|&(_, c)| end(c))
        .map_or(rest.len(), |(offset, _)| offset);
    at + length
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn found(text: &str, key: &str) -> Option<(usize, usize)> {
        let places = values(text, [key].into_iter());
        places.get(key).map(|&offset| line_and_column(text, offset))
    }

    /// Fails when comments, strings, brackets or variants are taken for something else.
    #[test]
    fn values_are_found() {
        let text = r##"#![enable(implicit_some)]
// a: 1, (
(
    /* b: /* ( */ 2 */ b: "c: \" (", r: r#"d: " ("#, q: '"',
    algorithm: MbMpo( horizon : Some ( 30 ), // horizon: 4
        hidden: [32, 0x20, ], critic: Some((epochs: 5)), low: (1, 2.5, -3)),
    reward: [Alive(bonus: 1), Other, Alive(bonus: inf), []],
    masses: {"all": 1, "left.foot": 2}, r#type: None,
)"##;
        let of = |key| found(text, key);
        assert_eq!(of("a"), None);
        assert_eq!(of(""), Some((3, 1)));
        assert_eq!(of("b"), Some((4, 27)));
        assert_eq!(of("d"), None);
        assert_eq!(of("q"), Some((4, 57)));
        assert_eq!(of("algorithm"), Some((5, 16)));
        assert_eq!(of("algorithm.horizon"), Some((5, 33)));
        assert_eq!(of("algorithm.hidden[1]"), Some((6, 22)));
        assert_eq!(of("algorithm.critic.epochs"), Some((6, 53)));
        assert_eq!(of("algorithm.low[2]"), Some((6, 72)));
        assert_eq!(of("reward[0]"), Some((7, 14)));
        assert_eq!(of("reward[2].bonus"), Some((7, 51)));
        assert_eq!(of("reward[3]"), Some((7, 57)));
        assert_eq!(of("masses.left.foot"), Some((8, 37)));
        assert_eq!(of("type"), Some((8, 49)));
    }

    /// Fails when a word is found beyond the end, or the same key in two maps counts as twice.
    #[test]
    fn words_and_repeated_keys_are_found() {
        let text = "(ab: 1, a: A,\n b: {\"k\": 1, \"k\": 2}, c: [(d: 1), (d: 2)])";
        assert_eq!(last(text, "a", text.len()), Some(8));
        assert_eq!(last(text, "A", text.len()), Some(11));
        assert_eq!(last(text, "a", 8), None);
        let (path, place) = twice(text).unwrap();
        assert_eq!(
            (path.as_str(), line_and_column(text, place)),
            ("b.k", (2, 14))
        );
        assert_eq!(twice("(a: (c: 1), b: (c: 1))"), None);
        assert_eq!(offset(text, 2, 14), place);
        assert_eq!(offset("é\né", 2, 9), 5);
    }

    /// Fails when text that is not RON causes a panic or takes long.
    #[test]
    fn malformed_text_never_panics() {
        let whole = r##"#![a](b/*/**/*/: r#"é"#, 'é', b"\"", c: Some({"k": [1]}))é"##;
        let mut ends = whole.char_indices().map(|(end, _)| end);
        ends.all(|end| twice(&whole[..end]).is_none() && twice(&whole[end..]).is_none());
        for junk in [
            "[", "(", "}", ":", ",", "a:(", "/", "/*", "\"", "'", "r#", "#!", "é\\",
        ] {
            let text = junk.repeat(100_000);
            assert_eq!(values(&text, ["x"].into_iter()).len(), 0);
        }
    }
}
