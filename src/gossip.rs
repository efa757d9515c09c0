//! What a worker tells of each hit, and all that it tells.

use std::fmt;
use std::time::{Duration, Instant};

use crate::pacer::Due;
use crate::target::Outcome;

/// One event in the life of a hit.
///
/// ```
/// use canihaz::Gossip;
///
/// /// What is worth a word.
/// fn word(gossip: &Gossip) -> Option<String> {
///     match gossip {
///         Gossip::BeforeTarget(_) => None,
///         Gossip::AfterTarget { number, ended } => {
///             let failure = ended.outcome.failure.as_ref()?;
///             Some(format!("hit {number} failed after {:?}: {failure}", ended.response()))
///         }
///         Gossip::Canceled(due) => Some(format!("hit {} was canceled", due.number)),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub enum Gossip {
    /// A hit is about to start.
    BeforeTarget(Due),
    /// A hit has ended, ok or failed.
    AfterTarget {
        /// The number it had in [`BeforeTarget`](Self::BeforeTarget).
        number: u64,
        /// Its times, and what came of it.
        ended: Ended,
    },
    /// A hit was skipped, as `overtime` hits were in flight and none waits.
    Canceled(Due),
}

impl fmt::Display for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeTarget(_) => f.write_str("before-target"),
            Self::Canceled(_) => f.write_str("canceled"),
            Self::AfterTarget { ended, .. } => match (&ended.outcome.failure, &ended.outcome.answer) {
                (Some(failure), _) => write!(f, "after-target: {failure}"),
                (None, Some(answer)) => write!(f, "after-target: {answer}"),
                (None, None) => f.write_str("after-target"),
            },
        }
    }
}

/// A hit from its due to its end.
///
/// ```
/// use std::time::{Duration, Instant};
/// use canihaz::{Due, Ended, Outcome};
///
/// // Due now, but all connections were in use for 2 s; begun 1 ms late; took 5 ms.
/// let at = Instant::now();
/// let due = Due { number: 0, at, blocked: Duration::from_secs(2), late: Duration::ZERO };
/// let (start, end) = (at + Duration::from_millis(1), at + Duration::from_millis(6));
/// let ended = Ended::new(due, start, end, Outcome::default());
/// assert_eq!(ended.service(), Duration::from_millis(5));
/// assert_eq!(ended.lag(), Duration::from_millis(1));
/// assert_eq!(ended.response(), Duration::from_millis(2006));
/// ```
#[derive(Clone, Debug)]
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
    /// A hit that was called at `start` and found to be over at `now`: measured
    /// by the target where it knows better.
    pub fn new(due: Due, start: Instant, now: Instant, outcome: Outcome) -> Self {
        let Due { at, blocked, late, .. } = due;
        let start = outcome.started.map_or(start, |started| started.clamp(start, now));
        let end = outcome.ended.map_or(now, |ended| ended.clamp(start, now));
        Self { due: at, start, end, blocked, late, outcome }
    }

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
