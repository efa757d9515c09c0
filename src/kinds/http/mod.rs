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
mod forward;
mod head;
mod request;
mod settings;
mod site;
mod sites;
#[cfg(test)]
mod tests;
mod url;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

pub use expect::Expect;
pub use settings::Settings;
pub use url::Url;

pub use super::dial::{Host, Settings as DialSettings, Way};
use super::dial::{Sharing, Tally};
use crate::page::Key;
use crate::target::{Failure, Outcome, Reason, Target};
use crate::wakeups::Wakeups;
use expect::Judge;
use request::Request;
use site::{Site, Terms};
use sites::Sites;

/// What a type of this kind can say; each part stands where it is read.
pub const KEYS: &[&[Key]] = &[settings::KEYS, expect::KEYS, super::dial::KEYS, super::dial::PROXY_KEYS];

/// An HTTP server, and what to ask it.
#[derive(Debug)]
pub struct HttpTarget {
    request: Request,
    judge: Judge,
    timeout: Duration,
    sharing: Sharing,
    #[expect(dead_code, reason = "all requests go to one server so far")]
    sites: Sites,
    site: Rc<Site>,
}

impl HttpTarget {
    /// Prepares everything that hits have in common; sends nothing yet.
    ///
    /// # Errors
    /// The URL is https and the system has no root certificates.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let sharing = Sharing::default();
        let (timeout, keep_alive, dial) = (settings.timeout, settings.keep_alive, settings.dial.clone());
        let sites = Sites::new(Terms { timeout, keep_alive, dial, sharing: sharing.clone() });
        Ok(Self {
            request: Request::new(settings),
            judge: Judge::new(&settings.expect),
            timeout,
            sharing,
            site: sites.site(&settings.url)?,
            sites,
        })
    }

    /// The same, but hits share the thread's wake-ups: answers that come quickly are left until the next one, and are
    /// no less exactly timed for that.
    #[must_use]
    pub fn sharing(self, wakeups: &Rc<Wakeups>) -> Self {
        self.sharing.share(wakeups);
        self
    }

    /// Sends the request; `None` when all was as expected.
    async fn exchange(&self, tally: &Tally) -> Option<Failure> {
        self.site.ask(&self.request, &self.judge, tally).await.map_or_else(Some, |answered| answered.failure)
    }
}

impl Target for HttpTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        let tally = Tally::default();
        let done = {
            // Pinned here, as whoever is handed a future makes another copy of it; and over before it is counted.
            let exchange = pin!(self.exchange(&tally));
            self.sharing.within(self.timeout, exchange).await
        };
        let late = || {
            let detail = format_args!("not done after {:?}, {}", self.timeout, tally.doing());
            Some(Failure::new(Reason::Timeout, detail))
        };
        let failure = done.unwrap_or_else(late);
        let (bytes_in, bytes_out, ended) = (tally.received(), tally.sent(), tally.ended());
        Outcome { failure, bytes_in, bytes_out, ended, phases: tally.phases(), ..Outcome::default() }
    }
}
