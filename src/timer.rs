//! A precise alarm: a timerfd on the monotonic clock in tokio's reactor, as
//! tokio's own timers are a millisecond wide.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What wakes whoever has to do something at a given moment, and tells the time.
pub trait Alarm {
    /// What time it is.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Waits until `moment`, which may have passed. Dropping the future is fine.
    fn at(&mut self, moment: Instant) -> impl Future<Output = io::Result<()>>;
}

/// One alarm; set again, it forgets what it was set to.
pub struct Timer {
    fd: AsyncFd<Fd>,
    /// One moment on both of the clocks that are the same: Rust's, and the kernel's number for it.
    epoch: (Instant, Duration),
    set: Option<Instant>,
}

/// A timerfd as tokio wants it.
struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Timer {
    /// A timer in the current tokio runtime's reactor.
    ///
    /// # Errors
    /// When no descriptor is left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let monotonic = clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
        let epoch = (Instant::now(), Duration::from(monotonic));
        // SAFETY: `Fd` owns its descriptor and never gives it away: it is open,
        // and the same, for as long as the `AsyncFd` that owns the `Fd`.
        #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor of one's own")]
        let fd = unsafe { AsyncFd::register_with_interest(Fd(fd), Interest::READABLE) }?;
        Ok(Self { fd, epoch, set: None })
    }
}

impl Alarm for Timer {
    /// Waits until `moment`, which may have passed. Dropping the future is fine.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    async fn at(&mut self, moment: Instant) -> io::Result<()> {
        if self.set != Some(moment) {
            // Zero would disarm it.
            let (epoch, kernel) = self.epoch;
            let at = (kernel + moment.saturating_duration_since(epoch)).max(Duration::from_nanos(1));
            self.fd.get_ref().0.set(Expiration::OneShot(at.into()), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.set = Some(moment);
        }
        loop {
            let mut ready = self.fd.readable().await?;
            // Reads until it would block: one wake-up left over from an earlier
            // setting is not this one.
            match ready.try_io(|fd| match fd.get_ref().0.wait() {
                Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                other => other.map_err(io::Error::from),
            }) {
                Ok(rung) => {
                    rung?;
                    self.set = None;
                    return Ok(());
                }
                Err(_would_block) => {}
            }
        }
    }
}
