//! What tests get ready before their first hit, and what is filed of their work: things that may take a while, and that
//! hits must not wait for.
//!
//! There is one of these a run. Tests are got ready on threads of their own,
//! work is filed on the keeper's. Most kinds need neither.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Kind, Type, influxdb};
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
}

impl Prepared {
    /// Whether it is the very same: what hits one hits the other.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::Influxdb(one), Self::Influxdb(other)) => Arc::ptr_eq(one, other),
            (Self::Nothing, Self::Influxdb(_)) | (Self::Influxdb(_), Self::Nothing) => false,
        }
    }
}

/// Where tests are got ready.
#[derive(Debug)]
pub struct Backstage {
    sessions: influxdb::Sessions,
    /// By test, the collectors that the requests of its hits are for.
    collectors: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Backstage {
    /// That of the run `run`, whose name no other has, on the server `host`; what is to be known by later runs is kept
    /// in the folder `state`.
    pub fn new(state: &Path, run: &str, host: &str) -> Self {
        Self { sessions: influxdb::Sessions::new(state, run, host), collectors: Mutex::default() }
    }

    /// Whether a test of this type is to be got ready before its first hit, and again when it is to be hit otherwise.
    pub fn is_for(of_type: &Type) -> bool {
        match of_type.kind {
            Kind::InfluxWrite(_) | Kind::InfluxRead(_) => true,
            Kind::Exec(_) | Kind::Http(_) | Kind::Loopback(_) | Kind::Tcp(_) => false,
        }
    }

    /// What a test of this type, which isn't ready yet, waits for, and what would help.
    pub fn waits_for(of_type: &Type) -> String {
        match &of_type.kind {
            Kind::InfluxWrite(settings) | Kind::InfluxRead(settings) => influxdb::Sessions::wait_for(settings),
            Kind::Exec(_) | Kind::Http(_) | Kind::Loopback(_) | Kind::Tcp(_) => String::new(),
        }
    }

    /// Gets a test ready for so many hits a minute; takes as long as that takes.
    ///
    /// # Errors
    /// Why the test can't be run.
    pub fn prepare(&self, test: &str, of_type: &Type, frequency: u64) -> anyhow::Result<Prepared> {
        let Type { name, kind, .. } = of_type;
        Ok(match kind {
            Kind::InfluxWrite(settings) => Prepared::Influxdb(self.sessions.to_write(test, name, settings, frequency)?),
            Kind::InfluxRead(settings) => Prepared::Influxdb(self.sessions.to_read(test, name, settings)?),
            Kind::Exec(_) | Kind::Http(_) | Kind::Loopback(_) | Kind::Tcp(_) => Prepared::Nothing,
        })
    }

    /// From now on the requests of a test's hits are for these collectors; without one they needn't be kept.
    pub fn collect_for(&self, test: &str, collectors: &[String]) {
        let mut all = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        match collectors {
            [] => _ = all.remove(test),
            some => _ = all.insert(test.to_owned(), some.to_vec()),
        }
    }

    /// The collectors that the requests of a test's hits are for.
    pub fn collectors_of(&self, test: &str) -> Vec<String> {
        let all = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(test).cloned().unwrap_or_default()
    }

    /// Adds to an interval, which is about to be told, what isn't in it yet; gives back the requests in it that are for
    /// collectors. On the keeper's thread.
    pub fn collect(&self, _: &Label, _: &mut Vec<Summary>) -> Vec<Collected> {
        Vec::new()
    }

    /// Files which work is done, by loan. To be called before it is told to anybody, so that what a killed run has told
    /// is never done, and told, again.
    ///
    /// # Errors
    /// What couldn't be written, which the next time it is, or when all is closed.
    pub fn file(&self, done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        self.sessions.file(done)
    }

    /// The last hit has ended: files which work is done, and what is not is for others.
    ///
    /// # Errors
    /// What couldn't be written. Others find out themselves what wasn't filed once this process is gone.
    pub fn close(&self, done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        self.sessions.close(done)
    }

    /// Begins nothing more that takes a while.
    pub fn stop(&self) {
        self.sessions.stop();
    }

    /// Whether it was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.sessions.is_stopped()
    }
}
