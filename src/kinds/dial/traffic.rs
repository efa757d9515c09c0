//! What a socket sees of hits: how many bytes they move, and when the last came.
//!
//! A connection counts into its own [`Traffic`]; a hit takes from there what
//! was counted while it had the connection, however it ends.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Instant;

use crate::target::Phases;

/// What one connection moved and no hit has taken yet, in bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read from the socket.
    pub received: Cell<u64>,
    /// Bytes written to the socket.
    pub sent: Cell<u64>,
    /// When the last of those received came.
    pub arrived: Cell<Option<Instant>>,
    /// Whether something was sent whose answer was not read to its end yet.
    asked: Cell<bool>,
    /// Whether what comes next may be asked again where there is no answer: a connection that was used just now need
    /// not be looked at before it is used then.
    pub asks_again: Cell<bool>,
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
    phases: OnceCell<Phases>,
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

    /// The hit has opened a connection; of several it is the first that counts.
    pub fn opened(&self, phases: Phases) {
        self.phases.get_or_init(|| phases);
    }

    /// The phases of the connection that the hit has opened, if it has.
    pub fn phases(&self) -> Option<Box<Phases>> {
        self.phases.get().map(|phases| Box::new(*phases))
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

/// Adds to a count of bytes.
pub fn add(count: &Cell<u64>, bytes: u64) {
    count.set(count.get().wrapping_add(bytes));
}
