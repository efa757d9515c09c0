//! One timerfd, which rings as much earlier as a thread takes to wake up.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most that a timer rings in advance: what a thread may have to wait out, spinning.
const MAX_LEAD: Duration = Duration::from_micros(30);
/// What the quickest wake-up of late is believed to be slower than the next one may be.
const LEAD_MARGIN: Duration = Duration::from_micros(5);

/// A timerfd as tokio wants it.
#[derive(Debug)]
struct Fd(TimerFd);

/// A timerfd in the reactor, and when it will ring.
#[derive(Debug)]
pub(super) struct Timer {
    fd: AsyncFd<Fd>,
    /// One moment on both of the clocks that are the same: Rust's, and the kernel's number for it.
    epoch: (Instant, Duration),
    /// For when it is set.
    pub(super) set: Cell<Option<Instant>>,
    /// How much earlier it rings then.
    lead: Cell<Duration>,
    /// How long after its ringing the quickest wake-up of late was.
    quickest: Cell<Duration>,
}

impl Timer {
    /// A timer that isn't set.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let monotonic = clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
        let epoch = (Instant::now(), Duration::from(monotonic));
        // SAFETY: `Fd` owns its descriptor and never gives it away: it is open,
        // and the same, for as long as the `AsyncFd` that owns the `Fd`.
        #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor of one's own")]
        let fd = unsafe { AsyncFd::register_with_interest(Fd(fd), Interest::READABLE) }?;
        Ok(Self { fd, epoch, set: Cell::default(), lead: Cell::default(), quickest: Cell::default() })
    }

    /// Sets it, whatever it was set for.
    pub(super) fn arm(&self, moment: Instant) -> io::Result<()> {
        let (epoch, kernel) = self.epoch;
        let lead = self.quickest.get().saturating_sub(LEAD_MARGIN).min(MAX_LEAD);
        // Zero would disarm it.
        let at = (kernel + moment.saturating_duration_since(epoch)).saturating_sub(lead).max(Duration::from_nanos(1));
        self.fd.get_ref().0.set(Expiration::OneShot(at.into()), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.set.set(Some(moment));
        self.lead.set(lead);
        Ok(())
    }

    /// What time it is when it rang. It isn't read: the reactor tells of each ringing once, and arming forgets what was.
    pub(super) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<io::Result<Instant>> {
        loop {
            ready!(self.fd.poll_read_ready(cx))?.clear_ready();
            let lead = self.lead.get();
            let mut now = Instant::now();
            // It may have rung as it was being armed again.
            let Some(set) = self.set.get().filter(|set| *set <= now + lead) else { continue };
            self.learn((now + lead) - set);
            while now < set {
                std::hint::spin_loop();
                now = Instant::now();
            }
            self.set.set(None);
            return Poll::Ready(Ok(now));
        }
    }

    /// A thread woke up so long after the ringing. One that was busy is no measure: what takes longer counts little.
    fn learn(&self, took: Duration) {
        let quickest = self.quickest.get();
        self.quickest.set(match took.checked_sub(quickest) {
            Some(longer) => quickest + longer.min(MAX_LEAD) / 32,
            None => took,
        });
    }
}

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
