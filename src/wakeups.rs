//! When a thread wakes up: as seldom as can be, and to the microsecond.
//!
//! A wake-up costs more than all else that a hit does, so a thread has one
//! [`Wakeups`], and whatever works on it an [`Alarm`] from there. Four things
//! make them few, cheap and exact; each can be taken out again:
//!
//! - *Armed ahead.* There are two timerfds. While one is waited for, the other
//!   is armed for the moment after it: the kernel then reprograms the hardware
//!   in the interrupt that it has anyway.
//! - *Shared.* Once a thread has woken up a few times in quick succession, there
//!   is [`SLACK`] between its wake-ups: what is due meanwhile waits for the next
//!   one, as far as its patience reaches. Nothing ever happens early.
//! - *In advance.* From a timer's ringing to a thread's running some 30 µs pass.
//!   What the quickest of late took, less a margin, the timers ring earlier; a
//!   thread that is too early nevertheless waits out the last microseconds.
//! - *Collecting.* Who expects something soon, but can tell afterwards when it
//!   came, may [leave it](Wakeups::leave) for the next wake-up instead of having
//!   one of its own.
//!
//! tokio's own timers are a millisecond wide, and wake a thread once more when they are set.

mod timer;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use timer::Timer;

/// What lies between shared wake-ups unless it is set: hits are late by half of it on average, and their distances
/// from an even grid are a quarter of it, where timers of a millisecond make that 0.25 ms.
pub const SLACK: Duration = Duration::from_micros(440);
/// How many wake-ups may follow each other more closely before they are shared: a few tests whose dues happen to lie
/// next to each other are still exact.
const QUICK: u32 = 8;
/// How soon the next wake-up must be for something to be left until then.
const SOON: Duration = Duration::from_millis(2);
/// How late a time-out may be noticed.
const TIMEOUT_PATIENCE: Duration = Duration::from_millis(1);

/// When to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wake {
    /// Not before this moment, which may have passed.
    pub at: Instant,
    /// How much later is as good, should others be woken then.
    pub patience: Duration,
    /// The moment that will be asked for after this one, where that is known.
    pub then: Option<Instant>,
    /// Whether the one that is woken [collects](Alarm::collect), when it has done what was due.
    pub collects: bool,
}

impl Wake {
    /// At `moment`, no later, and nothing is known of what comes then.
    pub const fn at(moment: Instant) -> Self {
        Self { at: moment, patience: Duration::ZERO, then: None, collects: false }
    }
}

/// What tells the time, and wakes whoever has to do something then.
pub trait Alarm {
    /// What time it is.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Tells the time where the alarm isn't at hand.
    fn clock(&self) -> impl Fn() -> Instant + 'static {
        Instant::now
    }

    /// Waits until it is time. Dropping the future is fine.
    fn ring(&mut self, wake: Wake) -> impl Future<Output = io::Result<()>>;

    /// Has whatever was left for this wake-up looked for.
    fn collect(&self) {}
}

/// The wake-ups of one thread. To be [kept](Self::keep) by a task of its own.
#[derive(Debug)]
pub struct Wakeups {
    timers: [Timer; 2],
    /// Counts the wake-ups.
    round: Cell<u64>,
    /// When the last of them was.
    woke: Cell<Instant>,
    sleepers: RefCell<Sleepers>,
    /// Those who left something for the next wake-up, and those whose next wake-up that is now.
    left: RefCell<Vec<Waker>>,
    due: RefCell<Vec<Waker>>,
}

/// Who is to be woken, and how soon there may be a wake-up.
#[derive(Debug)]
struct Sleepers {
    /// By when they are to be woken, and by number, as several may have the same moment.
    asleep: BTreeMap<(Instant, u64), (Wake, Waker)>,
    numbers: u64,
    slack: Duration,
    /// When the wake-ups so far would be over if each took all of the slack.
    spent: Instant,
}

/// The alarm of one that works on a thread; set again, it forgets what it was set to.
#[derive(Debug)]
pub struct Sleeper {
    wakeups: Rc<Wakeups>,
    number: u64,
    asleep: Option<Wake>,
}

impl Wakeups {
    /// The wake-ups of the current thread, in the current tokio runtime's reactor; shared where there would be less
    /// than `slack` between them, never if that is zero.
    ///
    /// # Errors
    /// When no descriptor is left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(slack: Duration) -> io::Result<Rc<Self>> {
        let now = Instant::now();
        let sleepers = Sleepers { asleep: BTreeMap::new(), numbers: 0, slack, spent: now };
        Ok(Rc::new(Self {
            timers: [Timer::new()?, Timer::new()?],
            round: Cell::new(0),
            woke: Cell::new(now),
            sleepers: RefCell::new(sleepers),
            left: RefCell::default(),
            due: RefCell::default(),
        }))
    }

    /// An alarm for one that works on this thread.
    pub fn sleeper(self: &Rc<Self>) -> Sleeper {
        let mut sleepers = self.sleepers.borrow_mut();
        sleepers.numbers += 1;
        Sleeper { wakeups: Rc::clone(self), number: sleepers.numbers, asleep: None }
    }

    /// Rings the alarms when it is time. To be polled as long as any is used, by a task of its own.
    ///
    /// # Errors
    /// Ends only when the kernel refuses a timer.
    pub async fn keep(&self) -> io::Result<Infallible> {
        loop {
            let now = poll_fn(|cx| self.poll_rung(cx)).await?;
            self.woke.set(now);
            self.round.set(self.round.get() + 1);
            self.due.borrow_mut().append(&mut self.left.borrow_mut());
            let (collects, next) = self.sleepers.borrow_mut().wake_up(now);
            if let Some(next) = next {
                self.arm(next)?;
            }
            if !collects {
                self.collect();
            }
        }
    }

    /// How many wake-ups there were.
    pub fn round(&self) -> u64 {
        self.round.get()
    }

    /// When the last of them was.
    pub fn woke(&self) -> Instant {
        self.woke.get()
    }

    /// Whether the next wake-up comes so soon after the last that something may be left until then.
    pub fn is_soon(&self) -> bool {
        self.next().is_some_and(|next| next.saturating_duration_since(self.woke.get()) <= SOON)
    }

    /// Has `waker` woken with the next wake-up.
    pub fn leave(&self, waker: &Waker) {
        self.left.borrow_mut().push(waker.clone());
    }

    /// Wakes everybody who has left something for this wake-up.
    pub fn collect(&self) {
        for waker in self.due.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// The result of `work`; `None` when it takes longer than `limit`, noticed up to a millisecond later.
    pub async fn timeout<W: Future>(self: &Rc<Self>, limit: Duration, work: W) -> Option<W::Output> {
        let mut work = pin!(work);
        let mut sleeper = self.sleeper();
        let over = Wake { patience: TIMEOUT_PATIENCE, ..Wake::at(Instant::now() + limit) };
        poll_fn(|cx| {
            let left = self.left.borrow().len();
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            // What it has left has it polled with the next wake-up: before that it needs no alarm.
            let is_left = self.left.borrow().len() > left;
            if is_left && self.next().is_some_and(|next| next <= over.at) {
                return Poll::Pending;
            }
            // Without timers nothing goes on: whoever keeps them ends.
            sleeper.poll_ring(over, cx).map(|_| None)
        })
        .await
    }

    /// When a timer rings next.
    fn next(&self) -> Option<Instant> {
        self.timers.iter().filter_map(|timer| timer.set.get()).min()
    }

    fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<io::Result<Instant>> {
        // Both are asked, so that both wake this task.
        let [first, second] = &self.timers;
        match (first.poll_rung(cx)?, second.poll_rung(cx)?) {
            (Poll::Pending, other) | (other, Poll::Pending) => other.map(Ok),
            (Poll::Ready(one), Poll::Ready(other)) => Poll::Ready(Ok(one.max(other))),
        }
    }

    /// Sees to it that there is a wake-up at `moment`, or before.
    fn arm(&self, moment: Instant) -> io::Result<()> {
        match (self.next(), self.spare()) {
            (Some(next), _) if next <= moment => Ok(()),
            (_, spare) => spare.arm(moment),
        }
    }

    /// Arms the timer that isn't waited for.
    fn arm_ahead(&self) -> io::Result<()> {
        let after = self.next().and_then(|next| self.sleepers.borrow().after(next));
        match (after, self.spare()) {
            (Some(after), spare) if spare.set.get() != Some(after) => spare.arm(after),
            _ => Ok(()),
        }
    }

    /// The timer that doesn't ring next. The other one is never put off: somebody may have left something until then.
    fn spare(&self) -> &Timer {
        let [first, second] = &self.timers;
        match (first.set.get(), second.set.get()) {
            (Some(one), Some(other)) if other < one => first,
            (None, Some(_)) => first,
            _ => second,
        }
    }
}

impl Sleepers {
    /// How soon another wake-up may be, as there were many.
    fn free(&self) -> Instant {
        self.free_after(self.spent)
    }

    fn free_after(&self, spent: Instant) -> Instant {
        spent.checked_sub(self.slack * QUICK).unwrap_or(spent)
    }

    /// When one is to be woken at the latest, given that there is no wake-up before `free` without need.
    fn latest(wake: &Wake, free: Instant) -> Instant {
        wake.at.max(free.min(wake.at + wake.patience))
    }

    /// Wakes those whose time has come; tells whether one of them collects, and when somebody has to be woken next.
    fn wake_up(&mut self, now: Instant) -> (bool, Option<Instant>) {
        self.spent = self.spent.max(now) + self.slack;
        let mut collects = false;
        while let Some(first) = self.asleep.first_entry().filter(|first| first.key().0 <= now) {
            let (wake, waker) = first.remove();
            collects |= wake.collects;
            waker.wake();
        }
        let free = self.free();
        let mut next: Option<Instant> = None;
        for (wake, _) in self.asleep.values() {
            if next.is_some_and(|next| next < wake.at) {
                break;
            }
            let latest = Self::latest(wake, free);
            next = Some(next.map_or(latest, |next| next.min(latest)));
        }
        (collects, next)
    }

    /// When there is probably a wake-up after `next`: for those who sleep longer, and for what comes then for the
    /// first that is woken.
    fn after(&self, next: Instant) -> Option<Instant> {
        let free = self.free_after(self.spent.max(next) + self.slack);
        let longer = self.asleep.range((next, u64::MAX)..).next().map(|(_, (wake, _))| Self::latest(wake, free));
        let (first, _) = self.asleep.values().next()?;
        let then = first.then.map(|then| Self::latest(&Wake { at: then, ..*first }, free));
        longer.into_iter().chain(then).min().filter(|after| *after > next)
    }
}

impl Sleeper {
    fn forget(&mut self) {
        if let Some(wake) = self.asleep.take() {
            self.wakeups.sleepers.borrow_mut().asleep.remove(&(wake.at, self.number));
        }
    }

    fn poll_ring(&mut self, wake: Wake, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if wake.at <= self.now() {
            self.forget();
            return Poll::Ready(Ok(()));
        }
        let mut sleepers = self.wakeups.sleepers.borrow_mut();
        if self.asleep == Some(wake)
            && let Some((_, waker)) = sleepers.asleep.get_mut(&(wake.at, self.number))
        {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        if let Some(before) = self.asleep.replace(wake) {
            sleepers.asleep.remove(&(before.at, self.number));
        }
        sleepers.asleep.insert((wake.at, self.number), (wake, cx.waker().clone()));
        let latest = Sleepers::latest(&wake, sleepers.free());
        drop(sleepers);
        self.wakeups.arm(latest)?;
        if wake.then.is_some() {
            self.wakeups.arm_ahead()?;
        }
        Poll::Pending
    }
}

impl Alarm for Sleeper {
    /// Waits until it is time. Dropping the future is fine.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    async fn ring(&mut self, wake: Wake) -> io::Result<()> {
        poll_fn(|cx| self.poll_ring(wake, cx)).await
    }

    fn collect(&self) {
        self.wakeups.collect();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_local};

    use std::future::pending;

    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Runs `test` with the wake-ups of this thread, which are kept meanwhile.
    fn with_wakeups<T>(slack: Duration, test: impl AsyncFnOnce(Rc<Wakeups>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let wakeups = Wakeups::new(slack).unwrap();
            let kept = Rc::clone(&wakeups);
            spawn_local(async move { kept.keep().await });
            test(wakeups).await
        })
    }

    /// When each of `wakes` was woken, in the order in which they were.
    async fn ring_all(wakeups: &Rc<Wakeups>, wakes: Vec<Wake>) -> Vec<(Wake, Instant)> {
        let rung = Rc::new(RefCell::new(Vec::new()));
        let all: Vec<_> = wakes
            .into_iter()
            .map(|wake| {
                let (mut sleeper, rung) = (wakeups.sleeper(), Rc::clone(&rung));
                spawn_local(async move {
                    sleeper.ring(wake).await.unwrap();
                    rung.borrow_mut().push((wake, Instant::now()));
                })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        rung.take()
    }

    #[test]
    fn nobody_is_woken_before_it_is_time_and_all_are_in_order() {
        with_wakeups(SLACK, async |wakeups| {
            let begin = Instant::now();
            let wakes = [30, 10, 20, 10, 0, 25].map(|at| Wake::at(begin + ms(at)));
            let rung = ring_all(&wakeups, wakes.into()).await;
            assert_eq!(rung.len(), 6);
            for (wake, at) in &rung {
                // However busy the machine is, that is no timer of a millisecond that has been missed.
                assert!(*at >= wake.at && *at < wake.at + ms(200), "{:?}", *at - wake.at);
            }
            assert!(rung.windows(2).all(|w| w[0].0.at <= w[1].0.at));
        });
    }

    #[test]
    fn wake_ups_are_shared_by_those_that_have_patience() {
        with_wakeups(ms(10), async |wakeups| {
            let begin = Instant::now();
            let patient = |at: u64| Wake { patience: ms(10), ..Wake::at(begin + ms(at)) };
            let rung = ring_all(&wakeups, (1..=100).map(patient).collect()).await;
            assert_eq!(rung.len(), 100);
            assert!(rung.iter().all(|(wake, at)| at >= &wake.at));
            // A few in quick succession, then every 10 ms, and fewer when the machine is busy.
            let most = u64::from(QUICK) + begin.elapsed().as_millis() as u64 / 10 + 1;
            assert!(wakeups.round() <= most, "{} wake-ups, {most} at most", wakeups.round());
        });
        with_wakeups(ms(10), async |wakeups| {
            let begin = Instant::now();
            ring_all(&wakeups, (1..=50).map(|at| Wake::at(begin + ms(at))).collect()).await;
            // Those without patience are woken one by one, but for those that a busy machine has woken late.
            assert!(wakeups.round() > 20, "{} wake-ups", wakeups.round());
        });
    }

    #[test]
    fn the_next_two_wake_ups_follow_from_those_asleep() {
        let waker = Waker::noop();
        let begin = Instant::now();
        let sleepers = |slack, wakes: &[Wake]| {
            let mut sleepers = Sleepers { asleep: BTreeMap::new(), numbers: 0, slack, spent: begin };
            for (number, wake) in (0..).zip(wakes) {
                sleepers.asleep.insert((wake.at, number), (*wake, waker.clone()));
            }
            sleepers
        };
        let at = |at: u64| Wake { patience: ms(1), ..Wake::at(begin + us(at)) };
        let then = |first: u64, next: u64| Wake { then: Some(begin + us(next)), ..at(first) };

        // Without slack each has its own.
        let mut exact = sleepers(us(0), &[at(200), at(300), at(5000)]);
        assert_eq!(exact.wake_up(begin), (false, Some(begin + us(200))));
        assert_eq!(exact.after(begin + us(200)), Some(begin + us(300)));
        assert_eq!(exact.wake_up(begin + us(250)), (false, Some(begin + us(300))));

        // What the first one will ask for is known before it does.
        let hits = sleepers(us(0), &[then(1000, 2000), at(9000)]);
        assert_eq!(hits.after(begin + us(1000)), Some(begin + us(2000)));

        // Past the first quick ones, the slack lies between them; who has no patience doesn't wait for it.
        let mut shared = sleepers(us(430), &[then(100, 200), at(150), at(5000)]);
        shared.spent = begin + us(430) * QUICK;
        assert_eq!(shared.wake_up(begin), (false, Some(begin + us(430))));
        assert_eq!(shared.after(begin + us(430)), Some(begin + us(860)));
        shared.asleep.insert((begin + us(300), 9), (Wake::at(begin + us(300)), waker.clone()));
        assert_eq!(shared.wake_up(begin).1, Some(begin + us(300)));
    }

    #[test]
    fn what_was_left_is_collected_with_the_next_wake_up() {
        with_wakeups(SLACK, async |wakeups| {
            let begin = Instant::now();
            let mut left = false;
            let collected = poll_fn(|cx| {
                if std::mem::replace(&mut left, true) {
                    return Poll::Ready(Instant::now());
                }
                wakeups.leave(cx.waker());
                Poll::Pending
            });
            let mut sleeper = wakeups.sleeper();
            let (rung, collected) = tokio::join!(sleeper.ring(Wake::at(begin + ms(5))), collected);
            rung.unwrap();
            assert!(collected >= begin + ms(5));
        });
    }

    #[test]
    fn a_time_out_counts_from_the_beginning_also_where_something_is_left() {
        with_wakeups(Duration::ZERO, async |wakeups| {
            // There is a wake-up each millisecond, and nothing ever comes of what is left until then.
            let (mut sleeper, begin) = (wakeups.sleeper(), Instant::now());
            spawn_local(async move {
                for tick in 1..1000 {
                    let (at, then) = (begin + ms(tick), Some(begin + ms(tick + 1)));
                    sleeper.ring(Wake { then, ..Wake::at(at) }).await.unwrap();
                }
            });
            let leaving = Rc::clone(&wakeups);
            let never = poll_fn(move |cx| {
                leaving.leave(cx.waker());
                Poll::<()>::Pending
            });
            let begin = Instant::now();
            assert!(wakeups.timeout(ms(50), never).await.is_none());
            assert!((ms(50)..ms(300)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        });
    }

    #[test]
    fn a_time_out_ends_what_takes_longer_and_nothing_else() {
        with_wakeups(SLACK, async |wakeups| {
            let mut sleeper = wakeups.sleeper();
            let soon = Wake::at(Instant::now() + ms(2));
            assert!(wakeups.timeout(ms(2000), sleeper.ring(soon)).await.is_some());
            let begin = Instant::now();
            assert!(wakeups.timeout(ms(20), pending::<()>()).await.is_none());
            assert!(begin.elapsed() >= ms(20));
            assert!(wakeups.sleepers.borrow().asleep.is_empty(), "who is gone is not woken");
        });
    }
}
