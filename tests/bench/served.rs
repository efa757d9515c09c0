//! A server that costs as little as a server can, for benches of what hits it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Answers whatever is asked with 200, a thread a connection.
pub fn serve() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut buffer = [0; 4096];
    let mut held = 0;
    loop {
        let read = stream.read(&mut buffer[held..]).ok().filter(|read| *read > 0)?;
        held += read;
        // A request at a time, its body in the same write as its head.
        let whole = |request: &[u8]| request.ends_with(b"\r\n\r\n") || request.ends_with(b"}");
        if whole(&buffer[..held]) {
            held = 0;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").ok()?;
        }
    }
}
