//! What responses come to, all in all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::response::{Asked, Response, Written};
use crate::latency::Latency;
use crate::target::Reason;
use crate::work::Work;

/// What responses come to. Memory doesn't grow with them.
///
/// ```
/// use std::time::Duration;
/// use canihaz::influxdb::{Asked, Response, Totals};
///
/// let mut totals = Totals::default();
/// totals.add(&Response::new(Asked { rows: 7 }, Duration::from_millis(2)));
/// assert_eq!((totals.responses(), totals.failed(), totals.rows()), (1, 0, 7));
/// assert_eq!(totals.took.mean(), Duration::from_millis(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Responses without a failure.
    pub succeeded: u64,
    /// The others, by reason.
    pub failures: BTreeMap<Reason, u64>,
    /// How long they took, all of them.
    pub took: Latency,
    /// Bytes received, as counted at the socket.
    pub bytes_in: u64,
    /// Bytes sent, as counted at the socket.
    pub bytes_out: u64,
    /// What they got done: `points` and `rejected`, or `rows`.
    pub work: Work,
}

/// What requests get done that can be counted.
pub trait Worked {
    /// How many of what; the same names for all of a kind.
    fn count(&self) -> Work;
}

impl Worked for Written {
    fn count(&self) -> Work {
        Work::of([("points", self.acknowledged()), ("rejected", self.rejected())])
    }
}

impl Worked for Asked {
    fn count(&self) -> Work {
        Work::of([("rows", self.rows)])
    }
}

impl Totals {
    /// Adds a response.
    pub fn add<W: Worked>(&mut self, response: &Response<W>) {
        match &response.failure {
            None => self.succeeded += 1,
            Some(failure) => *self.failures.entry(failure.reason).or_default() += 1,
        }
        self.took.record(response.took);
        self.bytes_in = self.bytes_in.saturating_add(response.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(response.bytes_out);
        self.work.merge(&response.work.count());
    }

    /// How many responses there were.
    pub fn responses(&self) -> u64 {
        self.succeeded + self.failed()
    }

    /// How many of them had a failure.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// How many points the database has taken.
    pub fn points(&self) -> u64 {
        self.work_of("points")
    }

    /// How many points the database will never take.
    pub fn rejected(&self) -> u64 {
        self.work_of("rejected")
    }

    /// How many rows came back.
    pub fn rows(&self) -> u64 {
        self.work_of("rows")
    }

    /// How many points a second the database has taken over a time; 0 where there was none.
    pub fn points_per_second(&self, elapsed: Duration) -> f64 {
        let seconds = elapsed.as_secs_f64();
        if seconds > 0.0 { self.points() as f64 / seconds } else { 0.0 }
    }

    fn work_of(&self, name: &str) -> u64 {
        self.work.counts.get(name).copied().unwrap_or(0)
    }
}
