//! A server that speaks in lines, as many do: it counts connections and remembers every line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::certificates::Certificate;
use super::tls;

/// What it answers to a line; nothing: it closes the connection.
type Answer = fn(&str) -> Option<&'static str>;

/// The running server; over TCP it takes no more connections once dropped.
pub struct Lines {
    address: Option<SocketAddr>,
    seen: Arc<Seen>,
}

/// What it has seen so far.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    /// Connections that were closed with their last line answered, and without a reset.
    closed: AtomicUsize,
    lines: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Lines {
    /// Starts one that greets each connection, if only with nothing, and answers each line.
    pub fn start(greeting: &'static str, answer: Answer) -> Self {
        Self::listen(move |stream, seen| seen.serve(&stream, &stream, greeting, answer))
    }

    /// The same, over TLS.
    pub fn start_tls(certificate: &Certificate, greeting: &'static str, answer: Answer) -> Self {
        let config = tls::config(certificate, None, &[]);
        Self::listen(move |stream, seen| {
            let stream = Mutex::new(tls::accept(&config, &stream)?);
            seen.serve(Shared(&stream), Shared(&stream), greeting, answer)
        })
    }

    /// The same, at a unix socket.
    pub fn start_at(path: &Path, greeting: &'static str, answer: Answer) -> Self {
        let listener = UnixListener::bind(path).expect("there is no such socket yet");
        let seen = Arc::<Seen>::default();
        let lines = Self { address: None, seen: Arc::clone(&seen) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), seen): (Result<UnixStream, _>, _) = (stream, Arc::clone(&seen)) else { return };
                thread::spawn(move || seen.serve(&stream, &stream, greeting, answer));
            }
        });
        lines
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it listens at a port")
    }

    /// How many connections it has taken so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// How many of them were closed by the other side, properly.
    pub fn closed(&self) -> usize {
        self.seen.closed.load(Ordering::Relaxed)
    }

    /// How often it was told `line`.
    pub fn count(&self, line: &str) -> usize {
        self.seen.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|seen| *seen == line).count()
    }

    fn listen(serve: impl Fn(TcpStream, &Seen) -> Option<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::<Seen>::default();
        let lines = Self { address: Some(address), seen: Arc::clone(&seen) };
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), false) = (stream, seen.over.load(Ordering::Relaxed)) else { return };
                let (seen, serve) = (Arc::clone(&seen), Arc::clone(&serve));
                // Ends with the connection.
                thread::spawn(move || serve(stream, &seen));
            }
        });
        lines
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        if let Some(address) = self.address {
            let _ = TcpStream::connect(address);
        }
    }
}

impl Seen {
    fn serve(&self, reader: impl Read, mut writer: impl Write, greeting: &str, answer: Answer) -> Option<()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        writer.write_all(greeting.as_bytes()).ok()?;
        writer.flush().ok()?;
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                self.closed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let line = line.trim_end().to_owned();
            let answer = answer(&line);
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            writer.write_all(answer?.as_bytes()).ok()?;
            writer.flush().ok()?;
        }
    }
}

/// A stream that is read and written in turn.
struct Shared<'a, S>(&'a Mutex<S>);

impl<S: Read> Read for Shared<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

impl<S: Write> Write for Shared<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
