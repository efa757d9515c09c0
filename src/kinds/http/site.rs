//! One server: the way there, and the connections that wait for the next hit.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::connection::{Answered, Connection, Lost};
use super::expect::Judge;
use super::pool::Pool;
use super::request::Request;
use super::url::Url;
use crate::kinds::dial::{Dialer, Tally, Traffic};
use crate::target::Failure;
use crate::wakeups::Wakeups;

/// A scheme, host and port.
#[derive(Debug)]
pub struct Site {
    dialer: Dialer,
    pool: Pool,
    keep_alive: bool,
}

impl Site {
    /// The server of `url`, spoken to over `tls` where there is some, in hits that take no longer than `timeout`.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear.
    pub fn new(url: &Url, tls: Option<Arc<ClientConfig>>, timeout: Duration, keep_alive: bool) -> anyhow::Result<Self> {
        let dialer = Dialer::new(url.host.clone(), url.port, tls, timeout)?;
        Ok(Self { dialer, pool: Pool::default(), keep_alive })
    }

    /// Has answers that come quickly left until the thread's next wake-up; see [`Dialer::share`].
    pub fn share(&mut self, wakeups: &Rc<Wakeups>, asks_again: bool) {
        self.dialer.share(wakeups, asks_again);
    }

    /// The result of `work`; `None` when it takes longer than `limit`.
    pub async fn within<W: Future>(&self, limit: Duration, work: W) -> Option<W::Output> {
        self.dialer.within(limit, work).await
    }

    /// Sends a request over a connection that is at hand, or a new one, and has its answer judged.
    ///
    /// # Errors
    /// Where there was no answer.
    pub async fn ask(&self, request: &Request, judge: &Judge, tally: &Tally) -> Result<Answered, Failure> {
        let mut idle = self.pool.take().await;
        loop {
            let was_idle = idle.is_some();
            let asked = match idle.take() {
                Some(connection) => self.ask_over(connection, request, judge, tally).await,
                // Boxed, as it is large and seldom needed.
                None => Box::pin(self.ask_anew(request, judge, tally)).await?,
            };
            match asked {
                Ok(answered) => return Ok(answered),
                Err(lost) if was_idle && lost.unsent => {}
                Err(lost) if was_idle && lost.unanswered && request.idempotent => {}
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// Asks over a new connection, the phases of which are kept.
    async fn ask_anew(
        &self,
        request: &Request,
        judge: &Judge,
        tally: &Tally,
    ) -> Result<Result<Answered, Lost>, Failure> {
        let traffic = Rc::new(Traffic::default());
        let dialed = {
            let _metered = tally.meter(&traffic);
            self.dialer.dial(Rc::clone(&traffic)).await?
        };
        let connection = Connection::new(dialed.stream, traffic);
        let begin = Instant::now();
        let asked = self.ask_over(Box::new(connection), request, judge, tally).await;
        let mut phases = dialed.phases;
        let first = asked.as_ref().ok().and_then(|answered| answered.first);
        phases.first_byte = first.map(|first| first.saturating_duration_since(begin));
        tally.opened(phases);
        Ok(asked)
    }

    /// Asks over a connection, and keeps it for another hit where that is possible.
    async fn ask_over(
        &self,
        mut connection: Box<Connection>,
        request: &Request,
        judge: &Judge,
        tally: &Tally,
    ) -> Result<Answered, Lost> {
        let _metered = tally.meter(&connection.traffic);
        let answered = connection.ask(request, judge).await?;
        tally.end(answered.ended);
        if answered.persists && self.keep_alive {
            self.pool.put(connection);
        }
        Ok(answered)
    }
}
