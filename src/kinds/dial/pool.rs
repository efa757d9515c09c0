//! Connections that wait for the next hit.
//!
//! There are never more than hits were in flight at once. The one used last is
//! used next; what the server has closed meanwhile is found, and dropped, when
//! it is its turn.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

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
pub struct Pool<C>(RefCell<Vec<Box<C>>>);

impl<C: Idle> Pool<C> {
    /// Takes a connection that is open as far as is known here, for a request that may, or may not, be asked again;
    /// `None` when there is none. Doesn't wait.
    pub async fn take(&self, asks_again: bool) -> Option<Box<C>> {
        poll_fn(|cx| {
            let mut idle = self.0.borrow_mut();
            while let Some(mut connection) = idle.pop() {
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
        self.0.borrow_mut().push(connection);
    }
}

/// Whether it is still open as far as is known, without waiting: nothing is to come while nothing is asked.
fn is_open(stream: &mut Stream, cx: &mut Context<'_>) -> bool {
    Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_pending()
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.0.borrow().len())
    }
}
