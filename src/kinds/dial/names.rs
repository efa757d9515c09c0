//! The addresses of a name, looked up anew when they are too old.
//!
//! The system looks names up, in a thread of its own; that may take longer than
//! any hit, and can't be broken off. So there is one look-up of a name at a
//! time, which goes on when the hit that began it is over, and whoever needs
//! the name meanwhile waits for that one.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::task::spawn_blocking;

use crate::target::{Failure, Reason};

/// Looks a name and port up, as long as that takes.
pub type LookUp = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// A name and port, and what is known of them.
pub struct Names {
    name: Arc<str>,
    port: u16,
    ttl: Duration,
    look_up: LookUp,
    state: RefCell<State>,
}

/// Addresses, and whether they were looked up for whoever asked.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// At least one.
    pub all: Arc<[SocketAddr]>,
    /// Whether that took a look-up.
    pub looked_up: bool,
}

#[derive(Default)]
struct State {
    known: Option<Found>,
    asking: Option<Shared<Pin<Box<dyn Future<Output = Found>>>>>,
}

/// What came of a look-up, and when.
#[derive(Clone)]
struct Found {
    addresses: Result<Arc<[SocketAddr]>, Failure>,
    at: Instant,
}

impl Names {
    /// Knows nothing yet of `name`. What is found is used for as long as `ttl`.
    pub fn new(name: &str, port: u16, ttl: Duration) -> Self {
        Self::with(name, port, ttl, Arc::new(|name, port| Ok((name, port).to_socket_addrs()?.collect())))
    }

    /// The same, with another way to look names up than the system's.
    pub fn with(name: &str, port: u16, ttl: Duration, look_up: LookUp) -> Self {
        Self { name: name.into(), port, ttl, look_up, state: RefCell::default() }
    }

    /// The name's addresses. When they have become too old and it can't be looked up any more, they are not used
    /// either: nobody else would get there.
    ///
    /// # Errors
    /// For `dns`.
    pub async fn addresses(&self) -> Result<Addresses, Failure> {
        let since = Instant::now();
        loop {
            if let Some(all) = self.known() {
                return Ok(Addresses { all, looked_up: false });
            }
            let asking = self.state.borrow_mut().asking.get_or_insert_with(|| self.ask()).clone();
            let found = asking.clone().await;
            let mut state = self.state.borrow_mut();
            if state.asking.as_ref().is_some_and(|other| other.ptr_eq(&asking)) {
                state.asking = None;
                state.known = Some(found.clone());
            }
            // A look-up for which nobody has waited may have ended long ago: then it is as old as that.
            if found.at >= since {
                return found.addresses.map(|all| Addresses { all, looked_up: true });
            }
        }
    }

    /// What is known and not too old.
    fn known(&self) -> Option<Arc<[SocketAddr]>> {
        let state = self.state.borrow();
        let known = state.known.as_ref().filter(|known| known.at.elapsed() < self.ttl)?;
        known.addresses.as_ref().ok().cloned()
    }

    fn ask(&self) -> Shared<Pin<Box<dyn Future<Output = Found>>>> {
        let (name, port, look_up) = (Arc::clone(&self.name), self.port, Arc::clone(&self.look_up));
        let asked = spawn_blocking(move || {
            let looked_up = look_up(&name, port).map_err(|error| Failure::new(Reason::Dns, error));
            let addresses = looked_up.and_then(|addresses| match addresses.is_empty() {
                true => Err(Failure::new(Reason::Dns, "the name has no address")),
                false => Ok(addresses.into()),
            });
            Found { addresses, at: Instant::now() }
        });
        let broken = |error| Found { addresses: Err(Failure::new(Reason::Dns, error)), at: Instant::now() };
        let asked: Pin<Box<dyn Future<Output = Found>>> =
            Box::pin(asked.map(move |found| found.unwrap_or_else(broken)));
        asked.shared()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}
