//! What hits: a thread, or as many as the plan needs, and in front of them who deals out the tests.
//!
//! The engine is told what to run and tells, interval by interval, what came of
//! it. It knows neither files nor destinations; nothing on its threads waits
//! for a disk.
//!
//! A thread shares nothing with the others while it hits: its shifts, their
//! targets with their connections, and their histograms are its own (`Rc` and
//! `RefCell`, as the compiler checks). A lock is taken when an interval is
//! closed, once a thread, and when a test is placed; for a hit only where the
//! threads of a test have one stock to take from, as the points that a writer
//! was lent, and never while somebody waits for a disk or a network.

mod gather;
mod placement;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

pub use self::placement::{Limits, RATE_OF_A_THREAD};

use self::gather::Gather;
use self::placement::Placement;
use self::thread::Order;
use crate::kinds::{Prepared, Type};
use crate::pacer::{Pace, Share};
use crate::summary::Tally;

/// The minute as the engine sees it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// When the minute began.
    pub begin: Instant,
    /// From when on no hit starts.
    pub end: Instant,
    /// How long an interval is; divides a minute.
    pub interval: Duration,
    /// How long after its due a hit may start, so that hits share a wake-up.
    pub slack: Duration,
}

impl Window {
    /// How many intervals of the minute are over at `now`.
    pub fn intervals_before(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.begin).as_nanos();
        u32::try_from(elapsed / self.interval.as_nanos().max(1)).unwrap_or(u32::MAX)
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The test's name.
    pub test: String,
    /// What it hits.
    pub of_type: Type,
    /// What was got ready for that.
    pub prepared: Prepared,
    /// How often.
    pub pace: Pace,
    /// Makes random arrivals repeatable.
    pub seed: u64,
    /// When the plan was made that it is part of.
    pub made: Instant,
}

/// One interval of all tests, closed.
#[derive(Debug)]
pub struct Interval {
    /// Counts the intervals of the minute from 0.
    pub index: u32,
    /// Whether it is the last: the minute is over or was stopped, and nothing is in flight.
    pub last: bool,
    /// The tests that ran in it, by name.
    pub tallies: BTreeMap<String, Tally>,
}

/// The way to tell the engine something; it may be cloned to any thread.
#[derive(Clone)]
pub struct Engine {
    front: Arc<Mutex<Front>>,
}

/// Who deals out the tests to the threads.
struct Front {
    window: Window,
    placement: Placement,
    gather: Gather,
    threads: Vec<UnboundedSender<Order>>,
    is_stopped: bool,
}

impl Engine {
    /// Starts the engine's first thread; `limits` bounds how many follow. Each closed interval is handed to `report`,
    /// on any of the threads; all of them end after the last one.
    ///
    /// # Errors
    /// When the system has no thread or descriptors left.
    pub fn start(window: Window, limits: Limits, report: impl FnMut(Interval) + Send + 'static) -> io::Result<Self> {
        let gather = Gather::new(window.intervals_before(Instant::now()), report);
        let placement = Placement::new(limits);
        let mut front = Front { window, placement, gather, threads: Vec::new(), is_stopped: false };
        front.start_thread()?;
        Ok(Self { front: Arc::new(Mutex::new(front)) })
    }

    /// Runs a test, or runs it differently from now on.
    ///
    /// A test that is too much for one thread is divided when it is run for the first time, into a share a thread;
    /// from then on the shares change, but not their number. Its `overtime` is divided as well; should it later
    /// become less than there are shares, each still has one hit in flight.
    pub fn run(&self, assignment: &Assignment) {
        self.front().run(assignment);
    }

    /// Counts on a test that is to be run so once it is ready: of its hits in the minute, those are missed that never
    /// are. If it runs already, it goes on as it does.
    pub fn expect(&self, test: &str, frequency: u64) {
        let mut front = self.front();
        front.gather.wait_for(test, frequency);
        if front.placement.rests(test) {
            front.give_up(test, frequency);
        }
    }

    /// Counts no more on a test: no hit of it is started until it is expected, or run, again.
    pub fn withdraw(&self, test: &str) {
        let mut front = self.front();
        front.gather.withdraw(test);
        for thread in front.placement.rest(test) {
            front.tell(thread, Order::Rest(test.to_owned()));
        }
    }

    /// Starts no further hit of a test that can't be run as it should, until it is run again: what is left of so many
    /// hits in the minute is missed.
    pub fn give_up(&self, test: &str, frequency: u64) {
        self.front().give_up(test, frequency);
    }

    /// Starts no further hit and drops those in flight.
    pub fn stop(&self) {
        let mut front = self.front();
        front.is_stopped = true;
        front.gather.stop();
        for thread in 0..front.threads.len() {
            front.tell(thread, Order::Stop);
        }
    }

    /// How many threads have been started so far.
    pub fn threads(&self) -> usize {
        self.front().threads.len()
    }

    fn front(&self) -> MutexGuard<'_, Front> {
        // Nothing in it is ever half done.
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    fn run(&mut self, assignment: &Assignment) {
        if self.is_stopped {
            return;
        }
        for thread in 0..self.threads.len() {
            if self.threads[thread].is_closed() {
                self.placement.lose(thread);
            }
        }
        let (frequency, overtime) = (assignment.pace.frequency, assignment.of_type.overtime);
        while self.placement.wants_thread(&assignment.test, frequency, overtime) {
            if let Err(error) = self.start_thread() {
                log::warn!("no more than {} threads can be had for hits: {error}", self.threads.len());
                self.placement.limit(self.threads.len());
            }
        }
        let threads = self.placement.place(&assignment.test, frequency, overtime);
        for (share, &thread) in Share::all(threads.len() as u32).zip(&threads) {
            self.gather.expect(thread, &assignment.test, share.part_of(frequency));
            self.tell(thread, Order::Run(Box::new(assignment.clone()), share));
        }
    }

    fn give_up(&mut self, test: &str, frequency: u64) {
        let threads = self.placement.rest(test);
        for (share, thread) in Share::all(threads.len() as u32).zip(threads) {
            self.gather.expect(thread, test, share.part_of(frequency));
            self.tell(thread, Order::GiveUp(test.to_owned(), frequency));
        }
    }

    fn start_thread(&mut self) -> io::Result<()> {
        let Some(part) = self.gather.join(self.threads.len()) else {
            return Err(io::Error::other("the minute's last interval is closed"));
        };
        self.threads.push(thread::start(self.threads.len(), self.window, part)?);
        self.placement.add_thread();
        Ok(())
    }

    fn tell(&self, thread: usize, order: Order) {
        // To a thread that is gone nothing can be told: what it was expected to do is counted as missed.
        let _ = self.threads[thread].send(order);
    }
}
