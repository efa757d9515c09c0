//! Where connections lead: names are looked up, addresses are tried in turn, and TLS is agreed on.

use std::cell::Cell;
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

use super::connection::Connection;
use super::socket::{Collector, Socket};
use super::stream::Stream;
use super::traffic::Traffic;
use super::url::{Host, Url};
use crate::target::{Failure, Reason};

/// How long the addresses of a name are used before it is looked up again.
const ADDRESSES_LAST: Duration = Duration::from_secs(30);

/// A host and port, and how to get there.
pub struct Origin {
    host: Host,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Locked by the hit that looks the name up, so that others wait for it instead of asking, too.
    known: Mutex<Option<Known>>,
    /// Counts the connections, so that addresses are used in turn.
    turn: Cell<usize>,
    /// How long a hit may take. Its addresses share that, so that one which is silent leaves the others their time.
    timeout: Duration,
    /// Who looks at answers that were left; none: all sockets are watched.
    pub collector: Option<Collector>,
}

/// What a name was when it was looked up.
struct Known {
    addresses: Rc<[SocketAddr]>,
    since: Instant,
}

impl Origin {
    /// The origin of `url`, spoken to over `tls` where there is some, by hits that take no longer than `timeout`.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear.
    pub fn new(url: &Url, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> anyhow::Result<Self> {
        let tls = match tls {
            Some(config) => Some((TlsConnector::from(config), url.host.server_name()?)),
            None => None,
        };
        let (host, port) = (url.host.clone(), url.port);
        Ok(Self { host, port, tls, known: Mutex::default(), turn: Cell::default(), timeout, collector: None })
    }

    /// Opens a connection that counts into `traffic`.
    pub async fn connect(&self, traffic: Rc<Traffic>) -> Result<Connection, Failure> {
        let stream = self.dial(&self.addresses().await?).await?;
        let stream = Socket::new(stream, Rc::clone(&traffic), self.collector.clone());
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((tls, name)) => match tls.connect(name.clone(), stream).await {
                Ok(stream) => Stream::Tls(Box::new(stream)),
                Err(error) => return Err(Failure::new(Reason::Tls, error)),
            },
        };
        Ok(Connection::new(stream, traffic))
    }

    /// The result of `work`; `None` when it takes longer than `limit`.
    pub async fn within<W: Future>(&self, limit: Duration, work: W) -> Option<W::Output> {
        match &self.collector {
            Some(collector) => collector.wakeups.timeout(limit, work).await,
            None => tokio::time::timeout(limit, work).await.ok(),
        }
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
    async fn dial(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let first = self.turn.replace(self.turn.get().wrapping_add(1)) % addresses.len();
        let patience = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failure = Failure::new(Reason::Connect, "no address");
        for address in addresses[first..].iter().chain(&addresses[..first]) {
            failure = match self.within(patience, open(*address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => Failure::new(Reason::Connect, format_args!("{address}: {error}")),
                None => Failure::new(Reason::Timeout, format_args!("{address}: no answer after {patience:?}")),
            };
        }
        Err(failure)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
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
        let origin = || Origin::new(&Url::parse("http://host/").unwrap(), None, Duration::from_secs(10)).unwrap();
        let check = async |addresses: &[SocketAddr], expect: &[SocketAddr]| {
            let origin = origin();
            for expect in expect {
                assert_eq!(origin.dial(addresses).await.unwrap().peer_addr().unwrap(), *expect, "{addresses:?}");
            }
        };
        check(&[one], &[one, one]).await;
        check(&[one, two], &[one, two, one, two]).await;
        check(&[one, dead], &[one, one, one]).await;
        check(&[one, dead, two], &[one, two, two, one]).await;
        assert_eq!(origin().dial(&[dead, dead]).await.unwrap_err().reason, Reason::Connect);
    }
}
