//! What a socket sees of hits: how many bytes they move, and when the last came.
//!
//! A connection counts into its own [`Traffic`]; a hit takes from there what
//! was counted while it had the connection, however it ends.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::target::{Failure, Outcome, Phases, Reason};

/// What one connection moved and no hit has taken yet, in bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read from the socket.
    pub received: Cell<u64>,
    /// Bytes written to the socket.
    pub sent: Cell<u64>,
    /// When the last of those received came.
    pub arrived: Cell<Option<Instant>>,
    /// When the first byte of the last answer came, where there is one.
    pub heard: Cell<Option<Instant>>,
    /// Whether something was sent whose answer was not read to its end yet.
    asked: Cell<bool>,
    /// Whether what comes next may be asked again where there is no answer: a connection that was used just now need
    /// not be looked at before it is used then.
    pub asks_again: Cell<bool>,
    /// Whether several answers may be to come at once: such a socket is always watched.
    pub is_shared: Cell<bool>,
}

impl Traffic {
    /// Something was sent, to which there will be an answer.
    pub fn ask(&self) {
        self.asked.set(true);
    }

    /// The answer was read to its end.
    pub fn answered(&self) {
        self.asked.set(false);
    }

    /// Whether an answer, or more of it, is to come.
    pub const fn is_asked(&self) -> bool {
        self.asked.get()
    }
}

/// What one hit moved, over all of its connections.
#[derive(Debug, Default)]
pub struct Tally {
    received: Cell<u64>,
    sent: Cell<u64>,
    ended: Cell<Option<Instant>>,
    phases: RefCell<Option<Box<Phases>>>,
    doing: Cell<Doing>,
}

/// What a hit is at: what it was at, if its time is over.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Doing {
    /// It has a connection.
    #[default]
    Asking,
    /// Waiting for a connection that another hit opens.
    Waiting,
    /// Finding out where to connect to.
    LookingUp,
    /// Getting there.
    Connecting(SocketAddr),
    /// Getting to a unix socket.
    ConnectingHere,
    /// Waiting for a proxy that connects.
    Proxy,
    /// Agreeing on TLS.
    Tls,
}

/// Moves a connection's traffic to a hit's tally when dropped.
#[derive(Debug)]
pub struct Metered<'a> {
    traffic: Rc<Traffic>,
    tally: &'a Tally,
}

impl Tally {
    /// Takes what `traffic` counts until the guard is dropped.
    pub fn meter(&self, traffic: &Rc<Traffic>) -> Metered<'_> {
        Metered { traffic: Rc::clone(traffic), tally: self }
    }

    /// The hit has read its answer, whose end came then, where that is known.
    pub fn end(&self, at: Option<Instant>) {
        self.ended.set(at);
    }

    /// When the end of the answer came, where that is known.
    pub const fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// What the hit does from now on.
    pub fn begin(&self, doing: Doing) {
        self.doing.set(doing);
    }

    /// What the hit is at.
    pub const fn doing(&self) -> Doing {
        self.doing.get()
    }

    /// The phases of the connection that the hit has opened, as far as it has got with that; of several connections it
    /// is the first that counts.
    pub fn phases(&self) -> Option<Box<Phases>> {
        self.phases.borrow().clone()
    }

    /// The same, to be written by whoever opens it.
    pub(super) fn open(&self, phases: Phases) {
        *self.phases.borrow_mut() = Some(Box::new(phases));
    }

    /// The first byte of an answer came so long after the first one was sent over a connection that was opened for it.
    pub fn first_byte(&self, after: Duration) {
        self.phases.borrow_mut().get_or_insert_default().first_byte.get_or_insert(after);
    }

    /// What came of the hit, which was `done`, or not within `timeout`. To be asked when all is over that it counts.
    pub fn outcome(&self, done: Option<Option<Failure>>, timeout: Duration) -> Outcome {
        let late = || Some(Failure::new(Reason::Timeout, format_args!("not done after {timeout:?}, {}", self.doing())));
        let failure = done.unwrap_or_else(late);
        let (bytes_in, bytes_out, ended) = (self.received(), self.sent(), self.ended());
        Outcome { failure, bytes_in, bytes_out, ended, phases: self.phases.take(), ..Outcome::default() }
    }

    /// Counts bytes that were sent otherwise than over a connection.
    pub fn add_sent(&self, bytes: u64) {
        add(&self.sent, bytes);
    }

    /// Bytes received.
    pub const fn received(&self) -> u64 {
        self.received.get()
    }

    /// Bytes sent.
    pub const fn sent(&self) -> u64 {
        self.sent.get()
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        add(&self.tally.received, self.traffic.received.take());
        add(&self.tally.sent, self.traffic.sent.take());
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking => f.write_str("in the request or its answer"),
            Self::Waiting => f.write_str("waiting for a connection that another hit opens"),
            Self::LookingUp => f.write_str("while looking up the name"),
            Self::Connecting(address) => write!(f, "while connecting to {address}"),
            Self::ConnectingHere => f.write_str("while connecting to the socket"),
            Self::Proxy => f.write_str("waiting for the proxy to connect"),
            Self::Tls => f.write_str("in the TLS handshake"),
        }
    }
}

/// Adds to a count of bytes.
pub fn add(count: &Cell<u64>, bytes: u64) {
    count.set(count.get().wrapping_add(bytes));
}
