//! How hits get their connections: names are looked up, addresses are tried in turn, and TLS is agreed on.
//!
//! What the kinds that hit over a network share. What is said over a connection
//! is theirs; how many bytes that takes, and when they come, is counted here.

mod host;
mod pool;
mod socket;
mod stamps;
mod stream;
pub mod tls;
mod traffic;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

pub use host::Host;
pub use pool::{Idle, Pool};
pub use stream::Stream;
pub use traffic::{Tally, Traffic};

use crate::target::{Failure, Phases, Reason};
use crate::wakeups::Wakeups;
use socket::{Collector, Socket};
use stamps::Stamps;

/// How long the addresses of a name are used before it is looked up again.
const ADDRESSES_LAST: Duration = Duration::from_secs(30);

/// A host and port, and how to get there.
pub struct Dialer {
    host: Host,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Locked by the hit that looks the name up, so that others wait for it instead of asking, too.
    known: Mutex<Option<Known>>,
    /// Counts the connections, so that addresses are used in turn.
    turn: Cell<usize>,
    /// How long a hit may take. Its addresses share that, so that one which is silent leaves the others their time.
    timeout: Duration,
    sharing: Sharing,
}

/// Whether hits share their thread's wake-ups: answers that come quickly are left until the next one then, and all
/// that has to be over in time asks there. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Sharing(Rc<OnceCell<Collector>>);

/// A connection over which nothing was said yet.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub stream: Stream,
    /// How long its parts took.
    pub phases: Phases,
}

/// What a name was when it was looked up.
struct Known {
    addresses: Rc<[SocketAddr]>,
    since: Instant,
}

impl Sharing {
    /// From now on they share `wakeups`; connections that are there already don't.
    pub fn share(&self, wakeups: &Rc<Wakeups>) {
        let (wakeups, stamps) = (Rc::clone(wakeups), Rc::<Stamps>::default());
        self.0.get_or_init(|| Collector { wakeups, stamps });
    }

    /// The result of `work`; `None` when it takes longer than `limit`.
    pub async fn within<W: Future>(&self, limit: Duration, work: W) -> Option<W::Output> {
        match self.0.get() {
            Some(collector) => collector.wakeups.timeout(limit, work).await,
            None => tokio::time::timeout(limit, work).await.ok(),
        }
    }
}

impl Dialer {
    /// Leads to `host`, over `tls` where there is some, in hits that take no longer than `timeout`.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear.
    pub fn new(
        host: Host,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        sharing: Sharing,
    ) -> anyhow::Result<Self> {
        let tls = match tls {
            Some(config) => Some((TlsConnector::from(config), host.server_name()?)),
            None => None,
        };
        Ok(Self { host, port, tls, known: Mutex::default(), turn: Cell::default(), timeout, sharing })
    }

    /// Opens a connection that counts into `traffic`.
    ///
    /// # Errors
    /// For `dns`, `connect`, `tls`, or `timeout` where no address has answered.
    pub async fn dial(&self, traffic: Rc<Traffic>) -> Result<Dialed, Failure> {
        let mut phases = Phases::default();
        let mut begin = Instant::now();
        let mut phase = || {
            let now = Instant::now();
            Some(now.duration_since(std::mem::replace(&mut begin, now)))
        };
        let addresses = self.addresses().await?;
        phases.dns = phase().filter(|_| matches!(self.host, Host::Name(_)));
        let stream = self.open(&addresses).await?;
        phases.connect = phase();
        let stream = Socket::new(stream, traffic, self.sharing.0.get().cloned());
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((tls, name)) => match tls.connect(name.clone(), stream).await {
                Ok(stream) => Stream::Tls(Box::new(stream)),
                Err(error) => return Err(Failure::new(Reason::Tls, error)),
            },
        };
        phases.tls = phase().filter(|_| self.tls.is_some());
        Ok(Dialed { stream, phases })
    }

    /// The addresses of the host, at least one.
    async fn addresses(&self) -> Result<Rc<[SocketAddr]>, Failure> {
        let name = match &self.host {
            Host::Address(address) => return Ok(Rc::new([SocketAddr::new(*address, self.port)])),
            Host::Name(name) => name,
        };
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.since.elapsed() < ADDRESSES_LAST) {
            return Ok(Rc::clone(&known.addresses));
        }
        let found = tokio::net::lookup_host((name.as_str(), self.port)).await;
        let addresses: Rc<[SocketAddr]> = found.map_err(|error| Failure::new(Reason::Dns, error))?.collect();
        if addresses.is_empty() {
            return Err(Failure::new(Reason::Dns, "the name has no address"));
        }
        *known = Some(Known { addresses: Rc::clone(&addresses), since: Instant::now() });
        Ok(addresses)
    }

    /// Connects to the address whose turn it is, or else to the first one after it that lets us.
    async fn open(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let first = self.turn.replace(self.turn.get().wrapping_add(1)) % addresses.len();
        let patience = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failure = Failure::new(Reason::Connect, "no address");
        for address in addresses[first..].iter().chain(&addresses[..first]) {
            failure = match self.sharing.within(patience, connect(*address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => Failure::new(Reason::Connect, format_args!("{address}: {error}")),
                None => Failure::new(Reason::Timeout, format_args!("{address}: no answer after {patience:?}")),
            };
        }
        Err(failure)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn addresses_are_used_in_turn_and_dead_ones_passed_over() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two, dead) = (listen(), listen(), listen().local_addr().unwrap());
        let [one, two] = [&one, &two].map(|listener| listener.local_addr().unwrap());
        let dialer =
            || Dialer::new(Host::Name("host".into()), 80, None, Duration::from_secs(10), Sharing::default()).unwrap();
        let check = async |addresses: &[SocketAddr], expect: &[SocketAddr]| {
            let dialer = dialer();
            for expect in expect {
                assert_eq!(dialer.open(addresses).await.unwrap().peer_addr().unwrap(), *expect, "{addresses:?}");
            }
        };
        check(&[one], &[one, one]).await;
        check(&[one, two], &[one, two, one, two]).await;
        check(&[one, dead], &[one, one, one]).await;
        check(&[one, dead, two], &[one, two, two, one]).await;
        assert_eq!(dialer().open(&[dead, dead]).await.unwrap_err().reason, Reason::Connect);
    }
}
