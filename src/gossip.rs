//! What a worker tells of each hit, and all that it tells.

use std::time::{Duration, Instant};

use crate::target::Outcome;

/// One event in the life of a hit.
#[derive(Debug)]
pub enum Gossip<'a> {
    /// A hit is about to start.
    BeforeTarget,
    /// A hit has ended, ok or failed.
    AfterTarget(&'a Ended),
    /// A hit was skipped, as `overtime` hits were in flight and the test does not wait.
    Canceled,
}

/// A hit from its due to its end.
#[derive(Debug)]
pub struct Ended {
    /// When the hit was meant to start: its last due, if catch-up moved it.
    pub due: Instant,
    /// When it did start; never before `due`.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
    /// How long it had waited, due, as `overtime` hits were in flight.
    pub blocked: Duration,
    /// How late the generator already was when catch-up moved it.
    pub late: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

impl Ended {
    /// Start to end: what the target took.
    pub fn service(&self) -> Duration {
        self.end.saturating_duration_since(self.start)
    }

    /// Due to start: what the generator itself was late by.
    pub fn lag(&self) -> Duration {
        self.late + self.start.saturating_duration_since(self.due)
    }

    /// Blocked, and from its due to its end: what a user would have felt.
    pub fn response(&self) -> Duration {
        self.blocked + self.end.saturating_duration_since(self.due)
    }
}
