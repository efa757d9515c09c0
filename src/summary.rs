//! What one test did in one interval.
//!
//! A summary is counters and histograms, never a list of hits. Written with
//! serde, as in spool and archive, it is whole: read again, it merges exactly.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::connections::Connections;
use crate::gossip::Ended;
use crate::latency::Latency;
use crate::routes::Routes;
use crate::target::Reason;
use crate::values::Values;
use crate::work::Work;

/// The name under which the runner tells of itself.
pub const RUNNER: &str = "_runner";
/// The share of planned hits that may be canceled or missed before percentiles are marked as truncated.
const TRUNCATED_SHARE: f64 = 0.01;
/// The share of the hits asked for that may be unsent before the generator is said to have been the limit.
const LIMITED_SHARE: f64 = 0.01;
/// The lag, in seconds, that one hit in a hundred may exceed before the generator is said to have been the limit.
const LIMITED_LAG: f64 = 0.010;

/// One test (or the runner itself) in one interval of one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Summary {
    /// The test's name, or `_runner`.
    pub test: String,
    /// The test's type; empty for the runner.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The server it ran on.
    pub host: String,
    /// Which run of this minute on this server: 1, or more when somebody started another.
    pub copy: u32,
    /// When the interval began.
    pub start: DateTime<Utc>,
    /// How long the interval is, in seconds, by the clock.
    pub seconds: f64,
    /// Whether this is the last interval of its minute.
    pub last: bool,
    /// The destinations it is for.
    pub destinations: Vec<String>,
    /// What was measured.
    pub measured: Measured,
}

/// What a summary is about.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measured {
    /// A test.
    Test(Box<Tally>),
    /// The runner.
    Runner(Upkeep),
}

/// What the hits of one test came to.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// # use std::time::Duration;
/// # use canihaz::{Rate, Reason, work};
/// # let target = async || Ok::<_, String>("pong");
/// let tally = work(Rate::per_second(20), Duration::from_millis(100), target).await?;
/// assert_eq!(tally.planned(), tally.ok + tally.failed + tally.canceled + tally.missed + tally.stopped);
/// assert_eq!(tally.failures.get(&Reason::Timeout), None);
/// println!("half took at most {:?}, the longest {:?}", tally.response.quantile(0.5), tally.response.max());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Tally {
    /// Hits that ended well.
    pub ok: u64,
    /// Hits that ended otherwise.
    pub failed: u64,
    /// Hits skipped as `overtime` was reached.
    pub canceled: u64,
    /// Hits the minute had no time left for, or that could not be started, as what they need was not ready.
    pub missed: u64,
    /// Hits that a stop or a removal kept from starting or dropped in flight, or that found nothing to do.
    pub stopped: u64,
    /// Hits that were due by the plan as it was made, wherever catch-up moved them.
    #[serde(default)]
    pub asked: u64,
    /// Hits that were started.
    #[serde(default)]
    pub sent: u64,
    /// Hits that intervals were asked for and did not start, though nothing waited for the target in them.
    #[serde(default)]
    pub unsent: u64,
    /// The failed hits by reason.
    pub failures: BTreeMap<Reason, u64>,
    /// Blocked, and from due to end.
    pub response: Latency,
    /// Start to end.
    pub service: Latency,
    /// Due to start.
    pub lag: Latency,
    /// Waiting for a place among `overtime`.
    pub blocked: Latency,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// The connections that hits opened; `None` while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Box<Connections>>,
    /// The numbers that hits brought back; `None` while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Box<Values>>,
    /// What hits got done beside having ended; `None` where there is nothing to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Work>>,
    /// The requests inside of hits; `None` where hits have none that are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Box<Routes>>,
    /// Whether a part of it, or all, was done without checking whom it was done to (`insecure = true` in the type).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

/// What the runner has to say of itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Upkeep {
    /// Faults in the configuration as last read.
    pub config_errors: u64,
    /// Runs that found no free slot or their minute taken, since the last report.
    pub runs_skipped: u64,
    /// Spooled intervals dropped, since the last report, as the spool was full.
    pub spool_dropped: u64,
    /// When this run began, in seconds since 1970.
    pub last_run: i64,
}

impl Tally {
    /// What becomes of a test that can't run on this machine: the generator's fault.
    pub fn unable(hits: u64) -> Self {
        Self { missed: hits, asked: hits, unsent: hits, ..Self::default() }
    }

    /// Counts a hit that started and ended.
    pub fn record(&mut self, ended: &Ended) {
        match &ended.outcome.failure {
            None => self.ok += 1,
            Some(failure) => {
                self.failed += 1;
                *self.failures.entry(failure.reason).or_default() += 1;
            }
        }
        self.response.record(ended.response());
        self.service.record(ended.service());
        self.lag.record(ended.lag());
        self.blocked.record(ended.blocked);
        self.bytes_in += ended.outcome.bytes_in;
        self.bytes_out += ended.outcome.bytes_out;
        if let Some(phases) = &ended.outcome.phases {
            self.connections.get_or_insert_default().record(phases);
        }
        if !ended.outcome.values.is_empty() {
            let values = self.values.get_or_insert_default();
            ended.outcome.values.iter().for_each(|value| values.record(value));
        }
        if let Some(work) = &ended.outcome.work {
            self.work.get_or_insert_default().merge(work);
        }
    }

    /// Adds all of `other`, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.canceled += other.canceled;
        self.missed += other.missed;
        self.stopped += other.stopped;
        self.asked += other.asked;
        self.sent += other.sent;
        self.unsent += other.unsent;
        for (reason, count) in &other.failures {
            *self.failures.entry(*reason).or_default() += count;
        }
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.lag.merge(&other.lag);
        self.blocked.merge(&other.blocked);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        if let Some(connections) = &other.connections {
            self.connections.get_or_insert_default().merge(connections);
        }
        if let Some(values) = &other.values {
            self.values.get_or_insert_default().merge(values);
        }
        if let Some(work) = &other.work {
            self.work.get_or_insert_default().merge(work);
        }
        if let Some(routes) = &other.routes {
            self.routes.get_or_insert_default().merge(routes);
        }
        self.insecure |= other.insecure;
    }

    /// The hits accounted for, one way or another.
    pub fn planned(&self) -> u64 {
        self.ok + self.failed + self.canceled + self.missed + self.stopped
    }

    /// Whether so many hits were canceled or missed that the worst is not in the histograms.
    pub fn truncated(&self) -> bool {
        (self.canceled + self.missed) as f64 > TRUNCATED_SHARE * self.planned() as f64
    }

    /// Whether the generator itself was the limit: its lag's 99th percentile is over 10 ms, or over 1 % of the hits
    /// asked for, and more than one, were unsent.
    pub fn generator_limited(&self) -> bool {
        self.is_late() || self.is_unsent()
    }

    /// Whether one hit in a hundred was started over 10 ms late.
    pub fn is_late(&self) -> bool {
        self.lag.quantile(0.99).as_secs_f64() > LIMITED_LAG
    }

    /// Whether over 1 % of the hits asked for, and more than one, were [unsent](Self::unsent).
    pub fn is_unsent(&self) -> bool {
        self.unsent > 1 && self.unsent as f64 > LIMITED_SHARE * self.asked as f64
    }

    /// Whether percentiles tell less than the whole, for either reason: none is shown without a mark then.
    pub fn is_marked(&self) -> bool {
        self.truncated() || self.generator_limited()
    }

    /// The four distributions with their names.
    pub fn latencies(&self) -> [(&'static str, &Latency); 4] {
        [("response", &self.response), ("service", &self.service), ("lag", &self.lag), ("blocked", &self.blocked)]
    }

    /// How many values that hits brought back were not taken.
    pub fn values_dropped(&self) -> u64 {
        self.values.as_ref().map_or(0, |values| values.dropped())
    }

    /// How much work was not counted, as it had too many names.
    pub fn work_dropped(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.dropped())
    }

    /// The five results of a hit with their names.
    pub fn results(&self) -> [(&'static str, u64); 5] {
        [
            ("ok", self.ok),
            ("failed", self.failed),
            ("canceled", self.canceled),
            ("missed", self.missed),
            ("stopped", self.stopped),
        ]
    }
}

impl Upkeep {
    /// The four fields with their names.
    pub fn named(&self) -> [(&'static str, i64); 4] {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        [
            ("config_errors", signed(self.config_errors)),
            ("runs_skipped", signed(self.runs_skipped)),
            ("spool_dropped", signed(self.spool_dropped)),
            ("last_run", self.last_run),
        ]
    }
}

impl Summary {
    /// When the interval ended, by the clock.
    pub fn end(&self) -> DateTime<Utc> {
        self.start + TimeDelta::milliseconds((self.seconds * 1000.0) as i64)
    }

    /// So many hits, or whatever else is counted, a second over the interval.
    pub fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    /// Adds a later interval of the same test and run, exactly.
    pub fn merge(&mut self, later: &Self) {
        self.seconds += later.seconds;
        self.last |= later.last;
        for destination in &later.destinations {
            if !self.destinations.contains(destination) {
                self.destinations.push(destination.clone());
            }
        }
        match (&mut self.measured, &later.measured) {
            (Measured::Test(tally), Measured::Test(later)) => tally.merge(later),
            (Measured::Runner(upkeep), Measured::Runner(later)) => {
                upkeep.config_errors = later.config_errors;
                upkeep.runs_skipped += later.runs_skipped;
                upkeep.spool_dropped += later.spool_dropped;
                upkeep.last_run = later.last_run;
            }
            (Measured::Test(_), Measured::Runner(_)) | (Measured::Runner(_), Measured::Test(_)) => {
                unreachable!("`_runner` is reserved: a test and the runner never share a name")
            }
        }
    }

    /// The host as metric paths and tags name it: dots are `_`, and a copy has its number behind it.
    pub fn host_label(&self) -> String {
        let host = self.host.replace('.', "_");
        if self.copy > 1 { format!("{host}-{}", self.copy) } else { host }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::pacer::Due;
    use crate::target::{Outcome, Phases, Value};

    #[test]
    fn what_was_written_before_there_were_rates_still_reads() {
        let mut written = serde_json::to_value(Tally { ok: 3, asked: 5, sent: 4, ..Tally::default() }).unwrap();
        for field in ["asked", "sent", "unsent"] {
            assert!(written.as_object_mut().unwrap().remove(field).is_some(), "{field}");
        }
        let read: Tally = serde_json::from_value(written).unwrap();
        assert_eq!((read.ok, read.asked, read.sent, read.unsent), (3, 0, 0, 0));
        assert!(!read.generator_limited());
    }

    #[test]
    fn what_was_written_before_there_were_connections_values_and_work_still_reads() {
        let written = serde_json::to_value(Tally { ok: 3, ..Tally::default() }).unwrap();
        for field in ["connections", "values", "work", "insecure"] {
            assert_eq!(written.get(field), None, "a tally without is written as ever");
        }
        let read: Tally = serde_json::from_value(written).unwrap();
        assert_eq!((read.ok, read.insecure, read.work), (3, false, None));
        assert!(read.connections.is_none() && read.values.is_none());
    }

    #[test]
    fn connections_and_values_are_recorded_and_merged_whoever_has_some() {
        let due = Due { number: 0, at: Instant::now(), blocked: Duration::ZERO, late: Duration::ZERO };
        let phases = Phases { connect: Some(Duration::from_millis(2)), ..Phases::default() };
        let value = Value { name: "queued".into(), value: 4.0, unit: String::new() };
        let outcome = Outcome { phases: Some(phases.into()), values: vec![value], ..Outcome::default() };
        let mut some = Tally::default();
        some.record(&Ended::new(due, due.at, due.at, outcome));
        let mut none = Tally::default();
        none.record(&Ended::new(due, due.at, due.at, Outcome::default()));
        assert!(none.connections.is_none() && none.values.is_none());
        for (mut sum, other) in [(some.clone(), &none), (none.clone(), &some), (some.clone(), &some)] {
            let parts = 1 + u64::from(sum.connections.is_some() && other.connections.is_some());
            sum.merge(other);
            assert_eq!((sum.ok, sum.values_dropped()), (2, 0));
            let connections = sum.connections.unwrap();
            assert_eq!((connections.opened, connections.connect.unwrap().count()), (parts, parts));
            let values = sum.values.unwrap();
            let (name, spread) = values.iter().next().unwrap();
            assert_eq!((name, spread.count, spread.mean()), ("queued", parts, 4.0));
        }
    }

    #[test]
    fn a_tally_of_which_a_part_was_insecure_is_insecure() {
        for (one, other) in [(false, false), (false, true), (true, false), (true, true)] {
            let tally = |insecure| Tally { insecure, ..Tally::default() };
            let stored = serde_json::to_string(&tally(other)).unwrap();
            let mut sum = tally(one);
            sum.merge(&serde_json::from_str(&stored).unwrap());
            assert_eq!(sum.insecure, one || other);
        }
    }

    #[test]
    fn the_generator_was_the_limit_where_over_a_hundredth_was_not_sent() {
        #[track_caller]
        fn check(asked: u64, unsent: u64, expect: bool) {
            let tally = Tally { asked, unsent, ..Tally::default() };
            assert_eq!(tally.generator_limited(), expect, "{unsent} of {asked}");
        }
        check(0, 0, false);
        check(1, 1, false);
        check(2, 2, true);
        check(200, 2, false);
        check(1000, 10, false);
        check(1000, 11, true);
        assert!(Tally::unable(60).generator_limited());
    }

    #[test]
    fn merged_intervals_keep_what_one_of_them_was_short_of() {
        let mut minute = Tally { asked: 1000, sent: 900, unsent: 100, ..Tally::default() };
        minute.merge(&Tally { asked: 1000, sent: 1100, ..Tally::default() });
        assert_eq!((minute.asked, minute.sent, minute.unsent), (2000, 2000, 100));
        assert!(minute.generator_limited());
    }
}
