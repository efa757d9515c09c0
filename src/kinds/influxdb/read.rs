//! The hits of a reader: a query each.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::outlet::queries::Queries;
use super::query::{Hit, Query};
use super::session::{Session, now};
use crate::kinds::dial::{Sharing, Tally};
use crate::target::{Failure, Outcome, Target};
use crate::wakeups::Wakeups;
use crate::work::Work;

/// A database that is asked.
#[derive(Debug)]
pub struct ReadTarget {
    session: Arc<Session>,
    servers: Queries,
    query: Query,
    sharing: Sharing,
    timeout: Duration,
}

impl ReadTarget {
    /// Prepares what hits have in common.
    ///
    /// # Errors
    /// A host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(session: &Arc<Session>, wakeups: &Rc<Wakeups>) -> anyhow::Result<Self> {
        let sharing = Sharing::default();
        sharing.share(wakeups);
        let (server, Some(reading)) = (session.server(), session.reading()) else {
            anyhow::bail!("nothing is to be read")
        };
        Ok(Self {
            servers: Queries::new(reading, server, &sharing)?,
            query: Query::new(&reading.database, &reading.template, reading.query_count),
            sharing: sharing.clone(),
            timeout: server.timeout,
            session: Arc::clone(session),
        })
    }

    /// Asks, and counts the rows of the answer.
    async fn ask(&self, number: u64, tally: &Tally, rows: &Cell<u64>) -> Option<Failure> {
        let mut query = String::new();
        let hit = Hit { number: self.session.query_number(number), now: now(), time: self.session.newest() };
        // A string takes everything.
        let _ = self.query.write(hit, &mut query);
        self.servers.ask(number, &query, tally, rows).await
    }
}

impl Target for ReadTarget {
    async fn hit(&self, number: u64) -> Outcome {
        let (tally, rows) = <(Tally, Cell<u64>)>::default();
        let done = {
            let asking = pin!(self.ask(number, &tally, &rows));
            self.sharing.within(self.timeout, asking).await
        };
        let outcome = tally.outcome(done, self.timeout);
        Outcome { work: Some(Work::of([("rows", rows.get())]).into()), ..outcome }
    }
}
