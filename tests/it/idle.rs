//! Servers that close idle connections whenever they like, which is no failure of theirs, and must be none of ours.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::parts::certificates::Authority;
use crate::parts::clock::Clock;
use crate::parts::odd::{Odd, read_request};
use crate::parts::sandbox::Sandbox;
use crate::parts::tls;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Hits a minute: 250 a second.
const FREQUENCY: u64 = 15_000;
/// Closings are this long after an answer, at most: hits are 4 ms apart.
const LATEST: Duration = Duration::from_millis(6);
/// So many minutes it goes on, unless it is one.
const MINUTES: &str = "CANIHAZ_IDLE_MINUTES";

/// What a server has done.
#[derive(Default)]
struct Done {
    answered: AtomicU64,
    closed: AtomicU64,
}

#[test]
fn a_server_that_closes_idle_connections_at_random_fails_no_hit() {
    let minutes = std::env::var(MINUTES).map_or(1, |minutes| minutes.parse().expect("a number of minutes"));
    let authority = Authority::new();
    let config = tls::config(&authority.certify("localhost", 3000), None, &[]);
    let [plain, sealed] = [(); 2].map(|()| Arc::new(Done::default()));
    let (done, sealed_done) = (Arc::clone(&plain), Arc::clone(&sealed));
    let in_the_clear = Odd::start(move |stream| {
        let socket = stream.try_clone().ok()?;
        answer_some(stream, &socket, &done)
    });
    let over_tls = Odd::start(move |stream| {
        let mut stream = tls::accept(&config, stream)?;
        let socket = stream.sock.try_clone().ok()?;
        answer_some(&mut stream, &socket, &sealed_done)
    });

    let sandbox = Sandbox::new();
    sandbox.out();
    sandbox.http("plain", &format!("http://127.0.0.1:{}/", in_the_clear.port()), "overtime = 50\n");
    sandbox.http("sealed", &format!("https://localhost:{}/", over_tls.port()), "overtime = 50\n");
    for name in ["plain", "sealed"] {
        sandbox.test(&format!("{name}|{name}|{FREQUENCY}|out"));
    }
    for minute in 0..minutes {
        let mut runner = sandbox.runner();
        runner.env("SSL_CERT_FILE", authority.file());
        sandbox.start_command(runner, &Clock::in_minute(minute, 0.0)).succeed(80.0);
    }

    let results = sandbox.results();
    for (name, done) in [("plain", &plain), ("sealed", &sealed)] {
        let planned = FREQUENCY * minutes.unsigned_abs();
        results.expect_planned(name, planned);
        assert_eq!(results.total(name, "failed"), 0, "{results}");
        assert_eq!(results.total(name, "ok"), done.answered.load(Ordering::Relaxed), "{results}");
        // What a machine that stalls in the last moment leaves unsent isn't what this is about.
        assert!(results.total(name, "ok") * 100 >= planned * 95, "{results}");
        let closed = done.closed.load(Ordering::Relaxed);
        assert!(closed > planned / 50, "{name}: {closed} closed");
    }
}

/// Answers requests, and ends the connection at some moment at which nothing is asked.
fn answer_some(stream: &mut (impl Read + Write), socket: &TcpStream, done: &Done) -> Option<()> {
    loop {
        read_request(stream)?;
        done.answered.fetch_add(1, Ordering::Relaxed);
        stream.write_all(OK.as_bytes()).and_then(|()| stream.flush()).ok()?;
        // To the microsecond: a socket's own time-out is rounded up to the kernel's ticks.
        let patience = TimeSpec::from(LATEST.mul_f64(fastrand::f64()));
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if ppoll(&mut waiting, Some(patience), None).ok()? == 0 {
            done.closed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
    }
}
