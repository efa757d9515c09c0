//! What an answer has to be, and the judging of one while it comes in.

use std::fmt::Display;
use std::ops::RangeInclusive;

use bytes::Bytes;
use memchr::memmem::Finder;
use toml::de::DeValue;

use super::head::Head;
use crate::keys::{Keys, integer};
use crate::page::Key;
use crate::target::{Failure, Reason};

/// What [`Expect::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "expect.status", meaning: "statuses that are ok, single ones or classes", default: "200 to 399" },
    Key { name: "expect.body", meaning: "a text that must be somewhere in the body", default: "none" },
    Key { name: "expect.body_max", meaning: "the largest body; a larger one fails the hit", default: "none" },
];

/// What is expected of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Any of these statuses.
    pub status: Vec<RangeInclusive<u16>>,
    /// A text that is somewhere in the body.
    pub body: Option<Bytes>,
    /// The body's largest size, in bytes.
    pub body_max: Option<u64>,
}

/// Judges answers.
#[derive(Debug)]
pub struct Judge {
    status: Vec<RangeInclusive<u16>>,
    text: Option<Finder<'static>>,
    body_max: u64,
}

/// What is known of one answer.
#[derive(Debug)]
pub struct Judgement<'a> {
    judge: &'a Judge,
    /// The first thing that was not as expected.
    wrong: Option<Failure>,
    size: u64,
    /// Looks for the text until it is found.
    search: Option<Search<'a>>,
}

/// Looks for a text in what comes in parts.
#[derive(Debug)]
struct Search<'a> {
    text: &'a Finder<'static>,
    /// The end of what was seen: shorter than the text, as it isn't in there.
    tail: Vec<u8>,
}

impl Default for Expect {
    fn default() -> Self {
        Self { status: vec![200..=399], body: None, body_max: None }
    }
}

impl Expect {
    /// Reads the table `expect`.
    pub fn read(keys: &mut Keys<'_>) -> Self {
        let statuses = "a list of statuses, as in [200, 201] or [\"2xx\"], from 100 to 599";
        let status = keys.list("status", statuses, status).filter(|list| {
            if list.is_empty() {
                keys.refuse_key("status", "an empty list, which no answer is in", statuses);
            }
            !list.is_empty()
        });
        let body = keys.parsed("body", "a text, not an empty one", |text| {
            (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()))
        });
        let body_max = keys.bytes("body_max", i64::MAX as u64);
        Self { status: status.unwrap_or_else(|| Self::default().status), body, body_max }
    }
}

impl Judge {
    /// A judge of what is expected.
    pub fn new(expect: &Expect) -> Self {
        Self {
            status: expect.status.clone(),
            text: expect.body.as_ref().map(|text| Finder::new(text).into_owned()),
            body_max: expect.body_max.unwrap_or(u64::MAX),
        }
    }

    /// Begins with an answer's head.
    pub fn begin(&self, head: &Head) -> Judgement<'_> {
        let expected = self.status.iter().any(|range| range.contains(&head.status));
        Judgement {
            judge: self,
            wrong: (!expected).then(|| Failure::new(Reason::Status, head.status)),
            size: 0,
            search: self.text.as_ref().map(|text| Search { text, tail: Vec::new() }),
        }
    }
}

impl Judgement<'_> {
    /// Looks at the next part of the body; false when there is no use in reading on.
    pub fn take(&mut self, part: &[u8]) -> bool {
        self.size = self.size.saturating_add(part.len() as u64);
        if self.size > self.judge.body_max {
            let detail = format_args!("the body is larger than {} bytes", self.judge.body_max);
            self.wrong.get_or_insert_with(|| Failure::new(Reason::Body, detail));
            return false;
        }
        if self.search.as_mut().is_some_and(|search| search.is_in(part)) {
            self.search = None;
        }
        true
    }

    /// What is wrong with an answer whose body ended too early or can't be read.
    pub fn cut_off(self, why: impl Display) -> Option<Failure> {
        self.wrong.or_else(|| Some(Failure::new(Reason::Body, why)))
    }

    /// What is wrong with an answer of which this was all; `None` when it is as expected.
    pub fn end(self) -> Option<Failure> {
        let missing = self.search.map(|_| Failure::new(Reason::Body, "the text is not in the body"));
        self.wrong.or(missing)
    }
}

impl Search<'_> {
    /// Whether the text is in `part`, or across the border to what came before it.
    fn is_in(&mut self, part: &[u8]) -> bool {
        let overlap = self.text.needle().len() - 1;
        let seen = self.tail.len();
        self.tail.extend_from_slice(&part[..part.len().min(overlap)]);
        if self.text.find(&self.tail).is_some() || self.text.find(part).is_some() {
            return true;
        }
        if part.len() > overlap {
            self.tail.clear();
            self.tail.extend_from_slice(&part[part.len() - overlap..]);
        } else {
            debug_assert_eq!(self.tail.len(), seen + part.len());
            self.tail.drain(..self.tail.len().saturating_sub(overlap));
        }
        false
    }
}

/// A status as in `200`, or a class of them as in `"2xx"`.
fn status(value: &DeValue<'_>) -> Option<RangeInclusive<u16>> {
    let class = |text: &str| match text.as_bytes() {
        [class @ b'1'..=b'5', b'x', b'x'] => {
            let first = u16::from(class - b'0') * 100;
            Some(first..=first + 99)
        }
        _ => None,
    };
    match integer(value) {
        Some(status) => u16::try_from(status).ok().filter(|status| (100..=599).contains(status)).map(|s| s..=s),
        None => class(value.as_str()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(body: &str, body_max: Option<u64>) -> Judge {
        let body = (!body.is_empty()).then(|| Bytes::copy_from_slice(body.as_bytes()));
        Judge::new(&Expect { body, body_max, ..Expect::default() })
    }

    #[test]
    fn a_text_is_found_wherever_the_parts_meet() {
        let text = "abcab";
        let judge = expect(text, None);
        // All bodies of up to 9 letters, cut at any two places.
        for length in 0..=9_u32 {
            for number in 0..3_usize.pow(length) {
                let body: String = (0..length).map(|i| ["a", "b", "c"][number / 3_usize.pow(i) % 3]).collect();
                let cuts = if body.contains(text) || number % 97 == 0 { length as usize } else { 0 };
                for first in 0..=cuts {
                    for second in first..=cuts {
                        let mut judgement = judge.begin(&Head::new(200));
                        for part in [&body[..first], &body[first..second], &body[second..]] {
                            assert!(judgement.take(part.as_bytes()));
                        }
                        assert_eq!(judgement.end().is_none(), body.contains(text), "{body} {first} {second}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_is_found_byte_by_byte() {
        #[track_caller]
        fn check(text: &str, body: &str) {
            let judge = expect(text, None);
            let mut judgement = judge.begin(&Head::new(200));
            assert!(body.bytes().all(|byte| judgement.take(&[byte])));
            assert_eq!(judgement.end().is_none(), body.contains(text), "{text} in {body}");
        }
        check("a", "a");
        check("a", "");
        check("aab", "aaab");
        check("aaab", "aabaaab");
        check("needle", "haystack need needl needle hay");
        check("needle", "haystack need needl eneedl");
    }

    #[test]
    fn the_first_thing_wrong_is_told() {
        #[track_caller]
        fn check(status: u16, body: &str, body_max: u64, expected: Option<Reason>) {
            let judge = expect("ok", Some(body_max));
            let mut judgement = judge.begin(&Head::new(status));
            judgement.take(body.as_bytes());
            assert_eq!(judgement.end().map(|failure| failure.reason), expected);
        }
        check(200, "ok", 2, None);
        check(399, "ok", 2, None);
        check(400, "ok", 2, Some(Reason::Status));
        check(199, "nok", 2, Some(Reason::Status));
        check(200, "okay", 2, Some(Reason::Body));
        check(200, "no", 2, Some(Reason::Body));
    }
}
