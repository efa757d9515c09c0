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
/// How often the two clocks are read for one moment on both.
const READINGS: u32 = 5;

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
        let kernel = || clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let epoch = same_moment(Instant::now, kernel)?;
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
            let Some(set) = self.set.get() else { continue };
            if set > now + lead {
                // It may have rung as it was being armed again. Should it have been this ringing that was too early,
                // there is no other: it is never taken for the former.
                self.arm(set)?;
                continue;
            }
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

/// One moment on two clocks, the second of which is read after the first: a timer that is set by it may ring late, but
/// never early. As a busy machine may stop the thread in between, the quickest of a few readings is taken.
fn same_moment(
    mut now: impl FnMut() -> Instant,
    mut kernel: impl FnMut() -> nix::Result<Duration>,
) -> nix::Result<(Instant, Duration)> {
    let mut read = || {
        let moment = (now(), kernel()?);
        Ok((now() - moment.0, moment))
    };
    let (mut least, mut quickest) = read()?;
    for _ in 1..READINGS {
        let (took, moment) = read()?;
        if took < least {
            (least, quickest) = (took, moment);
        }
    }
    Ok(quickest)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn two_clocks_are_compared_when_nothing_came_between() {
        const ALL: usize = 3 * READINGS as usize;
        /// What the kernel's clock is ahead by, if both go on by so many microseconds after each reading.
        fn ahead(went: [u64; ALL]) -> Option<Duration> {
            let (begin, went) = (Instant::now(), RefCell::new(went.into_iter()));
            let passed = Cell::new(Duration::ZERO);
            let read = || passed.replace(passed.get() + Duration::from_micros(went.borrow_mut().next().unwrap()));
            let (instant, kernel) = same_moment(|| begin + read(), || Ok(read())).unwrap();
            kernel.checked_sub(instant - begin)
        }
        let us = |us| Some(Duration::from_micros(us));
        assert_eq!(ahead([1; ALL]), us(1));
        for stopped in 0..ALL {
            let mut went = [1; ALL];
            went[stopped] = 5000;
            assert_eq!(ahead(went), us(1), "stopped after reading {stopped}");
        }
        // However busy the machine is: not behind.
        assert_eq!(ahead([5000; ALL]), us(5000));
    }

    #[test]
    fn a_timer_that_rings_before_its_time_is_not_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut timer = Timer::new().unwrap();
            // As if the thread had been stopped for a while between the two clocks.
            timer.epoch.0 += Duration::from_millis(5);
            let moment = Instant::now() + Duration::from_millis(20);
            timer.arm(moment).unwrap();
            let rung = tokio::time::timeout(Duration::from_secs(5), poll_fn(|cx| timer.poll_rung(cx))).await;
            assert!(rung.expect("it rings").unwrap() >= moment);
        });
    }
}
