//! A socket that counts bytes, knows when they came, and wakes nobody who need not be woken.
//!
//! A hit's answer costs a wake-up of its own, unless the next one is soon and
//! answers on this connection have been there by then, several times running:
//! such a socket is taken out of the reactor and *left*: nothing is read before
//! the next wake-up. That takes nothing from the truth, as the kernel stamps
//! what it receives. Where an answer isn't there in time, is in parts, or came
//! without a stamp, the socket is *watched* by the reactor again, as any new one.
//! Unix sockets have no stamps: they are always watched.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::net::{Shutdown, TcpStream as Left};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::stamps::Stamps;
use super::traffic::{Traffic, add};
use crate::wakeups::Wakeups;

/// How many answers running must have been there before the next wake-up for the following to be left until then.
const PROMPT: u8 = 4;
/// How many wake-ups an answer that was left may fail to be there.
const LOOKS: u8 = 3;
/// How long a connection that was left can be idle before it is looked at before its next use in any case: a server
/// that has had enough of it may have said so (408, say), which must not pass for the next answer.
const FRESH: Duration = Duration::from_millis(10);

/// What was connected.
#[derive(Debug)]
pub enum Connected {
    /// To an address.
    Tcp(TcpStream),
    /// To a path of this machine.
    Unix(UnixStream),
}

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    io: Io,
    traffic: Rc<Traffic>,
    collector: Option<Collector>,
    /// What was asked last, and not answered completely yet.
    asked: Asked,
    /// Answers running that could have been left.
    prompt: u8,
    /// The wake-up after which it was found that there is nothing more to read.
    dry: Option<u64>,
    /// Where the kernel puts its stamps.
    control: Vec<u8>,
}

/// Who says when a socket that was left is looked at.
#[derive(Clone, Debug)]
pub struct Collector {
    /// The thread's wake-ups.
    pub wakeups: Rc<Wakeups>,
    /// What the kernel's stamps mean.
    pub stamps: Rc<Stamps>,
}

#[derive(Debug)]
enum Io {
    /// In the reactor.
    Watched(TcpStream),
    /// Not in the reactor.
    Left(Left),
    /// In the reactor, and never left.
    Unix(UnixStream),
    /// On its way from one to the other, or that failed.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Not before this.
    at: Instant,
    /// The wake-up since which it isn't looked at.
    round: u64,
    /// Whether there was to be a wake-up soon.
    soon: bool,
    /// How often it was looked at in vain.
    looks: u8,
    /// How often something came.
    parts: u8,
}

impl Socket {
    /// Counts what goes through `stream` into `traffic`. With a `collector` there it may be left until a wake-up.
    pub fn new(stream: Connected, traffic: Rc<Traffic>, collector: Option<Collector>) -> Self {
        let io = match stream {
            Connected::Tcp(stream) => {
                // Without stamps answers are timed by our own clock, and never left.
                if let Err(error) = setsockopt(&stream, sockopt::ReceiveTimestampns, &true) {
                    log::debug!("the kernel doesn't stamp what it receives: {error}");
                }
                Io::Watched(stream)
            }
            Connected::Unix(stream) => Io::Unix(stream),
        };
        let asked = Asked { at: Instant::now(), round: 0, soon: false, looks: 0, parts: 0 };
        let control = cmsg_space!(TimeSpec);
        Self { io, traffic, collector, asked, prompt: 0, dry: None, control }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.may_be_left() {
                self.leave()?;
            }
            if !self.traffic.is_asked() && !self.traffic.asks_again.get() {
                return self.look(buffer);
            }
            let (received, stamp) = match &self.io {
                Io::Watched(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    let read = || receive(stream.as_raw_fd(), buffer, &mut self.control);
                    match stream.try_io(Interest::READABLE, read) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                        other => {
                            let other = other?;
                            if other.0 < buffer.len() {
                                // There is no more: the reactor says when there is.
                                let none = || Err::<(), _>(ErrorKind::WouldBlock.into());
                                let _ = stream.try_io(Interest::READABLE, none);
                            }
                            other
                        }
                    }
                }
                Io::Left(_) if !self.is_due() => {
                    if !self.traffic.is_asked() {
                        // Whoever takes it from the pool looks again.
                        return Poll::Pending;
                    }
                    ready!(self.wait(cx)?);
                    continue;
                }
                Io::Left(stream) => match receive(stream.as_raw_fd(), buffer, &mut self.control) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.dry = self.round();
                        self.asked.looks += 1;
                        continue;
                    }
                    other => other?,
                },
                // Not by recvmsg, which would take what files a server hands over, too.
                Io::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    match stream.try_read(buffer) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                        received => (received?, None),
                    }
                }
                Io::Gone => return Poll::Ready(Err(ErrorKind::NotConnected.into())),
            };
            if received < buffer.len() {
                self.dry = self.round();
            }
            self.arrived(received, stamp);
            return Poll::Ready(Ok(received));
        }
    }

    /// What has come unasked, or that it has ended, by the kernel's own word: neither what the reactor knows, nor what
    /// was found in this wake-up, is new enough for what can't be asked again. Doesn't wait, and wakes nobody.
    fn look(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let looked = match &self.io {
            Io::Watched(stream) => receive(stream.as_raw_fd(), buffer, &mut self.control),
            Io::Left(stream) => receive(stream.as_raw_fd(), buffer, &mut self.control),
            Io::Unix(stream) => {
                recv(stream.as_raw_fd(), buffer, MsgFlags::empty()).map(|n| (n, None)).map_err(Into::into)
            }
            Io::Gone => Err(ErrorKind::NotConnected.into()),
        };
        match looked {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            looked => {
                let (received, stamp) = looked?;
                self.arrived(received, stamp);
                Poll::Ready(Ok(received))
            }
        }
    }

    /// Whether a socket that was left is to be looked at: once a wake-up, and not before the first.
    fn is_due(&self) -> bool {
        let Some(Collector { wakeups, .. }) = &self.collector else { return true };
        let round = wakeups.round();
        let is_due = match self.traffic.is_asked() {
            true => round != self.asked.round,
            false => wakeups.woke().saturating_duration_since(self.asked.at) > FRESH,
        };
        is_due && self.dry != Some(round)
    }

    /// Waits for the next wake-up, or has the reactor watch the socket if that isn't soon, or wasn't the first.
    fn wait(&mut self, cx: &Context<'_>) -> io::Result<Poll<()>> {
        if let Some(Collector { wakeups, .. }) = &self.collector
            && self.asked.looks < LOOKS
            && self.asked.parts < 2
            && wakeups.is_soon()
        {
            wakeups.leave(cx.waker());
            return Ok(Poll::Pending);
        }
        self.watch()?;
        Ok(Poll::Ready(()))
    }

    fn round(&self) -> Option<u64> {
        self.collector.as_ref().map(|collector| collector.wakeups.round())
    }

    /// Whether this is a socket whose answer was read, and whose next one can be left.
    fn may_be_left(&self) -> bool {
        let is_soon = |collector: &Collector| collector.wakeups.is_soon();
        self.prompt >= PROMPT
            && !self.traffic.is_asked()
            && !self.traffic.is_shared.get()
            && matches!(self.io, Io::Watched(_))
            && self.collector.as_ref().is_some_and(is_soon)
    }

    fn leave(&mut self) -> io::Result<()> {
        self.io = match std::mem::replace(&mut self.io, Io::Gone) {
            Io::Watched(stream) => Io::Left(stream.into_std()?),
            other => other,
        };
        Ok(())
    }

    fn watch(&mut self) -> io::Result<()> {
        self.prompt = 0;
        self.io = match std::mem::replace(&mut self.io, Io::Gone) {
            Io::Left(stream) => Io::Watched(TcpStream::from_std(stream)?),
            other => other,
        };
        Ok(())
    }

    /// Notes that something came, and when.
    fn arrived(&mut self, bytes: usize, stamp: Option<TimeSpec>) {
        add(&self.traffic.received, bytes as u64);
        let stamped = self.collector.as_ref().and_then(|Collector { stamps, wakeups, .. }| match &self.io {
            // Right after a wake-up, once for all that it has collected.
            Io::Left(_) => stamps.moment_of_round(stamp, self.asked.at, wakeups.round()),
            Io::Watched(_) | Io::Unix(_) | Io::Gone => stamps.moment(stamp, self.asked.at),
        });
        self.traffic.arrived.set(Some(stamped.unwrap_or_else(Instant::now)));
        self.asked.parts = self.asked.parts.saturating_add(1);
        let in_time = match &self.io {
            Io::Watched(_) => self.asked.soon && self.round() == Some(self.asked.round),
            Io::Left(_) | Io::Unix(_) | Io::Gone => true,
        };
        let whole = self.asked.parts == 1 && bytes > 0;
        self.prompt = if in_time && whole && stamped.is_some() { self.prompt.saturating_add(1) } else { 0 };
    }

    /// Notes that something was sent, to which there will be an answer.
    fn sent(&mut self, bytes: usize) {
        add(&self.traffic.sent, bytes as u64);
        self.traffic.ask();
        // When the thread woke up is not after it.
        let (at, round, soon) = match &self.collector {
            Some(Collector { wakeups, .. }) => (wakeups.woke(), wakeups.round(), wakeups.is_soon()),
            None => (self.asked.at, 0, false),
        };
        self.asked = Asked { at, round, soon, looks: 0, parts: 0 };
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        watched: impl Fn(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
        left: impl Fn(&Left) -> io::Result<usize>,
        unix: impl Fn(Pin<&mut UnixStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let sent = loop {
            match &mut self.io {
                Io::Watched(stream) => break ready!(watched(Pin::new(stream), cx))?,
                Io::Left(stream) => match left(stream) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.watch()?,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    sent => break sent?,
                },
                Io::Unix(stream) => break ready!(unix(Pin::new(stream), cx))?,
                Io::Gone => return Poll::Ready(Err(ErrorKind::NotConnected.into())),
            }
        };
        self.sent(sent);
        Poll::Ready(Ok(sent))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let received = ready!(self.poll_receive(cx, buf.initialize_unfilled()))?;
        buf.advance(received);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(
            cx,
            |stream, cx| stream.poll_write(cx, buf),
            |mut stream| stream.write(buf),
            |stream, cx| stream.poll_write(cx, buf),
        )
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(
            cx,
            |stream, cx| stream.poll_write_vectored(cx, bufs),
            |mut stream| stream.write_vectored(bufs),
            |stream, cx| stream.poll_write_vectored(cx, bufs),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Left(stream) => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Io::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }
}

/// Reads what is there, and when the last of it came, by the wall clock.
fn receive(fd: RawFd, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Option<TimeSpec>)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::empty())?;
    let mut stamp = None;
    // What doesn't fit into `control` is nothing that was asked for.
    for message in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmTimestampns(at) = message {
            stamp = Some(at);
        }
    }
    Ok((message.bytes, stamp))
}
