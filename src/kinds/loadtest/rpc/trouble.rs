//! A call that brought no answer: why, and what the hit is counted as.

use std::fmt;
use std::io::{self, ErrorKind};

use h2::Reason as Code;
use tonic::{Code as Status, Status as Told};

use crate::fault::quote_most;
use crate::kinds::http::finds_fault;
use crate::target::{Failure, Reason};

/// The most characters of a load test's words that a failure quotes.
pub const MAX_QUOTED: usize = 200;

/// Why a call brought no answer.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// There is no connection to be had: nothing of the call was sent.
    Unreachable(ErrorKind, String),
    /// The connection has ended, and nothing of the call was sent.
    Unsent(String),
    /// The program has left before it looked at the call.
    NotProcessed(String),
    /// The connection has ended in the midst of the call.
    Lost(String),
    /// The program has broken the call off.
    Reset(Code),
    /// What was heard is no HTTP/2, or no gRPC.
    Foreign(String),
    /// The answer is larger than so many bytes.
    TooLarge(usize),
    /// The program's own word, other than OK.
    Status(Status, String),
}

impl Trouble {
    /// A status other than OK.
    pub(super) fn of_status(told: &Told) -> Self {
        Self::Status(told.code(), told.message().to_owned())
    }

    /// What it is counted as.
    ///
    /// | what happened | reason |
    /// |---|---|
    /// | no connection can be had, or it has ended before anything of the call was sent | `connect` |
    /// | the connection has ended in the midst of the call | `other` |
    /// | GOAWAY before the call was processed, time and again; `REFUSED_STREAM` twice | `other` |
    /// | RST_STREAM with a code that finds fault with what was said | `protocol` |
    /// | RST_STREAM with any other | `other` |
    /// | no HTTP/2; an HTTP status other than 200; no gRPC; no good message; no status | `protocol` |
    /// | an answer of more than 4 MiB | `body` |
    /// | status `DEADLINE_EXCEEDED` | `timeout` |
    /// | status `CANCELLED`, `UNAVAILABLE` | `connect` |
    /// | status `UNIMPLEMENTED` | `protocol` |
    /// | any other status: an exception in a handler is `UNKNOWN` in many languages | `other` |
    ///
    /// What happens to a connection is counted as it is with `http`.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(..) | Self::Unsent(_) => Reason::Connect,
            Self::NotProcessed(_) | Self::Lost(_) => Reason::Other,
            Self::Reset(code) if finds_fault(*code) => Reason::Protocol,
            Self::Reset(_) => Reason::Other,
            Self::Foreign(_) => Reason::Protocol,
            Self::TooLarge(_) => Reason::Body,
            Self::Status(Status::DeadlineExceeded, _) => Reason::Timeout,
            Self::Status(Status::Cancelled | Status::Unavailable, _) => Reason::Connect,
            Self::Status(Status::Unimplemented, _) => Reason::Protocol,
            Self::Status(..) => Reason::Other,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::new(trouble.reason(), trouble)
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        let kind = match &trouble {
            Trouble::Unreachable(kind, _) => *kind,
            Trouble::Foreign(_) => ErrorKind::InvalidData,
            _ => ErrorKind::Other,
        };
        Self::new(kind, trouble.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(_, why) | Self::Foreign(why) => f.write_str(why),
            Self::Unsent(why) => write!(f, "the connection ended before the call was sent: {why}"),
            Self::NotProcessed(why) => write!(f, "the load test has not looked at the call: {why}"),
            Self::Lost(why) => write!(f, "the connection ended without an answer: {why}"),
            Self::Reset(code) => write!(f, "the load test has broken the call off with RST_STREAM: {code:?} ({code})"),
            Self::TooLarge(most) => write!(f, "the answer has more than {most} bytes, the most that is read"),
            Self::Status(code, message) => {
                write!(f, "gRPC status {} ({code:?})", *code as i32)?;
                if message.is_empty() { Ok(()) } else { write!(f, ": {}", quote_most(message, MAX_QUOTED)) }
            }
        }
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_reason() {
        for code in 1..=17 {
            let expect = match code {
                4 => Reason::Timeout,
                1 | 14 => Reason::Connect,
                12 => Reason::Protocol,
                _ => Reason::Other,
            };
            assert_eq!(Trouble::Status(code.into(), String::new()).reason(), expect, "{code}");
        }
    }

    #[test]
    fn what_a_load_test_says_is_told_short_and_harmless() {
        let said = format!("\x1b[1m{}", "x".repeat(300));
        let failure = Failure::from(Trouble::Status(Status::Unknown, said));
        let expect = format!("gRPC status 2 (Unknown): \"\\u{{1b}}[1m{}…\"", "x".repeat(196));
        assert_eq!((failure.reason, failure.detail), (Reason::Other, expect));
    }
}
