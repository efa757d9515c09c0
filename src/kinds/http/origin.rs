//! Where connections lead: names are looked up, addresses are tried in turn, and TLS is agreed on.

use std::cell::Cell;
use std::fmt;
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
use super::stream::{Counted, Stream};
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
}

/// What a name was when it was looked up.
struct Known {
    addresses: Rc<[SocketAddr]>,
    since: Instant,
}

impl Origin {
    /// The origin of `url`, spoken to over `tls` where there is some.
    pub fn new(url: &Url, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let tls = match tls {
            Some(config) => Some((TlsConnector::from(config), url.host.server_name()?)),
            None => None,
        };
        Ok(Self { host: url.host.clone(), port: url.port, tls, known: Mutex::default(), turn: Cell::default() })
    }

    /// Opens a connection that counts into `traffic`.
    pub async fn connect(&self, traffic: Rc<Traffic>) -> Result<Connection, Failure> {
        let stream = self.dial(&self.addresses().await?).await?;
        let stream = Counted::new(stream, Rc::clone(&traffic));
        let heard = Rc::default();
        let stream = match &self.tls {
            None => Stream::plain(stream, Rc::clone(&heard)),
            Some((tls, name)) => match tls.connect(name.clone(), stream).await {
                Ok(stream) => Stream::tls(stream, Rc::clone(&heard)),
                Err(error) => return Err(Failure::new(Reason::Tls, error)),
            },
        };
        Connection::open(stream, traffic, heard).await
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
        let first = self.turn.replace(self.turn.get().wrapping_add(1));
        let mut failure = Failure::new(Reason::Connect, "no address");
        for next in 0..addresses.len() {
            let address = addresses[first.wrapping_add(next) % addresses.len()];
            let connected = async {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(stream)
            };
            match connected.await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Failure::new(Reason::Connect, format_args!("{address}: {error}")),
            }
        }
        Err(failure)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
