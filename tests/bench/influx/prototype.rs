//! The simplest client that there could be: a thread a connection, blocking, with a request in one buffer.
//!
//! It makes the same points as the runner, but for the values. It keeps no account of them, has no time-outs, and looks
//! at nothing but the answer's status: what the runner costs beyond it is what it is for.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho;

use crate::runner;
use crate::{BATCH, DATABASE, START, TICK};

/// The most that is read of an answer's head, in bytes.
const MAX_HEAD: usize = 4 << 10;
/// How many digits the length of a body is written with.
const DIGITS: usize = 9;

/// Points, as the line protocol has them.
pub struct Prototype {
    /// What comes before the value, for each series.
    prefixes: Vec<Box<[u8]>>,
}

/// What a run of it came to.
pub struct Written {
    /// Points that the server took.
    pub points: u64,
    /// The processor time of its threads, in their own code and in the kernel.
    pub user: Duration,
    pub system: Duration,
    /// From the first connection to the last answer.
    pub took: Duration,
}

impl Prototype {
    /// Puts together what doesn't change from point to point.
    pub fn new(series: u64) -> Self {
        let prefix =
            |series| format!("cpu,host=server-{series},location=us-west value=").into_bytes().into_boxed_slice();
        Self { prefixes: (0..series).map(prefix).collect() }
    }

    /// Writes for about so long, over so many connections.
    pub fn write(&self, port: u16, connections: u64, seconds: f64) -> Written {
        let (next, begin) = (AtomicU64::new(0), Instant::now());
        let until = begin + Duration::from_secs_f64(seconds);
        let threads = thread::scope(|scope| {
            let one = || self.connection(port, &next, until).expect("the server takes all that it is sent");
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Vec<_>>()
        });
        Written {
            points: threads.iter().map(|(points, ..)| points).sum(),
            user: threads.iter().map(|(_, user, _)| user).sum(),
            system: threads.iter().map(|(.., system)| system).sum(),
            took: begin.elapsed(),
        }
    }

    /// Writes batch after batch over a connection: how many points, and the thread's processor time in its own code and in
    /// the kernel.
    fn connection(&self, port: u16, next: &AtomicU64, until: Instant) -> io::Result<(u64, Duration, Duration)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /write?db={DATABASE}&precision=n HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: prototype\r\n\
             Content-Length: "
        );
        let (mut request, mut points) = (Vec::new(), 0);
        while Instant::now() < until {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            request.clear();
            request.extend_from_slice(head.as_bytes());
            request.extend_from_slice(&[b'0'; DIGITS]);
            request.extend_from_slice(b"\r\n\r\n");
            let start = request.len();
            self.points(first, &mut request);
            let mut length = String::with_capacity(DIGITS);
            write!(length, "{:0DIGITS$}", request.len() - start).expect("a text takes what is written to it");
            request[head.len()..head.len() + DIGITS].copy_from_slice(length.as_bytes());
            stream.write_all(&request)?;
            expect_204(&mut stream)?;
            points += BATCH;
        }
        let (user, system) = runner::spent(UsageWho::RUSAGE_THREAD);
        Ok((points, user, system))
    }

    /// Appends the points of a batch.
    fn points(&self, first: u64, into: &mut Vec<u8>) {
        let (mut value, mut stamp) = (itoa::Buffer::new(), itoa::Buffer::new());
        let series = self.prefixes.len() as u64;
        for number in first..first + BATCH {
            let any = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            into.extend_from_slice(&self.prefixes[(number % series) as usize]);
            into.extend_from_slice(value.format((any * 1000) >> 32).as_bytes());
            into.push(b' ');
            into.extend_from_slice(stamp.format(START + (number / series + 1) as i64 * TICK).as_bytes());
            into.push(b'\n');
        }
    }
}

/// Reads an answer, which is to say that all was taken.
fn expect_204(stream: &mut TcpStream) -> io::Result<()> {
    let (mut answer, mut read) = ([0; MAX_HEAD], 0);
    while !answer[..read].ends_with(b"\r\n\r\n") {
        match stream.read(&mut answer[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    match answer.starts_with(b"HTTP/1.1 204") {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&answer[..read]).into_owned())),
    }
}
