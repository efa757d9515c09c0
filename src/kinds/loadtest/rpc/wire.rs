//! What a call goes over: a socket that counts what was written, so that a call of which nothing was can be made anew.
//!
//! A program may say why it leaves, and end the connection at once. For that to
//! be heard what can't be written is nobody's affair: reading on brings what
//! was said, and the end.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;

/// How an answer begins of somebody who speaks HTTP/1.
const HTTP_1: &[u8] = b"HTTP/1.";

/// A connection's bytes.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    noted: Rc<Noted>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What is known of what went over a wire.
#[derive(Debug, Default)]
pub struct Noted {
    /// How many bytes the system has taken.
    pub written: Cell<u64>,
    /// Whether it takes no more.
    pub is_shut: Cell<bool>,
    /// Whether nothing has come yet.
    pub is_silent: Cell<bool>,
    /// Whether what came first was HTTP/1.
    pub is_http_1: Cell<bool>,
}

impl Wire {
    /// Connects to `address`, and notes in `noted` what goes over it.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(address: &Address, noted: &Rc<Noted>) -> io::Result<Self> {
        let socket = match address {
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // A call is two small frames, and the next may follow before they are acknowledged.
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
        };
        noted.is_silent.set(true);
        Ok(Self { socket, noted: Rc::clone(noted) })
    }

    /// As if all of it had been written, if none of it can be.
    fn written(&self, done: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
        done.map(|done| {
            match done {
                Ok(taken) => {
                    self.noted.written.set(self.noted.written.get() + taken as u64);
                    return Ok(taken);
                }
                Err(_) => self.noted.is_shut.set(true),
            }
            Ok(bytes)
        })
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        let came = &buf.filled()[before..];
        if !came.is_empty() && self.noted.is_silent.replace(false) {
            self.noted.is_http_1.set(came.starts_with(HTTP_1));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.written(done, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.written(done, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
