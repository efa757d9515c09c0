//! One thread that hits: a shift a test, or a share of one, and the intervals they are counted in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{self, JoinSet, LocalSet};

use super::gather::Part;
use super::{Assignment, Interval, Window};
use crate::kinds::{KindTarget, Prepared, Type};
use crate::pacer::{Pacer, Share};
use crate::recorder::Recorder;
use crate::shift::{self, Shift, Terms};
use crate::wakeups::{Alarm, Wake, Wakeups};

/// The most tests that can't run of which each is told.
const MOST_TOLD: usize = 10;

/// How long the engine sleeps while it waits for nothing but its last shifts.
const IDLE: Duration = Duration::from_secs(60);

/// What a thread is told.
#[derive(Debug)]
pub enum Order {
    /// Run this share of a test, or run it differently from now on.
    Run(Box<Assignment>, Share),
    /// Start no further hit of a test, until it is run again; what is left of it is stopped.
    Rest(String),
    /// The same, but what is left of so many hits of it in the minute is missed.
    GiveUp(String, u64),
    /// Start no further hit and drop those in flight.
    Stop,
}

/// One test, or the thread's share of it.
struct Running {
    orders: UnboundedSender<shift::Order<KindTarget>>,
    recorder: Rc<RefCell<Recorder>>,
    of_type: Type,
    /// What its target was made of.
    prepared: Prepared,
    target: Rc<KindTarget>,
    active: bool,
}

struct Conductor {
    window: Window,
    wakeups: Rc<Wakeups>,
    tests: BTreeMap<String, Running>,
    /// How often it was told that a test can't run.
    told: usize,
    shifts: JoinSet<io::Result<()>>,
    part: Part,
    closed: u32,
}

/// Starts a thread, which closes its intervals as its `part` and ends after its last one.
///
/// # Errors
/// When the system has no thread or descriptors left.
pub fn start(number: usize, window: Window, part: Part) -> io::Result<UnboundedSender<Order>> {
    let (orders, receiver) = mpsc::unbounded_channel();
    // Without tokio's timers: all that hits wait for is the wake-ups' affair.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new().name(format!("engine-{number}")).spawn(move || {
        let hits = async move {
            let wakeups = Wakeups::new(window.slack)?;
            let closed = part.first();
            let conductor =
                Conductor { window, wakeups, tests: BTreeMap::new(), told: 0, shifts: JoinSet::new(), part, closed };
            conductor.conduct(receiver).await
        };
        // A task like the others, as what a thread blocks on is polled whenever one of them is.
        let ended = LocalSet::new().block_on(&runtime, async { task::spawn_local(hits).await? });
        if let Err(error) = ended {
            log::error!("thread {number} of hits ended early: {error}");
        }
        // Name look-ups that hang must not keep the minute from ending.
        runtime.shutdown_background();
    })?;
    Ok(orders)
}

impl Conductor {
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
                    Some(Order::Run(assignment, share)) if !stopping => self.run(*assignment, share),
                    Some(Order::Run(..)) => {}
                    Some(Order::Rest(test)) => self.rest(&test, shift::Order::Rest),
                    Some(Order::GiveUp(test, frequency)) => self.rest(&test, shift::Order::GiveUp(frequency)),
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

    fn run(&mut self, assignment: Assignment, share: Share) {
        let Assignment { test, of_type, prepared, pace, seed, made } = assignment;
        let is_same = |running: &&Running| running.of_type == of_type && running.prepared.is(&prepared);
        let known = self.tests.get(&test).filter(is_same);
        let target = match known.map(|running| Rc::clone(&running.target)) {
            Some(target) => target,
            None => match of_type.kind.target(&self.wakeups, &prepared) {
                Ok(target) => Rc::new(target),
                Err(error) => {
                    return self.give_up(&test, pace.frequency, &error.context(format!("type {}", of_type.name)));
                }
            },
        };
        let overtime = share.part_of(of_type.overtime.into()).max(1) as usize;
        let terms = Terms { overtime, when_busy: of_type.when_busy, grace: of_type.grace };
        let is_insecure = of_type.kind.insecure();
        if let Some(running) = self.tests.get_mut(&test) {
            running.recorder.borrow_mut().insecure(is_insecure);
            let _ = running.orders.send(shift::Order::Change(Rc::clone(&target), terms, pace, made));
            running.of_type = of_type;
            running.prepared = prepared;
            running.target = target;
            running.active = true;
            return;
        }
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        recorder.borrow_mut().insecure(is_insecure);
        let pacer = Pacer::of_share(share, pace, made, self.window.end, seed);
        let alarm = self.wakeups.sleeper();
        let shift = Shift::new(Rc::clone(&target), terms, pacer, self.window.end, Rc::clone(&recorder), alarm);
        let (orders, receiver) = mpsc::unbounded_channel();
        self.shifts.spawn_local(shift.work(receiver));
        self.tests.insert(test, Running { orders, recorder, of_type, prepared, target, active: true });
    }

    /// A test can't run, for want of something that the machine should have: its hits are missed.
    fn give_up(&mut self, test: &str, frequency: u64, error: &anyhow::Error) {
        match self.told {
            ..MOST_TOLD => log::error!("test {test} cannot run: {error:#}"),
            MOST_TOLD => log::error!("test {test} cannot run, nor can others, of which no more is said: {error:#}"),
            _ => {}
        }
        self.told += 1;
        self.rest(test, shift::Order::GiveUp(frequency));
    }

    fn rest(&mut self, test: &str, order: shift::Order<KindTarget>) {
        if let Some(running) = self.tests.get_mut(test) {
            running.active = false;
            let _ = running.orders.send(order);
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
        let tallies = self
            .tests
            .iter()
            .filter(|(_, running)| running.active || !running.recorder.borrow().is_empty())
            .map(|(test, running)| (test.clone(), running.recorder.borrow_mut().close(Instant::now())))
            .collect();
        self.part.close(Interval { index: self.closed, last, tallies });
        self.closed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gather::Gather;

    #[test]
    fn what_a_thread_that_panics_had_left_is_missed() {
        let now = Instant::now();
        // The end of such an interval is no moment that there is.
        let window =
            Window { begin: now, end: now + Duration::from_secs(600), interval: Duration::MAX, slack: Duration::ZERO };
        let (told, reported) = std::sync::mpsc::channel();
        let gather = Gather::new(0, move |interval| told.send(interval).unwrap());
        let part = gather.join(0).unwrap();
        gather.expect(0, "a", 7);
        let _orders = start(0, window, part).unwrap();
        let last = reported.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!((last.index, last.last, last.tallies["a"].missed), (0, true, 7));
        assert_eq!(last.tallies["a"].planned(), 7);
    }
}
