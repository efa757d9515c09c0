//! What the queries are.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::num::NonZeroU64;

use crate::kinds::influxdb::query::{Hit, Query};
use crate::kinds::influxdb::session::now;

/// Generates queries, one after the other.
///
/// ```
/// use canihaz::influxdb::QueryGenerator;
///
/// /// The last minute of what is written, as often as one likes.
/// struct LastMinute;
///
/// impl QueryGenerator for LastMinute {
///     fn generate(&mut self, time: i64) -> Option<String> {
///         Some(format!("SELECT mean(value) FROM cpu WHERE time > {time} - 1m"))
///     }
/// }
/// ```
pub trait QueryGenerator {
    /// The next query, in InfluxQL; `None` when there are none left. `time` is the newest time stamp of the writer, in
    /// nanoseconds since 1970; the present where nothing is written.
    fn generate(&mut self, time: i64) -> Option<String>;
}

/// Where a client takes queries from. Nothing waits in it: they are generated when they are taken.
pub struct QuerySource<'a> {
    generator: RefCell<&'a mut dyn QueryGenerator>,
    time: &'a dyn Fn() -> i64,
    is_dry: Cell<bool>,
}

/// One query, with places for what changes: `%v` is its number, from 0, `%time%` the writer's newest time stamp and
/// `%now%` the present, both in nanoseconds since 1970; `%%` is a percent sign, and so is any other one.
///
/// ```
/// use canihaz::influxdb::{BasicQuery, QueryGenerator};
///
/// let mut queries = BasicQuery::new("SELECT count(value) FROM cpu WHERE host = 'server-%v' AND time <= %time%", 2);
/// let second = queries.generate(0).and_then(|_first| queries.generate(5));
/// assert_eq!(second.unwrap(), "SELECT count(value) FROM cpu WHERE host = 'server-1' AND time <= 5");
/// assert_eq!(queries.generate(9), None);
/// ```
#[derive(Clone, Debug)]
pub struct BasicQuery {
    query: Query,
    count: u64,
    next: u64,
}

impl<'a> QuerySource<'a> {
    /// The queries of `generator`, which is told what `time` says.
    pub fn new(generator: &'a mut dyn QueryGenerator, time: &'a dyn Fn() -> i64) -> Self {
        Self { generator: RefCell::new(generator), time, is_dry: Cell::new(false) }
    }

    /// The next query; `None` when there are none left.
    pub fn take(&self) -> Option<String> {
        if self.is_dry.get() {
            return None;
        }
        let query = self.generator.borrow_mut().generate((self.time)());
        self.is_dry.set(query.is_none());
        query
    }

    /// Whether there are known to be none left.
    pub(super) fn is_dry(&self) -> bool {
        self.is_dry.get()
    }
}

impl fmt::Debug for QuerySource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySource").field("is_dry", &self.is_dry).finish_non_exhaustive()
    }
}

impl BasicQuery {
    /// So many queries of one template.
    pub fn new(template: &str, count: u64) -> Self {
        Self { query: Query::plain(template, NonZeroU64::new(count).unwrap_or(NonZeroU64::MIN)), count, next: 0 }
    }
}

impl QueryGenerator for BasicQuery {
    fn generate(&mut self, time: i64) -> Option<String> {
        let number = self.next;
        if number >= self.count {
            return None;
        }
        self.next += 1;
        let mut text = String::new();
        // A string takes everything.
        let _ = self.query.write(Hit { number, now: now(), time }, &mut text);
        Some(text)
    }
}
