//! The server that stamps: HTTP/1.1 on one core that never sleeps, so that a request's time is that of its arrival
//! and not of a wake-up. It answers all alike, GET only.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use crate::cores;

/// The first argument that makes the bench this server.
pub const ROLE: &str = "stamp";
/// The most requests that are stamped: room that is touched before the first one comes.
const MOST: usize = 4_000_000;
/// A request's end.
const END: &[u8] = b"\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

/// When it answers nothing, once: so long after the first request, for so long.
#[derive(Clone, Copy)]
pub struct Stall {
    pub after: Duration,
    pub lasts: Duration,
}

/// What the server has seen.
pub struct Seen {
    /// When each request came, in nanoseconds of the monotonic clock, in order.
    pub arrivals: Vec<u64>,
    /// How many connections had something to say when the stall was over.
    pub stuck: u64,
}

/// The running server, in a process of its own on the servers' core.
pub struct Stamps {
    process: Child,
    port: u16,
}

impl Stamps {
    /// Starts it, on a free port of loopback.
    pub fn start(stall: Option<Stall>) -> Result<Self> {
        let mut command = cores::pinned(cores::SERVER)?;
        command.arg(ROLE);
        if let Some(stall) = stall {
            command.arg(stall.after.as_millis().to_string()).arg(stall.lasts.as_millis().to_string());
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("taskset")?;
        let mut line = String::new();
        // Unbuffered, as what follows is read by another reader.
        let output = process.stdout.as_mut().context("the server has no output")?;
        BufReader::with_capacity(1, output).read_line(&mut line)?;
        let port = line.trim().parse().with_context(|| format!("the stamping server says {line:?} for its port"))?;
        Ok(Self { process, port })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends it.
    pub fn end(mut self) -> Result<Seen> {
        drop(self.process.stdin.take());
        let mut bytes = Vec::new();
        self.process.stdout.take().context("the server has no output")?.read_to_end(&mut bytes)?;
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let stuck = words.next().context("the stamping server has ended early")?;
        let mut arrivals: Vec<u64> = words.collect();
        arrivals.sort_unstable();
        Ok(Seen { arrivals, stuck })
    }
}

impl Drop for Stamps {
    fn drop(&mut self) {
        // It ends with its input; what it had to say is read, or nobody wants it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The monotonic clock, in nanoseconds: the same in all processes.
pub fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Serves until its input ends, then writes out what it has seen.
pub fn role(arguments: &[String]) -> Result<()> {
    let stall = match arguments {
        [] => None,
        [after, lasts] => {
            Some(Stall { after: Duration::from_millis(after.parse()?), lasts: Duration::from_millis(lasts.parse()?) })
        }
        _ => bail!("{ROLE} takes nothing, or a stall's begin and length in milliseconds"),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    static OVER: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        OVER.store(true, Ordering::Relaxed);
    });
    let mut server = Server::new(listener, stall);
    let mut output = std::io::stdout();
    writeln!(output, "{}", server.listener.local_addr()?.port())?;
    while !OVER.load(Ordering::Relaxed) {
        server.turn()?;
    }
    let words = std::iter::once(server.stuck).chain(server.arrivals);
    output.write_all(&words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())?;
    Ok(())
}

struct Server {
    listener: TcpListener,
    streams: Vec<TcpStream>,
    /// What each stream has said that isn't a whole request yet.
    partial: Vec<Vec<u8>>,
    arrivals: Vec<u64>,
    stall: Option<Stall>,
    stuck: u64,
}

impl Server {
    fn new(listener: TcpListener, stall: Option<Stall>) -> Self {
        let mut arrivals = vec![1; MOST];
        arrivals.clear();
        Self { listener, streams: Vec::new(), partial: Vec::new(), arrivals, stall, stuck: 0 }
    }

    /// Answers all that comes until the set of connections changes, or for a thousand looks.
    fn turn(&mut self) -> Result<()> {
        if let (Some(stall), Some(first)) = (self.stall, self.arrivals.first())
            && monotonic() >= first + stall.after.as_nanos() as u64
        {
            self.stall = None;
            self.stuck = self.sit_out(stall)?;
        }
        let listening = PollFd::new(self.listener.as_fd(), PollFlags::POLLIN);
        let mut files: Vec<PollFd> =
            self.streams.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        files.push(listening);
        let mut gone = Vec::new();
        for _ in 0..1_000 {
            if poll(&mut files, PollTimeout::ZERO)? == 0 {
                continue;
            }
            for (at, stream) in self.streams.iter().enumerate() {
                if files[at].any() == Some(true) && !answer(stream, &mut self.partial[at], &mut self.arrivals) {
                    gone.push(at);
                }
            }
            if !gone.is_empty() || files.last().and_then(PollFd::any) == Some(true) {
                break;
            }
        }
        drop(files);
        for at in gone.into_iter().rev() {
            self.streams.swap_remove(at);
            self.partial.swap_remove(at);
        }
        self.accept()
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.streams.push(stream);
                    self.partial.push(Vec::new());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Accepts, as the queue of those who knock is short, but reads nothing; gives back how many wait at the end.
    fn sit_out(&mut self, stall: Stall) -> Result<u64> {
        let end = monotonic() + stall.lasts.as_nanos() as u64;
        while monotonic() < end {
            self.accept()?;
        }
        let mut files: Vec<PollFd> =
            self.streams.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        Ok(poll(&mut files, PollTimeout::ZERO)? as u64)
    }
}

/// Stamps and answers what has come; false when the connection is over.
fn answer(mut stream: &TcpStream, partial: &mut Vec<u8>, arrivals: &mut Vec<u64>) -> bool {
    let mut buffer = [0; 4_096];
    let length = match stream.read(&mut buffer) {
        Ok(0) => return false,
        Ok(length) => length,
        Err(error) => return error.kind() == ErrorKind::WouldBlock,
    };
    let now = monotonic();
    partial.extend_from_slice(&buffer[..length]);
    let mut done = 0;
    while let Some(end) = memmem::find(&partial[done..], END) {
        done += end + END.len();
        if arrivals.len() < MOST {
            arrivals.push(now);
        }
        if stream.write_all(ANSWER).is_err() {
            return false;
        }
    }
    partial.drain(..done);
    true
}
