//! What HTTP/2 is spoken over: a stream that remembers how it failed, as the codec keeps no more of that than words.
//!
//! A server may say why it leaves, and end the connection at once. For that to
//! be heard what can't be written is nobody's affair: reading on brings what
//! was said, and the end; and that isn't told before the former was looked at.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::kinds::dial::Stream;

/// A connection's bytes.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    failed: Failed,
    /// Whether reading has failed, which was not told yet the first time.
    is_over: bool,
}

/// How a wire failed first, if it has; for all the hits that were on it.
pub type Failed = Rc<RefCell<Option<Rc<io::Error>>>>;

impl Wire {
    /// Goes over `stream`, and notes its failure in `failed`.
    pub fn new(stream: Stream, failed: &Failed) -> Self {
        Self { stream, failed: Rc::clone(failed), is_over: false }
    }

    fn stream(&mut self) -> Pin<&mut Stream> {
        Pin::new(&mut self.stream)
    }

    fn note(&self, error: io::Error) -> ErrorKind {
        let kind = error.kind();
        self.failed.borrow_mut().get_or_insert_with(|| error.into());
        kind
    }

    /// As if all of it had been written, if none of it can be.
    fn written(&self, done: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
        done.map(|done| {
            Ok(done.unwrap_or_else(|error| {
                self.note(error);
                bytes
            }))
        })
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Err(error) = ready!(self.stream().poll_read(cx, buf)) else { return Poll::Ready(Ok(())) };
        let kind = self.note(error);
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(Err(kind.into()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.stream().poll_write(cx, buf);
        self.written(done, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = self.stream().poll_write_vectored(cx, bufs);
        self.written(done, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = ready!(self.stream().poll_flush(cx));
        done.unwrap_or_else(|error| _ = self.note(error));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
