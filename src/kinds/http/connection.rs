//! One connection that speaks HTTP/1.1, driven by the hit that uses it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::{Answer, LastHead, Malformed, NoAnswer, Progress};
use super::cookies::{Jar, Now, path_of};
use super::expect::Judge;
use super::head::Head;
use super::request::Request;
use crate::kinds::dial::{self, Idle, Stream, Traffic};
use crate::target::{Failure, Reason};

/// How much is read at once, in bytes: at first, and at most, once an answer is larger.
const READ: (usize, usize) = (1 << 10, 16 << 10);

/// An open connection, with no more than one request on its way.
#[derive(Debug)]
pub struct Connection {
    /// What goes over its socket.
    pub traffic: Rc<Traffic>,
    stream: Stream,
    buffer: Vec<u8>,
    last: LastHead,
    /// The cookies that came over it, where they are kept.
    jar: Option<Box<Jar>>,
}

/// An answer that was read, as far as there was use in it.
#[derive(Debug)]
pub struct Answered {
    /// What is wrong with it; `None` when it is as expected.
    pub failure: Option<Failure>,
    /// What it began with.
    pub head: Head,
    /// Whether all of the request had been sent when it came.
    pub is_sent: bool,
    /// Whether the connection is good for another request.
    pub persists: bool,
    /// When its last byte came; `None` where it ended with the connection.
    pub ended: Option<Instant>,
}

/// A request that got no answer.
#[derive(Debug)]
pub struct Lost {
    why: Why,
    /// Whether nothing of the request was sent.
    pub unsent: bool,
    /// Whether the connection ended without a byte of an answer.
    pub unanswered: bool,
}

#[derive(Debug)]
enum Why {
    Closed,
    Failed(io::Error),
    Malformed(Malformed),
}

/// How an exchange ended.
enum Over {
    /// With an answer's end: what is wrong with it, and how many bytes came after it.
    Answer(Option<Failure>, usize),
    /// With the connection's end.
    Close,
}

/// One request on its way.
struct Exchange<'a, 'b> {
    stream: &'a mut Stream,
    buffer: &'a mut Vec<u8>,
    head: &'a [u8],
    body: &'a [u8],
    sent: usize,
    /// Whether all of it has left the stream's own buffers.
    flushed: bool,
    /// Why no more can be sent.
    unwritable: Option<io::Error>,
    answer: &'a mut Answer<'b>,
    /// When the first byte came.
    heard: Option<Instant>,
    traffic: &'a Traffic,
}

impl Connection {
    /// Speaks HTTP over `stream`, which counts into `traffic`.
    pub fn new(stream: Stream, traffic: Rc<Traffic>) -> Self {
        Self { traffic, stream, buffer: vec![0; READ.0], last: LastHead::default(), jar: None }
    }

    /// Sends a request and reads its answer to the end, judging it.
    pub async fn ask(&mut self, request: &Request, judge: &Judge) -> Result<Answered, Lost> {
        let tls = matches!(self.stream, Stream::Tls(_));
        // What TLS has taken may be at the server, also where it then failed: only the socket knows.
        let before = self.traffic.sent.get();
        let mut answer = Answer::new(judge, request.is_head, &mut self.last);
        let (over, flushed, unwritable, heard) = {
            let mut exchange = Exchange {
                stream: &mut self.stream,
                buffer: &mut self.buffer,
                head: match &mut self.jar {
                    Some(jar) => jar.dress(&request.head, Now::read()),
                    None => &request.head,
                },
                body: &request.body,
                sent: 0,
                flushed: false,
                unwritable: None,
                answer: &mut answer,
                heard: None,
                traffic: &self.traffic,
            };
            let over = poll_fn(|cx| exchange.poll(cx)).await;
            (over, exchange.flushed, exchange.unwritable, exchange.heard)
        };
        let lost = |why| Lost { why, unsent: self.traffic.sent.get() == before, unanswered: heard.is_none() };
        let head = answer.take_head();
        let broken = |failure, head| Answered { failure, head, is_sent: flushed, persists: false, ended: None };
        match over {
            Ok(Over::Answer(failure, rest)) => {
                self.traffic.answered();
                let persists = answer.persists() && flushed && rest == 0;
                let failure = failure.or_else(|| too_long(&head, rest));
                if !head.cookies().is_empty() {
                    let jar = self.jar.get_or_insert_default();
                    jar.take(head.cookies(), path_of(&request.head), tls, Now::read());
                }
                Ok(Answered { failure, head, is_sent: flushed, persists, ended: self.traffic.arrived.get() })
            }
            Ok(Over::Close) => match answer.close(&"the connection ended") {
                Ok(failure) => Ok(broken(failure, head)),
                Err(NoAnswer) => Err(lost(unwritable.map_or(Why::Closed, Why::Failed))),
            },
            Err(Why::Failed(error)) => match answer.fail(&error) {
                Ok(failure) => Ok(broken(failure, head)),
                Err(NoAnswer) => Err(lost(Why::Failed(error))),
            },
            Err(why) => Err(lost(why)),
        }
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

impl Exchange<'_, '_> {
    /// Sends what can be sent and reads what has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Over, Why>> {
        // A server may have answered, and closed, before it has read everything.
        if !self.flushed
            && self.unwritable.is_none()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            self.unwritable = Some(error);
        }
        loop {
            let mut buffer = ReadBuf::new(self.buffer);
            match ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(Why::Failed(self.unwritable.take().unwrap_or(error)))),
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Over::Close));
            }
            if self.heard.is_none() {
                self.heard = self.traffic.arrived.get();
                self.traffic.heard.set(self.heard);
            }
            match self.answer.take(bytes) {
                Ok(Progress::More) => {}
                Ok(Progress::Over(failure, used)) => return Poll::Ready(Ok(Over::Answer(failure, bytes.len() - used))),
                Err(malformed) => return Poll::Ready(Err(Why::Malformed(malformed))),
            }
            if bytes.len() == READ.0 {
                self.buffer.resize(READ.1, 0);
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (head, body) = (self.head, self.body);
        while self.sent < head.len() + body.len() {
            let stream = Pin::new(&mut *self.stream);
            let sent = match self.sent.checked_sub(head.len()) {
                None if body.is_empty() => stream.poll_write(cx, &head[self.sent..]),
                None => stream.poll_write_vectored(cx, &[IoSlice::new(&head[self.sent..]), IoSlice::new(body)]),
                Some(sent) => stream.poll_write(cx, &body[sent..]),
            };
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}

impl Answered {
    /// Whether it is no answer yet, as it leads elsewhere.
    pub fn leads_elsewhere(&self) -> bool {
        self.failure.is_none() && self.head.location().is_some()
    }
}

impl Lost {
    /// What it is counted as.
    ///
    /// | what happened | reason |
    /// |---|---|
    /// | the answer can't be read as HTTP/1, or its head is too large | `protocol` |
    /// | closed or reset before anything was sent | `connect` |
    /// | refused at the end of TLS's handshake, as for want of a client's certificate | `tls` |
    /// | closed or reset without an answer | `other` |
    fn reason(&self) -> Reason {
        match &self.why {
            Why::Malformed(_) => Reason::Protocol,
            // The last word of a TLS 1.3 handshake is the server's, and comes in the place of an answer.
            Why::Failed(error) if dial::is_of_tls(error) => Reason::Tls,
            Why::Failed(_) | Why::Closed if self.unsent => Reason::Connect,
            Why::Failed(_) | Why::Closed => Reason::Other,
        }
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        let reason = lost.reason();
        match lost.why {
            Why::Closed => Self::new(reason, "the connection ended without an answer"),
            Why::Failed(error) => Self::new(reason, dial::detail(&error)),
            Why::Malformed(malformed) => Self::new(reason, malformed),
        }
    }
}

/// What is wrong with an answer behind whose end more came at once. What comes later is found before the connection is
/// used again. Behind 101 another protocol begins.
fn too_long(head: &Head, rest: usize) -> Option<Failure> {
    let detail = format_args!("{rest} bytes follow the end of the answer");
    (rest > 0 && head.status != 101).then(|| Failure::new(Reason::Body, detail))
}
