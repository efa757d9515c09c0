//! One shift of work: hits one target when its pacer says so, and tells the recorder of each hit.
//!
//! A shift is one test in one minute, or one worker for as long as it was asked
//! to work. It lasts until its end has come and nothing is in flight, also while
//! its test is away (a removed file may come back), so that what was sent is
//! never sent again. It decides what a due hit does when `overtime` hits are in
//! flight; when hits are due is the pacer's affair, what they do the target's,
//! what time it is the [`Alarm`]'s.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::{CatchUnwind, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::gossip::{Ended, Gossip};
use crate::pacer::{Due, Pace, Pacer};
use crate::recorder::Recorder;
use crate::target::{Outcome, Target};
use crate::wakeups::{Alarm, Wake};

/// A generator later than this spreads what is overdue instead of sending it in a burst.
const BEHIND: Duration = Duration::from_millis(10);

/// How long after grace hits in flight are cut: a timeout that ends with it comes first, and says more.
const CUT: Duration = Duration::from_millis(20);

/// What a due hit does when `overtime` hits are in flight.
///
/// ```
/// use canihaz::{WhenBusy, Worker};
///
/// let patient = Worker::hire("shop", async || Ok::<_, String>("pong")).overtime(1).when_busy(WhenBusy::Wait);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenBusy {
    /// It waits for one to end; the hits behind it catch up, evenly.
    #[default]
    Wait,
    /// It is skipped and counted as canceled: an open model.
    Cancel,
}

/// How many hits may be in flight, and what happens beyond.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The most hits in flight, at least 1.
    pub overtime: usize,
    /// What a due hit does when as many are.
    pub when_busy: WhenBusy,
    /// How long hits in flight at the end of the minute may go on.
    pub grace: Duration,
}

/// What a shift is told while it lasts.
pub enum Order<T> {
    /// Go on with this target, these terms and this pace, from the moment on that the plan was made.
    Change(Rc<T>, Terms, Pace, Instant),
    /// Start nothing more until told otherwise; what is in flight may end, and what is left is stopped.
    Rest,
    /// The same, but what is left of so many hits in the minute is missed: it can't be started.
    GiveUp(u64),
    /// Drop what is in flight and leave.
    Stop,
}

/// Hits one target until a given moment.
pub struct Shift<T, A> {
    target: Rc<T>,
    terms: Terms,
    pacer: Pacer,
    end: Instant,
    /// Whether what is left is wanted still: in the end it is missed then, and stopped else.
    is_wanted: bool,
    in_flight: FuturesUnordered<InFlight>,
    /// When places are free again whose hits have ended.
    at_rest: BinaryHeap<Reverse<Instant>>,
    recorder: Rc<RefCell<Recorder>>,
    alarm: A,
}

/// When a hit was due, and before when it did not start.
#[derive(Clone, Copy)]
struct Flight {
    due: Due,
    start: Instant,
}

/// One hit on its way.
struct InFlight {
    flight: Flight,
    hit: CatchUnwind<AssertUnwindSafe<LocalBoxFuture<'static, Outcome>>>,
}

impl<T: Target + 'static, A: Alarm> Shift<T, A> {
    /// A shift that will start hits before `end`, as `pacer` says, and tell `recorder`.
    pub fn new(
        target: Rc<T>,
        terms: Terms,
        pacer: Pacer,
        end: Instant,
        recorder: Rc<RefCell<Recorder>>,
        alarm: A,
    ) -> Self {
        recorder.borrow_mut().plan(&pacer, alarm.now());
        let (in_flight, at_rest) = Default::default();
        Self { target, terms, pacer, end, is_wanted: true, in_flight, at_rest, recorder, alarm }
    }

    /// Works until the end has come and the last hit has ended, its grace has
    /// passed, or a stop is ordered; every planned hit is accounted for then.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub async fn work(mut self, mut orders: UnboundedReceiver<Order<T>>) -> io::Result<()> {
        loop {
            let now = self.alarm.now();
            self.start_due(now);
            // Polled after those that start now: first what has to go out in time.
            self.alarm.collect();
            if now >= self.end && self.in_flight.is_empty() {
                break;
            }
            if now >= self.cut_off() {
                self.cut(now);
                break;
            }
            let look = self.look_again(now);
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Change(target, terms, pace, made)) => self.change(target, terms, pace, made),
                    Some(Order::Rest) => self.rest(false, Pacer::rest),
                    Some(Order::GiveUp(frequency)) => self.rest(true, |pacer, now| pacer.give_up(frequency, now)),
                    Some(Order::Stop) | None => {
                        self.stop();
                        return Ok(());
                    }
                },
                Some((flight, outcome)) = self.in_flight.next() => {
                    self.land(&flight, outcome);
                    self.land_ready();
                }
                rung = self.alarm.ring(look) => rung?,
            }
        }
        self.settle();
        Ok(())
    }

    /// Starts, or cancels, every hit that is due.
    fn start_due(&mut self, now: Instant) {
        self.wake_places(now);
        while let Some(due) = self.pacer.next_due().filter(|due| *due <= now && now < self.end) {
            if !self.finds_place(now) {
                match self.terms.when_busy {
                    WhenBusy::Wait => return,
                    WhenBusy::Cancel => {
                        if let Some(due) = self.pacer.take() {
                            self.target.skip(due);
                            self.recorder.borrow_mut().hear(&Gossip::Canceled(due));
                        }
                        continue;
                    }
                }
            }
            if now.saturating_duration_since(due) > BEHIND {
                self.pacer.fall_behind(now);
            }
            match self.pacer.take() {
                Some(due) if self.target.claim() => self.start(due, now),
                Some(_) => self.recorder.borrow_mut().nothing_to_do(),
                None => {}
            }
        }
    }

    /// Whether there is a place at `now`, also one that nobody has looked for yet.
    fn finds_place(&mut self, now: Instant) -> bool {
        if !self.is_full() {
            return true;
        }
        // That something has landed is too little: its place may rest, and overtime may have been lowered.
        self.land_ready();
        self.wake_places(now);
        !self.is_full()
    }

    /// Frees the places whose rest is over at `now`.
    fn wake_places(&mut self, now: Instant) {
        while let Some(Reverse(free)) = self.at_rest.peek().copied().filter(|Reverse(free)| *free <= now) {
            self.at_rest.pop();
            self.free_place(free);
        }
    }

    /// A place that was taken is free since `at`; if others waited for it, they are spread from that moment on.
    fn free_place(&mut self, at: Instant) {
        match self.terms.when_busy {
            WhenBusy::Wait if self.taken() + 1 >= self.terms.overtime => self.pacer.unblock(at),
            WhenBusy::Wait => self.pacer.relieve(at),
            WhenBusy::Cancel => {}
        }
    }

    /// Counts hits that have ended and weren't looked for yet.
    fn land_ready(&mut self) {
        self.alarm.collect();
        while let Some(Some((flight, outcome))) = self.in_flight.next().now_or_never() {
            self.land(&flight, outcome);
        }
    }

    fn start(&mut self, due: Due, now: Instant) {
        self.recorder.borrow_mut().hear(&Gossip::BeforeTarget(due));
        let (target, clock) = (Rc::clone(&self.target), self.alarm.clock());
        let hit: LocalBoxFuture<'static, Outcome> = Box::pin(async move {
            // Others that share the wake-up may have been polled since it was due.
            let started = clock();
            let outcome = target.hit_due(due).await;
            Outcome { started: outcome.started.or(Some(started)), ..outcome }
        });
        let hit = AssertUnwindSafe(hit).catch_unwind();
        self.in_flight.push(InFlight { flight: Flight { due, start: now }, hit });
    }

    /// Counts a hit that has ended; its place is free then, or after its rest.
    fn land(&mut self, flight: &Flight, outcome: Outcome) {
        let now = outcome.ended.map_or_else(|| self.alarm.now(), |ended| ended.max(flight.start));
        let ended = flight.ended(now, outcome);
        match self.target.rest() {
            Duration::ZERO => self.free_place(ended.end),
            rest => self.at_rest.push(Reverse(ended.end + rest)),
        }
        if let Some(failure) = &ended.outcome.failure {
            log::debug!("a hit failed: {}: {}", failure.reason, failure.detail);
        }
        let number = flight.due.number;
        self.recorder.borrow_mut().hear(&Gossip::AfterTarget { number, ended });
    }

    /// When to look again, should nothing else happen.
    fn look_again(&self, now: Instant) -> Wake {
        if now >= self.end {
            return Wake::at(self.cut_off());
        }
        match self.pacer.next_due() {
            // As long as those that share a wake-up find a place, they don't wait for each other.
            Some(due) if due > now => {
                let places = u32::try_from(self.terms.overtime / 2).unwrap_or(u32::MAX);
                let patience = self.pacer.span(places).min((self.end - due) / 2);
                Wake { at: due, patience, then: self.pacer.following(), collects: true }
            }
            due => {
                self.recorder.borrow_mut().is_full(due);
                Wake::at(self.at_rest.peek().map_or(self.end, |Reverse(free)| self.end.min(*free)))
            }
        }
    }

    /// When hits in flight are cut.
    fn cut_off(&self) -> Instant {
        self.end + self.terms.grace + CUT
    }

    fn is_full(&self) -> bool {
        self.taken() >= self.terms.overtime
    }

    /// How many places are taken.
    fn taken(&self) -> usize {
        self.in_flight.len() + self.at_rest.len()
    }

    fn change(&mut self, target: Rc<T>, terms: Terms, pace: Pace, made: Instant) {
        self.remember_waiting(made);
        self.target = target;
        self.terms = terms;
        self.is_wanted = true;
        self.pacer.change(pace, made);
        self.recorder.borrow_mut().plan(&self.pacer, made);
    }

    fn rest(&mut self, is_wanted: bool, rest: impl FnOnce(&mut Pacer, Instant)) {
        let now = self.alarm.now();
        self.remember_waiting(now);
        self.is_wanted = is_wanted;
        rest(&mut self.pacer, now);
        self.recorder.borrow_mut().rest(now);
    }

    /// Another plan is to be made: hits that wait for a place have been blocked until `now`.
    fn remember_waiting(&mut self, now: Instant) {
        if self.is_full() && self.terms.when_busy == WhenBusy::Wait {
            self.pacer.unblock(now);
        }
    }

    /// Drops what is in flight and counts it, and what was not started, as stopped.
    fn stop(&mut self) {
        let in_flight = self.in_flight.len() as u64;
        self.in_flight.clear();
        let mut recorder = self.recorder.borrow_mut();
        recorder.rest(self.alarm.now());
        recorder.stopped(in_flight + self.pacer.left());
    }

    /// Fails what is still in flight when grace is over, with the time it had.
    fn cut(&mut self, now: Instant) {
        for InFlight { flight, .. } in &self.in_flight {
            let ended = flight.ended(now, Outcome::cut());
            self.recorder.borrow_mut().hear(&Gossip::AfterTarget { number: flight.due.number, ended });
        }
        self.in_flight.clear();
    }

    /// Accounts for what was never started.
    fn settle(&mut self) {
        let left = self.pacer.left();
        let mut recorder = self.recorder.borrow_mut();
        if self.is_wanted { recorder.missed(left) } else { recorder.stopped(left) }
    }
}

impl Flight {
    /// What came of it: measured by the target where it knows better, else by whoever looked at `now`.
    fn ended(&self, now: Instant, outcome: Outcome) -> Ended {
        Ended::new(self.due, self.start, now, outcome)
    }
}

impl Future for InFlight {
    type Output = (Flight, Outcome);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.hit.poll_unpin(context)).unwrap_or_else(|_| Outcome::panicked());
        Poll::Ready((self.flight, outcome))
    }
}

#[cfg(test)]
mod any_minute;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::mpsc;
    use tokio::sync::mpsc::UnboundedSender;
    use tokio::task::LocalSet;

    use super::*;
    use crate::pacer::Arrivals;
    use crate::summary::Tally;
    use crate::target::Reason;

    /// What the hits of a test do, by their number, and how many were in flight at most.
    struct Script<F> {
        hit: F,
        in_flight: Cell<u32>,
        most: Cell<u32>,
    }

    impl<F: Fn(u64) -> Duration> Target for Script<F> {
        async fn hit(&self, number: u64) -> Outcome {
            self.in_flight.set(self.in_flight.get() + 1);
            self.most.set(self.most.get().max(self.in_flight.get()));
            tokio::time::sleep((self.hit)(number)).await;
            self.in_flight.set(self.in_flight.get() - 1);
            Outcome::default()
        }
    }

    /// So many hits find something to do, which takes so long each; places rest for so long.
    struct Chores {
        left: Cell<u32>,
        takes: Duration,
        rest: Duration,
        starts: RefCell<Vec<Instant>>,
    }

    impl Target for Chores {
        async fn hit(&self, _: u64) -> Outcome {
            self.starts.borrow_mut().push(now());
            tokio::time::sleep(self.takes).await;
            Outcome::default()
        }

        fn claim(&self) -> bool {
            let left = self.left.get().checked_sub(1);
            left.inspect(|left| self.left.set(*left)).is_some()
        }

        fn rest(&self) -> Duration {
            self.rest
        }
    }

    struct Finished {
        tally: Tally,
        most: u32,
        took: Duration,
    }

    const WAIT: Terms = Terms { overtime: 1, when_busy: WhenBusy::Wait, grace: Duration::from_millis(500) };
    const CANCEL: Terms = Terms { when_busy: WhenBusy::Cancel, ..WAIT };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// An alarm by a clock that stands still until nothing is left to do: machines that stall don't matter.
    struct Paused;

    impl Alarm for Paused {
        fn now(&self) -> Instant {
            now()
        }

        fn clock(&self) -> impl Fn() -> Instant + 'static {
            now
        }

        async fn ring(&mut self, wake: Wake) -> io::Result<()> {
            tokio::time::sleep_until(wake.at.into()).await;
            Ok(())
        }
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// An alarm in front of which nobody sleeps.
    struct Still(Instant);

    impl Alarm for Still {
        fn now(&self) -> Instant {
            self.0
        }

        async fn ring(&mut self, _: Wake) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn hits_share_a_wake_up_only_as_far_as_there_are_places_for_half_of_them() {
        let now = Instant::now();
        // A hit each 10 ms.
        let wake = |overtime, window| {
            let pacer = Pacer::new(pace(6000), now, now + window, 1);
            let script = Script { hit: |_| Duration::ZERO, in_flight: Cell::default(), most: Cell::default() };
            let terms = Terms { overtime, ..WAIT };
            let shift = Shift::new(Rc::new(script), terms, pacer, now + window, Rc::default(), Still(now));
            (shift.look_again(now), now + window)
        };
        for (overtime, expect) in [(1, 0), (2, 10), (3, 10), (10, 50), (1000, 5000)] {
            assert_eq!(wake(overtime, ms(60_000)).0.patience, ms(expect), "{overtime}");
        }
        // Not beyond half of what is left until no hit may start: a hit that is due must not be missed for it.
        let (last, end) = wake(1_000_000, ms(60_000));
        assert_eq!(last.patience, (end - last.at) / 2);
    }

    /// Works through a "minute" of `window` that has as many hits as asked, and tells what came of them.
    fn work(
        frequency: u64,
        window: Duration,
        terms: Terms,
        hit: impl Fn(u64) -> Duration + 'static,
        meanwhile: impl AsyncFnOnce(UnboundedSender<Order<Script<Box<dyn Fn(u64) -> Duration>>>>),
    ) -> Finished {
        let hit: Box<dyn Fn(u64) -> Duration> = Box::new(hit);
        let script = Rc::new(Script { hit, in_flight: Cell::default(), most: Cell::default() });
        let (tally, took) = work_at(&script, frequency, window, terms, meanwhile);
        Finished { tally, most: script.most.get(), took }
    }

    /// The same, at any target.
    fn work_at<T: Target + 'static>(
        target: &Rc<T>,
        frequency: u64,
        window: Duration,
        terms: Terms,
        meanwhile: impl AsyncFnOnce(UnboundedSender<Order<T>>),
    ) -> (Tally, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let now = now();
            let pacer = Pacer::new(pace(frequency), now, now + window, 1);
            let recorder = Rc::new(RefCell::new(Recorder::default()));
            let shift = Shift::new(Rc::clone(target), terms, pacer, now + window, Rc::clone(&recorder), Paused);
            let (orders, receiver) = mpsc::unbounded_channel();
            let (worked, ()) = tokio::join!(shift.work(receiver), meanwhile(orders.clone()));
            worked.unwrap();
            let tally = recorder.borrow_mut().close(self::now());
            (tally, self::now() - now)
        })
    }

    fn pace(frequency: u64) -> Pace {
        // A window far shorter than a minute: catching up is what makes all hits fit.
        Pace { frequency, phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 1000 }
    }

    fn counts(tally: &Tally) -> [u64; 5] {
        tally.results().map(|(_, count)| count)
    }

    #[test]
    fn every_hit_of_a_quick_target_is_ok() {
        let Finished { tally, most, .. } = work(50, ms(300), WAIT, |_| Duration::ZERO, async |_| {});
        assert_eq!((counts(&tally), most), ([50, 0, 0, 0, 0], 1));
        assert_eq!(tally.response.count(), tally.ok);
    }

    #[test]
    fn a_hit_that_waits_is_blocked_and_the_rest_is_spread() {
        let Finished { tally, most, .. } =
            work(30, ms(600), WAIT, |n| if n == 5 { ms(200) } else { Duration::ZERO }, async |_| {});
        assert_eq!((counts(&tally), most), ([30, 0, 0, 0, 0], 1));
        // The ten hits that were due meanwhile were blocked for up to 180 ms; none of the others was.
        assert!((ms(170)..ms(190)).contains(&tally.blocked.max()), "{:?}", tally.blocked.max());
        assert!(tally.blocked.quantile(0.5) < ms(5), "{:?}", tally.blocked.quantile(0.5));
        assert!(tally.response.max() >= ms(200));
    }

    #[test]
    fn a_slow_target_gets_what_fits_and_the_rest_is_missed() {
        let Finished { tally, most, .. } = work(60, ms(600), WAIT, |_| ms(100), async |_| {});
        assert!((6..=7).contains(&tally.ok), "{:?}", counts(&tally));
        assert_eq!((tally.planned(), tally.missed, most), (60, 60 - tally.ok, 1));
        assert!(tally.truncated());
    }

    #[test]
    fn an_open_model_skips_what_finds_no_place() {
        let Finished { tally, most, .. } = work(60, ms(600), CANCEL, |_| ms(95), async |_| {});
        assert!((6..=7).contains(&tally.ok), "{:?}", counts(&tally));
        assert_eq!((tally.planned(), tally.canceled, most), (60, 60 - tally.ok, 1));
        assert_eq!(tally.blocked.max(), Duration::ZERO);
    }

    #[test]
    fn overtime_lets_slow_hits_overlap() {
        let terms = Terms { overtime: 100, ..WAIT };
        let Finished { tally, most, .. } = work(60, ms(600), terms, |_| ms(100), async |_| {});
        assert_eq!(counts(&tally), [60, 0, 0, 0, 0]);
        assert!((9..=13).contains(&most), "{most}");
    }

    #[test]
    fn what_outlives_its_grace_fails_with_the_time_it_had() {
        let terms = Terms { overtime: 10, grace: ms(50), ..WAIT };
        let Finished { tally, .. } = work(4, ms(200), terms, |_| Duration::from_secs(600), async |_| {});
        assert_eq!((counts(&tally), tally.failures.get(&Reason::Deadline)), ([0, 4, 0, 0, 0], Some(&4)));
        // The first was due at 25 ms; grace was over, and all were cut, at 270 ms.
        assert!((ms(244)..=ms(246)).contains(&tally.service.max()), "{:?}", tally.service.max());
    }

    #[test]
    fn a_panicking_target_is_a_failed_hit() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let Finished { tally, .. } =
            work(10, ms(100), WAIT, |n| if n == 3 { panic!("on purpose") } else { Duration::ZERO }, async |_| {});
        std::panic::set_hook(hook);
        assert_eq!((counts(&tally), tally.failures.get(&Reason::Panic)), ([9, 1, 0, 0, 0], Some(&1)));
    }

    #[test]
    fn a_stop_drops_what_is_in_flight() {
        let terms = Terms { overtime: 100, ..WAIT };
        let Finished { tally, took, .. } = work(
            100,
            ms(10_000),
            terms,
            |_| Duration::from_secs(600),
            async |orders| {
                tokio::time::sleep(ms(350)).await;
                assert!(orders.send(Order::Stop).is_ok());
            },
        );
        assert_eq!(counts(&tally), [0, 0, 0, 0, 100]);
        assert_eq!(took, ms(350));
    }

    #[test]
    fn away_and_back_nothing_is_sent_twice() {
        let Finished { tally, .. } = work(
            100,
            ms(500),
            WAIT,
            |_| Duration::ZERO,
            async |orders| {
                tokio::time::sleep(ms(100)).await;
                assert!(orders.send(Order::Rest).is_ok());
                tokio::time::sleep(ms(100)).await;
                let script = Script {
                    hit: Box::new(|_| Duration::ZERO) as Box<dyn Fn(u64) -> Duration>,
                    in_flight: Cell::default(),
                    most: Cell::default(),
                };
                assert!(orders.send(Order::Change(Rc::new(script), WAIT, pace(100), now())).is_ok());
            },
        );
        assert_eq!(counts(&tally), [100, 0, 0, 0, 0]);
    }

    #[test]
    fn what_stays_away_is_stopped_and_what_is_given_up_missed() {
        #[track_caller]
        fn check(
            is_stopped: bool,
            planned: u64,
            orders: impl IntoIterator<Item = Order<Script<Box<dyn Fn(u64) -> Duration>>>>,
        ) {
            let Finished { tally, .. } = work(
                100,
                ms(400),
                WAIT,
                |_| Duration::ZERO,
                async |told| {
                    for order in orders {
                        tokio::time::sleep(ms(100)).await;
                        assert!(told.send(order).is_ok());
                    }
                },
            );
            assert!((20..=30).contains(&tally.ok) && !tally.generator_limited(), "{:?}", counts(&tally));
            let left = planned - tally.ok;
            assert_eq!((tally.stopped, tally.missed), if is_stopped { (left, 0) } else { (0, left) });
        }
        check(true, 100, [Order::Rest]);
        check(false, 100, [Order::GiveUp(100)]);
        // Whatever is said last.
        check(false, 100, [Order::Rest, Order::GiveUp(100)]);
        check(true, 100, [Order::GiveUp(100), Order::Rest]);
        // What is wanted by then is what is missed.
        check(false, 40, [Order::GiveUp(40)]);
        check(false, 300, [Order::GiveUp(300)]);
    }

    #[test]
    fn a_place_rests_before_the_next_hit_has_it() {
        // Also after one that has ended as soon as it is looked at, while others are due already.
        for (overtime, takes, frequency) in [(1, 10, 1000), (3, 10, 1000), (1, 0, 5000), (3, 0, 5000)] {
            let (left, takes, rest) = (Cell::new(u32::MAX), ms(takes), ms(100 - takes));
            let target = Rc::new(Chores { left, takes, rest, starts: RefCell::default() });
            let terms = Terms { overtime, ..WAIT };
            let (tally, took) = work_at(&target, frequency, ms(1000), terms, async |_| {});
            let starts = target.starts.borrow();
            assert!(starts.windows(overtime + 1).all(|few| few[overtime] - few[0] >= ms(100)), "{starts:?}");
            assert_eq!(tally.planned(), frequency);
            let most = 10 * overtime as u64;
            assert!((most - 1..=most).contains(&tally.ok), "{:?}", counts(&tally));
            assert_eq!(tally.missed, frequency - tally.ok);
            // Whoever waited for a place was blocked, not late.
            assert!(tally.lag.max() < ms(2), "{:?}", tally.lag.max());
            assert!(tally.blocked.max() > ms(800) && !tally.generator_limited(), "{:?}", tally.blocked.max());
            // A rest keeps nobody from leaving.
            assert!(took < ms(1020), "{took:?}");
        }
    }

    #[test]
    fn where_overtime_is_lowered_as_many_have_to_end_before_the_next_starts() {
        /// Hits of which the first two go on and on.
        struct TwoHang;

        impl Target for TwoHang {
            async fn hit(&self, number: u64) -> Outcome {
                if number < 2 { std::future::pending().await } else { Outcome::default() }
            }
        }

        let (begin, target) = (Instant::now(), Rc::new(TwoHang));
        let (end, before) = (begin + ms(60_000), Terms { overtime: 3, ..WAIT });
        let pacer = Pacer::new(pace(600), begin, end, 1);
        let mut shift = Shift::new(Rc::clone(&target), before, pacer, end, Rc::default(), Still(begin + ms(500)));
        for due in [50, 150, 250] {
            shift.start_due(begin + ms(due));
        }
        assert_eq!(shift.in_flight.len(), 3);
        shift.change(target, Terms { overtime: 2, ..WAIT }, pace(600), begin + ms(300));
        // The third has ended by now, but that is one.
        shift.start_due(begin + ms(500));
        assert_eq!((shift.in_flight.len(), shift.pacer.taken()), (2, 3));
    }

    #[test]
    fn what_finds_nothing_to_do_is_stopped() {
        let (left, takes, rest) = (Cell::new(30), ms(10), Duration::ZERO);
        let target = Rc::new(Chores { left, takes, rest, starts: RefCell::default() });
        let (tally, _) = work_at(&target, 50, ms(1000), WAIT, async |_| {});
        assert_eq!((counts(&tally), target.starts.borrow().len()), ([30, 0, 0, 0, 20], 30));
        assert!(!tally.generator_limited());
    }
}
