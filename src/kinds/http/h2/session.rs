//! One connection that speaks HTTP/2, shared by the hits that are on it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Error, SendStream};
use hyper::Request;

use super::baton::Baton;
use super::lost::{Lost, Why};
use super::wire::{Failed, Wire};
use crate::kinds::dial::{Stream, Traffic};
use crate::kinds::http::cookies::{Jar, Now};

/// How many requests may be on their way before the server has said how many may, as RFC 9113 has it at the least.
pub const UNTOLD: usize = 100;
/// The largest head of an answer, in bytes.
const MAX_HEAD: u32 = 64 << 10;
/// How much of bodies may have come and not be looked at, of one and of all together, in bytes: what browsers allow.
const WINDOWS: (u32, u32) = (6 << 20, 15 << 20);
/// Of how many requests that were broken off lately is remembered that more of their answers may come.
const BROKEN_OFF: usize = 1024;

/// An open connection.
pub struct Session {
    /// What goes over its socket.
    pub traffic: Rc<Traffic>,
    /// Whether new hits come here.
    pub is_listed: Cell<bool>,
    requests: RefCell<Option<SendRequest<Bytes>>>,
    /// `None` when it is over.
    connection: RefCell<Option<Connection<Wire, Bytes>>>,
    /// What it ended with, other than the server's leave.
    ended: RefCell<Option<Error>>,
    failed: Failed,
    /// The cookies that came over it, where they are kept.
    jar: RefCell<Option<Box<Jar>>>,
    baton: Arc<Baton>,
    waker: Waker,
    /// The hits that are on it, and those that were.
    hits: Cell<usize>,
    came: Cell<u64>,
}

impl Session {
    /// Says hello over `stream`, which counts into `traffic`. Until the server has said how many requests may be on their
    /// way it is `limit`.
    ///
    /// # Errors
    /// It can't be said.
    pub async fn begin(stream: Stream, traffic: Rc<Traffic>, limit: usize) -> Result<Self, Lost> {
        traffic.is_shared.set(true);
        let failed = Failed::default();
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(limit)
            .initial_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_reset_streams(BROKEN_OFF)
            // What is wrong with one answer is not the others' fault.
            .max_local_error_reset_streams(None);
        let said = builder.handshake(Wire::new(stream, &failed)).await;
        let (requests, connection) = said.map_err(|_| {
            let error = failed.borrow().clone();
            Lost::unsent(error.map_or(Why::Closed, Why::Failed))
        })?;
        let baton = Arc::<Baton>::default();
        let waker = Waker::from(Arc::clone(&baton));
        // There is something to say at first.
        waker.wake_by_ref();
        Ok(Self {
            traffic,
            is_listed: Cell::new(false),
            requests: RefCell::new(Some(requests)),
            connection: RefCell::new(Some(connection)),
            ended: RefCell::default(),
            failed,
            jar: RefCell::default(),
            baton,
            waker,
            hits: Cell::default(),
            came: Cell::default(),
        })
    }

    /// A hit comes: its number here, and whether it comes to a connection that was idle.
    pub fn enter(&self) -> (u64, bool) {
        let number = self.came.replace(self.came.get() + 1);
        let others = self.hits.replace(self.hits.get() + 1);
        (number, others == 0 && number > 0)
    }

    /// The hit of this number goes; what it leaves to do is done by others, or at once.
    pub fn leave(&self, number: u64) {
        self.hits.set(self.hits.get() - 1);
        if self.baton.leave(number) {
            self.drive();
        }
    }

    /// The hit of this number is polled for the first time. From now on it may be woken to drive the connection.
    pub fn enroll(&self, number: u64, cx: &Context<'_>) {
        if self.baton.enroll(number, cx.waker()) {
            cx.waker().wake_by_ref();
        }
    }

    /// The hit of this number is polled: drives the connection where that is its turn.
    pub fn attend(&self, number: u64, cx: &Context<'_>) {
        if self.baton.attend(number, cx.waker()) {
            self.drive();
        }
    }

    /// Looks for what has come while no hit was on it, by the kernel's own word.
    pub fn look(&self) {
        self.traffic.answered();
        self.drive();
        // From here on the reactor wakes whoever waits for an answer.
        self.traffic.ask();
    }

    /// Sends and reads what there is to, without waiting.
    pub fn drive(&self) {
        let Ok(mut connection) = self.connection.try_borrow_mut() else { return };
        let polled = connection.as_mut().map(|open| Pin::new(open).poll(&mut Context::from_waker(&self.waker)));
        match polled {
            Some(Poll::Ready(ended)) => {
                *connection = None;
                let mut known = self.ended.borrow_mut();
                *known = known.take().or(ended.err());
            }
            // It is at its end: whether the server had said why is not told then.
            Some(Poll::Pending) if self.failed.borrow().is_some() => *self.ended.borrow_mut() = self.told(),
            Some(Poll::Pending) | None => {}
        }
    }

    /// What the server has said why it leaves, if not in peace.
    fn told(&self) -> Option<Error> {
        let mut requests = self.requests.borrow_mut();
        let ready = requests.as_mut()?.poll_ready(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = ready else { return None };
        (error.is_go_away() && error.reason() != Some(h2::Reason::NO_ERROR)).then_some(error)
    }

    /// How many hits are on it.
    pub const fn hits(&self) -> usize {
        self.hits.get()
    }

    /// Whether more requests can be sent, as far as is known: not after an error, nor when the server has begun to leave.
    pub fn is_open(&self) -> bool {
        let mut requests = self.requests.borrow_mut();
        let ready = requests.as_mut().map(|requests| requests.poll_ready(&mut Context::from_waker(Waker::noop())));
        !matches!(ready, None | Some(Poll::Ready(Err(_)))) && self.connection.borrow().is_some()
    }

    /// How many requests may be on their way at once, by the server's word if it has said so.
    pub fn limit(&self) -> usize {
        self.requests.borrow().as_ref().map_or(0, SendRequest::current_max_send_streams)
    }

    /// Whether there may be one more.
    pub fn has_room(&self) -> bool {
        self.hits.get() < self.limit()
    }

    /// What `look` makes of a request's head with the cookies in it that belong to it.
    pub fn dress<T>(&self, head: &[u8], look: impl FnOnce(&[u8]) -> T) -> T {
        match &mut *self.jar.borrow_mut() {
            Some(jar) => look(jar.dress(head, Now::read())),
            None => look(head),
        }
    }

    /// Keeps the cookies that came with an answer to the request for `path`, over TLS or not.
    pub fn keep(&self, cookies: &[Bytes], path: &[u8], tls: bool) {
        if !cookies.is_empty() {
            self.jar.borrow_mut().get_or_insert_default().take(cookies, path, tls, Now::read());
        }
    }

    /// Takes a request to be sent, `whole` if no body follows.
    ///
    /// # Errors
    /// Nothing of it was sent.
    pub fn request(&self, head: Request<()>, whole: bool) -> Result<(ResponseFuture, SendStream<Bytes>), Lost> {
        // A handle of its own, as one takes a single request beyond the limit.
        let handle = self.requests.borrow().clone();
        let Some(mut handle) = handle else { return Err(Lost::unsent(Why::Closed)) };
        handle.send_request(head, whole).map_err(|error| Lost::unsent(self.why(error)))
    }

    /// Says goodbye, as far as that goes without waiting, and closes it.
    pub fn close(&self) {
        self.requests.borrow_mut().take();
        self.drive();
        self.connection.borrow_mut().take();
    }

    /// What has become of a request that ended with this error.
    pub fn why(&self, error: Error) -> Why {
        if error.is_reset() && error.is_remote() {
            return Why::Reset(error.reason().unwrap_or(h2::Reason::NO_ERROR));
        }
        if error.is_go_away() && error.is_remote() {
            return Why::NotProcessed(error);
        }
        if error.is_io() {
            // The connection knows better: the server may have said why it ends, or TLS what was wrong.
            let ended = self.ended.borrow();
            if let Some(ended) = ended.as_ref().filter(|ended| ended.is_go_away()) {
                return Why::Ended(ended.to_string());
            }
            return self.failed.borrow().clone().map_or(Why::Closed, Why::Failed);
        }
        if error.is_library() { Why::Foreign(error) } else { Why::Unsayable(error) }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("hits", &self.hits).field("came", &self.came).finish_non_exhaustive()
    }
}
