//! Batches as datagrams, each of whole lines.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use tokio::net::UdpSocket;

use crate::kinds::dial::{Dialer, Tally};
use crate::target::{Failure, Reason};

/// The most that a datagram has, in bytes: what an Ethernet takes in one piece. A line that is longer goes alone.
const MAX_DATAGRAM: usize = 1432;

/// A server that takes datagrams.
#[derive(Debug)]
pub struct Datagrams {
    dialer: Dialer,
    /// The socket, and the address that it is connected to.
    socket: RefCell<Option<(SocketAddr, Rc<UdpSocket>)>>,
}

impl Datagrams {
    /// The server that `dialer` leads to.
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, socket: RefCell::default() }
    }

    /// Sends all lines, as fast as the system takes them.
    ///
    /// # Errors
    /// For `dns`; for `connect`, where one of them was refused, or the last of those before; for `other`.
    pub async fn send(&self, lines: &[u8], tally: &Tally) -> Result<(), Failure> {
        let address = self.dialer.address().await?;
        let failed = |error: io::Error| {
            let reason = match error.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable => Reason::Connect,
                _ => Reason::Other,
            };
            Failure::new(reason, format_args!("{address}: {error}"))
        };
        let socket = self.socket(address).await.map_err(failed)?;
        let mut rest = lines;
        while !rest.is_empty() {
            let (datagram, after) = rest.split_at(first_of(rest));
            let sent = socket.send(datagram).await.map_err(failed)?;
            tally.add_sent(sent as u64);
            rest = after;
        }
        // The last one's refusal would be heard by the next batch alone. From this very machine it comes at once; one
        // that comes later is not waited for.
        socket.take_error().map_err(failed)?.map_or(Ok(()), |error| Err(failed(error)))
    }

    /// A socket that is connected to `address`, so that it hears when nobody is there.
    async fn socket(&self, address: SocketAddr) -> io::Result<Rc<UdpSocket>> {
        if let Some((other, socket)) = &*self.socket.borrow()
            && *other == address
        {
            return Ok(Rc::clone(socket));
        }
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = Rc::new(UdpSocket::bind(any).await?);
        socket.connect(address).await?;
        *self.socket.borrow_mut() = Some((address, Rc::clone(&socket)));
        Ok(socket)
    }
}

/// How many bytes of `lines` the first datagram has.
fn first_of(lines: &[u8]) -> usize {
    if lines.len() <= MAX_DATAGRAM {
        return lines.len();
    }
    match memchr::memrchr(b'\n', &lines[..MAX_DATAGRAM]) {
        Some(end) => end + 1,
        None => memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kinds::dial::{Host, Peer, Settings, Sharing};

    #[tokio::test]
    async fn nothing_is_sent_where_nobody_listens() {
        // The port 1 is nobody's, and no socket of a test can come to have it.
        let peer = Peer { host: Host::Address(Ipv4Addr::LOCALHOST.into()), port: 1, tls: None };
        let dialer = Dialer::new(&peer, &Settings::default(), Duration::from_secs(5), Sharing::default());
        let datagrams = Datagrams::new(dialer.expect("nothing is missing"));
        // Of one datagram, and of several.
        let line = [b"x".repeat(999).as_slice(), b"\n"].concat();
        for count in [1, 1, 1, 3, 3, 1] {
            let sent = datagrams.send(&line.repeat(count), &Tally::default()).await;
            assert_eq!(sent.map_err(|failure| failure.reason), Err(Reason::Connect), "{count}");
        }
    }

    #[test]
    fn datagrams_have_whole_lines() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let lines: Vec<Vec<u8>> = (0..random.usize(1..80))
                .map(|_| {
                    let long = if random.u8(..) == 0 { 3000 } else { 200 };
                    [vec![b'x'; random.usize(0..long)], b"\n".to_vec()].concat()
                })
                .collect();
            let all = lines.concat();
            let (mut rest, mut seen) = (all.as_slice(), 0);
            while !rest.is_empty() {
                let (datagram, after) = rest.split_at(first_of(rest));
                assert_eq!(datagram.last(), Some(&b'\n'));
                let count = memchr::memchr_iter(b'\n', datagram).count();
                assert!(datagram.len() <= MAX_DATAGRAM || count == 1);
                // No more would have found room.
                let next = lines.get(seen + count).map_or(usize::MAX, Vec::len);
                assert!(datagram.len().saturating_add(next) > MAX_DATAGRAM);
                seen += count;
                rest = after;
            }
            assert_eq!(seen, lines.len());
        }
    }
}
