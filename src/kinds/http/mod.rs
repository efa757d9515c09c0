//! The kind `http`: one request, and all of its answer, over HTTP/1.1, in the clear or over TLS.
//!
//! A hit takes an idle connection from the pool or opens one, sends a request
//! that was put together once, reads the answer to its end while judging it,
//! and gives the connection back. Nothing is followed, decompressed or kept.
//! The future of the hit itself drives its connection; there are no other
//! tasks, so a hit that is dropped takes its connection with it.
//!
//! HTTP/1.1 is spoken by a codec of our own, on httparse, as hyper's took more
//! processor time a hit: 13.0 µs instead of 11.0 at 20,000 a second.
//!
//! No more is sent than was told: a request goes out a second time only when
//! an idle connection turns out to have been closed under it, and then only
//! when it wasn't sent at all, or is idempotent and was not answered by a byte.

mod answer;
mod connection;
mod expect;
mod origin;
mod pool;
mod request;
mod settings;
mod socket;
mod stamps;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod traffic;
mod url;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

pub use expect::Expect;
pub use settings::Settings;
pub use url::{Host, Url};

use crate::target::{Failure, Outcome, Reason, Target};
use crate::wakeups::Wakeups;
use connection::{Connection, Lost};
use expect::Judge;
use origin::Origin;
use pool::Pool;
use request::Request;
use socket::Collector;
use traffic::{Tally, Traffic};

/// An HTTP server, and what to ask it.
#[derive(Debug)]
pub struct HttpTarget {
    request: Request,
    judge: Judge,
    timeout: Duration,
    keep_alive: bool,
    origin: Origin,
    pool: Pool,
}

impl HttpTarget {
    /// Prepares everything that hits have in common; sends nothing yet.
    ///
    /// # Errors
    /// The URL is https and the system has no root certificates.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let tls = if settings.url.tls { Some(tls::system()?) } else { None };
        Self::with_tls(settings, tls)
    }

    /// The same, but hits share the thread's wake-ups: answers that come quickly are left until the next one, and are
    /// no less exactly timed for that.
    #[must_use]
    pub fn sharing(mut self, wakeups: &Rc<Wakeups>) -> Self {
        let (wakeups, asks_again) = (Rc::clone(wakeups), self.request.idempotent);
        self.origin.collector = Some(Collector { wakeups, stamps: Rc::default(), asks_again });
        self
    }

    fn with_tls(settings: &Settings, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        Ok(Self {
            request: Request::new(settings),
            judge: Judge::new(&settings.expect),
            timeout: settings.timeout,
            keep_alive: settings.keep_alive,
            origin: Origin::new(&settings.url, tls, settings.timeout)?,
            pool: Pool::default(),
        })
    }

    /// Sends the request over a connection that is at hand, or a new one; `None` when all was as expected.
    async fn exchange(&self, tally: &Tally) -> Option<Failure> {
        let mut idle = self.pool.take().await;
        loop {
            let was_idle = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                // Boxed, as it is large and seldom needed.
                None => match Box::pin(self.connect(tally)).await {
                    Ok(connection) => connection,
                    Err(failure) => return Some(failure),
                },
            };
            match self.ask(connection, tally).await {
                Ok(failure) => return failure,
                Err(lost) if was_idle && lost.unsent => {}
                Err(lost) if was_idle && lost.unanswered && self.request.idempotent => {}
                Err(lost) => return Some(lost.into()),
            }
        }
    }

    async fn connect(&self, tally: &Tally) -> Result<Box<Connection>, Failure> {
        let traffic = Rc::new(Traffic::default());
        let _metered = tally.meter(&traffic);
        self.origin.connect(traffic).await.map(Box::new)
    }

    /// Asks over a connection, and keeps it for another hit where that is possible.
    async fn ask(&self, mut connection: Box<Connection>, tally: &Tally) -> Result<Option<Failure>, Lost> {
        let _metered = tally.meter(&connection.traffic);
        let answered = connection.ask(&self.request, &self.judge).await?;
        tally.end(answered.ended);
        if answered.persists && self.keep_alive {
            self.pool.put(connection);
        }
        Ok(answered.failure)
    }
}

impl Target for HttpTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        let tally = Tally::default();
        let done = {
            // Pinned here, as whoever is handed a future makes another copy of it; and over before it is counted.
            let exchange = pin!(self.exchange(&tally));
            self.origin.within(self.timeout, exchange).await
        };
        let late = || Some(Failure::new(Reason::Timeout, format_args!("not done after {:?}", self.timeout)));
        let failure = done.unwrap_or_else(late);
        let (bytes_in, bytes_out, ended) = (tally.received(), tally.sent(), tally.ended());
        Outcome { failure, bytes_in, bytes_out, ended, ..Outcome::default() }
    }
}
