//! A worker: hits one target at the rate it is asked for, and tells its gossipers.
//!
//! It is what the library has in front of a [`shift`](crate::shift), the very
//! one that the runner works with: it says in a caller's words what a shift is
//! told in the engine's, and stands between it and the target so that the
//! gossipers hear of each hit.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::error::Error;
use crate::gossip::{Ended, Gossip};
use crate::gossiper::{self, AnyGossiper, Ear, Gossiper, Listeners};
use crate::pacer::{Arrivals, Due, Pace, Pacer};
use crate::rate::Rate;
use crate::recorder::Recorder;
use crate::shift::{Order, Shift, Terms, WhenBusy};
use crate::summary::Tally;
use crate::target::{Failure, Outcome, Reason, Target};
use crate::wakeups::{Alarm, SLACK, Wakeups};

/// The most hits in flight where nobody says otherwise: as good as no limit.
const OVERTIME: usize = 1_000_000;
/// How long hits in flight at the end may go on where nobody says otherwise.
const GRACE: Duration = Duration::from_secs(10);
/// How many times denser than its own rate a worker catches up that had to wait.
const MAX_CATCH_UP: u32 = 10;
/// The longest that a worker can be asked to work.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Hits a target at a rate, for as long as it is asked to.
///
/// The first hit is due at once, the others follow at equal distances, whatever
/// the target does: response times count from when a hit was due. A worker
/// hits for as many whole distances as fit into the duration. Above some 2,000
/// a second, hits that are due within 440 µs share a wake-up; none is ever early.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::time::Duration;
/// use canihaz::{Rate, Worker};
///
/// let worker = Worker::hire("shop", async || Ok::<_, std::io::Error>("pong")).overtime(10);
/// let tally = worker.work(Rate::per_second(20), Duration::from_millis(100)).await?;
/// assert_eq!(tally.ok, 2);
/// assert!(tally.response.quantile(0.99) < Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
///
/// A worker stays on the thread that hired it, as do the futures of its hits,
/// which need not be `Send`. To use more cores, hire one on each of several threads.
pub struct Worker {
    name: String,
    target: Option<Rc<dyn AnyTarget>>,
    terms: Terms,
    arrivals: Arrivals,
    gossipers: Vec<Arc<dyn AnyGossiper>>,
    busy: Cell<bool>,
}

/// A worker's settings, as they were when it was asked.
///
/// ```
/// use canihaz::{WhenBusy, Worker};
///
/// let worker = Worker::hire("shop", async || Ok::<_, String>("pong")).overtime(10);
/// let config = worker.config();
/// assert_eq!((config.name.as_str(), config.overtime, config.when_busy), ("shop", 10, WhenBusy::Cancel));
/// assert!(!config.busy);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The worker's name.
    pub name: String,
    /// The most hits in flight.
    pub overtime: usize,
    /// What a due hit does when as many are.
    pub when_busy: WhenBusy,
    /// How the hits lie in time.
    pub arrivals: Arrivals,
    /// How long hits that are in flight at the end may go on.
    pub grace: Duration,
    /// How many gossipers listen.
    pub gossipers: usize,
    /// Whether it was working.
    pub busy: bool,
}

impl Worker {
    /// A worker that hits `target`, with an overtime of a million hits, and none that waits.
    ///
    /// ```
    /// use canihaz::Worker;
    ///
    /// let worker = Worker::hire("shop", async || Ok::<_, String>("pong"));
    /// assert_eq!((worker.to_string().as_str(), worker.config().overtime), ("shop", 1_000_000));
    /// ```
    pub fn hire(name: impl Into<String>, target: impl Target + 'static) -> Self {
        Self::new(name).target(target)
    }

    /// A worker that has no target yet, else as [hired](Self::hire); it can't work without one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use canihaz::{Error, Rate, Worker};
    ///
    /// let idle = Worker::new("shop");
    /// let refused = idle.work(Rate::per_second(10), Duration::from_secs(1)).await;
    /// assert!(matches!(refused, Err(Error::MissingTarget { worker }) if worker == "shop"));
    /// # }
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            target: None,
            terms: Terms { overtime: OVERTIME, when_busy: WhenBusy::Cancel, grace: GRACE },
            arrivals: Arrivals::Even,
            gossipers: Vec::new(),
            busy: Cell::new(false),
        }
    }

    /// Gives it something to hit, in place of what it had.
    ///
    /// ```
    /// use canihaz::Worker;
    ///
    /// let worker = Worker::new("shop").target(async || Ok::<_, String>("pong"));
    /// ```
    #[must_use]
    pub fn target(mut self, target: impl Target + 'static) -> Self {
        self.target = Some(Rc::new(target));
        self
    }

    /// Lets one more gossiper listen.
    ///
    /// ```
    /// use canihaz::{Config, Gossiper, Gossips, Worker};
    ///
    /// struct Talkative;
    ///
    /// impl Gossiper for Talkative {
    ///     async fn listen(&self, worker: Config, mut gossips: Gossips) {
    ///         while let Some(gossip) = gossips.next().await {
    ///             println!("{worker}: {gossip}");
    ///         }
    ///     }
    /// }
    ///
    /// let worker = Worker::hire("shop", async || Ok::<_, String>("pong")).gossips(Talkative);
    /// assert_eq!(worker.config().gossipers, 1);
    /// ```
    #[must_use]
    pub fn gossips(mut self, gossiper: impl Gossiper) -> Self {
        self.gossipers.push(Arc::new(gossiper));
        self
    }

    /// Lets at most so many hits be in flight, at least 1; a million by default.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), canihaz::Error> {
    /// use std::time::Duration;
    /// use canihaz::{Rate, Worker};
    ///
    /// let slow = async || {
    ///     tokio::time::sleep(Duration::from_secs(1)).await;
    ///     Ok::<_, String>("pong")
    /// };
    /// let worker = Worker::hire("shop", slow).overtime(3);
    /// let tally = worker.work(Rate::per_second(20), Duration::from_millis(250)).await?;
    /// assert_eq!((tally.ok, tally.canceled), (3, 2));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn overtime(mut self, hits: usize) -> Self {
        self.terms.overtime = hits;
        self
    }

    /// What a due hit does when `overtime` hits are in flight: it is canceled
    /// by default. One that waits is spread with those behind it over the time
    /// that is left, at most ten times as dense; what doesn't fit is missed.
    ///
    /// ```
    /// use canihaz::{WhenBusy, Worker};
    ///
    /// let worker = Worker::hire("shop", async || Ok::<_, String>("pong")).overtime(1).when_busy(WhenBusy::Wait);
    /// assert_eq!(worker.config().when_busy, WhenBusy::Wait);
    /// ```
    #[must_use]
    pub fn when_busy(mut self, when_busy: WhenBusy) -> Self {
        self.terms.when_busy = when_busy;
        self
    }

    /// How the hits lie in time: evenly by default, or as many at random.
    ///
    /// ```
    /// use canihaz::{Arrivals, Worker};
    ///
    /// let worker = Worker::hire("shop", async || Ok::<_, String>("pong")).arrivals(Arrivals::Poisson);
    /// assert_eq!(worker.config().arrivals, Arrivals::Poisson);
    /// ```
    #[must_use]
    pub fn arrivals(mut self, arrivals: Arrivals) -> Self {
        self.arrivals = arrivals;
        self
    }

    /// How long hits that are in flight at the end may go on, 10 s by default, 30 days at most.
    /// What is in flight after that is dropped and failed, reason `deadline`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), canihaz::Error> {
    /// use std::time::Duration;
    /// use canihaz::{Rate, Reason, Worker};
    ///
    /// let endless = async || std::future::pending::<Result<&str, String>>().await;
    /// let worker = Worker::hire("shop", endless).grace(Duration::ZERO);
    /// let tally = worker.work(Rate::per_second(20), Duration::from_millis(100)).await?;
    /// assert_eq!(tally.failures[&Reason::Deadline], 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.terms.grace = grace.min(LONGEST);
        self
    }

    /// A copy of its settings.
    ///
    /// ```
    /// use std::time::Duration;
    /// use canihaz::Worker;
    ///
    /// let worker = Worker::hire("shop", async || Ok::<_, String>("pong"));
    /// assert_eq!(worker.config().grace, Duration::from_secs(10));
    /// ```
    pub fn config(&self) -> Config {
        let Terms { overtime, when_busy, grace } = self.terms;
        let (name, gossipers) = (self.name.clone(), self.gossipers.len());
        Config { name, overtime, when_busy, arrivals: self.arrivals, grace, gossipers, busy: self.busy.get() }
    }

    /// Works at `rate` for `duration`, and gives back what was measured.
    ///
    /// It ends when the duration is over, the last hit has ended or its
    /// [grace](Self::grace) has passed, and the gossipers have heard all and
    /// stopped, which may take them as long as they like. Dropping the future
    /// drops the hits in flight; the gossipers hear of that and stop by themselves.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), canihaz::Error> {
    /// use std::time::Duration;
    /// use canihaz::{Rate, Worker};
    ///
    /// let worker = Worker::hire("shop", async || Ok::<_, String>("pong"));
    /// let tally = worker.work(Rate::per_minute(1200), Duration::from_millis(100)).await?;
    /// assert_eq!((tally.planned(), tally.ok), (2, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The [rate](Error::InvalidRate), the [duration](Error::InvalidDuration) or
    /// the [overtime](Error::InvalidOvertime) is invalid, the
    /// [target](Error::MissingTarget) missing, the worker [busy](Error::WorkerIsBusy),
    /// and it did not begin; or a [gossiper](Error::GossiperPanicked) panicked,
    /// and it stopped.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled; any flavour will do.
    pub async fn work(&self, rate: Rate, duration: Duration) -> Result<Tally, Error> {
        let stint = self.agree(rate, duration, Instant::now())?;
        on_wakeups(async |wakeups| stint.work(wakeups).await).await
    }

    /// Agrees to work from `begin` on, and is busy from now on.
    pub(crate) fn agree(&self, rate: Rate, duration: Duration, begin: Instant) -> Result<Stint<'_>, Error> {
        let worker = || self.name.clone();
        let hits = rate.hits_in(duration);
        let Some(target) = self.target.as_ref().map(Rc::clone) else {
            return Err(Error::MissingTarget { worker: worker() });
        };
        if !rate.is_valid() {
            return Err(Error::InvalidRate { rate });
        }
        if hits == 0 || duration > LONGEST {
            return Err(Error::InvalidDuration { duration, rate });
        }
        if self.terms.overtime == 0 {
            return Err(Error::InvalidOvertime { worker: worker() });
        }
        if self.busy.replace(true) {
            return Err(Error::WorkerIsBusy { worker: worker() });
        }
        let agreed = Agreed { worker: self, target, rate, begin, duration, hits, phase: 0, _busy: Busy(&self.busy) };
        let (orders, ordered) = mpsc::unbounded_channel();
        Ok(Stint { agreed, orders, ordered })
    }

    /// Another worker with the same target and settings.
    pub(crate) fn like(&self, name: String) -> Self {
        let Self { target, terms, arrivals, gossipers, .. } = self;
        let (target, gossipers) = (target.clone(), gossipers.clone());
        Self { name, target, terms: *terms, arrivals: *arrivals, gossipers, busy: Cell::new(false) }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.config()).finish()
    }
}

/// Work that a worker has agreed to do.
pub(crate) struct Stint<'a> {
    agreed: Agreed<'a>,
    orders: UnboundedSender<Order<Overheard>>,
    ordered: UnboundedReceiver<Order<Overheard>>,
}

/// What was agreed.
struct Agreed<'a> {
    worker: &'a Worker,
    target: Rc<dyn AnyTarget>,
    rate: Rate,
    begin: Instant,
    duration: Duration,
    hits: u64,
    phase: u32,
    _busy: Busy<'a>,
}

/// Ends a stint before its time; hits in flight are dropped.
pub(crate) struct Stopper(UnboundedSender<Order<Overheard>>);

/// A worker is busy while this lives.
struct Busy<'a>(&'a Cell<bool>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Stopper {
    /// Ends it; one that is over is over.
    pub(crate) fn stop(&self) {
        let _ = self.0.send(Order::Stop);
    }
}

impl Stint<'_> {
    /// The same, with its hits shifted by a part of their distance, as a fraction of 2³².
    pub(crate) fn shifted(mut self, phase: u32) -> Self {
        self.agreed.phase = phase;
        self
    }

    /// What ends it before its time.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.orders.clone())
    }

    /// Does it, on `wakeups`.
    pub(crate) async fn work(self, wakeups: &Rc<Wakeups>) -> Result<Tally, Error> {
        let stopper = self.stopper();
        let Self { agreed, ordered, .. } = self;
        let (ears, mut listeners) = agreed.listen();
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        let mut panicked = false;
        let worked = {
            let shift = agreed.shift(ears, Rc::clone(&recorder), wakeups.sleeper());
            let mut working = pin!(shift.work(ordered));
            loop {
                tokio::select! {
                    worked = &mut working => break worked,
                    Some(left) = listeners.next() => if left.is_err() {
                        panicked = true;
                        stopper.stop();
                    },
                }
            }
        };
        while let Some(left) = listeners.next().await {
            panicked |= left.is_err();
        }
        worked?;
        match panicked {
            true => Err(Error::GossiperPanicked { worker: agreed.worker.name.clone() }),
            false => Ok(recorder.borrow_mut().close(Instant::now())),
        }
    }
}

impl Agreed<'_> {
    fn listen(&self) -> (Vec<Ear>, Listeners) {
        let a_second = self.rate.hits_in(Duration::from_secs(1));
        gossiper::listen(&self.worker.gossipers, &self.worker.config(), a_second)
    }

    fn shift<A: Alarm>(&self, ears: Vec<Ear>, recorder: Rc<RefCell<Recorder>>, alarm: A) -> Shift<Overheard, A> {
        let Worker { terms, arrivals, .. } = *self.worker;
        let end = self.begin + self.duration;
        let pace = Pace { frequency: self.hits, phase: self.phase, arrivals, max_catch_up: MAX_CATCH_UP };
        let pacer = Pacer::within(pace, self.begin, self.begin + self.rate.time_of(self.hits), fastrand::u64(..));
        let target = Overheard { target: Rc::clone(&self.target), ears, cut_off: end + terms.grace };
        Shift::new(Rc::new(target), terms, pacer, end, recorder, alarm)
    }
}

/// Does `work` on wake-ups in the current runtime, which last as long as it takes.
pub(crate) async fn on_wakeups<T>(work: impl AsyncFnOnce(&Rc<Wakeups>) -> Result<T, Error>) -> Result<T, Error> {
    let wakeups = Wakeups::new(SLACK)?;
    tokio::select! {
        biased;
        kept = wakeups.keep() => match kept? {},
        worked = work(&wakeups) => worked,
    }
}

/// Any target.
trait AnyTarget {
    fn call(&self, number: u64) -> LocalBoxFuture<'_, Outcome>;
}

impl<T: Target> AnyTarget for T {
    fn call(&self, number: u64) -> LocalBoxFuture<'_, Outcome> {
        // Called only when polled: a target may panic before it has a future to give.
        Box::pin(async move { self.hit(number).await })
    }
}

/// A target with gossipers around it.
struct Overheard {
    target: Rc<dyn AnyTarget>,
    ears: Vec<Ear>,
    /// From when on hits are dropped as grace is over.
    cut_off: Instant,
}

impl Target for Overheard {
    async fn hit(&self, number: u64) -> Outcome {
        self.target.call(number).await
    }

    async fn hit_due(&self, due: Due) -> Outcome {
        if self.ears.is_empty() {
            return self.target.call(due.number).await;
        }
        let mut telling = Telling { overheard: self, due, begun: Instant::now(), told: 0 };
        for ear in &self.ears {
            ear.before(due).await;
            telling.told += 1;
        }
        telling.begun = Instant::now();
        let hit = AssertUnwindSafe(self.target.call(due.number)).catch_unwind();
        let outcome = hit.await.unwrap_or_else(|_| Outcome::panicked());
        telling.end(outcome)
    }

    fn skip(&self, due: Due) {
        for ear in &self.ears {
            ear.canceled(due);
        }
    }
}

/// A hit of which some gossipers have heard that it begins: they hear of its end, however it ends.
struct Telling<'a> {
    overheard: &'a Overheard,
    due: Due,
    begun: Instant,
    /// How many of the gossipers, from the first on, have heard.
    told: usize,
}

impl Telling<'_> {
    /// The hit has ended; what comes of it says when, as the gossipers are not the target's affair.
    fn end(mut self, outcome: Outcome) -> Outcome {
        let ended = self.tell(outcome);
        self.told = 0;
        Outcome { started: Some(ended.start), ended: Some(ended.end), ..ended.outcome }
    }

    fn tell(&self, outcome: Outcome) -> Ended {
        let ended = Ended::new(self.due, self.begun, Instant::now(), outcome);
        for ear in &self.overheard.ears[..self.told] {
            ear.after(Gossip::AfterTarget { number: self.due.number, ended: ended.clone() });
        }
        ended
    }
}

impl Drop for Telling<'_> {
    /// The hit is dropped in flight.
    fn drop(&mut self) {
        if self.told > 0 {
            let late = Instant::now() >= self.overheard.cut_off;
            let stopped = || Outcome::failed(Failure::new(Reason::Other, "stopped in flight"));
            self.tell(if late { Outcome::cut() } else { stopped() });
        }
    }
}
