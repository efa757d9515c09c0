//! An HTTP/1.1 server of the test's own, for what nginx can't be: slow, odd, or curious about what it is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What it answers, and when.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How long it takes.
    pub after: Duration,
    /// Whether it closes the connection behind each answer.
    pub closes: bool,
    /// Whether only the first request takes that long, and all others no time.
    pub once: bool,
    /// The bytes of the whole answer, status line and headers included.
    pub bytes: Vec<u8>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its head was read, in seconds since 1970 by the real clock.
    pub at: f64,
    /// The request line and the headers, a line each.
    pub head: Vec<String>,
    /// Its body.
    pub body: String,
    /// Which connection it came over, from 0.
    pub connection: usize,
}

/// The running server; it takes no more connections once dropped.
pub struct Target {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Answer {
    /// 200 with a short body, `after` so long.
    pub fn ok(after: Duration) -> Self {
        Self { after, ..Self::bytes("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n") }
    }

    /// These bytes, at once.
    pub fn bytes(bytes: &str) -> Self {
        Self { after: Duration::ZERO, once: false, closes: false, bytes: bytes.as_bytes().to_vec() }
    }

    /// The same, with the connection closed behind it.
    pub fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The same, slow for the first request alone.
    pub fn once(self) -> Self {
        Self { once: true, ..self }
    }
}

impl Target {
    /// Starts one that gives every request the same answer.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let target = Self { address, seen: Arc::default(), over: Arc::default() };
        let (seen, over) = (Arc::clone(&target.seen), Arc::clone(&target.over));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), seen, answer) = (stream, Arc::clone(&seen), answer.clone()) else { return };
                // Ends with the connection; what a client breaks off is the client's business.
                thread::spawn(move || serve(stream, connection, &seen, &answer));
            }
        });
        target
    }

    /// The address of `path` here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, connection: usize, seen: &Mutex<Vec<Request>>, answer: &Answer) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").and_then(|length| length.trim().parse().ok())
        });
        let at = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let number = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(Request { at, head, body, connection });
            seen.len()
        };
        if number == 1 || !answer.once {
            thread::sleep(answer.after);
        }
        writer.write_all(&answer.bytes).ok()?;
        if answer.closes {
            return None;
        }
    }
}
