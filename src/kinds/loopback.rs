//! The embedded server: something to hit where there is nothing else.
//!
//! It answers every request alike, after `latency`, with `body_size` bytes; a
//! share of `errors` of its answers have status 500. It listens on 127.0.0.1,
//! on a port of the system's choice, and runs on a thread of its own until its
//! handle is dropped.
//!
//! Errors are spread evenly, not at random: of the first n answers, always
//! `errors × n` rounded down are errors. With 0.25 that is every fourth.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use log::debug;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{MAX_GRACE, timeout};
use crate::keys::Keys;
use crate::page::Key;

/// The largest body it answers with, in bytes.
const MAX_BODY: u64 = 64 << 20;
/// The body's size where the type doesn't say, in bytes.
const DEFAULT_BODY: u64 = 2;
/// What it waits before accepting again after it couldn't: descriptors may have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What [`Settings::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "latency", meaning: "how long an answer takes, at least", default: "`\"0s\"`" },
    Key { name: "errors", meaning: "the share of answers that have status 500, evenly spread", default: "`0.0`" },
    Key { name: "body_size", meaning: "the size of an answer's body", default: "`2`" },
];

/// How the server answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long an answer takes, at least; the timer adds up to a millisecond. 0 answers at once.
    pub latency: Duration,
    /// The share of answers that are errors, from 0.0 to 1.0.
    pub errors: f64,
    /// The size of an answer's body, in bytes.
    pub body_size: u64,
    /// How long a hit may take.
    pub timeout: Duration,
}

impl Settings {
    /// Reads the kind's own keys; `None` when one of them is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let settings = Self {
            latency: keys.duration("latency", Duration::ZERO, MAX_GRACE).unwrap_or_default(),
            errors: keys.share("errors").unwrap_or_default(),
            body_size: keys.bytes("body_size", MAX_BODY).unwrap_or(DEFAULT_BODY),
            timeout: timeout(keys),
        };
        keys.is_sound().then_some(settings)
    }
}

/// A running server; dropping it ends it, and every connection to it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Dropped to end the thread.
    running: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// No port, thread or descriptor is to be had.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the loopback server")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, dropped) = oneshot::channel();
        let answers = Arc::new(Answers::new(settings)?);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = dropped => (),
                    () = serve(listener, answers) => (),
                }
            });
        };
        let thread = thread::Builder::new().name("loopback".into()).spawn(serve).context("no loopback thread")?;
        Ok(Self { address, running: Some(running), thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.running.take());
        // It is at its next await at once. Should it have panicked, there is nothing more to end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the server answers, one after the other.
#[derive(Debug)]
struct Answers {
    latency: Duration,
    errors: f64,
    body: Bytes,
    given: AtomicU64,
}

impl Answers {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        let body = Bytes::from(vec![b'x'; usize::try_from(settings.body_size)?]);
        Ok(Self { latency: settings.latency, errors: settings.errors, body, given: AtomicU64::new(0) })
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let mut response = Response::new(Full::new(self.body.clone()));
        if is_error(number, self.errors) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }
}

async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return debug!("the loopback server can't listen: {error}"),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without it answers only get slower.
                    let _ = stream.set_nodelay(true);
                    let answers = Arc::clone(&answers);
                    connections.spawn(async move {
                        let service = service_fn(async |_| Ok::<_, Infallible>(answers.next().await));
                        // How a connection ends is what the hits on it report.
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                Err(error) => {
                    debug!("the loopback server can't accept: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

/// Whether answer `number`, counted from 0, is one of the `share` that are errors.
fn is_error(number: u64, share: f64) -> bool {
    let errors = |answers: u64| (answers as f64 * share).floor();
    errors(number + 1) > errors(number)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn errors_are_spread_evenly() {
        #[track_caller]
        fn check(share: f64, answers: u64) {
            let mut errors = 0;
            for number in 0..answers {
                errors += u64::from(is_error(number, share));
                let exact = (number + 1) as f64 * share;
                assert!((exact - errors as f64).abs() <= 1.0, "{errors} of {number} with {share}");
            }
        }
        check(0.0, 1000);
        check(1.0, 1000);
        check(0.25, 1000);
        check(1.0 / 3.0, 1000);
        check(0.001, 100_000);
        assert_eq!((0..8).map(|n| is_error(n, 0.25)).collect::<Vec<_>>().as_slice(), {
            &[false, false, false, true, false, false, false, true]
        });
    }

    #[test]
    fn it_answers_as_it_is_set_and_ends_with_its_handle() {
        let settings =
            Settings { latency: Duration::from_millis(3), errors: 0.5, body_size: 5, timeout: Duration::from_secs(1) };
        let server = Server::start(&settings).unwrap();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let mut ask = || {
            let start = std::time::Instant::now();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"xxxxx") {
                let mut buffer = [0; 512];
                let n = stream.read(&mut buffer).unwrap();
                assert!(n > 0, "closed");
                answer.extend_from_slice(&buffer[..n]);
            }
            assert!(start.elapsed() >= settings.latency);
            String::from_utf8(answer).unwrap()
        };
        assert!(ask().starts_with("HTTP/1.1 200 "));
        assert!(ask().starts_with("HTTP/1.1 500 "));
        drop(server);
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}
