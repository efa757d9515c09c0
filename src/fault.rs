//! One thing that is wrong with the configuration, said so that it can be mended.

use std::fmt;
use std::path::PathBuf;

/// How many characters of somebody's text a message quotes.
const QUOTED: usize = 60;

/// What is wrong, where, what would be right, and what happens meanwhile.
///
/// Shown as `FILE:LINE:COLUMN: SEEN: RIGHT; NOW`; a fault of a whole file has
/// no line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The file or folder it is in.
    pub file: PathBuf,
    /// Line and column, both from 1, the column in characters.
    pub at: Option<(usize, usize)>,
    /// What was seen; text from files goes through [`quote`].
    pub seen: String,
    /// What would have been right.
    pub right: String,
    /// What the runner does about it.
    pub now: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}: {}; {}", self.seen, self.right, self.now)
    }
}

/// As much of the beginning of `text` as `most` bytes have room for, in whole characters.
pub fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Quotes `text`, escaped, and cut after 60 characters.
pub fn quote(text: &str) -> String {
    quote_most(text, QUOTED)
}

/// Quotes `text`, escaped, and cut after `most` characters.
pub fn quote_most(text: &str, most: usize) -> String {
    let mut quoted = String::from("\"");
    let mut characters = text.chars();
    for c in characters.by_ref().take(most) {
        match c {
            '"' => quoted.push_str("\\\""),
            '\'' | '\\' => quoted.push(c),
            // What can't be seen is escaped: control characters, marks of byte order and of writing direction.
            _ if c.escape_debug().len() > 1 || c == char::REPLACEMENT_CHARACTER => quoted.extend(c.escape_default()),
            _ => quoted.push(c),
        }
    }
    quoted.push_str(if characters.next().is_some() { "…\"" } else { "\"" });
    quoted
}

/// The line and column, both from 1, of the byte at `offset` in `text`; the
/// column counts characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    (line, column)
}

/// The one of `known` that `word` is most likely a misspelling of; `None` when
/// nothing is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_short_and_harmless() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(quote(text), expect);
        }
        check("plain", "\"plain\"");
        check("a\"b", "\"a\\\"b\"");
        check("\x1b[31m\0", "\"\\u{1b}[31m\\u{0}\"");
        check("\u{feff}a\u{202e}é'\\", "\"\\u{feff}a\\u{202e}é'\\\"");
        check("", "\"\"");
        check(&"x".repeat(60), &format!("\"{}\"", "x".repeat(60)));
        check(&"x".repeat(61), &format!("\"{}…\"", "x".repeat(60)));
    }

    #[test]
    fn a_beginning_has_whole_characters() {
        for (text, most, expect) in [("", 3, ""), ("abc", 3, "abc"), ("abc", 2, "ab"), ("aéb", 2, "a"), ("é", 0, "")]
        {
            assert_eq!(head(text, most), expect, "{text} {most}");
        }
    }

    #[test]
    fn positions_count_lines_and_characters() {
        #[track_caller]
        fn check(text: &str, offset: usize, expect: (usize, usize)) {
            assert_eq!(position(text, offset), expect);
        }
        check("", 0, (1, 1));
        check("ab\ncd", 4, (2, 2));
        check("é=1", 2, (1, 2));
        check("ab", 99, (1, 3));
    }

    #[test]
    fn the_nearest_word_is_named_only_when_near() {
        assert_eq!(nearest("tiemout", ["timeout", "url"]), Some("timeout"));
        assert_eq!(nearest("frobnicate", ["timeout", "url"]), None);
    }
}
