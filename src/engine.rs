//! The thread that hits: a shift a test, and the intervals they are counted in.
//!
//! The engine is told what to run and tells, interval by interval, what came of
//! it. It knows neither files nor destinations; nothing on its thread waits for
//! a disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{self, JoinSet, LocalSet};

use crate::kinds::{KindTarget, Type};
use crate::pacer::{Pace, Pacer};
use crate::recorder::Recorder;
use crate::shift::{self, Shift, Terms};
use crate::summary::Tally;
use crate::wakeups::{Alarm, Wake, Wakeups};

/// The most tests that can't run of which each is told.
const MOST_TOLD: usize = 10;

/// How long the engine sleeps while it waits for nothing but its last shifts.
const IDLE: Duration = Duration::from_secs(60);

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
    /// How often.
    pub pace: Pace,
    /// Makes random arrivals repeatable.
    pub seed: u64,
    /// When the plan was made that it is part of.
    pub made: Instant,
}

/// What the engine is told.
#[derive(Debug)]
enum Order {
    Run(Box<Assignment>),
    Rest(String),
    Stop,
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
#[derive(Clone, Debug)]
pub struct Engine {
    orders: UnboundedSender<Order>,
}

/// One test, as the engine keeps it.
struct Running {
    orders: UnboundedSender<shift::Order<KindTarget>>,
    recorder: Rc<RefCell<Recorder>>,
    of_type: Type,
    target: Rc<KindTarget>,
    active: bool,
}

struct Conductor<F> {
    window: Window,
    wakeups: Rc<Wakeups>,
    tests: BTreeMap<String, Running>,
    /// The tests that can't run, with their frequencies.
    unable: BTreeMap<String, u64>,
    shifts: JoinSet<io::Result<()>>,
    report: F,
    closed: u32,
}

impl Engine {
    /// Starts the engine's thread, which hands each closed interval to
    /// `report` and ends after the last one.
    ///
    /// # Errors
    /// When the system has no thread or descriptors left.
    pub fn start(window: Window, report: impl FnMut(Interval) + Send + 'static) -> io::Result<Self> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        thread::Builder::new().name("engine".into()).spawn(move || {
            let hits = async move {
                let wakeups = Wakeups::new(window.slack)?;
                let closed = window.intervals_before(Instant::now());
                let conductor = Conductor {
                    window,
                    wakeups,
                    tests: BTreeMap::new(),
                    unable: BTreeMap::new(),
                    shifts: JoinSet::new(),
                    report,
                    closed,
                };
                conductor.conduct(receiver).await
            };
            // A task like the others, as what a thread blocks on is polled whenever one of them is.
            let ended = LocalSet::new().block_on(&runtime, async { task::spawn_local(hits).await? });
            if let Err(error) = ended {
                log::error!("the engine ended early: {error}");
            }
            // Name look-ups that hang must not keep the minute from ending.
            runtime.shutdown_background();
        })?;
        Ok(Self { orders })
    }

    /// Runs a test, or runs it differently from now on.
    pub fn run(&self, assignment: Assignment) {
        self.tell(Order::Run(Box::new(assignment)));
    }

    /// Starts no further hit of a test, until it is run again.
    pub fn rest(&self, test: &str) {
        self.tell(Order::Rest(test.to_owned()));
    }

    /// Starts no further hit and drops those in flight.
    pub fn stop(&self) {
        self.tell(Order::Stop);
    }

    fn tell(&self, order: Order) {
        // An engine that is gone has closed its last interval: there is nothing left to tell it.
        let _ = self.orders.send(order);
    }
}

impl<F: FnMut(Interval) + 'static> Conductor<F> {
    async fn conduct(mut self, mut orders: UnboundedReceiver<Order>) -> io::Result<()> {
        let mut alarm = self.wakeups.sleeper();
        let mut kept = task::spawn_local({
            let wakeups = Rc::clone(&self.wakeups);
            async move { wakeups.keep().await }
        });
        let mut stopping = false;
        while !(self.shifts.is_empty() && (stopping || Instant::now() >= self.window.end)) {
            let look = self.look_again();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Run(assignment)) if !stopping => self.run(*assignment),
                    Some(Order::Run(_)) => {}
                    Some(Order::Rest(test)) => self.rest(&test),
                    Some(Order::Stop) | None => {
                        stopping = true;
                        for running in self.tests.values() {
                            let _ = running.orders.send(shift::Order::Stop);
                        }
                    }
                },
                Some(ended) = self.shifts.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => log::error!("a test ended early: {error}"),
                    Err(error) => log::error!("a test ended early: {error}"),
                },
                rung = alarm.ring(Wake::at(look)) => {
                    rung?;
                    self.close_due(Instant::now());
                }
                failed = &mut kept => match failed? {
                    Ok(never) => match never {},
                    Err(error) => return Err(error),
                }
            }
        }
        self.close_due(Instant::now());
        self.close(true);
        Ok(())
    }

    fn run(&mut self, assignment: Assignment) {
        let Assignment { test, of_type, pace, seed, made } = assignment;
        let known = self.tests.get(&test).filter(|running| running.of_type == of_type);
        let target = match known.map(|running| Rc::clone(&running.target)) {
            Some(target) => target,
            None => match of_type.kind.target(&self.wakeups) {
                Ok(target) => Rc::new(target),
                Err(error) => return self.give_up(test, pace, &error.context(format!("type {}", of_type.name))),
            },
        };
        let terms = Terms { overtime: of_type.overtime as usize, when_busy: of_type.when_busy, grace: of_type.grace };
        if let Some(running) = self.tests.get_mut(&test) {
            let _ = running.orders.send(shift::Order::Change(Rc::clone(&target), terms, pace, made));
            running.of_type = of_type;
            running.target = target;
            running.active = true;
            return;
        }
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        let pacer = Pacer::new(pace, made, self.window.end, seed);
        let alarm = self.wakeups.sleeper();
        let shift = Shift::new(Rc::clone(&target), terms, pacer, self.window.end, Rc::clone(&recorder), alarm);
        let (orders, receiver) = mpsc::unbounded_channel();
        self.shifts.spawn_local(shift.work(receiver));
        self.unable.remove(&test);
        self.tests.insert(test, Running { orders, recorder, of_type, target, active: true });
    }

    /// A test can't run, for want of something that the machine should have: its hits are missed.
    fn give_up(&mut self, test: String, pace: Pace, error: &anyhow::Error) {
        match self.unable.len() {
            ..MOST_TOLD => log::error!("test {test} cannot run: {error:#}"),
            MOST_TOLD => log::error!("test {test} cannot run, nor can others, of which no more is said: {error:#}"),
            _ => {}
        }
        self.rest(&test);
        self.unable.insert(test, pace.frequency);
    }

    fn rest(&mut self, test: &str) {
        if let Some(running) = self.tests.get_mut(test) {
            running.active = false;
            let _ = running.orders.send(shift::Order::Rest);
        }
    }

    /// When an interval is to be closed, or the minute may be over.
    fn look_again(&self) -> Instant {
        let boundary = self.window.begin + self.window.interval * (self.closed + 1);
        let now = Instant::now();
        match (boundary < self.window.end, now < self.window.end) {
            (true, _) => boundary,
            (false, true) => self.window.end,
            // Shifts are ending on their own; the last interval waits for them.
            (false, false) => now + IDLE,
        }
    }

    /// Closes every interval that is over at `now`, except the minute's last.
    fn close_due(&mut self, now: Instant) {
        loop {
            let boundary = self.window.begin + self.window.interval * (self.closed + 1);
            if boundary > now || boundary >= self.window.end {
                return;
            }
            self.close(false);
        }
    }

    fn close(&mut self, last: bool) {
        // Those that could run for a while account for themselves.
        let mut unable = if last { std::mem::take(&mut self.unable) } else { BTreeMap::new() };
        unable.retain(|test, _| !self.tests.contains_key(test));
        let tallies = self
            .tests
            .iter()
            .filter(|(_, running)| running.active || !running.recorder.borrow().is_empty())
            .map(|(test, running)| (test.clone(), running.recorder.borrow_mut().close(Instant::now())))
            .chain(unable.into_iter().map(|(test, missed)| (test, Tally::unable(missed))))
            .collect();
        (self.report)(Interval { index: self.closed, last, tallies });
        self.closed += 1;
    }
}
