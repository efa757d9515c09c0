//! Hits one target when its pacer says so, and tells the recorder of each hit.
//!
//! A worker owns one test in one minute. It lives until the minute has ended
//! and nothing is in flight, also while its test is away (a removed file may
//! come back), so that what was sent is never sent again. It decides what a due
//! hit does when `overtime` hits are in flight; when hits are due is the
//! pacer's affair, what they do the target's.

use std::cell::RefCell;
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
use crate::target::{Failure, Outcome, Reason, Target};
use crate::timer::Timer;

/// A generator later than this spreads what is overdue instead of sending it in a burst.
const BEHIND: Duration = Duration::from_millis(10);

/// How long after grace hits in flight are cut: a timeout that ends with it comes first, and says more.
const CUT: Duration = Duration::from_millis(20);

/// What a due hit does when `overtime` hits are in flight.
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

/// What a worker is told while it works.
pub enum Order<T> {
    /// Go on with this target, these terms and this pace, from the moment on that the plan was made.
    Change(Rc<T>, Terms, Pace, Instant),
    /// Start nothing more until told otherwise; what is in flight may end.
    Rest,
    /// Drop what is in flight and leave.
    Stop,
}

/// Hits one target in one minute.
pub struct Worker<T> {
    target: Rc<T>,
    terms: Terms,
    pacer: Pacer,
    end: Instant,
    resting: bool,
    in_flight: FuturesUnordered<Flight>,
    recorder: Rc<RefCell<Recorder>>,
    timer: Timer,
}

/// One hit in flight.
struct Flight {
    due: Due,
    start: Instant,
    hit: CatchUnwind<AssertUnwindSafe<LocalBoxFuture<'static, Outcome>>>,
}

impl<T: Target + 'static> Worker<T> {
    /// A worker that will start hits before `end`, as `pacer` says, and tell `recorder`.
    ///
    /// # Errors
    /// When no descriptor is left for its timer.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn hire(
        target: Rc<T>,
        terms: Terms,
        pacer: Pacer,
        end: Instant,
        recorder: Rc<RefCell<Recorder>>,
    ) -> io::Result<Self> {
        let timer = Timer::new()?;
        Ok(Self { target, terms, pacer, end, resting: false, in_flight: FuturesUnordered::new(), recorder, timer })
    }

    /// Works until the minute is over and the last hit has ended, its grace has
    /// passed, or a stop is ordered; every planned hit is accounted for then.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub async fn work(mut self, mut orders: UnboundedReceiver<Order<T>>) -> io::Result<()> {
        loop {
            let now = Instant::now();
            self.start_due(now);
            if now >= self.end && self.in_flight.is_empty() {
                break;
            }
            if now >= self.cut_off() {
                self.cut(now);
                break;
            }
            let alarm = self.alarm(now);
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Change(target, terms, pace, made)) => self.change(target, terms, pace, made),
                    Some(Order::Rest) => self.rest(),
                    Some(Order::Stop) | None => {
                        self.stop();
                        return Ok(());
                    }
                },
                Some(ended) = self.in_flight.next() => self.land(&ended),
                rung = self.timer.at(alarm) => rung?,
            }
        }
        self.settle();
        Ok(())
    }

    /// Starts, or cancels, every hit that is due.
    fn start_due(&mut self, now: Instant) {
        while let Some(due) = self.pacer.next_due().filter(|due| *due <= now && now < self.end) {
            if self.is_full() {
                match self.terms.when_busy {
                    WhenBusy::Wait => return,
                    WhenBusy::Cancel => {
                        self.pacer.take();
                        self.recorder.borrow_mut().hear(&Gossip::Canceled);
                        continue;
                    }
                }
            }
            if now.saturating_duration_since(due) > BEHIND {
                self.pacer.fall_behind(now);
            }
            if let Some(due) = self.pacer.take() {
                self.start(due);
            }
        }
    }

    fn start(&mut self, due: Due) {
        self.recorder.borrow_mut().hear(&Gossip::BeforeTarget);
        let target = Rc::clone(&self.target);
        let hit: LocalBoxFuture<'static, Outcome> = Box::pin(async move { target.hit(due.number).await });
        self.in_flight.push(Flight { due, start: Instant::now(), hit: AssertUnwindSafe(hit).catch_unwind() });
    }

    /// Counts a hit that has ended; if others waited for its place, they are spread from that moment on.
    fn land(&mut self, ended: &Ended) {
        if self.in_flight.len() + 1 >= self.terms.overtime && self.terms.when_busy == WhenBusy::Wait {
            self.pacer.unblock(ended.end);
        }
        if let Some(failure) = &ended.outcome.failure {
            log::debug!("a hit failed: {}: {}", failure.reason, failure.detail);
        }
        self.recorder.borrow_mut().hear(&Gossip::AfterTarget(ended));
    }

    /// When to look again, should nothing else happen.
    fn alarm(&self, now: Instant) -> Instant {
        if now >= self.end {
            return self.cut_off();
        }
        match self.pacer.next_due() {
            Some(due) if !self.is_full() || self.terms.when_busy == WhenBusy::Cancel => due.min(self.end),
            _ => self.end,
        }
    }

    /// When hits in flight are cut.
    fn cut_off(&self) -> Instant {
        self.end + self.terms.grace + CUT
    }

    fn is_full(&self) -> bool {
        self.in_flight.len() >= self.terms.overtime
    }

    fn change(&mut self, target: Rc<T>, terms: Terms, pace: Pace, made: Instant) {
        self.target = target;
        self.terms = terms;
        self.resting = false;
        self.pacer.change(pace, made);
    }

    fn rest(&mut self) {
        self.resting = true;
        self.pacer.rest();
    }

    /// Drops what is in flight and counts it, and what was not started, as stopped.
    fn stop(&mut self) {
        let in_flight = self.in_flight.len() as u64;
        self.in_flight.clear();
        self.recorder.borrow_mut().stopped(in_flight + self.pacer.left());
    }

    /// Fails what is still in flight when grace is over, with the time it had.
    fn cut(&mut self, now: Instant) {
        for flight in &self.in_flight {
            let failure = Failure::new(Reason::Deadline, "still in flight when the minute's grace was over");
            let outcome = Outcome { failure: Some(failure), ..Outcome::default() };
            self.recorder.borrow_mut().hear(&Gossip::AfterTarget(&flight.ended(now, outcome)));
        }
        self.in_flight.clear();
    }

    /// Accounts for what was never started.
    fn settle(&mut self) {
        let left = self.pacer.left();
        let mut recorder = self.recorder.borrow_mut();
        if self.resting { recorder.stopped(left) } else { recorder.missed(left) }
    }
}

impl Flight {
    fn ended(&self, end: Instant, outcome: Outcome) -> Ended {
        let Due { at, blocked, late, .. } = self.due;
        Ended { due: at, start: self.start, end, blocked, late, outcome }
    }
}

impl Future for Flight {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let outcome = ready!(self.hit.poll_unpin(context)).unwrap_or_else(|_| Outcome {
            failure: Some(Failure::new(Reason::Panic, "the target panicked")),
            ..Outcome::default()
        });
        Poll::Ready(self.ended(Instant::now(), outcome))
    }
}
