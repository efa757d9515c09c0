//! Connections that wait for the next hit.
//!
//! There are never more than hits were in flight at once. The one used last is
//! used next; what the server has closed meanwhile is found, and dropped, when
//! it is its turn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

use super::connection::Connection;

/// The idle connections to one origin.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a hit's future would be as large as all the connections that it moves")]
pub struct Pool(RefCell<Vec<Box<Connection>>>);

impl Pool {
    /// Takes a connection that is open as far as is known here, for a request that may, or may not, be asked again;
    /// `None` when there is none. Doesn't wait.
    pub async fn take(&self, asks_again: bool) -> Option<Box<Connection>> {
        poll_fn(|cx| {
            let mut idle = self.0.borrow_mut();
            while let Some(mut connection) = idle.pop() {
                connection.traffic.asks_again.set(asks_again);
                if connection.poll_open(cx) {
                    return Poll::Ready(Some(connection));
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    /// Keeps a connection whose last answer has been read to its end.
    pub fn put(&self, connection: Box<Connection>) {
        self.0.borrow_mut().push(connection);
    }
}
