//! A server that takes whole requests, and keeps what they were and when they came.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::parts::odd::{Odd, read_request};

/// What a database says that has taken everything.
pub const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// One request.
#[derive(Clone, Debug)]
pub struct Post {
    /// When all of it was there.
    pub came: Instant,
    /// When it was answered.
    pub answered: Instant,
    /// The number of the connection that it came over.
    pub connection: usize,
    /// Its head.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// The running server.
pub struct Posts {
    odd: Odd,
    log: Arc<Mutex<Vec<Post>>>,
}

impl Posts {
    /// Starts one that gives the same answer to everything, after a while.
    pub fn answering(answer: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let (log, connections, answer) = (Arc::<Mutex<Vec<Post>>>::default(), AtomicUsize::new(0), answer.into());
        let kept = Arc::clone(&log);
        let odd = Odd::start(move |stream| {
            let connection = connections.fetch_add(1, Ordering::Relaxed);
            loop {
                let (head, body) = read_post(stream)?;
                let came = Instant::now();
                thread::sleep(pause);
                let answered = Instant::now();
                let post = Post { came, answered, connection, head, body };
                kept.lock().expect("nobody panics").push(post);
                stream.write_all(&answer).ok()?;
            }
        });
        Self { odd, log }
    }

    /// What came so far.
    pub fn all(&self) -> Vec<Post> {
        self.log.lock().expect("nobody panics").clone()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.odd.port()
    }
}

/// Reads a request, its body included; `None` at the connection's end.
pub fn read_post(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let head = String::from_utf8(read_request(stream)?).ok()?;
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(Some(0), |n| n.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
