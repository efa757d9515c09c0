//! What a load test writes, read as it comes, but not at any price.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep_until, timeout_at};

use super::session::Session;
use super::stderr::Stderr;
use crate::guard::Running;

/// How much is read at once, in bytes: what a pipe holds by default.
const CHUNK: usize = 64 << 10;
/// What standard output's pipe is to hold, in bytes: the most that the kernel gives to anybody.
const PIPE: i32 = 1 << 20;
/// How long nothing is read once there was nothing more: lines are read together, instead of being woken by each.
const REST: Duration = Duration::from_millis(10);
/// The most that is read of standard output a second, in bytes: a hundred thousand requests, and more. Who writes more
/// has to wait. Of standard error it is a chunk a rest, which is some 6 MiB a second.
const A_SECOND: usize = 64 << 20;

/// The reader of both outputs.
pub struct Outputs {
    session: Arc<Session>,
    stderr: Stderr,
    chunk: Box<[u8]>,
    out: Pace,
    err: Pace,
}

/// When an output is read.
struct Pace {
    is_open: bool,
    /// Not before.
    next: Instant,
    /// The second that it is, and how much was read in it.
    second: Instant,
    read: usize,
}

impl Outputs {
    /// That of a session's program.
    pub fn new(session: &Arc<Session>) -> Self {
        let stderr = Stderr::new(&session.test);
        let chunk = vec![0; CHUNK].into();
        Self { session: Arc::clone(session), stderr, chunk, out: Pace::new(), err: Pace::new() }
    }

    /// A program begins.
    pub fn begin(&mut self, running: &Running) {
        // Else it is what a pipe is by default.
        let _ = fcntl(&running.stdout, FcntlArg::F_SETPIPE_SZ(PIPE));
        [self.out, self.err] = [(); 2].map(|()| Pace::new());
    }

    /// Waits until there is something that is to be read now. Dropping the future is fine.
    pub async fn wait(&self, running: &Running) {
        tokio::select! {
            () = self.out.wait(&running.stdout) => {}
            () = self.err.wait(&running.stderr) => {}
        }
    }

    /// Reads what is there, as far as one turn goes.
    pub fn read(&mut self, running: &Running) {
        let now = Instant::now();
        if self.out.is_due(now) {
            self.read_stdout(&running.stdout, CHUNK);
        }
        if self.err.is_due(now) {
            self.read_stderr(&running.stderr);
        }
    }

    /// Reads all of standard output that is there.
    pub fn read_all(&mut self, running: &Running) {
        self.read_stdout(&running.stdout, PIPE as usize);
    }

    /// The program has ended, or was killed: reads both outputs to their ends. Should somebody else hold them open,
    /// that is at most for so long.
    pub async fn hear_out(&mut self, stdout: &Receiver, stderr: &Receiver, most: Duration) {
        let until = Instant::now() + most;
        let mut read = 0;
        while self.out.is_open && read <= PIPE as usize {
            match self.read_stdout(stdout, PIPE as usize) {
                0 if timeout_at(until.into(), stdout.readable()).await.is_err() => break,
                length => read += length,
            }
        }
        while self.err.is_open && Instant::now() < until && self.read_stderr(stderr) > 0 {}
        self.stderr.ended();
    }

    /// No other program follows.
    pub fn finish(&mut self) {
        self.stderr.finish();
    }

    /// Reads at most `most` bytes, or a chunk more; how many.
    fn read_stdout(&mut self, pipe: &Receiver, most: usize) -> usize {
        let mut read = 0;
        while read < most {
            let Some(length) = self.out.read(pipe, &mut self.chunk) else { break };
            self.session.intake().stdout(&self.chunk[..length]);
            read += length;
        }
        read
    }

    /// Reads a chunk; how many bytes it had.
    fn read_stderr(&mut self, pipe: &Receiver) -> usize {
        let Some(length) = self.err.read(pipe, &mut self.chunk) else { return 0 };
        self.stderr.take(&self.chunk[..length]);
        self.err.next = Instant::now() + REST;
        length
    }
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self { is_open: true, next: now, second: now, read: 0 }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.is_open && now >= self.next
    }

    /// Waits until something can be read, and may be.
    async fn wait(&self, pipe: &Receiver) {
        if !self.is_open {
            std::future::pending::<()>().await;
        }
        sleep_until(self.next.into()).await;
        // That nothing can be read any more is found by reading.
        let _ = pipe.readable().await;
    }

    /// Reads once; `None` when there is nothing.
    fn read(&mut self, pipe: &Receiver, chunk: &mut [u8]) -> Option<usize> {
        let read = match pipe.try_read(chunk) {
            // That is what was last heard of it. The pipe itself may know better.
            Err(error) if error.kind() == ErrorKind::WouldBlock => unistd::read(pipe, chunk).map_err(Into::into),
            read => read,
        };
        match read {
            Ok(length @ 1..) => {
                self.count(length, Instant::now());
                Some(length)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.next = self.next.max(Instant::now() + REST);
                None
            }
            // An end, or what can only be one.
            Ok(0) | Err(_) => {
                self.is_open = false;
                None
            }
        }
    }

    /// So much was read; more than a second's share has to wait for the next one.
    fn count(&mut self, length: usize, now: Instant) {
        if now >= self.second + Duration::from_secs(1) {
            (self.second, self.read) = (now, 0);
        }
        self.read += length;
        if self.read >= A_SECOND {
            self.next = self.second + Duration::from_secs(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_more_than_is_read_a_second_has_to_wait() {
        let begin = Instant::now();
        let mut pace = Pace::new();
        (pace.second, pace.next) = (begin, begin);
        pace.count(A_SECOND - 1, begin);
        assert!(pace.is_due(begin));
        pace.count(1, begin + REST);
        let second = begin + Duration::from_secs(1);
        assert!(!pace.is_due(second - REST) && pace.is_due(second));
        pace.count(CHUNK, second);
        assert!(pace.is_due(second));
    }
}
