//! One connection, and what is said over it, driven by the hit that uses it.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::expect::{Heard, Hearing};
use super::settings::Step;
use crate::kinds::dial::{self, Idle, Stream, Traffic};
use crate::target::{Failure, Reason};

/// How much is read at once, in bytes: at first, and at most, once more comes than that.
const READ: (usize, usize) = (1 << 10, 16 << 10);
/// How often is read, at the most, what has come and nobody expected, before a connection is closed.
const LAST_READS: usize = 16;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    /// What goes over its socket.
    pub traffic: Rc<Traffic>,
    stream: Stream,
    buffer: Vec<u8>,
    /// What of the buffer came behind what was expected.
    rest: Range<usize>,
    /// Whether nothing was ever said over it.
    is_new: bool,
}

/// All was said that was to be, and answered as expected.
#[derive(Debug)]
pub struct Said {
    /// When the first byte came, if one did.
    pub first: Option<Instant>,
    /// When the last byte that was needed had come, or was sent.
    pub ended: Instant,
    /// Whether the connection is good for another hit.
    pub persists: bool,
}

/// It wasn't.
#[derive(Debug)]
pub struct Broken {
    why: Why,
    /// In which step, from 1, where there are several.
    step: Option<u32>,
    /// When the first byte came, if one did.
    pub first: Option<Instant>,
    /// Whether nothing was sent.
    unsent: bool,
}

#[derive(Debug)]
enum Why {
    /// Something came, but not what was expected; in words.
    Unexpected(String),
    Closed,
    Failed(io::Error),
}

/// One step on its way.
struct Exchange<'a> {
    connection: &'a mut Connection,
    send: &'a [u8],
    sent: usize,
    /// Whether all of it has left the stream's own buffers.
    flushed: bool,
    /// Why no more can be sent.
    unwritable: Option<io::Error>,
    /// What is still to come.
    hearing: Option<Hearing<'a>>,
    /// When the end of what was expected had come.
    heard: Option<Instant>,
    first: &'a mut Option<Instant>,
    /// Whether the server has closed.
    closed: bool,
}

impl Connection {
    /// Speaks over `stream`, which counts into `traffic`.
    pub fn new(stream: Stream, traffic: Rc<Traffic>) -> Self {
        Self { traffic, stream, buffer: Vec::new(), rest: 0..0, is_new: true }
    }

    /// Goes through the steps: all of them if the connection is new, else those that every hit has.
    pub async fn say(&mut self, steps: &[Step]) -> Result<Said, Broken> {
        let is_new = std::mem::replace(&mut self.is_new, false);
        // Counted at the socket: TLS may fail when it has sent a part of what it was given.
        let sent_before = self.traffic.sent.get();
        let (mut first, mut ended, mut closed) = (None, None, false);
        for (number, step) in (1_u32..).zip(steps) {
            if step.once && !is_new {
                continue;
            }
            // Whatever is sent: something is to come.
            self.traffic.ask();
            let mut exchange = Exchange {
                connection: self,
                send: &step.send,
                sent: 0,
                flushed: step.send.is_empty(),
                unwritable: None,
                hearing: step.expect.as_ref().map(|expect| expect.begin()),
                heard: None,
                first: &mut first,
                closed: false,
            };
            let done = poll_fn(|cx| exchange.poll(cx)).await;
            closed = exchange.closed;
            match done {
                Ok(at) => ended = Some(at),
                Err(why) => {
                    let unsent = self.traffic.sent.get() == sent_before;
                    return Err(Broken { why, step: (steps.len() > 1).then_some(number), first, unsent });
                }
            }
        }
        self.traffic.answered();
        let persists = !closed && self.rest.is_empty();
        Ok(Said { first, ended: ended.unwrap_or_else(Instant::now), persists })
    }

    /// Says that it's over, as far as that goes without waiting. What has come is read first: to a socket that is
    /// closed over something unread, the other side would get a reset.
    pub async fn close(mut self: Box<Self>) {
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
            let mut last = [0; READ.0];
            for _ in 0..LAST_READS {
                let mut last = ReadBuf::new(&mut last);
                match Pin::new(&mut self.stream).poll_read(cx, &mut last) {
                    Poll::Ready(Ok(())) if !last.filled().is_empty() => {}
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Reads what comes next into the rest; nothing where it is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.rest.end == self.buffer.len() {
            let size = if self.buffer.is_empty() { READ.0 } else { READ.1 };
            self.buffer.resize(size, 0);
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.rest = 0..buffer.filled().len();
        Poll::Ready(Ok(self.rest.len()))
    }

    /// When what was read last had come.
    fn arrived(&self) -> Instant {
        self.traffic.arrived.get().unwrap_or_else(Instant::now)
    }
}

impl Idle for Connection {
    fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl Exchange<'_> {
    /// Sends what can be sent and judges what has come; ready with the moment when both were over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, Why>> {
        // A server may have answered, and closed, before it has read everything.
        if !self.flushed
            && self.unwritable.is_none()
            && let Poll::Ready(sent) = self.poll_send(cx)
        {
            match sent {
                Ok(()) => self.flushed = true,
                Err(error) => self.unwritable = Some(error),
            }
        }
        while let Some(hearing) = &mut self.hearing {
            let connection = &mut *self.connection;
            if connection.rest.is_empty() {
                match ready!(connection.poll_read(cx)) {
                    Ok(0) => {
                        self.closed = true;
                        return Poll::Ready(self.close());
                    }
                    Ok(_) => _ = self.first.get_or_insert_with(|| connection.arrived()),
                    Err(error) => return Poll::Ready(Err(Why::Failed(self.unwritable.take().unwrap_or(error)))),
                }
            }
            match hearing.take(&connection.buffer[connection.rest.clone()]) {
                Heard::More => connection.rest.start = connection.rest.end,
                Heard::Wrong(wrong) => return Poll::Ready(Err(Why::Unexpected(wrong))),
                Heard::All(used) => {
                    connection.rest.start += used;
                    // Where there is more to send, that is what the step ends with.
                    self.heard = self.flushed.then(|| connection.arrived());
                    self.hearing = None;
                }
            }
        }
        match self.unwritable.take() {
            Some(error) => Poll::Ready(Err(Why::Failed(error))),
            None if self.flushed => Poll::Ready(Ok(self.heard.unwrap_or_else(Instant::now))),
            None => Poll::Pending,
        }
    }

    /// What it comes to that the server has closed.
    fn close(&mut self) -> Result<Instant, Why> {
        let hearing = self.hearing.take();
        match (self.unwritable.take(), hearing.and_then(Hearing::close)) {
            (Some(error), _) => Err(Why::Failed(error)),
            (None, Some(wrong)) if self.first.is_some() => Err(Why::Unexpected(wrong)),
            (None, None) if self.flushed => Ok(Instant::now()),
            _ => Err(Why::Closed),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.connection.stream;
        while self.sent < self.send.len() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.send[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        Pin::new(stream).poll_flush(cx)
    }
}

impl Broken {
    /// Whether it is nobody's fault but the idle connection's, over which nothing was said this time.
    pub fn is_as_nothing(&self) -> bool {
        self.unsent && self.first.is_none() && !matches!(self.why, Why::Unexpected(_))
    }

    /// What it is counted as.
    ///
    /// | what happened | reason |
    /// |---|---|
    /// | what came is not what was expected | `body` |
    /// | closed or reset after something had come | `body` |
    /// | refused at the end of TLS's handshake, as for want of a client's certificate | `tls` |
    /// | closed or reset before anything was sent or had come | `connect` |
    /// | closed or reset without an answer | `other` |
    fn reason(&self) -> Reason {
        match &self.why {
            Why::Unexpected(_) => Reason::Body,
            // The last word of a TLS 1.3 handshake is the server's, and comes in the place of an answer.
            Why::Failed(error) if dial::is_of_tls(error) => Reason::Tls,
            Why::Failed(_) | Why::Closed if self.first.is_some() => Reason::Body,
            Why::Failed(_) | Why::Closed if self.unsent => Reason::Connect,
            Why::Failed(_) | Why::Closed => Reason::Other,
        }
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        let what = match &broken.why {
            Why::Unexpected(what) => what.clone(),
            Why::Closed => String::from("the connection ended without an answer"),
            Why::Failed(error) => dial::detail(error),
        };
        match broken.step {
            Some(step) => Self::new(broken.reason(), format_args!("step {step}: {what}")),
            None => Self::new(broken.reason(), what),
        }
    }
}
