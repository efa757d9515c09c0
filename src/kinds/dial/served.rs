//! Little servers for the tests of kinds that hit over a network.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};

/// Serves one connection after the other, each with its number, for as long as the tests run; where, and how many it
/// has accepted.
pub fn server(serve: impl Fn(usize, TcpStream) + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(count.fetch_add(1, Ordering::SeqCst), stream.unwrap());
        }
    });
    (address, accepted)
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(stream);
}

/// Says a last word and closes: nobody hears the one without the other.
pub fn close_with(stream: TcpStream, word: &[u8]) {
    let more = MsgFlags::from_bits_retain(nix::libc::MSG_MORE);
    assert_eq!(send(stream.as_raw_fd(), word, more), Ok(word.len()));
    drop(stream);
}
