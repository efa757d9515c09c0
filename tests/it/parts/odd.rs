//! Servers that do what no good server does: each connection is a closure's, on a thread of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// The largest head of a request that is read, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The running server; it takes no more connections once dropped.
pub struct Odd {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Odd {
    /// Starts one that gives each connection to `serve`, which gives up when it can neither read nor write.
    pub fn start(serve: impl Fn(&mut TcpStream) -> Option<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let odd = Self { address, over: Arc::default() };
        let (over, serve) = (Arc::clone(&odd.over), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), false) = (stream, over.load(Ordering::Relaxed)) else { return };
                let serve = Arc::clone(&serve);
                // Ends with the connection; what a client breaks off is the client's business.
                thread::spawn(move || serve(&mut stream));
            }
        });
        odd
    }

    /// Starts one that answers each request with these bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |stream| {
            loop {
                read_request(stream)?;
                stream.write_all(&bytes).ok()?;
            }
        })
    }

    /// Starts one that answers the first request on a connection with these bytes, and ends it.
    pub fn ending(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |stream| {
            read_request(stream)?;
            stream.write_all(&bytes).ok()
        })
    }

    /// Starts one that answers the first request on a connection with these bytes, and then says no more.
    pub fn stuck_after(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |stream| {
            read_request(stream)?;
            stream.write_all(&bytes).ok()?;
            wait_for_end(stream)
        })
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads the head of a request; `None` at the connection's end.
pub fn read_request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD || !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        head.push(byte[0]);
    }
    Some(head)
}

/// Reads on until the other side ends the connection.
pub fn wait_for_end(stream: &mut impl Read) -> Option<()> {
    while !matches!(stream.read(&mut [0; 4096]), Ok(0) | Err(_)) {}
    Some(())
}

/// Writes a byte each `pause`, again and again from the start, until nobody listens.
pub fn drip(stream: &mut impl Write, bytes: &[u8], pause: Duration) -> Option<()> {
    for byte in bytes.iter().cycle() {
        stream.write_all(&[*byte]).and_then(|()| stream.flush()).ok()?;
        thread::sleep(pause);
    }
    Some(())
}

/// Ends the connection with a reset.
pub fn reset(stream: &TcpStream) -> Option<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &linger).ok()?;
    Some(())
}
