//! Any minute keeps what is promised: shifts at random, on a clock that stands still until nothing is left to do.
//!
//! The clock is exact to the nanosecond, so a hit starts when it is due, or
//! when a place became free for it; only where a case says that the generator
//! is late at times does the clock run on by itself.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Waker};

use anyhow::{anyhow, ensure};
use fastrand::Rng;
use futures_util::future::join3;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::*;
use crate::pacer::Arrivals;
use crate::summary::Tally;
use crate::target::{Failure, Reason};

/// How many minutes are played.
const CASES: u64 = 400;
/// The end of a minute, in ms: from then on no hit starts.
const END_MS: u64 = 59_900;
/// What dues may be off by as they are whole nanoseconds.
const ROUNDING: Duration = Duration::from_nanos(2);

/// A clock that somebody has to turn, and who waits for it.
struct Clock {
    now: Cell<Instant>,
    waiting: RefCell<BinaryHeap<Reverse<(Instant, usize)>>>,
    wakers: RefCell<Vec<Option<Waker>>>,
    /// Moments that came later than somebody had waited for.
    late: RefCell<Vec<Instant>>,
}

impl Clock {
    async fn at(&self, moment: Instant) {
        poll_fn(|cx| {
            if self.now.get() >= moment {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            self.waiting.borrow_mut().push(Reverse((moment, wakers.len())));
            wakers.push(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Turns to the next moment that somebody waits for, or past it; false when there is none.
    fn turn(&self, late_by: Duration) -> bool {
        let next = || self.waiting.borrow().peek().map(|Reverse(next)| *next);
        let Some((moment, _)) = next() else { return false };
        let now = self.now.get().max(moment + late_by);
        self.now.set(now);
        if late_by > Duration::ZERO {
            self.late.borrow_mut().push(now);
        }
        while let Some((_, who)) = next().filter(|(moment, _)| *moment <= now) {
            self.waiting.borrow_mut().pop();
            let waker = self.wakers.borrow_mut()[who].take();
            waker.expect("each is woken once").wake();
        }
        true
    }

    fn is_late(&self, moment: Instant) -> bool {
        self.late.borrow().contains(&moment)
    }
}

/// The alarm of a shift that lives by such a clock.
struct Turned(Rc<Clock>);

impl Alarm for Turned {
    fn now(&self) -> Instant {
        self.0.now.get()
    }

    fn clock(&self) -> impl Fn() -> Instant + 'static {
        let clock = Rc::clone(&self.0);
        move || clock.now.get()
    }

    async fn ring(&mut self, wake: Wake) -> io::Result<()> {
        self.0.at(wake.at).await;
        Ok(())
    }
}

/// Whether somebody was woken since it was looked at.
#[derive(Default)]
struct Woken(AtomicBool);

impl task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A target that answers after some milliseconds, except while it is stalled.
struct Stalling {
    clock: Rc<Clock>,
    stalls: Vec<(Instant, Duration)>,
    longest_us: u64,
    seed: u64,
    rest: Duration,
    starts: RefCell<Vec<(u64, Instant)>>,
    in_flight: Rc<Cell<usize>>,
    most: Cell<usize>,
}

/// A hit in flight, until it is dropped.
struct Aloft(Rc<Cell<usize>>);

impl Drop for Aloft {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Target for Stalling {
    async fn hit(&self, number: u64) -> Outcome {
        let now = self.clock.now.get();
        self.starts.borrow_mut().push((number, now));
        self.in_flight.set(self.in_flight.get() + 1);
        let _aloft = Aloft(Rc::clone(&self.in_flight));
        self.most.set(self.most.get().max(self.in_flight.get()));
        let mut random = Rng::with_seed(self.seed ^ number);
        let stalled = self.stalls.iter().find(|(from, long)| (*from..*from + *long).contains(&now));
        let answers_from = stalled.map_or(now, |(from, long)| *from + *long);
        self.clock.at(answers_from + Duration::from_micros(random.u64(0..=self.longest_us))).await;
        let failure = random.bool().then(|| Failure::new(Reason::Other, "every other one fails"));
        Outcome { failure, ..Outcome::default() }
    }

    fn rest(&self) -> Duration {
        self.rest
    }
}

/// One minute as it is to be played; moments are counted from its beginning.
#[derive(Debug)]
struct Case {
    begin: Instant,
    made: Duration,
    pace: Pace,
    terms: Terms,
    /// How long places rest after a hit.
    rest: Duration,
    orders: Vec<(Duration, Told)>,
    late_at_times: bool,
}

/// An order that may be looked at after it was given.
#[derive(Clone, Copy, Debug)]
enum Told {
    Change(Terms, Pace),
    Rest,
    GiveUp(u64),
    Stop,
}

/// What came of a case.
struct Played {
    clock: Rc<Clock>,
    target: Rc<Stalling>,
    intervals: Vec<Tally>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Case {
    fn draw(random: &mut Rng) -> Self {
        let made = random.u64(0..END_MS);
        let arrivals = if random.u8(..) < 64 { Arrivals::Poisson } else { Arrivals::Even };
        let max_catch_up = *random.choice(&[1, 2, 10, 1000]).expect("there are some");
        let pace = Pace { frequency: frequency(random), phase: random.u32(..), arrivals, max_catch_up };
        let terms = terms(random);
        let mut moments: Vec<_> = (0..random.usize(0..4)).map(|_| ms(random.u64(made..END_MS))).collect();
        moments.sort_unstable();
        let orders = moments.into_iter().map(|moment| {
            let told = match random.u8(0..10) {
                0..6 => {
                    let frequency = if random.bool() { pace.frequency } else { frequency(random) };
                    Told::Change(terms_like(terms, random), Pace { frequency, ..pace })
                }
                6..8 => Told::Rest,
                8 => Told::GiveUp(if random.bool() { pace.frequency } else { frequency(random) }),
                _ => Told::Stop,
            };
            (moment, told)
        });
        let orders = orders.collect();
        let rest = if random.u8(..) < 64 { ms(random.u64(1..5_000)) } else { Duration::ZERO };
        Self { begin: Instant::now(), made: ms(made), pace, terms, rest, orders, late_at_times: random.u8(..) < 64 }
    }

    fn made(&self) -> Instant {
        self.begin + self.made
    }

    fn end(&self) -> Instant {
        self.begin + ms(END_MS)
    }

    fn play(&self, random: &mut Rng) -> anyhow::Result<Played> {
        let clock = Rc::new(Clock {
            now: Cell::new(self.made()),
            waiting: RefCell::default(),
            wakers: RefCell::default(),
            late: RefCell::default(),
        });
        let mut stall = || (self.begin + ms(random.u64(0..END_MS)), ms(random.u64(0..20_000)));
        let stalls = [stall(), stall(), stall()][..].to_vec();
        let target = Rc::new(Stalling {
            clock: Rc::clone(&clock),
            stalls: stalls[..random.usize(0..4)].to_vec(),
            longest_us: 10_u64.pow(random.u32(0..7)) - 1,
            seed: random.u64(..),
            rest: self.rest,
            starts: RefCell::default(),
            in_flight: Rc::default(),
            most: Cell::default(),
        });
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        let pacer = Pacer::new(self.pace, self.made(), self.end(), random.u64(..));
        let alarm = Turned(Rc::clone(&clock));
        let shift = Shift::new(Rc::clone(&target), self.terms, pacer, self.end(), Rc::clone(&recorder), alarm);
        let (orders, receiver) = mpsc::unbounded_channel();
        let intervals = RefCell::default();
        let minute = join3(
            shift.work(receiver),
            self.give(&clock, &orders, &target),
            self.close_intervals(&clock, &recorder, &intervals),
        );
        let late_by = || match random.u8(..) {
            0..4 if self.late_at_times => Duration::from_micros(random.u64(1..40_000)),
            _ => Duration::ZERO,
        };
        turn_until_done(&clock, minute, late_by)?;
        let last = recorder.borrow_mut().close(clock.now.get());
        intervals.borrow_mut().push(last);
        Ok(Played { clock, target, intervals: intervals.into_inner() })
    }

    async fn give(&self, clock: &Clock, orders: &UnboundedSender<Order<Stalling>>, target: &Rc<Stalling>) {
        for (moment, told) in &self.orders {
            clock.at(self.begin + *moment).await;
            let order = match *told {
                Told::Change(terms, pace) => Order::Change(Rc::clone(target), terms, pace, clock.now.get()),
                Told::Rest => Order::Rest,
                Told::GiveUp(frequency) => Order::GiveUp(frequency),
                Told::Stop => Order::Stop,
            };
            // A shift that has ended hears nothing.
            let _ = orders.send(order);
        }
    }

    async fn close_intervals(&self, clock: &Clock, recorder: &RefCell<Recorder>, tallies: &RefCell<Vec<Tally>>) {
        for interval in 1..6 {
            clock.at(self.begin + ms(10_000 * interval)).await;
            tallies.borrow_mut().push(recorder.borrow_mut().close(clock.now.get()));
        }
    }

    /// The frequency that was last ordered by `moment`.
    fn frequency_at(&self, moment: Instant) -> u64 {
        let changes = self.orders.iter().take_while(|(given, _)| self.begin + *given <= moment).filter_map(
            |(_, told)| match told {
                Told::Change(_, Pace { frequency, .. }) | Told::GiveUp(frequency) => Some(*frequency),
                Told::Rest | Told::Stop => None,
            },
        );
        changes.last().unwrap_or(self.pace.frequency)
    }

    fn most_in_flight(&self) -> usize {
        let changed = self.orders.iter().filter_map(|(_, told)| match told {
            Told::Change(terms, _) => Some(terms.overtime),
            Told::Rest | Told::GiveUp(_) | Told::Stop => None,
        });
        changed.fold(self.terms.overtime, usize::max)
    }

    fn check(&self, played: &Played) -> anyhow::Result<()> {
        let mut minute = Tally::default();
        played.intervals.iter().for_each(|interval| minute.merge(interval));
        let starts = played.target.starts.borrow();
        self.check_counts(&minute, &starts)?;
        let most = self.most_in_flight();
        ensure!(played.target.most.get() <= most, "{} in flight", played.target.most.get());
        for few in starts.windows(most + 1) {
            let (first, next) = (few[0], few[most]);
            ensure!(next.1 - first.1 >= self.rest, "hit {} has the place of hit {} that rests", next.0, first.0);
        }
        for pair in starts.windows(2) {
            self.check_neighbours(pair[0], pair[1], &played.clock)?;
        }
        self.check_bursts(&starts)?;
        if !self.late_at_times {
            for (index, Tally { asked, sent, unsent, .. }) in played.intervals.iter().enumerate() {
                let limited = played.intervals[index].generator_limited();
                ensure!(!limited, "a punctual generator was the limit: {sent} of {asked}, {unsent} unsent in {index}");
            }
        }
        Ok(())
    }

    /// Nothing planned disappears, nothing is sent twice, and all of it in the minute.
    fn check_counts(&self, minute: &Tally, starts: &[(u64, Instant)]) -> anyhow::Result<()> {
        let accounted = minute.ok + minute.failed + minute.canceled + minute.missed + minute.stopped;
        let stop = self.orders.iter().find(|(_, told)| matches!(told, Told::Stop));
        let planned = self.frequency_at(stop.map_or(self.end(), |(given, _)| self.begin + *given));
        let done = starts.last().map_or(0, |(number, _)| number + 1).max(minute.canceled + starts.len() as u64);
        // A late generator may have heard the last order when all was over.
        let heard = self.late_at_times && accounted >= done;
        let results = minute.results();
        ensure!(accounted == planned.max(done) || heard, "{planned} planned, {done} done, {accounted} in {results:?}");
        ensure!(minute.sent == starts.len() as u64, "{} sent, {} seen", minute.sent, starts.len());
        ensure!(starts.iter().all(|(_, at)| (self.made()..self.end()).contains(at)), "outside of the minute");
        ensure!(starts.windows(2).all(|pair| pair[0].0 < pair[1].0), "numbers don't count up");
        Ok(())
    }

    /// One hit behind the other, no two at once, never denser than what is left ÷ time left or catch-up allows.
    fn check_neighbours(&self, a: (u64, Instant), b: (u64, Instant), clock: &Clock) -> anyhow::Result<()> {
        let ((number, at), (_, next)) = (a, b);
        ensure!(next >= at, "hit {number} starts after the next");
        // Behind by less than it would spread, or by another plan.
        if clock.is_late(at)
            || clock.is_late(next)
            || self.orders.iter().any(|(given, _)| (at..=next).contains(&(self.begin + *given)))
        {
            return Ok(());
        }
        ensure!(next > at, "hit {number} shares its moment");
        if self.pace.arrivals == Arrivals::Even {
            let frequency = self.frequency_at(at);
            let left = frequency.checked_sub(number).ok_or_else(|| anyhow!("hit {number} of {frequency}"))?;
            let shortest = (self.end() - at).as_nanos() / u128::from(left.max(1));
            let densest = 60_000_000_000 / u128::from(frequency * u64::from(self.pace.max_catch_up));
            let gap = (next - at + ROUNDING).as_nanos();
            ensure!(gap >= shortest, "{gap} ns behind hit {number} where even would be {shortest}");
            ensure!(gap >= densest, "{gap} ns behind hit {number} where catch-up ends at {densest}");
        }
        Ok(())
    }

    /// A generator that is late sends at once what it is behind with, as far as that is little; the rest it spreads.
    fn check_bursts(&self, starts: &[(u64, Instant)]) -> anyhow::Result<()> {
        for burst in
            starts.chunk_by(|a, b| a.1 == b.1).filter(|burst| self.pace.arrivals == Arrivals::Even && burst.len() > 1)
        {
            let (number, at) = burst[0];
            let left = self.frequency_at(at).max(self.pace.frequency).saturating_sub(number) as f64;
            let most = 2.0 + BEHIND.as_secs_f64() * left / (self.end() - at).as_secs_f64();
            ensure!(burst.len() as f64 <= most, "{} at once with hit {number}, where {most} may be", burst.len());
        }
        Ok(())
    }
}

/// From 1 to 5,000, as many below 70 as above.
fn frequency(random: &mut Rng) -> u64 {
    5000_f64.powf(random.f64()) as u64
}

fn terms(random: &mut Rng) -> Terms {
    let when_busy = if random.bool() { WhenBusy::Wait } else { WhenBusy::Cancel };
    Terms { overtime: 1000_f64.powf(random.f64()) as usize, when_busy, grace: ms(random.u64(0..10_000)) }
}

fn terms_like(own: Terms, random: &mut Rng) -> Terms {
    if random.bool() { own } else { terms(random) }
}

/// Polls until nobody has anything left to do, turns the clock, and polls again.
fn turn_until_done<F: Future>(clock: &Clock, future: F, mut late_by: impl FnMut() -> Duration) -> anyhow::Result<()> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        woken.0.store(false, Ordering::Relaxed);
        if future.as_mut().poll(&mut context).is_ready() {
            return Ok(());
        }
        if !woken.0.load(Ordering::Relaxed) {
            ensure!(clock.turn(late_by()), "somebody waits for nothing");
        }
    }
}

#[test]
fn any_minute_accounts_for_every_hit_and_never_bursts() {
    for seed in 0..CASES {
        let mut random = Rng::with_seed(seed);
        let case = Case::draw(&mut random);
        let checked = case.play(&mut random).and_then(|played| case.check(&played));
        if let Err(error) = checked {
            panic!("seed {seed}: {error}\n{case:#?}");
        }
    }
}
