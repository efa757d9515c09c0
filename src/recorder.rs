//! Listens to one test's gossip and keeps its tally of the interval.

use crate::gossip::Gossip;
use crate::summary::Tally;

/// The open interval of one test on one thread.
#[derive(Debug, Default)]
pub struct Recorder {
    tally: Tally,
}

impl Recorder {
    /// Counts one event.
    pub fn hear(&mut self, gossip: &Gossip) {
        match gossip {
            Gossip::BeforeTarget(_) => {}
            Gossip::AfterTarget { ended, .. } => self.tally.record(ended),
            Gossip::Canceled(_) => self.tally.canceled += 1,
        }
    }

    /// Counts hits the minute had no time left for.
    pub fn missed(&mut self, hits: u64) {
        self.tally.missed += hits;
    }

    /// Counts hits that were kept from starting, or dropped in flight.
    pub fn stopped(&mut self, hits: u64) {
        self.tally.stopped += hits;
    }

    /// Whether nothing was counted since the interval began.
    pub fn is_empty(&self) -> bool {
        self.tally.planned() == 0
    }

    /// Ends the interval and begins the next.
    pub fn close(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}
