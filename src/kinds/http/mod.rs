//! The kind `http`: a request, and all of its answer, over HTTP/1.1 or HTTP/2, in the clear or over TLS.
//!
//! A hit takes the request whose turn it is and an idle connection from the
//! pool, or opens one, sends the request, which was put together once where
//! nothing in it changes by hit, reads the answer to its end while judging it,
//! and gives the connection back. Nothing is followed, decoded or kept that the
//! type doesn't ask for.
//!
//! The future of the hit itself drives its connection; there are no other
//! tasks, so a hit that is dropped takes its connection with it; over HTTP/2,
//! where hits share connections, its stream.
//!
//! HTTP/1.1 is spoken by a codec of our own, on httparse, as hyper's took more
//! processor time a hit: 13.0 µs instead of 11.0 at 20,000 a second. HTTP/2 is
//! spoken by hyper's, in a way of our own: see its module.
//!
//! No more is sent than was told: a request goes out a second time only when
//! an idle connection turns out to have been closed under it, and then only
//! when it wasn't sent at all, or is idempotent and was not answered by a byte;
//! or when the server says, as it can in HTTP/2, that it has not processed it.

mod answer;
mod ask;
mod connection;
mod cookies;
mod decode;
mod expect;
mod follow;
mod form;
mod forward;
mod h2;
mod head;
mod request;
mod rows;
mod settings;
mod site;
mod sites;
mod template;
#[cfg(test)]
mod tests;
mod turns;
mod url;
mod values;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

pub use ask::{AGENT, Ask};
pub use expect::{Expect, Judge};
pub(in crate::kinds) use h2::finds_fault;
pub use request::{Body, Request};
pub use rows::Rows;
pub use settings::{Http2, Settings};
pub use site::{Site, Terms};
pub use template::Template;
pub use url::Url;
pub use values::{RowOrder, Table};

pub use super::dial::{Host, Settings as DialSettings, Way};
use super::dial::{Sharing, Tally};
use crate::page::Key;
use crate::target::{Failure, Outcome, Target};
use crate::wakeups::Wakeups;
use follow::{Asked, Redirects};
use form::Form;
use sites::Sites;
use turns::Turns;
use values::Source;

/// What a type of this kind can say; each part stands where it is read.
pub const KEYS: &[&[Key]] = &[
    ask::KEYS,
    settings::KEYS,
    follow::KEYS,
    ask::KEYS_OF_ONE,
    expect::KEYS,
    super::dial::KEYS,
    super::dial::PROXY_KEYS,
];

/// HTTP servers, mostly one, and what to ask them in turn.
#[derive(Debug)]
pub struct HttpTarget {
    errands: Vec<Errand>,
    turns: Turns,
    values: Source,
    timeout: Duration,
    sharing: Sharing,
    redirects: Redirects,
    sites: Sites,
}

/// Somebody to ask, what, and what is expected of the answer.
#[derive(Debug)]
struct Errand {
    form: Form,
    judge: Judge,
    url: Url,
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
        let http2 = settings.http2;
        let sites = Sites::new(Terms { timeout, keep_alive, http2, dial, sharing: sharing.clone() });
        let errand = |ask: &Ask| {
            let form = Form::new(ask);
            let judge = Judge::new(&ask.expect).noting(settings.redirects.most > 0, settings.cookies);
            Ok(Errand { form, judge, url: ask.url.clone(), site: sites.site(&ask.url)? })
        };
        let weights: Vec<_> = settings.asks.iter().map(|ask| ask.weight).collect();
        Ok(Self {
            errands: settings.asks.iter().map(errand).collect::<anyhow::Result<_>>()?,
            turns: Turns::new(&weights),
            values: Source::new(settings.table.clone()),
            timeout,
            sharing,
            redirects: settings.redirects.clone(),
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

    /// How many bytes the request of a hit has, put together and not sent.
    #[doc(hidden)]
    pub fn request_size(&self, number: u64) -> usize {
        let request = self.errands[self.turns.at(number)].form.fill(number, &self.values);
        request.head.len() + request.body.len()
    }

    /// Sends the request of the hit of this number, and those that it leads to; `None` when all was as expected.
    async fn exchange(&self, number: u64, tally: &Tally) -> Option<Failure> {
        let errand = &self.errands[self.turns.at(number)];
        let request = errand.form.fill(number, &self.values);
        let head = match errand.site.ask(&request, &errand.judge, tally).await {
            Ok(answered) if answered.leads_elsewhere() => answered.head,
            Ok(answered) => return answered.failure,
            Err(failure) => return Some(failure),
        };
        let first = Asked { url: &errand.url, site: &errand.site, request: &request };
        // Boxed, as it is large and seldom needed.
        Box::pin(self.redirects.follow(&self.sites, first, head, &errand.judge, tally)).await
    }
}

impl Target for HttpTarget {
    async fn hit(&self, number: u64) -> Outcome {
        let tally = Tally::default();
        let done = {
            // Pinned here, as whoever is handed a future makes another copy of it; and over before it is counted.
            let exchange = pin!(self.exchange(number, &tally));
            self.sharing.within(self.timeout, exchange).await
        };
        tally.outcome(done, self.timeout)
    }
}
