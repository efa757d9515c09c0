//! What an answer has to be, and the judging of one while it comes in.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Write};
use std::ops::RangeInclusive;

use bytes::Bytes;
use memchr::memmem::Finder;
use toml::de::DeValue;

use super::decode::{Coding, Decoder};
use super::head::{Head, Wants};
use crate::keys::{Keys, integer};
use crate::page::Key;
use crate::target::{Failure, Reason};

/// What [`Expect::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "expect.status", meaning: "statuses that are ok, single ones or classes", default: "200 to 399" },
    Key { name: "expect.body", meaning: "a text that must be somewhere in the body", default: "none" },
    Key {
        name: "expect.body_max",
        meaning: "the largest body, as it comes and as it is decoded; a larger one fails the hit",
        default: "none; 64 MiB once decoded",
    },
];

/// The most that is read of the body of an answer that leads elsewhere, in bytes: enough to keep the connection.
const MAX_HOP: u64 = 1 << 20;
/// The most that a body may be once decoded where nothing else is expected, in bytes.
const MAX_DECODED: u64 = 64 << 20;

/// What is expected of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Any of these statuses.
    pub status: Vec<RangeInclusive<u16>>,
    /// A text that is somewhere in the body.
    pub body: Option<Bytes>,
    /// The body's largest size, in bytes, as it comes and as it is once decoded.
    pub body_max: Option<u64>,
}

/// Judges answers.
#[derive(Debug)]
pub struct Judge {
    status: Vec<RangeInclusive<u16>>,
    text: Option<Finder<'static>>,
    body_max: u64,
    wants: Wants,
    /// The body, for whoever wants to look into it.
    kept: Option<RefCell<Vec<u8>>>,
}

/// What is known of one answer.
#[derive(Debug)]
pub struct Judgement<'a> {
    judge: &'a Judge,
    /// The first thing that was not as expected.
    wrong: Option<Failure>,
    size: u64,
    look: Look<'a>,
}

/// What becomes of a body.
#[derive(Debug)]
enum Look<'a> {
    /// It belongs to an answer that leads elsewhere: nobody cares, as long as it isn't too large.
    Away,
    /// It is only counted.
    Past,
    /// The text is looked for, until it is found.
    For(Search<'a>),
    /// The text is looked for in what it is once decoded. To the end, as that is what tells whether it can be.
    Into(Box<Decoder<Decoded<'a>>>, Coding),
}

/// What a body is once decoded.
#[derive(Debug)]
struct Decoded<'a> {
    search: Option<Search<'a>>,
    /// How much more there may be, in bytes; `None` when there was more.
    left: Option<u64>,
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
        let text = expect.body.as_ref().map(|text| Finder::new(text).into_owned());
        let wants = Wants { coding: text.is_some(), ..Wants::default() };
        let body_max = expect.body_max.unwrap_or(u64::MAX);
        Self { status: expect.status.clone(), text, body_max, wants, kept: None }
    }

    /// A judge of one answer, any status of which is as expected: its body is kept, or of one that has more, and is a
    /// failure then, the first so many bytes.
    pub fn keeping(body_max: u64) -> Self {
        let (status, wants, kept) = (vec![0..=u16::MAX], Wants::default(), Some(RefCell::default()));
        Self { status, text: None, body_max, wants, kept }
    }

    /// The body that was kept.
    pub fn into_body(self) -> Vec<u8> {
        self.kept.map(RefCell::into_inner).unwrap_or_default()
    }

    /// The same, for somebody who follows redirects or keeps cookies, or both.
    pub fn noting(self, redirects: bool, cookies: bool) -> Self {
        Self { wants: Wants { redirects, cookies, ..self.wants }, ..self }
    }

    /// A head of which the status is known, to take note of what matters here.
    pub fn head(&self, status: u16) -> Head {
        Head::new(status, self.wants)
    }

    /// Begins with an answer's head.
    pub fn begin(&self, head: &Head) -> Judgement<'_> {
        if let Some(kept) = &self.kept {
            // That of an answer that was lost, maybe, before it was asked again.
            kept.borrow_mut().clear();
        }
        if head.location().is_some() {
            // What leads elsewhere is nothing that was expected, or not.
            return Judgement { judge: self, wrong: None, size: 0, look: Look::Away };
        }
        let expected = self.status.iter().any(|range| range.contains(&head.status));
        let mut wrong = (!expected).then(|| Failure::new(Reason::Status, head.status));
        let search = self.text.as_ref().map(|text| Search { text, tail: Vec::new() });
        let look = match (search, head.coding) {
            (None, _) => Look::Past,
            (Some(search), None) => Look::For(search),
            (search, Some(coding)) => match Decoder::new(coding, Decoded { search, left: Some(self.most_decoded()) }) {
                Some(decoder) => Look::Into(Box::new(decoder), coding),
                None => {
                    let detail = "the body is compressed, and neither in gzip nor in br: the text can't be looked for";
                    wrong.get_or_insert_with(|| Failure::new(Reason::Body, detail));
                    Look::Past
                }
            },
        };
        Judgement { judge: self, wrong, size: 0, look }
    }

    /// The most that a body may be once decoded, in bytes.
    fn most_decoded(&self) -> u64 {
        if self.body_max == u64::MAX { MAX_DECODED } else { self.body_max }
    }

    /// What is wrong with a body of which so much was decoded.
    fn undecoded(&self, decoded: &Decoded<'_>, coding: Coding, why: &io::Error) -> Failure {
        match decoded.left {
            Some(_) => Failure::new(Reason::Body, format_args!("the body can't be decoded from {coding}: {why}")),
            None => {
                let most = self.most_decoded();
                Failure::new(Reason::Body, format_args!("the body, decoded from {coding}, is larger than {most} bytes"))
            }
        }
    }
}

impl Judgement<'_> {
    /// Looks at the next part of the body; false when there is no use in reading on.
    pub fn take(&mut self, part: &[u8]) -> bool {
        let before = self.size;
        self.size = self.size.saturating_add(part.len() as u64);
        if let Look::Away = self.look {
            return self.size <= self.judge.body_max.min(MAX_HOP);
        }
        if let Some(kept) = &self.judge.kept {
            let room = usize::try_from(self.judge.body_max.saturating_sub(before)).unwrap_or(usize::MAX);
            kept.borrow_mut().extend_from_slice(&part[..part.len().min(room)]);
        }
        if self.size > self.judge.body_max {
            let detail = format_args!("the body is larger than {} bytes", self.judge.body_max);
            self.wrong.get_or_insert_with(|| Failure::new(Reason::Body, detail));
            return false;
        }
        match &mut self.look {
            Look::Away | Look::Past => true,
            Look::For(search) => {
                if search.is_in(part) {
                    self.look = Look::Past;
                }
                true
            }
            Look::Into(decoder, coding) => {
                let Err(error) = decoder.take(part) else { return true };
                let too_large = decoder.writer().left.is_none();
                let failure = self.judge.undecoded(decoder.writer(), *coding, &error);
                self.wrong.get_or_insert(failure);
                self.look = Look::Past;
                // What can't be decoded is read to its end all the same, so that the connection goes on.
                !too_large
            }
        }
    }

    /// What is wrong with an answer whose body ended too early or can't be read.
    pub fn cut_off(self, why: impl Display) -> Option<Failure> {
        self.wrong.or_else(|| Some(Failure::new(Reason::Body, why)))
    }

    /// What is wrong with an answer of which this was all; `None` when it is as expected.
    pub fn end(self) -> Option<Failure> {
        let missing = || Some(Failure::new(Reason::Body, "the text is not in the body"));
        self.wrong.or_else(|| match self.look {
            Look::Away | Look::Past => None,
            Look::For(_) => missing(),
            // Of nothing there is nothing to decode.
            Look::Into(..) if self.size == 0 => missing(),
            Look::Into(mut decoder, coding) => match decoder.end() {
                Ok(()) if decoder.writer().search.is_some() => missing(),
                Ok(()) => None,
                Err(error) => Some(self.judge.undecoded(decoder.writer(), coding, &error)),
            },
        })
    }
}

impl Write for Decoded<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.left = self.left.and_then(|left| left.checked_sub(part.len() as u64));
        if self.left.is_none() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.search.as_mut().is_some_and(|search| search.is_in(part)) {
            self.search = None;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
    use flate2::Compression;
    use flate2::write::GzEncoder;

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
                        let mut judgement = judge.begin(&judge.head(200));
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
            let mut judgement = judge.begin(&judge.head(200));
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
            let mut judgement = judge.begin(&judge.head(status));
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

    #[test]
    fn of_a_body_that_is_too_large_the_beginning_is_kept() {
        #[track_caller]
        fn check(parts: &[&str], kept: &str, is_whole: bool) {
            let judge = Judge::keeping(4);
            let mut judgement = judge.begin(&judge.head(400));
            assert_eq!(parts.iter().all(|part| judgement.take(part.as_bytes())), is_whole);
            assert_eq!(judgement.end().is_none(), is_whole, "{parts:?}");
            assert_eq!(judge.into_body(), kept.as_bytes(), "{parts:?}");
        }
        check(&["abcd"], "abcd", true);
        check(&["a", "bc", "", "d"], "abcd", true);
        check(&["abcde"], "abcd", false);
        check(&["ab", "cde"], "abcd", false);
        check(&["abcd", "e"], "abcd", false);
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Has `body` judged as it comes in parts of `size`: what is wrong with it, and whether all of it was read.
    fn judge_coded(judge: &Judge, coding: &str, body: &[u8], size: usize) -> (Option<Failure>, bool) {
        let mut head = judge.head(200);
        head.note("Content-Encoding", coding.as_bytes());
        let mut judgement = judge.begin(&head);
        let read = body.chunks(size).all(|part| judgement.take(part));
        (judgement.end(), read)
    }

    #[test]
    fn a_compressed_body_is_judged_as_it_is() {
        #[track_caller]
        fn check(judge: &Judge, coding: &str, body: &[u8], wrong: Option<&str>, is_read: impl Into<Option<bool>>) {
            let is_read = is_read.into();
            for size in [1, 7, 1000] {
                let (failure, read) = judge_coded(judge, coding, body, size);
                assert_eq!(failure.is_some(), wrong.is_some(), "{failure:?}");
                let is_it = |failure: &Failure| {
                    failure.reason == Reason::Body && failure.detail.contains(wrong.unwrap_or_default())
                };
                assert!(failure.as_ref().is_none_or(is_it), "{failure:?}");
                assert_eq!(read, is_read.unwrap_or(read), "{coding}");
            }
        }
        let text = gzip(&[b"hay ".repeat(300), b"needle".to_vec(), b" hay".repeat(300)].concat());
        let needle = expect("needle", None);
        check(&needle, "gzip", &text, None, true);
        check(&expect("needles", None), "gzip", &text, Some("not in the body"), true);
        check(&expect("needle", Some(2406)), "gzip", &text, None, true);
        // Found at its end, or before.
        check(&expect("needle", Some(2405)), "gzip", &text, Some("decoded from gzip, is larger than 2405"), None);
        check(&expect("", Some(2405)), "gzip", &text, None, true);
        check(&expect("", Some(20)), "gzip", &text, Some("larger than 20 bytes"), false);
        check(&needle, "gzip", b"needle in hay", Some("can't be decoded from gzip: invalid gzip header"), true);
        check(&needle, "gzip", b"needle", Some("can't be decoded from gzip"), true);
        check(&needle, "gzip", &text[..text.len() - 1], Some("can't be decoded from gzip"), true);
        check(&needle, "gzip", b"", Some("not in the body"), true);
        check(&needle, "br", b"needle", Some("can't be decoded from br"), true);
        check(&needle, "identity", b"needle", None, true);
        for coding in ["deflate", "zstd", "gzip, br"] {
            check(&needle, coding, b"needle", Some("neither in gzip nor in br"), true);
            check(&expect("", None), coding, b"needle", None, true);
        }
    }

    #[test]
    fn a_bomb_is_not_let_off() {
        let zeros = vec![0; 1 << 20];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        (0..70).for_each(|_| gzip.write_all(&zeros).unwrap());
        let gzip = gzip.finish().unwrap();
        let brotli = include_bytes!("../../../tests/data/http/200-mib-of-zeros.br");
        for (coding, bomb) in [("gzip", &*gzip), ("br", brotli)] {
            let (failure, read) = judge_coded(&expect("needle", None), coding, bomb, 16 << 10);
            let failure = failure.unwrap();
            assert_eq!(failure.reason, Reason::Body);
            assert!(failure.detail.contains("larger than 67108864 bytes"), "{failure}");
            assert!(!read, "{coding}");
        }
    }
}
