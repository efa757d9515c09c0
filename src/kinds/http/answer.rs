//! Reads one HTTP/1 answer, in whatever parts it comes, and has it judged.
//!
//! RFC 9112, as a client that measures needs it: the head is httparse's, the
//! body is not kept. What can't be told apart from an attack is an error: two
//! lengths, a length and chunks, chunks that aren't. Pure: bytes in, progress out.

use std::fmt;
use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};
use memchr::memmem;

use super::expect::{Judge, Judgement};
use super::head::Head;
use crate::target::Failure;

/// The largest head of an answer, interim ones and trailers included, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The most headers of an answer.
const MAX_HEADERS: usize = 100;
/// The largest head that is remembered, in bytes.
const MAX_LAST: usize = 4 << 10;
/// The longest line that says how large a chunk is, extensions included, in bytes.
const MAX_CHUNK_LINE: usize = 4 << 10;

/// An answer as far as it has come.
#[derive(Debug)]
pub struct Answer<'a> {
    judge: &'a Judge,
    last: &'a mut LastHead,
    /// Whether it answers a HEAD, so that there is no body whatever its length.
    to_head: bool,
    state: State<'a>,
    /// Bytes that heads, or trailers, have had.
    head_size: usize,
    /// What the head said.
    head: Head,
    /// Whether the connection goes on after it.
    persists: bool,
}

#[derive(Debug)]
enum State<'a> {
    /// What has come of the head, if it isn't whole.
    Head(Vec<u8>),
    Body(Judgement<'a>, Framing),
    /// It was read to its end, or there was no use in reading on.
    Over,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// After so many bytes.
    Length(u64),
    Chunked(Chunk),
    /// With the connection.
    Close,
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chunk {
    /// In the line that says how large it is: so many digits, and bytes in all.
    Size {
        size: u64,
        digits: u8,
        line: usize,
    },
    /// Behind the digits.
    Extension {
        size: u64,
        line: usize,
    },
    /// At the end of that line.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    DataEnd,
    DataEndFeed,
    /// In the lines after the last chunk: so many bytes of the present one.
    Trailer(usize),
    TrailerEnd {
        empty: bool,
    },
}

/// The last whole head that came over a connection, and what it said: most are the same, byte for byte, and parsing
/// them anew is most of the work.
#[derive(Debug)]
pub struct LastHead {
    text: Vec<u8>,
    head: Head,
    framing: Framing,
    persists: bool,
}

/// What bytes made of an answer.
#[derive(Debug)]
pub enum Progress {
    /// There is more to come.
    More,
    /// That was all; what is wrong with it, and how many of the bytes belong to it.
    Over(Option<Failure>, usize),
}

/// The connection ended before there was a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoAnswer;

/// Why something isn't an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed(&'static str);

impl Default for LastHead {
    fn default() -> Self {
        Self { text: Vec::new(), head: Head::default(), framing: Framing::Close, persists: false }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'a> Answer<'a> {
    /// An answer of which nothing has come, to a request like the one that was answered with `last`.
    pub fn new(judge: &'a Judge, to_head: bool, last: &'a mut LastHead) -> Self {
        Self {
            judge,
            last,
            to_head,
            state: State::Head(Vec::new()),
            head_size: 0,
            head: Head::default(),
            persists: true,
        }
    }

    /// What its head said, where it is whole; to be taken once.
    pub fn take_head(&mut self) -> Head {
        std::mem::take(&mut self.head)
    }

    /// Takes what came next.
    ///
    /// # Errors
    /// A head that isn't one; a body that isn't is a failure of the hit, for `body`.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Head(before) => match self.read_head(before, &bytes[at..])? {
                    Some(used) => at += used,
                    None => return Ok(Progress::More),
                },
                State::Body(mut judgement, mut framing) => {
                    let taken = framing.take(&bytes[at..], &mut judgement, &mut self.head_size);
                    match taken {
                        Ok(Taken::More) => {
                            self.state = State::Body(judgement, framing);
                            return Ok(Progress::More);
                        }
                        Ok(Taken::Whole(used)) => return Ok(Progress::Over(judgement.end(), at + used)),
                        Ok(Taken::Enough) => {
                            self.persists = false;
                            return Ok(Progress::Over(judgement.end(), bytes.len()));
                        }
                        Err(malformed) => {
                            self.persists = false;
                            return Ok(Progress::Over(judgement.cut_off(malformed), bytes.len()));
                        }
                    }
                }
                State::Over => return Ok(Progress::Over(None, at)),
            }
        }
    }

    /// The connection has ended: what is wrong with the answer, `None` when it was to end so.
    ///
    /// # Errors
    /// Where there was no answer yet.
    pub fn close(self, why: &dyn fmt::Display) -> Result<Option<Failure>, NoAnswer> {
        match self.state {
            State::Head(_) => Err(NoAnswer),
            State::Body(judgement, Framing::Close) => Ok(judgement.end()),
            State::Body(judgement, _) => Ok(judgement.cut_off(why)),
            State::Over => Ok(None),
        }
    }

    /// The connection failed; as [`close`](Self::close), but no answer is to end so.
    ///
    /// # Errors
    /// Where there was no answer yet.
    pub fn fail(self, why: &dyn fmt::Display) -> Result<Option<Failure>, NoAnswer> {
        match self.state {
            State::Body(judgement, _) => Ok(judgement.cut_off(why)),
            _ => self.close(why),
        }
    }

    /// Whether the connection is good for another one, when this one is over.
    pub const fn persists(&self) -> bool {
        self.persists
    }

    /// Takes what may be the rest of a head, and says how much of `bytes` belongs to it; `None` when all does and
    /// more is to come.
    fn read_head(&mut self, mut before: Vec<u8>, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        // Only what is whole is parsed a second time, so that a slow drip doesn't cost more than it is worth.
        let seen = before.len();
        let LastHead { text: last, head: said, framing, persists } = &*self.last;
        if seen == 0 && !last.is_empty() && bytes.starts_with(last) {
            self.head_size += last.len();
            self.persists = *persists;
            self.state = State::Body(self.judge.begin(said), *framing);
            self.head.clone_from(said);
            return Ok(Some(last.len()));
        }
        if seen > 0 {
            before.extend_from_slice(&bytes[..bytes.len().min(MAX_HEAD - self.head_size - seen + 1)]);
        }
        let text = if seen > 0 { before.as_slice() } else { bytes };
        let whole = seen == 0 || has_empty_line(&text[seen.saturating_sub(3)..]);
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = match whole {
            true => ParserConfig::default().parse_response_with_uninit_headers(&mut head, text, &mut headers),
            false => Ok(Status::Partial),
        };
        match parsed {
            Ok(Status::Complete(length)) if self.head_size + length <= MAX_HEAD => {
                self.head_size += length;
                self.state = self.begin(&head)?;
                if let State::Body(_, framing) = self.state
                    && length <= MAX_LAST
                {
                    let LastHead { text: last, .. } = &mut *self.last;
                    last.clear();
                    last.extend_from_slice(&text[..length]);
                    self.last.head.clone_from(&self.head);
                    self.last.framing = framing;
                    self.last.persists = self.persists;
                }
                Ok(Some(length - seen))
            }
            Ok(Status::Partial) if self.head_size + text.len() <= MAX_HEAD => {
                if seen == 0 {
                    before.extend_from_slice(bytes);
                }
                self.state = State::Head(before);
                Ok(None)
            }
            Ok(_) => Err(Malformed("the head is larger than 64 KiB")),
            Err(httparse::Error::TooManyHeaders) => Err(Malformed("there are more than 100 headers")),
            Err(_) => Err(Malformed("that is not HTTP/1")),
        }
    }

    /// What follows a head.
    fn begin(&mut self, head: &httparse::Response<'_, '_>) -> Result<State<'a>, Malformed> {
        let status = head.code.unwrap_or_default();
        let is_1_1 = head.version == Some(1);
        // 101 is the last word in HTTP; the other interim ones announce another head.
        if (100..=199).contains(&status) && status != 101 {
            return Ok(State::Head(Vec::new()));
        }
        let mut length = None;
        let mut codings = None;
        let mut said = self.judge.head(status);
        self.persists = is_1_1 && status != 101;
        for header in &*head.headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                for value in header.value.split(|byte| *byte == b',') {
                    let value = parse_length(value.trim_ascii())?;
                    if length.replace(value).is_some_and(|before| before != value) {
                        return Err(Malformed("there are two lengths"));
                    }
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                // Of several lines, the last coding of the last one counts.
                codings = Some(header.value);
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.persists = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && status != 101 {
                        self.persists = true;
                    }
                }
            } else {
                said.note(header.name, header.value);
            }
        }
        let framing = match (codings, length) {
            _ if self.to_head || matches!(status, 101 | 204 | 304) => Framing::Length(0),
            (Some(_), Some(_)) => return Err(Malformed("there is a length, and there are chunks")),
            (Some(codings), None) => {
                let last = codings.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
                // HTTP/1.0 knows no chunks: who relays them may have got the framing wrong.
                self.persists &= is_1_1;
                match last.eq_ignore_ascii_case(b"chunked") {
                    true => Framing::Chunked(Chunk::START),
                    false => Framing::Close,
                }
            }
            (None, Some(length)) => Framing::Length(length),
            (None, None) => Framing::Close,
        };
        self.persists &= framing != Framing::Close;
        let judgement = self.judge.begin(&said);
        self.head = said;
        Ok(State::Body(judgement, framing))
    }
}

/// What bytes made of a body.
enum Taken {
    More,
    /// So many bytes were the rest of it.
    Whole(usize),
    /// There is no use in reading on.
    Enough,
}

impl Framing {
    fn take(&mut self, bytes: &[u8], judgement: &mut Judgement<'_>, trailers: &mut usize) -> Result<Taken, Malformed> {
        match self {
            Self::Length(left) => {
                let part = &bytes[..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
                *left -= part.len() as u64;
                Ok(match judgement.take(part) {
                    false => Taken::Enough,
                    true if *left == 0 => Taken::Whole(part.len()),
                    true => Taken::More,
                })
            }
            Self::Close => Ok(if judgement.take(bytes) { Taken::More } else { Taken::Enough }),
            Self::Chunked(chunk) => {
                let mut at = 0;
                while at < bytes.len() {
                    if let Chunk::Data(left) = chunk {
                        let rest = &bytes[at..];
                        let part = &rest[..rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
                        if !judgement.take(part) {
                            return Ok(Taken::Enough);
                        }
                        at += part.len();
                        *left -= part.len() as u64;
                        if *left == 0 {
                            *chunk = Chunk::DataEnd;
                        }
                        continue;
                    }
                    match chunk.step(bytes[at], trailers)? {
                        Some(next) => *chunk = next,
                        None => return Ok(Taken::Whole(at + 1)),
                    }
                    at += 1;
                }
                Ok(Taken::More)
            }
        }
    }
}

impl Chunk {
    const START: Self = Self::Size { size: 0, digits: 0, line: 0 };

    /// What follows one byte that isn't data; `None` at the body's end.
    fn step(self, byte: u8, trailers: &mut usize) -> Result<Option<Self>, Malformed> {
        const BAD: Malformed = Malformed("a chunk does not say how large it is");
        let next = match (self, byte) {
            (Self::Size { line, .. } | Self::Extension { line, .. }, _) if line >= MAX_CHUNK_LINE => {
                return Err(Malformed("a chunk's first line is longer than 4 KiB"));
            }
            (Self::Size { size, digits: 1.., .. }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, digits: 1.., line }, b';' | b' ' | b'\t') => Self::Extension { size, line: line + 1 },
            (Self::Size { size, digits, line }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(BAD)?;
                let size = size.checked_mul(16).and_then(|size| size.checked_add(digit.into())).ok_or(BAD)?;
                Self::Size { size, digits: digits.saturating_add(1), line: line + 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { .. }, b'\n') => return Err(BAD),
            (Self::Extension { size, line }, _) => Self::Extension { size, line: line + 1 },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer(0),
            (Self::SizeEnd { size }, b'\n') => Self::Data(size),
            (Self::DataEnd, b'\r') => Self::DataEndFeed,
            (Self::DataEndFeed, b'\n') => Self::START,
            (Self::Trailer(0), b'\r') => Self::TrailerEnd { empty: true },
            (Self::Trailer(_), b'\r') => Self::TrailerEnd { empty: false },
            (Self::Trailer(_), b'\n') => return Err(Malformed("a line after the last chunk is not one")),
            (Self::Trailer(length), _) => {
                *trailers += 1;
                if *trailers > MAX_HEAD {
                    return Err(Malformed("what follows the last chunk is larger than 64 KiB"));
                }
                Self::Trailer(length + 1)
            }
            (Self::TrailerEnd { empty: true }, b'\n') => return Ok(None),
            (Self::TrailerEnd { empty: false }, b'\n') => Self::Trailer(0),
            (Self::SizeEnd { .. } | Self::DataEnd | Self::DataEndFeed | Self::TrailerEnd { .. } | Self::Data(_), _) => {
                return Err(Malformed("a chunk is not as large as it says"));
            }
        };
        Ok(Some(next))
    }
}

/// Whether the end of a head may be in there.
fn has_empty_line(text: &[u8]) -> bool {
    memmem::find(text, b"\n\r\n").is_some() || memmem::find(text, b"\n\n").is_some()
}

fn parse_length(digits: &[u8]) -> Result<u64, Malformed> {
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = || str::from_utf8(digits).ok()?.parse().ok();
    sound.then(length).flatten().ok_or(Malformed("the length is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::http::Expect;
    use crate::target::Reason;

    /// What a text comes to: what it is counted as, how many bytes are left over, and whether the connection goes on.
    #[derive(Debug, PartialEq)]
    enum Read {
        Whole(Option<Reason>, usize, bool),
        /// The answer ends with the connection.
        Close(Option<Reason>),
        Partial,
        Malformed(Malformed),
    }

    fn read(text: &[u8], parts: &[usize], to_head: bool) -> Read {
        let judge = Judge::new(&Expect { body: Some("needle".into()), ..Expect::default() });
        let mut last = LastHead::default();
        let mut answer = Answer::new(&judge, to_head, &mut last);
        let reason = |failure: Option<Failure>| failure.map(|failure| failure.reason);
        let mut from = 0;
        for to in parts.iter().copied().chain([text.len()]) {
            match answer.take(&text[from..to]) {
                Ok(Progress::More) => from = to,
                Ok(Progress::Over(failure, used)) => {
                    return Read::Whole(reason(failure), text.len() - from - used, answer.persists());
                }
                Err(malformed) => return Read::Malformed(malformed),
            }
        }
        answer.close(&"closed").map_or(Read::Partial, |failure| Read::Close(reason(failure)))
    }

    /// Rows of a text and what it comes to; `*` in a text stands for the body `a needle.`.
    fn rows() -> Vec<(String, Read)> {
        let whole = |rest, persists| Read::Whole(None, rest, persists);
        let no_text = |rest, persists| Read::Whole(Some(Reason::Body), rest, persists);
        let malformed = |why| Read::Malformed(Malformed(why));
        let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let headers = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n*");
        let rows = [
            (headers("Content-Length: 9\r\n"), whole(0, true)),
            (headers("content-length:9\r\n"), whole(0, true)),
            (headers("Content-Length: 9, 9\r\nContent-Length: 9\r\n"), whole(0, true)),
            (headers("Content-Length: 9\r\nConnection: Close\r\n"), whole(0, false)),
            (headers("Content-Length: 9\r\nConnection: te, close\r\n"), whole(0, false)),
            (headers("Content-Length: 8\r\n"), whole(1, true)),
            (headers("Content-Length: 4\r\n"), no_text(5, true)),
            (headers("Content-Length: 0\r\n"), no_text(9, true)),
            (headers("Content-Length: 10\r\n"), Read::Close(Some(Reason::Body))),
            (headers(""), Read::Close(None)),
            (headers("Transfer-Encoding: gzip\r\n"), Read::Close(None)),
            (String::from("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n*"), whole(0, false)),
            (String::from("HTTP/1.0 200 OK\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n*"), whole(0, true)),
            (String::from("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n*"), no_text(9, true)),
            (String::from("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n*"), no_text(9, true)),
            (
                String::from("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n*"),
                whole(0, true),
            ),
            (String::from("HTTP/1.1 200 OK\nContent-Length: 9\n\n*"), whole(0, true)),
            (String::from("HTTP/1.1 200\r\nContent-Length: 9\r\n\r\n*"), whole(0, true)),
            // Chunks, with extensions, capitals, leading zeros and trailers.
            (chunked("9\r\n*\r\n0\r\n\r\n"), whole(0, true)),
            (chunked("3;a=b\r\na n\r\n006 \r\needle.\r\n000\r\nA: b\r\nC: d\r\n\r\nHTTP"), whole(4, true)),
            (chunked("A\r\na needle.!\r\n0\r\n\r\n"), whole(0, true)),
            (chunked("9\r\n*\r\n0\r\n"), Read::Close(Some(Reason::Body))),
            (chunked("9\r\n*\r\n"), Read::Close(Some(Reason::Body))),
            (chunked("9\r\na ne"), Read::Close(Some(Reason::Body))),
            // What could be read in two ways.
            (headers("Content-Length: 9\r\nContent-Length: 8\r\n"), malformed("there are two lengths")),
            (headers("Content-Length: 9, 8\r\n"), malformed("there are two lengths")),
            (
                headers("Content-Length: 9\r\nTransfer-Encoding: chunked\r\n"),
                malformed("there is a length, and there are chunks"),
            ),
            (headers("Content-Length: +9\r\n"), malformed("the length is not a number")),
            (headers("Content-Length: 0x9\r\n"), malformed("the length is not a number")),
            (headers("Content-Length: \r\n"), malformed("the length is not a number")),
            (headers("Content-Length: 18446744073709551616\r\n"), malformed("the length is not a number")),
            (headers("Content-Length : 9\r\n"), malformed("that is not HTTP/1")),
            (headers(" Content-Length: 9\r\n"), malformed("that is not HTTP/1")),
            (headers("A: b\r\n c\r\nContent-Length: 9\r\n"), malformed("that is not HTTP/1")),
            (String::from("HTTP/2 200 OK\r\n\r\n"), malformed("that is not HTTP/1")),
            (String::from("HTTP/1.1 20x OK\r\n\r\n"), malformed("that is not HTTP/1")),
            (String::from("SSH-2.0-OpenSSH_9.2\r\n"), malformed("that is not HTTP/1")),
            (String::from("HTTP/1.1 200 OK\r\nContent-Le"), Read::Partial),
            (String::new(), Read::Partial),
        ];
        rows.map(|(text, expect)| (text.replace('*', "a needle."), expect)).into()
    }

    #[test]
    fn answers() {
        for (text, expect) in rows() {
            assert_eq!(read(text.as_bytes(), &[], false), expect, "{text:?}");
        }
        let to_head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(read(to_head, &[], true), Read::Whole(Some(Reason::Body), 0, true));
    }

    #[test]
    fn a_head_that_came_before_says_the_same_again() {
        let judge = Judge::new(&Expect::default());
        let mut last = LastHead::default();
        let mut read = |text: &str| match Answer::new(&judge, false, &mut last).take(text.as_bytes()) {
            Ok(Progress::Over(failure, used)) => (failure.map(|failure| failure.reason), used),
            other => panic!("{other:?}"),
        };
        let [ok, longer, wrong] = [
            "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2",
            "HTTP/1.1 200 OK\r\nA: 1\r\n\
            Content-Length: 25",
            "HTTP/1.1 500 Oh\r\nA: 1\r\nContent-Length: 2",
        ];
        let ended = |head: &str, body: usize| format!("{head}\r\n\r\n{}", "x".repeat(body));
        for _ in 0..2 {
            for _ in 0..2 {
                assert_eq!(read(&ended(ok, 2)), (None, ok.len() + 6));
            }
            assert_eq!(read(&ended(longer, 25)), (None, longer.len() + 29));
            for _ in 0..2 {
                assert_eq!(read(&ended(wrong, 2)), (Some(Reason::Status), wrong.len() + 6));
            }
        }
    }

    #[test]
    fn chunks_that_are_none_are_faults_of_the_body() {
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x9\r\n",
            " 9\r\n",
            "9\n",
            "9 \n",
            "9\r\r",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "10000000000000000\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\n\r\r",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            assert_eq!(read(text.as_bytes(), &[], false), Read::Whole(Some(Reason::Body), 0, false), "{body:?}");
        }
    }

    #[test]
    fn in_whatever_parts_it_comes_an_answer_is_the_same() {
        let mut random = fastrand::Rng::with_seed(3);
        for (text, expect) in rows() {
            // Left over is counted from where the last part began, as who reads has no other.
            let every: Vec<usize> = (1..text.len()).collect();
            let mut splits = vec![every];
            splits.extend((1..text.len()).map(|at| vec![at]));
            splits.extend((0..50).map(|_| {
                let mut at: Vec<usize> = (0..3).map(|_| random.usize(0..=text.len())).collect();
                at.sort_unstable();
                at
            }));
            for parts in splits {
                let seen = match (read(text.as_bytes(), &parts, false), &expect) {
                    (Read::Whole(failure, _, persists), Read::Whole(_, rest, _)) => {
                        Read::Whole(failure, *rest, persists)
                    }
                    // A first part that is no answer at all is found to be none earlier.
                    (seen, _) => seen,
                };
                assert_eq!(seen, expect, "{text:?} in {parts:?}");
            }
        }
    }

    #[test]
    fn what_never_ends_is_bounded() {
        #[track_caller]
        fn check(start: &str, again: &str, expect: &Read) {
            let judge = Judge::new(&Expect::default());
            let mut last = LastHead::default();
            let mut answer = Answer::new(&judge, false, &mut last);
            let mut taken = 0;
            let mut next = start;
            let seen = loop {
                match answer.take(next.as_bytes()) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Over(failure, _)) => {
                        break Read::Whole(failure.map(|failure| failure.reason), 0, answer.persists());
                    }
                    Err(malformed) => break Read::Malformed(malformed),
                }
                taken += next.len();
                assert!(taken < 2 * MAX_HEAD, "still reading {again:?}");
                next = again;
            };
            assert_eq!(seen, *expect, "{again:?}");
        }
        let large = Read::Malformed(Malformed("the head is larger than 64 KiB"));
        check("HTTP/1.1 200 OK\r\nA: ", "x", &large);
        check("HTTP/1.1 200 OK\r\n", "A: b\r\n", &large);
        check("", "HTTP/1.1 103 Early Hints\r\n\r\n", &large);
        let body = Read::Whole(Some(Reason::Body), 0, false);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}0"), "0", &body);
        check(&format!("{chunked}1;"), "x", &body);
        check(&format!("{chunked}0\r\n"), "A: b\r\n", &body);
    }

    #[test]
    fn noise_makes_no_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let rows = rows();
        for _ in 0..20_000 {
            let (text, _) = &rows[random.usize(..rows.len())];
            let mut noise = text.clone().into_bytes();
            for _ in 0..random.usize(1..5) {
                if !noise.is_empty() {
                    let at = random.usize(..noise.len());
                    noise[at] = if random.bool() { random.u8(..) } else { b"\r\n 0;:"[random.usize(..6)] };
                }
            }
            let at = random.usize(0..=noise.len());
            read(&noise, &[at], random.bool());
        }
    }
}
