//! Connections that wait for the next hit.
//!
//! There are never more than hits were in flight, or at rest, at once. The one
//! used last is used next, or, where connections rest, the one that has rested
//! most; what the server has closed meanwhile is found, and dropped, when it is
//! its turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use super::stream::Stream;
use super::traffic::Traffic;

/// A connection that can wait for another hit.
pub trait Idle {
    /// What goes over its socket.
    fn traffic(&self) -> &Traffic;

    /// What it goes over.
    fn stream(&mut self) -> &mut Stream;
}

/// The idle connections to one origin. Boxed: a hit's future would be as large as all the connections that it moves.
pub struct Pool<C> {
    /// The one used last is the last.
    idle: RefCell<VecDeque<Box<C>>>,
    /// How long none is used after an answer.
    rest: Duration,
}

impl<C: Idle> Pool<C> {
    /// One whose connections rest so long after an answer.
    pub fn resting(rest: Duration) -> Self {
        Self { rest, ..Self::default() }
    }

    /// Takes a connection that is open as far as is known here, for a request that may, or may not, be asked again;
    /// `None` when there is none, or none has rested. Doesn't wait.
    pub async fn take(&self, asks_again: bool) -> Option<Box<C>> {
        poll_fn(|cx| {
            let mut idle = self.idle.borrow_mut();
            while let Some(mut connection) = self.next(&mut idle) {
                connection.traffic().asks_again.set(asks_again);
                if is_open(connection.stream(), cx) {
                    return Poll::Ready(Some(connection));
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    /// Keeps a connection whose last answer has been read to its end.
    pub fn put(&self, connection: Box<C>) {
        self.idle.borrow_mut().push_back(connection);
    }

    /// The one whose turn it is.
    fn next(&self, idle: &mut VecDeque<Box<C>>) -> Option<Box<C>> {
        if self.rest.is_zero() {
            return idle.pop_back();
        }
        let arrived = idle.front()?.traffic().arrived.get();
        let has_rested = arrived.is_none_or(|arrived| arrived + self.rest <= Instant::now());
        if has_rested { idle.pop_front() } else { None }
    }
}

/// Whether it is still open as far as is known, without waiting: nothing is to come while nothing is asked.
fn is_open(stream: &mut Stream, cx: &mut Context<'_>) -> bool {
    Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_pending()
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { idle: RefCell::default(), rest: Duration::ZERO }
    }
}

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.idle.borrow().len())
    }
}
