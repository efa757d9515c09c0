//! What has to come, and the judging of it while it does.

use bytes::Bytes;

use super::pattern::{Found, Pattern, Position};
use super::settings::hex;
use crate::fault::quote;
use crate::keys::Keys;
use crate::page::Key;

/// The most bytes that may come before what is expected is there, unless given.
const MAX: u64 = 64 << 10;
/// How many bytes of what came are kept for whoever wants to know what it was.
const KEPT: usize = 64;

/// What [`Expect::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "expect.text", meaning: "what comes has to begin with this", default: "none" },
    Key { name: "expect.hex", meaning: "the same, of bytes that are no text", default: "none" },
    Key {
        name: "expect.regex",
        meaning: "in what comes there has to be a match; `^` is the first byte that comes, `$` where the server closes",
        default: "none",
    },
    Key {
        name: "expect.until_close",
        meaning: "`true`: all that comes until the server closes is waited for",
        default: "false",
    },
    Key {
        name: "expect.max",
        meaning: "the most bytes that may come until what is expected is there; more fail the hit",
        default: "64 KiB, or the text's length",
    },
];

/// What is expected to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// What it is known by.
    pub mark: Mark,
    /// The most bytes that may come, at least as many as the mark has.
    pub max: u64,
    /// Whether all that comes until the server closes belongs to it.
    pub until_close: bool,
}

/// What an answer is known by.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// It begins with these bytes, which may be none.
    Bytes(Bytes),
    /// There is a match in it.
    Pattern(Pattern),
}

/// One answer while it comes.
#[derive(Debug)]
pub struct Hearing<'a> {
    expect: &'a Expect,
    state: State,
    size: u64,
    begin: [u8; KEPT],
}

/// What a part of an answer brought.
#[derive(Debug, Eq, PartialEq)]
pub enum Heard {
    /// The end of what was expected, so many bytes into the part.
    All(usize),
    /// Nothing wrong so far.
    More,
    /// What nobody expected; in words.
    Wrong(String),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many of the bytes have come.
    Bytes(usize),
    /// The pattern is looked for.
    Pattern(Position),
    /// It is there.
    There,
}

impl Expect {
    /// Reads the table `expect`; `None` when anything in it is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let text = keys.parsed("text", "a text, not an empty one", |text| {
            (!text.is_empty()).then(|| Mark::Bytes(Bytes::copy_from_slice(text.as_bytes())))
        });
        let bytes = hex(keys, "hex").map(Mark::Bytes);
        let regex = keys.explained("regex", Pattern::RIGHT, Pattern::parse).map(Mark::Pattern);
        let until_close = keys.boolean("until_close").unwrap_or(false);
        let max = keys.bytes("max", i64::MAX as u64);
        let sound = keys.is_sound();
        let marks: Vec<_> = [text, bytes, regex].into_iter().flatten().collect();
        if sound && (marks.len() > 1 || marks.is_empty() && !until_close) {
            let seen = if marks.is_empty() { "nothing to expect" } else { "more than one thing to expect" };
            keys.refuse(seen, "one of \"text\", \"hex\" and \"regex\"; or \"until_close\" alone");
        }
        let mark = marks.into_iter().next().unwrap_or(Mark::Bytes(Bytes::new()));
        let least = match &mark {
            Mark::Bytes(bytes) => (bytes.len() as u64).max(1),
            Mark::Pattern(_) => 1,
        };
        if max.is_some_and(|max| max < least) {
            keys.refuse_key("max", "fewer bytes than are expected", format!("at least {least}"));
        }
        keys.is_sound().then(|| Self { mark, max: max.unwrap_or(MAX.max(least)), until_close })
    }

    /// Begins to listen.
    pub fn begin(&self) -> Hearing<'_> {
        let state = match &self.mark {
            Mark::Bytes(bytes) if bytes.is_empty() => State::There,
            Mark::Bytes(_) => State::Bytes(0),
            Mark::Pattern(pattern) => State::Pattern(pattern.begin()),
        };
        Hearing { expect: self, state, size: 0, begin: [0; KEPT] }
    }
}

impl Hearing<'_> {
    /// Looks at what came next, not nothing.
    pub fn take(&mut self, part: &[u8]) -> Heard {
        let room = usize::try_from(self.expect.max - self.size).unwrap_or(usize::MAX);
        let (part, beyond) = part.split_at(part.len().min(room));
        self.note(part);
        let used = match (&self.expect.mark, &mut self.state) {
            _ if part.is_empty() => None,
            (Mark::Bytes(bytes), State::Bytes(come)) => {
                let rest = &bytes[*come..];
                let common = part.len().min(rest.len());
                if part[..common] != rest[..common] {
                    return Heard::Wrong(format!("what came is not what was expected: {}", self.told()));
                }
                *come += common;
                (*come == bytes.len()).then_some(common)
            }
            (Mark::Pattern(pattern), State::Pattern(position)) => match pattern.take(position, part) {
                Found::Match(at) => Some(at),
                Found::NotYet => None,
                Found::Never => {
                    return Heard::Wrong(format!("what came does not match: {}", self.told()));
                }
            },
            _ => None,
        };
        if let Some(used) = used {
            self.state = State::There;
            if !self.expect.until_close {
                return Heard::All(used);
            }
        }
        if beyond.is_empty() {
            return Heard::More;
        }
        let max = self.expect.max;
        Heard::Wrong(match self.state {
            State::There => format!("more than {max} bytes came: {}", self.told()),
            _ => format!("{max} bytes came without what was expected: {}", self.told()),
        })
    }

    /// The server has closed: what is wrong with that, in words; `None` when all is there.
    pub fn close(self) -> Option<String> {
        let there = match (&self.expect.mark, self.state) {
            (_, State::There) => true,
            (Mark::Pattern(pattern), State::Pattern(position)) => pattern.matches_at_end(position),
            _ => false,
        };
        (!there).then(|| format!("the connection ended after {} of what was expected", self.told()))
    }

    /// What came, or its first bytes, for people.
    pub fn told(&self) -> String {
        let kept = &self.begin[..KEPT.min(usize::try_from(self.size).unwrap_or(KEPT))];
        match std::str::from_utf8(kept) {
            Ok(text) => quote(text),
            // Cut in the middle of a character.
            Err(error) if error.error_len().is_none() => quote(&String::from_utf8_lossy(&kept[..error.valid_up_to()])),
            Err(_) => format!("the bytes {}", kept.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        }
    }

    fn note(&mut self, part: &[u8]) {
        if let Some(free) = usize::try_from(self.size).ok().and_then(|size| self.begin.get_mut(size..)) {
            let kept = free.len().min(part.len());
            free[..kept].copy_from_slice(&part[..kept]);
        }
        self.size += part.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: &str = "over";

    /// What is heard of `parts`: how many bytes were expected, or what was wrong; with what the end makes of it where
    /// neither is known by then.
    fn hear(expect: &Expect, parts: &[&[u8]]) -> Result<usize, String> {
        let (mut hearing, mut before) = (expect.begin(), 0);
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match hearing.take(part) {
                Heard::All(used) => return Ok(before + used),
                Heard::Wrong(wrong) => return Err(wrong),
                Heard::More => before += part.len(),
            }
        }
        hearing.close().map_or(Err(OVER.to_owned()), Err)
    }

    #[test]
    fn answers_are_judged_alike_however_their_parts_are_cut() {
        #[track_caller]
        fn check(mark: &Mark, max: u64, until_close: bool, text: &str, expect: Result<usize, &str>) {
            let expected = Expect { mark: mark.clone(), max, until_close };
            let text = text.as_bytes();
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let parts = [&text[..first], &text[first..second], &text[second..]];
                    let heard = hear(&expected, &parts);
                    // How much of it is told depends on how much had come.
                    let is_it = match (&heard, expect) {
                        (Ok(heard), Ok(expect)) => *heard == expect,
                        (Err(heard), Err(expect)) => heard.starts_with(expect),
                        _ => false,
                    };
                    assert!(is_it, "{heard:?} of {mark:?} in {text:?}, cut at {first} and {second}");
                }
            }
        }
        let bytes = |text: &'static str| Mark::Bytes(Bytes::from_static(text.as_bytes()));
        let pattern = |text: &str| Mark::Pattern(Pattern::parse(text).unwrap());
        let wrong = Err("what came is not what was expected: ");
        let no_match = Err("what came does not match: ");
        let ended = Err("the connection ended after ");

        check(&bytes("+PONG"), 5, false, "+PONG\r\n", Ok(5));
        check(&bytes("+PONG"), 5, false, "-ERR no", wrong);
        check(&bytes("+PONG"), 5, false, "+PON", ended);
        check(&bytes("+PONG"), 5, false, "", ended);
        check(&bytes("+PONG"), 100, false, " +PONG", wrong);

        check(&pattern("^220 .*\n"), 100, false, "220 mail\nrest", Ok(9));
        check(&pattern("^220 .*\n"), 9, false, "220 mail\n", Ok(9));
        check(&pattern("^220 .*\n"), 8, false, "220 mail\n", Err("8 bytes came without what was expected: "));
        check(&pattern("^220 .*\n"), 100, false, "554 mail\n", no_match);
        check(&pattern("^220 .*\n"), 100, false, "220 mail", ended);
        check(&pattern("^220 .*$"), 8, false, "220 mail", Err(OVER));

        check(&bytes(""), 4, true, "", Err(OVER));
        check(&bytes(""), 4, true, "four", Err(OVER));
        check(&bytes(""), 4, true, "fives", Err("more than 4 bytes came: \"five\""));
        check(&bytes("HTTP"), 9, true, "HTTP/1.1", Err(OVER));
        check(&bytes("HTTP"), 9, true, "HTTP/1.1 200", Err("more than 9 bytes came: \"HTTP/1.1 \""));
        check(&bytes("HTTP"), 9, true, "HTT", ended);
        check(&pattern("^ok$"), 9, true, "ok", Err(OVER));
        check(&pattern("^ok$"), 9, true, "okay", no_match);
    }

    #[test]
    fn what_came_is_told_in_few_words() {
        #[track_caller]
        fn check(text: &[u8], expect: &str) {
            let expected = Expect { mark: Mark::Bytes(Bytes::from_static(b"x")), max: 1000, until_close: false };
            let Heard::Wrong(wrong) = expected.begin().take(text) else { panic!("{text:?} was expected") };
            assert_eq!(wrong, format!("what came is not what was expected: {expect}"));
        }
        check(b"-ERR no\r\n", "\"-ERR no\\r\\n\"");
        check(b"\x1b[31m", "\"\\u{1b}[31m\"");
        check(b"\x00\xff", "the bytes 00ff");
        check(&[b'y'; 1000], &format!("\"{}…\"", "y".repeat(60)));
        check(format!("{}é", "y".repeat(63)).as_bytes(), &format!("\"{}…\"", "y".repeat(60)));
    }
}
