//! The kind `tcp`: a connection, in the clear or over TLS, and what is said over it.
//!
//! A hit opens a connection, or takes one that is kept, and goes through the
//! type's steps: each may send something, and may expect something to come.
//! Without a step the connection itself is the hit. What was expected is judged
//! byte by byte as it comes, and the hit is over with the last byte that was
//! needed. The future of the hit itself drives its connection; there are no
//! other tasks, so a hit that is dropped takes its connection with it.
//!
//! No more is sent than was told: nothing is known of what it does, so once a
//! byte of it was sent it is never sent again.

mod connection;
mod expect;
mod pattern;
mod settings;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use expect::{Expect, Mark};
pub use pattern::Pattern;
pub use settings::{Settings, Step};

use super::dial::{Dialer, Peer, Pool, Sharing, Tally, Traffic};
use crate::page::Key;
use crate::target::{Failure, Outcome, Target};
use crate::wakeups::Wakeups;
use connection::{Broken, Connection};

/// What a type of this kind can say.
pub const KEYS: &[&[Key]] = &[settings::KEYS, expect::KEYS, settings::STEP_KEYS, super::dial::KEYS];

/// A server, and what is said to it.
#[derive(Debug)]
pub struct TcpTarget {
    dialer: Dialer,
    pool: Pool<Connection>,
    steps: Vec<Step>,
    keep_alive: bool,
    timeout: Duration,
    sharing: Sharing,
}

impl TcpTarget {
    /// Prepares everything that hits have in common; connects to nothing yet.
    ///
    /// # Errors
    /// TLS is asked for, and the system has no root certificates.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let sharing = Sharing::default();
        // No protocol is offered: it isn't known which one this is.
        let tls = settings.tls.then_some(&[][..]);
        let peer = Peer { host: settings.host.clone(), port: settings.port, tls };
        Ok(Self {
            dialer: Dialer::new(&peer, &settings.dial, settings.timeout, sharing.clone())?,
            pool: Pool::default(),
            steps: settings.steps.clone(),
            keep_alive: settings.keep_alive,
            timeout: settings.timeout,
            sharing,
        })
    }

    /// The same, but hits share the thread's wake-ups: answers that come quickly are left until the next one, and are
    /// no less exactly timed for that.
    #[must_use]
    pub fn sharing(self, wakeups: &Rc<Wakeups>) -> Self {
        self.sharing.share(wakeups);
        self
    }

    /// Goes through the steps, over a connection that is at hand or a new one; `None` when all was as expected.
    async fn exchange(&self, tally: &Tally) -> Option<Failure> {
        let mut idle = self.pool.take(false).await;
        loop {
            let was_idle = idle.is_some();
            let said = match idle.take() {
                Some(connection) => self.say_over(connection, tally).await.map(|_| ()),
                // Boxed, as it is large and need not be there while a kept connection is used.
                None => match Box::pin(self.say_anew(tally)).await {
                    Ok(said) => said,
                    Err(failure) => return Some(failure),
                },
            };
            match said {
                Ok(()) => return None,
                Err(broken) if was_idle && broken.is_as_nothing() => {}
                Err(broken) => return Some(broken.into()),
            }
        }
    }

    /// Goes through the steps over a new connection, the phases of which are kept.
    async fn say_anew(&self, tally: &Tally) -> Result<Result<(), Broken>, Failure> {
        let traffic = Rc::new(Traffic::default());
        let stream = self.dialer.dial(&traffic, tally).await?;
        let connection = Connection::new(stream, traffic);
        let begin = Instant::now();
        let said = self.say_over(Box::new(connection), tally).await;
        let first = match &said {
            Ok(first) => *first,
            Err(broken) => broken.first,
        };
        if let Some(first) = first {
            tally.first_byte(first.saturating_duration_since(begin));
        }
        Ok(said.map(|_| ()))
    }

    /// Goes through the steps over a connection, and keeps it for another hit where that is asked for and possible, or
    /// else closes it. Gives back when the first byte came.
    async fn say_over(&self, mut connection: Box<Connection>, tally: &Tally) -> Result<Option<Instant>, Broken> {
        let traffic = Rc::clone(&connection.traffic);
        let _metered = tally.meter(&traffic);
        let said = connection.say(&self.steps).await;
        if let Ok(said) = &said {
            tally.end(Some(said.ended));
        }
        match &said {
            Ok(said) if said.persists && self.keep_alive => self.pool.put(connection),
            _ => connection.close().await,
        }
        said.map(|said| said.first)
    }
}

impl Target for TcpTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        let tally = Tally::default();
        let done = {
            // Pinned here, as whoever is handed a future makes another copy of it; and over before it is counted.
            let exchange = pin!(self.exchange(&tally));
            self.sharing.within(self.timeout, exchange).await
        };
        tally.outcome(done, self.timeout)
    }
}
