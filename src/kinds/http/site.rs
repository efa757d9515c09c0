//! One server: the way there, and the connections that wait for the next hit.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::{Answered, Connection, Lost};
use super::expect::Judge;
use super::forward::Forward;
use super::request::Request;
use super::url::Url;
use crate::kinds::dial::{self, Dialer, Peer, Pool, Sharing, Tally, Traffic};
use crate::target::Failure;

/// What ALPN asks for.
const ALPN: &[&[u8]] = &[b"http/1.1"];

/// What holds for all servers that a target speaks to.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long a hit may take.
    pub timeout: Duration,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// How connections are got.
    pub dial: dial::Settings,
    /// Whether hits share the thread's wake-ups.
    pub sharing: Sharing,
}

/// A scheme, host and port.
#[derive(Debug)]
pub struct Site {
    dialer: Dialer,
    /// Where a proxy speaks to it in our place.
    forward: Option<Forward>,
    pool: Pool<Connection>,
    keep_alive: bool,
}

/// Tells a hit, however it ends, how long the first byte over its new connection took.
struct FirstByte<'a> {
    begin: Instant,
    traffic: Rc<Traffic>,
    tally: &'a Tally,
}

impl Site {
    /// The server of `url`.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(url: &Url, terms: &Terms) -> anyhow::Result<Self> {
        let peer = Peer { host: url.host.clone(), port: url.port, tls: url.tls.then_some(ALPN) };
        let dialer = Dialer::new(&peer, &terms.dial, terms.timeout, terms.sharing.clone())?;
        let forward = Forward::new(url, &terms.dial);
        Ok(Self { dialer, forward, pool: Pool::default(), keep_alive: terms.keep_alive })
    }

    /// Sends a request over a connection that is at hand, or a new one, and has its answer judged.
    ///
    /// # Errors
    /// Where there was no answer.
    pub async fn ask(&self, request: &Request, judge: &Judge, tally: &Tally) -> Result<Answered, Failure> {
        let mut idle = self.pool.take(request.idempotent).await;
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
        let stream = self.dialer.dial(&traffic, tally).await?;
        let connection = Connection::new(stream, Rc::clone(&traffic));
        let _first_byte = FirstByte { begin: Instant::now(), traffic, tally };
        Ok(self.ask_over(Box::new(connection), request, judge, tally).await)
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
        let forwarded = self.forward.as_ref().map(|forward| Box::new(forward.request(request)));
        let request = forwarded.as_deref().unwrap_or(request);
        let answered = connection.ask(request, judge).await?;
        tally.end(answered.ended);
        if answered.persists && self.keep_alive {
            self.pool.put(connection);
        }
        Ok(answered)
    }
}

impl Drop for FirstByte<'_> {
    fn drop(&mut self) {
        if let Some(heard) = self.traffic.heard.get() {
            self.tally.first_byte(heard.saturating_duration_since(self.begin));
        }
    }
}
