//! One open connection to a load test, on which the calls of a thread go side by side.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Error, Ping, Reason as Code};
use hyper::Request;

use super::address::Address;
use super::grpc::MAX_ANSWER;
use super::trouble::Trouble;
use super::wire::{Noted, Wire};

/// The largest head of an answer, and the largest trailers, in bytes.
const MAX_HEAD: u32 = 64 << 10;
/// How much of answers may have come and not be looked at, of one and of all together, in bytes: one fits as a whole.
const WINDOWS: (u32, u32) = (MAX_ANSWER as u32 + (64 << 10), 16 << 20);
/// Of how many calls that were broken off lately is remembered that more of their answers may come.
const BROKEN_OFF: usize = 1024;

/// What a connection says and hears, to be driven by whoever has opened it.
pub type Driven = Connection<Wire, Bytes>;

/// An open connection.
pub struct Line {
    requests: SendRequest<Bytes>,
    noted: Rc<Noted>,
    /// How many calls are on it.
    calls: Cell<usize>,
    /// What it ended with, once it has.
    ended: RefCell<Option<Result<(), Error>>>,
}

/// Opens a connection. It is open when the program has said how many calls it takes at once, and that is any at all.
///
/// # Errors
/// Nobody listens there, or whoever does speaks no HTTP/2.
pub async fn open(address: &Address) -> Result<(Line, Driven), Trouble> {
    let noted = Rc::<Noted>::default();
    let connected = Wire::connect(address, &noted).await;
    let wire = connected.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::WouldBlock => {
                format!("who listens at {address} has as many connections waiting as it takes")
            }
            _ => format!("nobody takes calls at {address}: {error}"),
        };
        Trouble::Unreachable(error.kind(), why)
    })?;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // So that it is seen when the program has said how many there may be.
        .initial_max_send_streams(0)
        .initial_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_reset_streams(BROKEN_OFF)
        // What is wrong with one answer is not the others' fault.
        .max_local_error_reset_streams(None);
    let unheard = |error: Option<Error>| match error {
        _ if noted.is_http_1.get() => Trouble::Foreign(format!("who listens at {address} speaks HTTP/1, not gRPC")),
        Some(error) if !error.is_io() => {
            Trouble::Foreign(format!("who listens at {address} speaks no good HTTP/2: {error}"))
        }
        error => {
            let kind = error.as_ref().and_then(Error::get_io).map_or(io::ErrorKind::UnexpectedEof, io::Error::kind);
            Trouble::Unreachable(kind, format!("who listens at {address} has closed the connection unasked"))
        }
    };
    let (requests, mut driven) = builder.handshake(wire).await.map_err(|error| unheard(Some(error)))?;
    let heard = poll_fn(|cx| match Pin::new(&mut driven).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Err(unheard(ended.err()))),
        Poll::Pending if requests.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    heard.await?;
    Ok((Line { requests, noted, calls: Cell::default(), ended: RefCell::default() }, driven))
}

/// Whether somebody takes calls there: connects, hears how many calls there may be, and sends a PING that has to come back;
/// never a call. It has no bound of its own: somebody may listen and say nothing.
///
/// # Errors
/// Nobody listens there, or whoever does speaks no HTTP/2; it says which.
pub async fn answers(address: &Address) -> io::Result<()> {
    let (line, mut driven) = open(address).await?;
    let mut pings = driven.ping_pong().ok_or_else(|| io::Error::other("a new connection can't be asked"))?;
    let mut pong = std::pin::pin!(pings.ping(Ping::opaque()));
    let failed = |error: Error| Err(line.why(&error, false));
    let heard = poll_fn(|cx| {
        let ended = Pin::new(&mut driven).poll(cx);
        match pong.as_mut().poll(cx) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(failed(error)),
            Poll::Pending => ended.map(|ended| ended.map_or_else(failed, |()| Err(Trouble::Lost(line.end())))),
        }
    });
    Ok(heard.await?)
}

impl Line {
    /// Whether more calls can be made, as far as is known: not after an error, nor when the program has begun to leave.
    pub fn is_open(&self) -> bool {
        let ready = self.requests.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_))) && self.ended.borrow().is_none() && !self.noted.is_shut.get()
    }

    /// How many calls there may be at once.
    pub fn limit(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Whether there may be one more.
    pub fn has_room(&self) -> bool {
        self.calls.get() < self.limit()
    }

    /// A call comes.
    pub fn enter(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    /// A call goes.
    pub fn leave(&self) {
        self.calls.set(self.calls.get() - 1);
    }

    /// What was driven is at its end.
    pub fn close(&self, ended: Result<(), Error>) {
        self.ended.replace(Some(ended));
    }

    /// How much has been written so far. A call that was begun since, and since when nothing more was written, is unsent.
    pub fn written(&self) -> u64 {
        self.noted.written.get()
    }

    /// Takes a call to be sent. What is given back breaks it off when it is dropped.
    ///
    /// # Errors
    /// Nothing of it was sent.
    pub fn call(&self, head: Request<()>, body: Bytes) -> Result<ResponseFuture, Trouble> {
        // A handle of its own, as one takes a single call beyond the limit.
        let sent = self.requests.clone().send_request(head, false).and_then(|(response, mut stream)| {
            stream.send_data(body, true)?;
            Ok(response)
        });
        sent.map_err(|error| self.why(&error, true))
    }

    /// What has become of a call that ended with this error, and of which nothing was sent if it is `unsent`.
    pub fn why(&self, error: &Error, unsent: bool) -> Trouble {
        if error.is_reset() && error.is_remote() {
            return Trouble::Reset(error.reason().unwrap_or(Code::NO_ERROR));
        }
        if error.is_go_away() && error.is_remote() {
            return Trouble::NotProcessed(error.to_string());
        }
        if error.is_library() {
            return Trouble::Foreign(format!("what the load test says is no good HTTP/2: {error}"));
        }
        if unsent { Trouble::Unsent(self.end()) } else { Trouble::Lost(self.end()) }
    }

    /// How it ended, in words; the connection itself knows best, as the program may have said why.
    fn end(&self) -> String {
        match &*self.ended.borrow() {
            Some(Err(error)) => error.to_string(),
            _ => String::from("closed by the load test"),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("calls", &self.calls).field("noted", &self.noted).finish_non_exhaustive()
    }
}
