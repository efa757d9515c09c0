//! How hits get their connections: names are looked up, addresses are tried in turn, and TLS is agreed on.
//!
//! What the kinds that hit over a network share. What is said over a connection
//! is theirs; how many bytes that takes, and when they come, is counted here.

mod host;
mod names;
mod pool;
mod proxy;
#[cfg(test)]
pub mod served;
mod settings;
mod socket;
mod stamps;
mod stream;
mod tls;
mod traffic;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

pub use host::Host;
pub use pool::{Idle, Pool};
pub use settings::{Settings, Way, authorities, socket_path};
pub use stream::Stream;
pub use tls::{config as tls_config, config_for as tls_for, config_for_nobody as no_tls, detail, is_of_tls};
pub use traffic::{Doing, Tally, Traffic};

use crate::target::{Failure, Phases, Reason};
use crate::wakeups::Wakeups;
use names::Names;
use proxy::Proxy;
use socket::{Collector, Connected, Socket};
use stamps::Stamps;

// What types can say of it.
pub use proxy::KEYS as PROXY_KEYS;
pub use settings::KEYS;

/// Whom to speak to.
#[derive(Clone, Debug)]
pub struct Peer<'a> {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// The protocols to offer by ALPN, where TLS is spoken.
    pub tls: Option<&'a [&'a [u8]]>,
}

/// A host and port, and how to get there.
pub struct Dialer {
    hop: Hop,
    tunnel: Option<Tunnel>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Counts the connections, so that addresses are used in turn.
    turn: Cell<usize>,
    /// How long a connection may take. Its addresses share that, so that one which is silent leaves the others their
    /// time.
    timeout: Duration,
    /// Whether that is less than a hit may take.
    is_bounded: bool,
    sharing: Sharing,
}

/// Where connections of ours lead.
#[derive(Debug)]
enum Hop {
    Addresses(Arc<[SocketAddr]>),
    Named(Names),
    Socket(Arc<Path>),
}

/// How it goes on behind a proxy.
#[derive(Debug)]
struct Tunnel {
    proxy: Arc<Proxy>,
    /// The server, as the proxy is told of it.
    to: String,
}

/// Whether hits share their thread's wake-ups: answers that come quickly are left until the next one then, and all
/// that has to be over in time asks there. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Sharing(Rc<OnceCell<Collector>>);

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
    /// Leads to `peer` as `settings` say, in hits that take no longer than `timeout`.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear, or TLS is spoken and the system has no root certificates.
    pub fn new(peer: &Peer<'_>, settings: &Settings, timeout: Duration, sharing: Sharing) -> anyhow::Result<Self> {
        let Peer { host, port, tls } = peer;
        let tls = match tls {
            Some(alpn) => {
                let name = settings.server_name.clone().map_or_else(|| host.server_name(), Ok)?;
                Some((TlsConnector::from(tls::config(settings, alpn)?), name))
            }
            None => None,
        };
        let leads_to = |host: &Host, port| match host {
            Host::Address(address) => Hop::Addresses([SocketAddr::new(*address, port)].into()),
            Host::Name(name) => Hop::Named(Names::new(name, port, settings.dns_ttl)),
        };
        let hop = match &settings.way {
            Way::Host => leads_to(host, *port),
            Way::Addresses(places) => Hop::Addresses(places.iter().map(|place| place.with_port(*port)).collect()),
            Way::Socket(path) => Hop::Socket(Arc::clone(path)),
            Way::Proxy(proxy) => leads_to(&proxy.host, proxy.port),
        };
        let tunnel = match &settings.way {
            Way::Proxy(proxy) if tls.is_some() => Some(Tunnel { proxy: Arc::clone(proxy), to: host.with_port(*port) }),
            _ => None,
        };
        let limit = settings.connect_timeout.filter(|limit| *limit < timeout);
        Ok(Self {
            hop,
            tunnel,
            tls,
            // A run that needs one connection should not take the first address each minute.
            turn: Cell::new(fastrand::usize(..)),
            timeout: limit.unwrap_or(timeout),
            is_bounded: limit.is_some(),
            sharing,
        })
    }

    /// Opens a connection that counts into `traffic`, for the hit of `tally`, which is told of bytes and phases however
    /// that ends.
    ///
    /// # Errors
    /// For `dns`, `connect`, `tls`, or `timeout` where that takes longer than a connection may.
    pub async fn dial(&self, traffic: &Rc<Traffic>, tally: &Tally) -> Result<Stream, Failure> {
        let _metered = tally.meter(traffic);
        // Boxed, as it is large, and over long before the hit is.
        let dialing = Box::pin(self.dial_phases(traffic, tally));
        let dialed = match self.is_bounded {
            true => self.sharing.within(self.timeout, dialing).await.unwrap_or_else(|| {
                let detail = format_args!("no connection after {:?}, {}", self.timeout, tally.doing());
                Err(Failure::new(Reason::Timeout, detail))
            }),
            // The hit's own time is all there is.
            false => dialing.await,
        };
        tally.begin(Doing::Asking);
        dialed
    }

    /// An address to send datagrams to: that whose turn it is.
    ///
    /// # Errors
    /// For `dns`, or `connect` where it is no address that connections lead to.
    pub async fn address(&self) -> Result<SocketAddr, Failure> {
        let addresses = match &self.hop {
            Hop::Addresses(addresses) => Arc::clone(addresses),
            Hop::Named(names) => names.addresses().await?.all,
            Hop::Socket(_) => return Err(Failure::new(Reason::Connect, "a unix socket takes no datagrams")),
        };
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        Ok(addresses[turn % addresses.len()])
    }

    async fn dial_phases(&self, traffic: &Rc<Traffic>, tally: &Tally) -> Result<Stream, Failure> {
        let begin = Instant::now();
        let mut last = begin;
        let mut phases = Phases::default();
        let is_first = tally.phases().is_none();
        if is_first {
            tally.open(phases);
        }
        let mut ended = |note: fn(&mut Phases, Duration)| {
            let now = Instant::now();
            note(&mut phases, now.duration_since(std::mem::replace(&mut last, now)));
            if is_first {
                tally.open(phases);
            }
        };

        let stream = match &self.hop {
            Hop::Addresses(addresses) => self.open(addresses, begin, tally).await?,
            Hop::Named(names) => {
                tally.begin(Doing::LookingUp);
                let addresses = names.addresses().await?;
                if addresses.looked_up {
                    ended(|phases, took| phases.dns = Some(took));
                }
                self.open(&addresses.all, begin, tally).await?
            }
            Hop::Socket(path) => {
                tally.begin(Doing::ConnectingHere);
                connect_here(path).await?
            }
        };
        let mut socket = Socket::new(stream, Rc::clone(traffic), self.sharing.0.get().cloned());
        if let Some(Tunnel { proxy, to }) = &self.tunnel {
            tally.begin(Doing::Proxy);
            proxy.tunnel(&mut socket, to).await?;
        }
        ended(|phases, took| phases.connect = Some(took));

        let Some((tls, name)) = &self.tls else { return Ok(Stream::Plain(socket)) };
        tally.begin(Doing::Tls);
        let stream = tls.connect(name.clone(), socket).await;
        let stream = stream.map_err(|error| Failure::new(Reason::Tls, detail(&error)))?;
        ended(|phases, took| phases.tls = Some(took));
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Connects to the address whose turn it is, or else to the first one after it that lets us; all of it has to be
    /// over in time since `begin`.
    async fn open(&self, addresses: &[SocketAddr], begin: Instant, tally: &Tally) -> Result<Connected, Failure> {
        let first = self.turn.replace(self.turn.get().wrapping_add(1)) % addresses.len();
        let mut failure = Failure::new(Reason::Connect, "no address");
        for (tried, address) in addresses[first..].iter().chain(&addresses[..first]).enumerate() {
            tally.begin(Doing::Connecting(*address));
            let left = self.timeout.saturating_sub(begin.elapsed());
            let patience = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            failure = match self.sharing.within(patience, connect(*address)).await {
                Some(Ok(stream)) => return Ok(Connected::Tcp(stream)),
                Some(Err(error)) => Failure::new(Reason::Connect, format_args!("{address}: {error}")),
                None => Failure::new(Reason::Timeout, format_args!("{address}: no answer after {patience:?}")),
            };
        }
        Err(failure)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("hop", &self.hop).field("tunnel", &self.tunnel).finish_non_exhaustive()
    }
}

/// Connects to an address.
///
/// Where nobody listens on a port of this host, the kernel may give a connection that very port for its own end, and
/// it is connected with itself: that is nobody, and would keep the port from whoever is to listen there.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if is_with_itself(&stream, address.port())? {
        // Not even for the minute that a connection is remembered.
        stream.set_zero_linger()?;
        return Err(ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a connection to the port `to` is one with itself. Mostly its own port says that it isn't.
fn is_with_itself(stream: &TcpStream, to: u16) -> io::Result<bool> {
    let own = stream.local_addr()?;
    Ok(own.port() == to && own == stream.peer_addr()?)
}

/// Connects to a unix socket.
async fn connect_here(path: &Path) -> Result<Connected, Failure> {
    let failed = |error: io::Error| match error.kind() {
        // What for TCP is a timeout at best: the kernel doesn't let us wait for room.
        ErrorKind::WouldBlock => Failure::new(Reason::Connect, "the socket's queue of connections is full"),
        _ => Failure::new(Reason::Connect, format_args!("{}: {error}", path.display())),
    };
    UnixStream::connect(path).await.map(Connected::Unix).map_err(failed)
}

#[cfg(test)]
mod tests;
