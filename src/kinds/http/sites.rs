//! The servers that the hits of one target speak to.
//!
//! Most speak to one. A list of requests may name several, and redirects may
//! lead to more: each is opened when it is first asked for, and kept.

use std::cell::RefCell;
use std::rc::Rc;

use super::site::{Site, Terms};
use super::url::Url;
use crate::kinds::dial::Host;

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
        let is_it = |(key, _): &&(Key, _)| key.tls == url.tls && key.host == url.host && key.port == url.port;
        if let Some((_, site)) = self.known.borrow().iter().find(is_it) {
            return Ok(Rc::clone(site));
        }
        let site = Rc::new(Site::new(url, &self.terms)?);
        let key = Key { tls: url.tls, host: url.host.clone(), port: url.port };
        self.known.borrow_mut().push((key, Rc::clone(&site)));
        Ok(site)
    }
}
