//! The bytes of a connection: a socket, with or without TLS around it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::socket::Socket;

/// What HTTP is spoken over.
#[derive(Debug)]
pub struct Stream {
    bytes: Layers,
    /// Set when a byte of HTTP has been received, which a record of TLS alone is not.
    heard: Rc<Cell<bool>>,
}

#[derive(Debug)]
enum Layers {
    Plain(Socket),
    // Boxed as it is two orders of magnitude larger.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// HTTP in the clear.
    pub fn plain(stream: Socket, heard: Rc<Cell<bool>>) -> Self {
        Self { bytes: Layers::Plain(stream), heard }
    }

    /// HTTP over TLS.
    pub fn tls(stream: TlsStream<Socket>, heard: Rc<Cell<bool>>) -> Self {
        Self { bytes: Layers::Tls(Box::new(stream)), heard }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.bytes {
            Layers::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Layers::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        if buf.filled().len() > before {
            self.heard.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Layers::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Layers::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Layers::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Layers::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Layers::Plain(stream) => stream.is_write_vectored(),
            Layers::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Layers::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Layers::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Layers::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Layers::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
