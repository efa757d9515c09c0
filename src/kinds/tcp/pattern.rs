//! A regular expression that is looked for in bytes as they come.
//!
//! It is an automaton: each byte moves it on once and is then forgotten. So an
//! answer that comes drop by drop costs no more than one that comes at once,
//! nothing of it is kept, and what can't match any more is known as soon as
//! that is so.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use regex_automata::Anchored;
use regex_automata::dfa::dense::{BuildError, Builder, Config, DFA};
use regex_automata::dfa::{Automaton, StartKind};
use regex_automata::nfa::thompson;
use regex_automata::util::alphabet::Unit;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};

/// The most memory that an automaton, and what it is made of, may take, in bytes: usual ones take some thousand.
const MAX_SIZE: usize = 1 << 20;

/// A regular expression, ready to be looked for.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    automaton: Arc<DFA<Vec<u32>>>,
    start: StateID,
}

/// How far the looking has come.
#[derive(Clone, Copy, Debug)]
pub struct Position(StateID);

/// What a part of an answer brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// The end of the first match, so many bytes into the part.
    Match(usize),
    /// Nothing so far.
    NotYet,
    /// That there is no match, whatever follows.
    Never,
}

impl Pattern {
    /// What [`Pattern::parse`] takes.
    pub const RIGHT: &str = "a regular expression of bytes";

    /// Understands a regular expression.
    ///
    /// # Errors
    /// What would be right: it isn't one, takes too much memory, or matches where nothing is.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Bytes are no characters: `.` is one byte, and letters are ASCII's.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let parts = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_SIZE));
        let whole = Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_SIZE))
            .determinize_size_limit(Some(MAX_SIZE));
        let automaton = Builder::new()
            .configure(whole)
            .syntax(syntax)
            .thompson(parts)
            .build(text)
            .map_err(|error| right(&error))?;
        let start = automaton.start_state(&start::Config::new().anchored(Anchored::No)).map_err(|e| e.to_string())?;
        let pattern = Self { text: text.to_owned(), automaton: Arc::new(automaton), start };
        match pattern.is_certain(start) {
            true => Err(String::from("one that needs a byte to match: this one always does")),
            false => Ok(pattern),
        }
    }

    /// Where the looking begins.
    pub fn begin(&self) -> Position {
        Position(self.start)
    }

    /// Looks at the next part of an answer, not an empty one.
    pub fn take(&self, position: &mut Position, part: &[u8]) -> Found {
        let mut state = position.0;
        for (at, byte) in part.iter().enumerate() {
            state = self.automaton.next_state(state, *byte);
            // It tells of a match with the byte after it.
            if self.automaton.is_match_state(state) {
                return Found::Match(at);
            }
            if self.automaton.is_dead_state(state) {
                return Found::Never;
            }
        }
        position.0 = state;
        if self.is_certain(state) { Found::Match(part.len()) } else { Found::NotYet }
    }

    /// Whether it matches given that nothing follows.
    pub fn matches_at_end(&self, position: Position) -> bool {
        self.automaton.is_match_state(self.automaton.next_eoi_state(position.0))
    }

    /// Whether a match ends here whatever follows.
    fn is_certain(&self, state: StateID) -> bool {
        let automaton = &self.automaton;
        automaton.is_match_state(automaton.next_eoi_state(state))
            && automaton
                .byte_classes()
                .representatives(0..=255)
                .filter_map(Unit::as_u8)
                .all(|byte| automaton.is_match_state(automaton.next_state(state, byte)))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

/// What would be right instead; the expression itself is not quoted.
fn right(error: &BuildError) -> String {
    let of_parts = error.source().and_then(|cause| cause.downcast_ref::<thompson::BuildError>());
    if error.is_size_limit_exceeded() || of_parts.is_some_and(|error| error.size_limit().is_some()) {
        return format!("a simpler one: this one takes more than {} KiB of memory", MAX_SIZE >> 10);
    }
    // The innermost cause shows the expression, and says in its last line what is wrong with it.
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let told = cause.to_string();
    match told.lines().last().and_then(|line| line.strip_prefix("error: ")) {
        Some(what) => format!("{} ({what})", Pattern::RIGHT),
        None => Pattern::RIGHT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_end_at_the_same_byte_however_the_parts_are_cut() {
        /// `expect` is the end of the match, `None` where there is none whatever follows, or so far.
        #[track_caller]
        fn check(pattern: &str, text: &[u8], expect: Result<usize, Found>) {
            let pattern = Pattern::parse(pattern).unwrap();
            let look = |parts: &[&[u8]]| {
                let (mut position, mut before) = (pattern.begin(), 0);
                for part in parts.iter().filter(|part| !part.is_empty()) {
                    match pattern.take(&mut position, part) {
                        Found::Match(at) => return Ok(before + at),
                        Found::Never => return Err(Found::Never),
                        Found::NotYet => before += part.len(),
                    }
                }
                Err(Found::NotYet)
            };
            let bytes: Vec<_> = text.chunks(1).collect();
            assert_eq!(look(&bytes), expect, "{pattern:?} byte by byte");
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let parts = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(look(&parts), expect, "{pattern:?} cut at {first} and {second}");
                }
            }
        }
        check("^220 ", b"220 mail\r\n", Ok(4));
        check("^220 ", b"554 no\r\n220 ", Err(Found::Never));
        check("^220 .*\r\n", b"220 mail\r\nmore", Ok(10));
        check("^220 .*\\r\\n", b"220 mail", Err(Found::NotYet));
        check("PONG", b"+PONG\r\n", Ok(5));
        check("PONG", b"+POPONG", Ok(7));
        check("PONG", b"+PING\r\n", Err(Found::NotYet));
        check("(?i)^hello\\b", b"HELLO there", Ok(5));
        check("(?i)^hello\\b", b"HELLOthere", Err(Found::Never));
        check("^(250-.*\r\n)*250 .*\r\n", b"250-A\r\n250-B\r\n250 C\r\nrest", Ok(21));
        check("^(250-.*\r\n)*250 .*\r\n", b"250-A\r\n550 no\r\n", Err(Found::Never));
        check("(?m)^250 ", b"250-A\r\n250 C\r\n", Ok(11));
        check("(?m)ok$", b"no\nok\n", Ok(5));
        check("^é.", "éa".as_bytes(), Ok(3));
        check("^\\x00\\xff(?s:.){3}", b"\x00\xff\n\x80\x01rest", Ok(5));
        check("^\\x00\\xff", b"\x00\xfe", Err(Found::Never));
    }

    #[test]
    fn an_end_matches_only_where_nothing_follows() {
        let check = |pattern: &str, text: &[u8], expect: bool| {
            let pattern = Pattern::parse(pattern).unwrap();
            let mut position = pattern.begin();
            assert_eq!(pattern.take(&mut position, text), Found::NotYet);
            assert_eq!(pattern.matches_at_end(position), expect);
        };
        check("^ok$", b"ok", true);
        check("^ok$", b"o", false);
        check("ok\\b", b"ok", true);
    }

    #[test]
    fn what_is_no_pattern_is_told_without_being_quoted() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(Pattern::parse(text).unwrap_err(), expect);
        }
        check("a(b", "a regular expression of bytes (unclosed group)");
        check("a**)", "a regular expression of bytes (unopened group)");
        check("\\pL", "a regular expression of bytes (Unicode not allowed here)");
        check("", "one that needs a byte to match: this one always does");
        check("a*", "one that needs a byte to match: this one always does");
        check("x(?:a|b){30}(?:c{500}){500}", "a simpler one: this one takes more than 1024 KiB of memory");
        check("a.{40}b", "a simpler one: this one takes more than 1024 KiB of memory");
    }
}
