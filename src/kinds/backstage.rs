//! What tests get ready before their first hit, and what is filed of their work: things that may take a while, and that
//! hits must not wait for.
//!
//! There is one of these a run. Tests are got ready on threads of their own,
//! work is filed on the keeper's. Most kinds need neither.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::loadtest::{Keep, PublicKey};
use super::{Kind, Type, influxdb, loadtest};
use crate::label::Label;
use crate::ranges::Ranges;
use crate::spool::Collected;
use crate::summary::Summary;

/// What was got ready for the hits of a test.
#[derive(Clone, Debug, Default)]
pub enum Prepared {
    /// There was nothing to do.
    #[default]
    Nothing,
    /// A database, and points to write.
    Influxdb(Arc<influxdb::Session>),
    /// A load test that answers.
    Loadtest(Arc<loadtest::Session>),
}

impl Prepared {
    /// Whether it is the very same: what hits one hits the other.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::Influxdb(one), Self::Influxdb(other)) => Arc::ptr_eq(one, other),
            (Self::Loadtest(one), Self::Loadtest(other)) => Arc::ptr_eq(one, other),
            (Self::Nothing | Self::Influxdb(_) | Self::Loadtest(_), _) => false,
        }
    }
}

/// Where tests are got ready.
#[derive(Debug)]
pub struct Backstage {
    databases: influxdb::Sessions,
    loadtests: loadtest::Sessions,
}

impl Backstage {
    /// That of the run `run`, whose name no other has, on the server `host`; what is to be known by later runs is kept
    /// in the folder `state`.
    ///
    /// Load tests run only where they are signed with `key`, if there is one, and no longer than hits that began before
    /// `end`; of their journeys is kept what `keep` says.
    pub fn new(state: &Path, run: &str, host: &str, key: Option<PublicKey>, keep: Keep, end: Instant) -> Self {
        let databases = influxdb::Sessions::new(state, run, host);
        Self { databases, loadtests: loadtest::Sessions::new(state, run, key, keep, end) }
    }

    /// Whether a test of this type is to be got ready before its first hit, and again when it is to be hit otherwise.
    pub fn is_for(of_type: &Type) -> bool {
        match of_type.kind {
            Kind::InfluxWrite(_) | Kind::InfluxRead(_) | Kind::Loadtest(_) => true,
            Kind::Exec(_) | Kind::Http(_) | Kind::Loopback(_) | Kind::Tcp(_) => false,
        }
    }

    /// Whether more becomes known of hits of this type than their outcomes; see [`collect`](Self::collect).
    pub fn adds_to(of_type: &Type) -> bool {
        matches!(of_type.kind, Kind::Loadtest(_))
    }

    /// What a test of this type, which isn't ready yet, waits for, and what would help.
    pub fn waits_for(of_type: &Type) -> String {
        match &of_type.kind {
            Kind::InfluxWrite(settings) | Kind::InfluxRead(settings) => influxdb::Sessions::wait_for(settings),
            Kind::Loadtest(_) => String::from("its load test has not answered yet"),
            Kind::Exec(_) | Kind::Http(_) | Kind::Loopback(_) | Kind::Tcp(_) => String::new(),
        }
    }

    /// Gets a test ready for so many hits a minute; takes as long as that takes.
    ///
    /// # Errors
    /// Why the test can't be run. [`Ended`](loadtest::Ended) where it could have been, but was no longer wanted.
    pub fn prepare(&self, test: &str, of_type: &Type, frequency: u64) -> anyhow::Result<Prepared> {
        let Type { name, kind, .. } = of_type;
        Ok(match kind {
            Kind::InfluxWrite(settings) => {
                Prepared::Influxdb(self.databases.to_write(test, name, settings, frequency)?)
            }
            Kind::InfluxRead(settings) => Prepared::Influxdb(self.databases.to_read(test, name, settings)?),
            Kind::Loadtest(settings) => Prepared::Loadtest(self.loadtests.start(test, name, settings)?),
            Kind::Exec(_) | Kind::Http(_) | Kind::Loopback(_) | Kind::Tcp(_) => Prepared::Nothing,
        })
    }

    /// A test is hit as it was got ready now, or not at all: what was got ready for it otherwise goes once it isn't needed.
    pub fn settle(&self, test: &str, prepared: &Prepared) {
        match prepared {
            Prepared::Loadtest(session) => self.loadtests.settle(test, Some(session)),
            Prepared::Nothing | Prepared::Influxdb(_) => self.loadtests.settle(test, None),
        }
    }

    /// From now on the requests of a test's hits are for these collectors; without one they needn't be kept.
    pub fn collect_for(&self, test: &str, collectors: &[String]) {
        self.loadtests.collect_for(test, collectors);
    }

    /// Adds to an interval, which is about to be told, what others know of its hits; gives back the requests in it that are
    /// for collectors. With the last interval all that was started is ended. On the keeper's thread.
    pub fn collect(&self, label: &Label, summaries: &mut [Summary]) -> Vec<Collected> {
        self.loadtests.collect(label, summaries)
    }

    /// Files which work is done, by loan. To be called before it is told to anybody, so that what a killed run has told
    /// is never done, and told, again.
    ///
    /// # Errors
    /// What couldn't be written, which the next time it is, or when all is closed.
    pub fn file(&self, done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        self.databases.file(done)
    }

    /// The last hit has ended: files which work is done, and what is not is for others.
    ///
    /// # Errors
    /// What couldn't be written. Others find out themselves what wasn't filed once this process is gone.
    pub fn close(&self, done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        self.databases.close(done)
    }

    /// Begins nothing more that takes a while, and ends what was started.
    pub fn stop(&self) {
        self.databases.stop();
        self.loadtests.stop();
    }

    /// Whether it was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.databases.is_stopped()
    }
}
