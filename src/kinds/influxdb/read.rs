//! The hits of a reader: a query each.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::outlet::at;
use super::outlet::requests::{headers, site};
use super::query::{Hit, Query};
use super::rows::Rows;
use super::session::{Session, now};
use super::settings::Address;
use crate::fault::quote;
use crate::kinds::dial::{Sharing, Tally};
use crate::kinds::http::{Body, Judge, Request, Site};
use crate::target::{Failure, Outcome, Reason, Target};
use crate::wakeups::Wakeups;
use crate::work::Work;

/// The most that is read of an answer, in bytes. It is kept in memory until its rows are counted.
const MAX_ANSWER: u64 = 64 << 20;

/// A database that is asked.
#[derive(Debug)]
pub struct ReadTarget {
    session: Arc<Session>,
    servers: Vec<Asked>,
    query: Query,
    sharing: Sharing,
    timeout: Duration,
}

/// A server, and its part of a request's head.
#[derive(Debug)]
struct Asked {
    site: Site,
    /// From behind the query to the empty line.
    after: Vec<u8>,
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
        let asked = |address: &Address| {
            let after = [b" HTTP/1.1\r\n", headers(address, server).as_slice(), b"\r\n"].concat();
            Ok(Asked { site: site(address, reading.ssl, server, &sharing)?, after })
        };
        Ok(Self {
            servers: reading.addresses.iter().map(asked).collect::<anyhow::Result<_>>()?,
            query: Query::new(&reading.database, &reading.template, reading.query_count),
            sharing: sharing.clone(),
            timeout: server.timeout,
            session: Arc::clone(session),
        })
    }

    /// Asks, and counts the rows of the answer.
    async fn ask(&self, number: u64, tally: &Tally, rows: &Cell<u64>) -> Option<Failure> {
        let Asked { site, after } = at(&self.servers, number);
        let mut head = String::from("GET /query?");
        let hit = Hit { number: self.session.query_number(number), now: now(), time: self.session.newest() };
        // A string takes everything.
        let _ = self.query.write(hit, &mut head);
        let mut head = head.into_bytes();
        head.extend_from_slice(after);
        let request = Request { head, body: Body::default(), idempotent: true, is_head: false };
        let judge = Judge::keeping(MAX_ANSWER);
        let answered = match site.ask(&request, &judge, tally).await {
            Ok(answered) => answered,
            Err(failure) => return Some(failure),
        };
        let body = judge.into_body();
        match answered.head.status {
            200..=299 if answered.failure.is_some() => answered.failure,
            200..=299 => match Rows::of(&body) {
                Ok(found) => {
                    rows.set(found.count);
                    found
                        .error
                        .map(|error| Failure::new(Reason::Body, format_args!("the query failed: {}", quote(&error))))
                }
                Err(failure) => Some(failure),
            },
            status => {
                let said = quote(&String::from_utf8_lossy(&body));
                Some(Failure::new(Reason::Status, format_args!("{status}: {said}")))
            }
        }
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
