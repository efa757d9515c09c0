//! Receivers of the test's own: one that accepts and hangs, and one for datagrams.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

/// A TCP server that never accepts, so that the kernel does; never reads, and never closes until dropped.
pub struct Hanging {
    _listener: TcpListener,
    /// Where it listens.
    pub port: u16,
}

impl Hanging {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        Self { _listener: listener, port }
    }
}

/// A UDP socket that keeps what it is sent.
pub struct Datagrams {
    socket: UdpSocket,
    /// Where it listens.
    pub port: u16,
}

impl Datagrams {
    /// Starts one.
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out can be set");
        let port = socket.local_addr().expect("a bound socket has an address").port();
        Self { socket, port }
    }

    /// All datagrams that have come since the last call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let mut taken = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            taken.push(buffer[..length].to_vec());
        }
        taken
    }
}
