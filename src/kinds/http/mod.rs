//! The kind `http`: one request, and all of its answer, over HTTP/1.1, in the clear or over TLS.
//!
//! A hit takes an idle connection from the pool or opens one, sends a request
//! that was put together once, reads the answer to its end while judging it,
//! and gives the connection back. Nothing is followed, decompressed or kept.
//! The future of the hit itself drives its connection; there are no other
//! tasks, so a hit that is dropped takes its connection with it.
//!
//! No more is sent than was told: a request goes out a second time only when
//! an idle connection turns out to have been closed under it, and then only
//! when it wasn't sent at all, or is idempotent and was not answered by a byte.

mod connection;
mod expect;
mod origin;
mod pool;
mod settings;
mod socket;
mod stamps;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod traffic;
mod url;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use rustls::ClientConfig;

pub use expect::Expect;
pub use settings::Settings;
pub use url::{Host, Url};

use crate::target::{Failure, Outcome, Reason, Target};
use crate::wakeups::Wakeups;
use connection::Connection;
use expect::Judge;
use origin::Origin;
use pool::Pool;
use socket::Collector;
use traffic::{Tally, Traffic};

/// An HTTP server, and what to ask it.
#[derive(Debug)]
pub struct HttpTarget {
    request: Request<Full<Bytes>>,
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
        self.origin.collector = Some(Collector { wakeups: Rc::clone(wakeups), stamps: Rc::default() });
        self
    }

    fn with_tls(settings: &Settings, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let mut request = Request::new(Full::new(settings.body.clone()));
        *request.method_mut() = settings.method.clone();
        *request.uri_mut() = settings.url.path.clone();
        *request.headers_mut() = settings.headers.clone();
        Ok(Self {
            request,
            judge: Judge::new(&settings.expect),
            timeout: settings.timeout,
            keep_alive: settings.keep_alive,
            origin: Origin::new(&settings.url, tls, settings.timeout)?,
            pool: Pool::default(),
        })
    }

    /// Sends the request over a connection that is at hand, or a new one; `None` when all was as expected.
    async fn exchange(&self, tally: &Tally) -> Option<Failure> {
        if let Some(mut connection) = self.pool.take().await {
            let _metered = tally.meter(&connection.traffic);
            match connection.send(self.request.clone()).await {
                Ok(response) => return self.read(connection, response, tally).await,
                Err(lost) if lost.is_unsent() => (),
                Err(lost) if lost.is_unanswered() && self.request.method().is_idempotent() => (),
                Err(lost) => return Some(lost.into()),
            }
        }
        let traffic = Rc::new(Traffic::default());
        let _metered = tally.meter(&traffic);
        let mut connection = match self.origin.connect(traffic).await {
            Ok(connection) => connection,
            Err(failure) => return Some(failure),
        };
        match connection.send(self.request.clone()).await {
            Ok(response) => self.read(connection, response, tally).await,
            Err(lost) => Some(lost.into()),
        }
    }

    /// Reads an answer to its end, and keeps the connection for another hit where that is possible.
    async fn read(&self, mut connection: Connection, response: Response<Incoming>, tally: &Tally) -> Option<Failure> {
        let mut judgement = self.judge.begin(response.status());
        let mut body = response.into_body();
        while let Some(frame) = connection.frame(&mut body).await {
            match frame {
                // What isn't data is trailers, of which nothing is expected.
                Ok(frame) => {
                    if !frame.data_ref().is_none_or(|data| judgement.take(data)) {
                        return judgement.end();
                    }
                }
                Err(error) => return judgement.cut_off(error),
            }
        }
        tally.end(&connection.traffic);
        if self.keep_alive && connection.is_open().await {
            self.pool.put(connection);
        }
        judgement.end()
    }
}

impl Target for HttpTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        let tally = Tally::default();
        let done = self.origin.within(self.timeout, self.exchange(&tally)).await;
        let late = || Some(Failure::new(Reason::Timeout, format_args!("not done after {:?}", self.timeout)));
        let failure = done.unwrap_or_else(late);
        Outcome { failure, bytes_in: tally.received(), bytes_out: tally.sent(), started: None, ended: tally.ended() }
    }
}
