//! How many bytes hits move, as seen at the socket.
//!
//! A connection counts into its own [`Traffic`]; a hit takes from there what
//! was counted while it had the connection, however it ends.

use std::cell::Cell;
use std::rc::Rc;

/// What one connection moved and no hit has taken yet, in bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read from the socket.
    pub received: Cell<u64>,
    /// Bytes written to the socket.
    pub sent: Cell<u64>,
}

/// What one hit moved, over all of its connections, in bytes.
#[derive(Debug, Default)]
pub struct Tally(Traffic);

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

    /// Bytes received.
    pub const fn received(&self) -> u64 {
        self.0.received.get()
    }

    /// Bytes sent.
    pub const fn sent(&self) -> u64 {
        self.0.sent.get()
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        add(&self.tally.0.received, self.traffic.received.take());
        add(&self.tally.0.sent, self.traffic.sent.take());
    }
}

/// Adds to a count of bytes.
pub fn add(count: &Cell<u64>, bytes: u64) {
    count.set(count.get().wrapping_add(bytes));
}
