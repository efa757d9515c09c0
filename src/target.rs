//! What a worker hits: a [`Target`] turns the number of a hit into an [`Outcome`].
//!
//! A target knows nothing of schedules, files or destinations. It is called
//! once a hit, may be called again before the last call has ended (up to
//! `overtime` times), and is cancelled by being dropped.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Something that can be hit.
pub trait Target {
    /// Executes one hit; `number` counts the hits of the test in this minute
    /// from 0. Dropping the future cancels the hit.
    fn hit(&self, number: u64) -> impl Future<Output = Outcome>;
}

/// How one hit ended, and what it moved over the wire.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `None` when the hit was ok.
    pub failure: Option<Failure>,
    /// Bytes received, as counted at the socket (TLS records included).
    pub bytes_in: u64,
    /// Bytes sent, as counted at the socket (TLS records included).
    pub bytes_out: u64,
    /// When the hit began, where the target knows better than that it was called.
    pub started: Option<Instant>,
    /// When it was over, where the target knows better than that it was found to be.
    pub ended: Option<Instant>,
}

/// Why a hit failed.
#[derive(Debug)]
pub struct Failure {
    /// What is counted.
    pub reason: Reason,
    /// What happened, for a person who looks at the debug log.
    pub detail: String,
}

impl Failure {
    /// A failure for `reason`; `detail` is anything that can be shown.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

/// Why hits fail: a closed list, as each is the name of a metric.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// No connection: refused, reset or unreachable before the request was out.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The name did not resolve.
    Dns,
    /// The type's `timeout` passed.
    Timeout,
    /// The answer's status is none of those expected.
    Status,
    /// The body is not as expected, too large, or was cut off.
    Body,
    /// The other side does not speak the protocol.
    Protocol,
    /// A program ended with another status than 0.
    Exit,
    /// Still in flight when the minute's grace was over.
    Deadline,
    /// The target's own code panicked.
    Panic,
    /// None of the above.
    Other,
}

impl Reason {
    /// The reason as metrics and summaries spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Body => "body",
            Self::Protocol => "protocol",
            Self::Exit => "exit",
            Self::Deadline => "deadline",
            Self::Panic => "panic",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
