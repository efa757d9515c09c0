//! What HTTP/2 is spoken over: a stream that remembers how it failed, as the codec keeps no more of that than words.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::kinds::dial::Stream;

/// A connection's bytes.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    failed: Failed,
}

/// How a wire failed first, if it has; for all the hits that were on it.
pub type Failed = Rc<RefCell<Option<Rc<io::Error>>>>;

impl Wire {
    /// Goes over `stream`, and notes its failure in `failed`.
    pub fn new(stream: Stream, failed: &Failed) -> Self {
        Self { stream, failed: Rc::clone(failed) }
    }

    fn stream(&mut self) -> Pin<&mut Stream> {
        Pin::new(&mut self.stream)
    }

    fn note<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        done.map_err(|error| {
            let kind = error.kind();
            self.failed.borrow_mut().get_or_insert_with(|| error.into());
            kind.into()
        })
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let done = self.stream().poll_read(cx, buf);
        self.note(done)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.stream().poll_write(cx, buf);
        self.note(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = self.stream().poll_write_vectored(cx, bufs);
        self.note(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.stream().poll_flush(cx);
        self.note(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
