//! A request that got no answer over HTTP/2: why, and whether it may be sent again.

use std::fmt;
use std::io;
use std::rc::Rc;

use h2::Error;
use h2::Reason as Code;

use crate::kinds::dial::{self, is_of_tls};
use crate::target::{Failure, Reason};

/// How often a request may be sent that comes too late, as the connection has ended or the server has said that it leaves
/// in peace and won't process it: whenever one leaves requests are under way, and to a distant server many are.
const MAX_LATE: u32 = 10;

/// A request that got no answer.
#[derive(Debug)]
pub struct Lost {
    why: Why,
    /// Whether nothing of it was sent.
    unsent: bool,
    /// Whether the connection was idle before it.
    was_idle: bool,
}

/// What has become of it.
#[derive(Debug)]
pub enum Why {
    /// The connection was closed.
    Closed,
    /// The connection failed.
    Failed(Rc<io::Error>),
    /// The server left in anger, and not for want of having seen the request.
    Ended(String),
    /// The server left, and has not processed it.
    NotProcessed(Error),
    /// The server has broken it off.
    Reset(Code),
    /// What came is no HTTP/2, or no answer.
    Foreign(Error),
    /// It can't be said in HTTP/2.
    Unsayable(Error),
}

/// How often a request was sent again.
#[derive(Debug, Default)]
pub struct Again {
    late: u32,
    refused: bool,
    lost: bool,
}

impl Again {
    /// Whether a request is sent once more, over another connection: ten times where nothing was sent, or the server left
    /// in peace and has not processed it; once where it has refused it or left in anger; and once, if it is idempotent,
    /// where a connection that was idle has ended without an answer.
    pub fn is_sent(&mut self, lost: &Lost, idempotent: bool) -> bool {
        let once = |was: &mut bool| !std::mem::replace(was, true);
        match &lost.why {
            Why::Foreign(_) | Why::Unsayable(_) => false,
            Why::Reset(Code::REFUSED_STREAM) => once(&mut self.refused),
            Why::Reset(_) => false,
            Why::NotProcessed(error) if error.reason() != Some(Code::NO_ERROR) => once(&mut self.refused),
            Why::Closed | Why::Failed(_) | Why::Ended(_) if !lost.unsent => {
                lost.was_idle && idempotent && !matches!(lost.why, Why::Ended(_)) && once(&mut self.lost)
            }
            Why::NotProcessed(_) | Why::Closed | Why::Failed(_) | Why::Ended(_) => {
                self.late += 1;
                self.late <= MAX_LATE
            }
        }
    }
}

impl Lost {
    /// Nothing of it was sent.
    pub const fn unsent(why: Why) -> Self {
        Self { why, unsent: true, was_idle: false }
    }

    /// It was sent, or may have been, over a connection that was idle before or wasn't.
    pub const fn sent(why: Why, was_idle: bool) -> Self {
        Self { why, unsent: false, was_idle }
    }

    /// What it is counted as.
    ///
    /// | what happened | reason |
    /// |---|---|
    /// | what came is no HTTP/2, or no answer, or its head is too large | `protocol` |
    /// | GOAWAY with an error | `protocol` |
    /// | RST_STREAM with a code that finds fault with what was said | `protocol` |
    /// | RST_STREAM with any other: `REFUSED_STREAM` twice, `CANCEL`, `INTERNAL_ERROR`, `NO_ERROR` … | `other` |
    /// | GOAWAY without an error, before it was processed, time and again | `other` |
    /// | closed or reset before anything was sent | `connect` |
    /// | refused at the end of TLS's handshake, as for want of a client's certificate | `tls` |
    /// | closed or reset without an answer | `other` |
    ///
    /// Whatever happens behind an answer's head is `body`.
    fn reason(&self) -> Reason {
        match &self.why {
            Why::Foreign(_) | Why::Ended(_) => Reason::Protocol,
            Why::NotProcessed(error) if error.reason() != Some(Code::NO_ERROR) => Reason::Protocol,
            Why::NotProcessed(_) => Reason::Other,
            Why::Reset(code) if finds_fault(*code) => Reason::Protocol,
            Why::Reset(_) | Why::Unsayable(_) => Reason::Other,
            Why::Failed(error) if is_of_tls(error) => Reason::Tls,
            Why::Failed(_) | Why::Closed if self.unsent => Reason::Connect,
            Why::Failed(_) | Why::Closed => Reason::Other,
        }
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::new(lost.reason(), lost.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection ended without an answer"),
            Self::Failed(error) => f.write_str(&dial::detail(error)),
            Self::Ended(told) => write!(f, "the server has ended the connection with GOAWAY: {told}"),
            Self::NotProcessed(error) => {
                write!(f, "the server has ended the connection with GOAWAY before it looked at the request: {error}")
            }
            Self::Reset(code) => write!(f, "the server has broken it off with RST_STREAM: {code:?} ({code})"),
            Self::Foreign(error) => write!(f, "what the server says is no good HTTP/2: {error}"),
            Self::Unsayable(error) => write!(f, "the request can't be said in HTTP/2: {error}"),
        }
    }
}

/// Whether who resets a stream so finds fault with what was said, and not with what he can do.
pub const fn finds_fault(code: Code) -> bool {
    matches!(
        code,
        Code::PROTOCOL_ERROR
            | Code::FLOW_CONTROL_ERROR
            | Code::SETTINGS_TIMEOUT
            | Code::STREAM_CLOSED
            | Code::FRAME_SIZE_ERROR
            | Code::COMPRESSION_ERROR
            | Code::INADEQUATE_SECURITY
            | Code::HTTP_1_1_REQUIRED
    )
}
