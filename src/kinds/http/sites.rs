//! The servers that the hits of one target speak to.
//!
//! Most speak to one. A list of requests may name several, and redirects may
//! lead to more: each is opened when it is first asked for, and kept.

use std::cell::RefCell;
use std::rc::Rc;

use super::site::{Site, Terms};
use super::url::Url;
use crate::kinds::dial::Host;

/// The most servers that are remembered. Beyond them, as where every redirect leads to another port, one is opened for
/// a single request.
const MAX_SITES: usize = 64;

/// The servers known so far.
#[derive(Debug)]
pub struct Sites {
    known: RefCell<Vec<(Key, Rc<Site>)>>,
    terms: Terms,
}

/// What makes two URLs one server's.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Key {
    tls: bool,
    host: Host,
    port: u16,
    is_stranger: bool,
}

impl Sites {
    /// No server yet; each will be spoken to on these terms.
    pub fn new(terms: Terms) -> Self {
        Self { known: RefCell::default(), terms }
    }

    /// The server of `url`. Doesn't connect.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear, or the system has no root certificates.
    pub fn site(&self, url: &Url) -> anyhow::Result<Rc<Site>> {
        self.find(url, false)
    }

    /// The same for one that the type doesn't name: it is shown no certificate of the client's, and has its own name.
    ///
    /// # Errors
    /// As those of [`site`](Self::site).
    pub fn stranger(&self, url: &Url) -> anyhow::Result<Rc<Site>> {
        self.find(url, true)
    }

    fn find(&self, url: &Url, is_stranger: bool) -> anyhow::Result<Rc<Site>> {
        let is_it = |(key, _): &&(Key, _)| {
            key.tls == url.tls && key.host == url.host && key.port == url.port && key.is_stranger == is_stranger
        };
        if let Some((_, site)) = self.known.borrow().iter().find(is_it) {
            return Ok(Rc::clone(site));
        }
        let mut terms = self.terms.clone();
        if is_stranger {
            terms.dial.identity = None;
            terms.dial.server_name = None;
        }
        let site = Rc::new(Site::new(url, &terms)?);
        let mut known = self.known.borrow_mut();
        if known.len() < MAX_SITES {
            let key = Key { tls: url.tls, host: url.host.clone(), port: url.port, is_stranger };
            known.push((key, Rc::clone(&site)));
        }
        Ok(site)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kinds::dial::{self, Sharing};
    use crate::kinds::http::Http2;

    #[test]
    fn so_many_servers_are_remembered() {
        let (timeout, dial, sharing) = (Duration::from_secs(1), dial::Settings::default(), Sharing::default());
        let sites = Sites::new(Terms { timeout, keep_alive: true, http2: Http2::Never, dial, sharing });
        let url = |port: usize| Url::parse(&format!("http://host:{}/", port + 1)).unwrap();
        for port in 0..MAX_SITES + 10 {
            let first = sites.site(&url(port)).unwrap();
            assert_eq!(Rc::ptr_eq(&first, &sites.site(&url(port)).unwrap()), port < MAX_SITES, "{port}");
        }
        assert_eq!(sites.known.borrow().len(), MAX_SITES);
        let known = sites.site(&url(0)).unwrap();
        assert!(!Rc::ptr_eq(&known, &sites.stranger(&url(0)).unwrap()), "it is shown another face");
    }
}
