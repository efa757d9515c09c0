//! One connection that speaks HTTP/1.1, driven by whoever uses it.
//!
//! hyper splits a connection in two: a sender of requests, and a future that
//! does the work. The latter is polled here whenever the former is waited for,
//! and never in a task of its own: that would cost a hit two more wake-ups, and
//! would have to be ended when the hit is dropped.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::stream::Stream;
use super::traffic::Traffic;
use crate::target::{Failure, Reason};

/// The largest head of an answer, in bytes. (Of headers there are at most 100, hyper's own limit.)
const MAX_HEAD: usize = 64 << 10;
/// The most that is read at once, and kept before it is written, in bytes.
const MAX_BUFFER: usize = 64 << 10;

/// An open connection, with no more than one request on its way.
pub struct Connection {
    /// What goes over its socket.
    pub traffic: Rc<Traffic>,
    heard: Rc<Cell<bool>>,
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it is closed.
    driver: Option<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>,
}

/// A request that got no answer.
#[derive(Debug)]
pub struct Lost {
    error: hyper::Error,
    unsent: bool,
    unanswered: bool,
}

impl Connection {
    /// Speaks HTTP over `stream`, which counts into `traffic` and says in `heard` that it received something.
    pub async fn open(stream: Stream, traffic: Rc<Traffic>, heard: Rc<Cell<bool>>) -> Result<Self, Failure> {
        let mut http = http1::Builder::new();
        http.max_buf_size(MAX_BUFFER).max_header_size(MAX_HEAD);
        match http.handshake(TokioIo::new(stream)).await {
            Ok((sender, driver)) => Ok(Self { traffic, heard, sender, driver: Some(Box::new(driver)) }),
            Err(error) => Err(Failure::new(Reason::Connect, error)),
        }
    }

    /// Sends a request and gives back its answer, of which only the head has been read.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Lost> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            drive(&mut self.driver, cx);
            answer.as_mut().poll(cx)
        });
        answer.await.map_err(|mut lost| Lost {
            unsent: lost.take_message().is_some(),
            unanswered: !self.heard.get(),
            error: lost.into_error(),
        })
    }

    /// The next part of an answer's body, `None` at its end.
    pub async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        poll_fn(|cx| {
            // Asked first, as that is what makes the driver read; asked again for what it has read.
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            drive(&mut self.driver, cx);
            Pin::new(&mut *body).poll_frame(cx)
        })
        .await
    }

    /// Whether it is open and takes another request; to be asked when an answer has been read.
    pub async fn is_open(&mut self) -> bool {
        self.traffic.answered();
        let open = poll_fn(|cx| Poll::Ready(self.poll_open(cx))).await;
        self.heard.set(false);
        open
    }

    /// Looks what became of the connection since it was last driven, without waiting.
    pub fn poll_open(&mut self, cx: &mut Context<'_>) -> bool {
        drive(&mut self.driver, cx);
        self.driver.is_some() && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("open", &self.driver.is_some()).finish_non_exhaustive()
    }
}

impl Lost {
    /// Whether nothing of the request was sent.
    pub const fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// Whether the connection ended without a byte of an answer.
    pub const fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// What it is counted as.
    ///
    /// | what happened | reason |
    /// |---|---|
    /// | the answer can't be read as HTTP/1, or its head is too large | `protocol` |
    /// | the server spoke before it was asked | `protocol` |
    /// | closed or reset before anything was sent | `connect` |
    /// | refused at the end of TLS's handshake, as for want of a client's certificate | `tls` |
    /// | closed or reset without an answer | `other` |
    fn reason(&self) -> Reason {
        if self.error.is_parse() {
            return Reason::Protocol;
        }
        match source::<io::Error>(&self.error) {
            // The last word of a TLS 1.3 handshake is the server's, and comes in the place of an answer.
            Some(io) if is_of_tls(io) => Reason::Tls,
            _ if self.unsent && !self.unanswered => Reason::Protocol,
            _ if self.unsent => Reason::Connect,
            _ => Reason::Other,
        }
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::new(lost.reason(), format_args!("{:#}", anyhow::Error::new(lost.error)))
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

fn source<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    std::iter::successors(std::error::Error::source(error), |error| error.source()).find_map(|e| e.downcast_ref())
}

/// Lets the driver do what can be done without waiting, and closes the connection when it has ended.
fn drive(driver: &mut Option<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>, cx: &mut Context<'_>) {
    // What it ended with was told to the request on its way; without one nobody is concerned.
    if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
        *driver = None;
    }
}
