//! Where batches go: the servers of a client, in turn, in the client's format.
//!
//! A batch that a database has taken, or will never take, is done. One of
//! which that isn't known is to be sent again: its points have the same time
//! stamps, and the same series, so they replace themselves. Datagrams are done
//! once they are sent, as nobody ever says more of them.

mod datagrams;
mod fate;
pub mod queries;
pub mod requests;
mod streams;

use super::settings::{Address, Client, Format, Server};
use crate::kinds::dial::{Dialer, Peer, Sharing, Tally};
use crate::kinds::http::Body;
use crate::target::Failure;
use datagrams::Datagrams;
pub use fate::Fate;
use requests::Requests;

/// Servers that take points.
#[derive(Debug)]
pub enum Outlet {
    /// Line protocol over HTTP.
    Requests(Requests),
    /// Any format, as datagrams.
    Datagrams(Vec<Datagrams>),
    /// Graphite's lines, a connection a batch.
    Streams(Vec<Dialer>),
}

/// What became of a batch.
#[derive(Debug)]
pub struct Sent {
    /// Why it isn't as it was meant to be.
    pub failure: Option<Failure>,
    /// Whether its points are done.
    pub fate: Fate,
}

impl Outlet {
    /// The servers of `client`. Doesn't connect.
    ///
    /// # Errors
    /// A host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(client: &Client, server: &Server, sharing: &Sharing) -> anyhow::Result<Self> {
        let dialer = |address: &Address| {
            let peer = Peer { host: address.host.clone(), port: address.port, tls: None };
            Dialer::new(&peer, &server.dial, server.timeout, sharing.clone())
        };
        let dialers = || client.addresses.iter().map(dialer);
        Ok(match client.format {
            Format::LineHttp => Self::Requests(Requests::new(client, server, sharing)?),
            Format::LineUdp | Format::GraphiteUdp => {
                Self::Datagrams(dialers().map(|dialer| dialer.map(Datagrams::new)).collect::<anyhow::Result<_>>()?)
            }
            Format::GraphiteTcp => Self::Streams(dialers().collect::<anyhow::Result<_>>()?),
        })
    }

    /// Sends a batch of so many points, which are the lines `lines`, to the server whose turn it is, and gives the lines
    /// back.
    pub async fn send(&self, turn: u64, points: u64, lines: Body, tally: &Tally) -> (Sent, Body) {
        let sent = match self {
            Self::Requests(requests) => return requests.send(turn, points, lines, tally).await,
            Self::Datagrams(servers) => at(servers, turn).send(&lines, tally).await,
            Self::Streams(servers) => streams::send(at(servers, turn), &lines, tally).await,
        };
        (Sent::unanswered(sent), lines)
    }
}

impl Sent {
    /// Nobody says what became of it: where it could be sent, it is done.
    fn unanswered(sent: Result<(), Failure>) -> Self {
        match sent {
            Ok(()) => Self { failure: None, fate: Fate::Done { rejected: 0 } },
            Err(failure) => Self { failure: Some(failure), fate: Fate::Undone },
        }
    }
}

/// The one of `all` whose turn it is.
pub fn at<T>(all: &[T], turn: u64) -> &T {
    &all[(turn % all.len() as u64) as usize]
}
