//! A load test in a run: what its hits, the thread that looks after it, and who got it ready know of each other.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{anyhow, bail};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use super::intake::{Answered, Intake};
use super::rpc::Address;
use super::settings::Settings;
use crate::fault::head;
use crate::golo::Response;
use crate::unpoisoned::lock;
use crate::work::Work;

/// How many answers may wait until they are looked at: a second's of the highest rates that one program answers at.
const ANSWERS: usize = 1024;
/// How much of what an answer says is looked at, in bytes: as of a line.
const OUTPUT: usize = 64 << 10;
/// With more tags than so many an answer isn't looked at.
const TAGS: usize = 100;

/// One load test, running.
pub struct Session {
    /// The test's name.
    pub test: String,
    /// Its type's name.
    pub type_name: String,
    /// What its type says.
    pub settings: Arc<Settings>,
    /// Where it is called.
    pub address: Address,
    state: Mutex<State>,
    changed: Condvar,
    orders: watch::Sender<Order>,
    /// Those who can call it.
    callers: AtomicUsize,
    /// Calls under way.
    calls: AtomicUsize,
    answers: mpsc::Sender<Answered>,
    intake: Mutex<Intake>,
    /// How often it was started again, since that was last asked.
    restarts: AtomicU64,
    /// How many answers were not, or not wholly, looked at, since that was last asked.
    lost: AtomicU64,
}

/// How a load test is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// It hasn't answered yet.
    Starting,
    /// It answers.
    Ready,
    /// It did; now it doesn't, and why.
    Down(String),
    /// It has ended for good, and why; `None` as that was wanted.
    Over(Option<String>),
}

/// A load test was ended before it answered, as that was wanted.
#[derive(Clone, Copy, Debug, Error)]
#[error("its load test was ended")]
pub struct Ended;

/// What is wanted of the thread that looks after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// To keep it running.
    Live,
    /// To end it once no call is under way.
    Retire,
    /// To end it.
    End,
}

/// What the thread that looks after a session listens to.
pub struct Inbox {
    /// What is wanted.
    pub orders: watch::Receiver<Order>,
    /// Answers that say something.
    pub answered: mpsc::Receiver<Answered>,
}

/// One who can call it.
#[derive(Debug)]
pub struct Calling(Arc<Session>);

/// A call under way.
pub struct Call<'a>(&'a Session);

impl Session {
    /// A session of a load test that is to be started.
    pub fn new(test: &str, type_name: &str, settings: &Arc<Settings>, address: Address) -> (Arc<Self>, Inbox) {
        let (orders, ordered) = watch::channel(Order::Live);
        let (answers, answered) = mpsc::channel(ANSWERS);
        let session = Self {
            test: test.to_owned(),
            type_name: type_name.to_owned(),
            settings: Arc::clone(settings),
            address,
            state: Mutex::new(State::Starting),
            changed: Condvar::new(),
            orders,
            callers: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            answers,
            intake: Mutex::new(Intake::new(test)),
            restarts: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        (Arc::new(session), Inbox { orders: ordered, answered })
    }

    /// What is wanted of it now.
    pub fn order(&self) -> Order {
        *self.orders.borrow()
    }

    /// Wants it to end, in this way or a sooner one; it does so soon.
    pub fn order_to(&self, order: Order) {
        self.orders.send_if_modified(|now| {
            let is_more = *now == Order::Live || (*now == Order::Retire && order == Order::End);
            if is_more {
                *now = order;
            }
            is_more
        });
    }

    /// From now on it is as `state` says.
    pub fn turn(&self, state: State) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    /// Why hits need not try; `None` when it answers.
    pub fn is_down(&self) -> Option<String> {
        match &*lock(&self.state) {
            State::Ready => None,
            State::Starting => Some(String::from("its load test hasn't answered yet")),
            State::Down(why) | State::Over(Some(why)) => Some(why.clone()),
            State::Over(None) => Some(String::from("its load test was ended")),
        }
    }

    /// Whether it has ended for good.
    pub fn is_over(&self) -> bool {
        matches!(*lock(&self.state), State::Over(_))
    }

    /// Waits until it answers for the first time.
    ///
    /// # Errors
    /// It never did, and why: [`Ended`] where that was wanted.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let state = lock(&self.state);
        let state = self.changed.wait_while(state, |state| *state == State::Starting);
        match &*state.unwrap_or_else(PoisonError::into_inner) {
            State::Over(Some(why)) => Err(anyhow!("{why}")),
            State::Over(None) => Err(Ended.into()),
            _ => Ok(()),
        }
    }

    /// Waits until it has ended for good, at most until `until`.
    ///
    /// # Errors
    /// It hasn't.
    pub fn wait_over(&self, until: Instant) -> anyhow::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, left, |state| !matches!(state, State::Over(_)));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Over(_)) {
            bail!("its load test doesn't end");
        }
        Ok(())
    }

    /// Whether nobody can call it any more.
    pub fn is_left(&self) -> bool {
        self.callers.load(Ordering::Relaxed) == 0
    }

    /// Whether no call is under way.
    pub fn is_idle(&self) -> bool {
        self.calls.load(Ordering::Relaxed) == 0
    }

    /// A call was answered with more than that it ended.
    pub fn answered(&self, mut answered: Answered) {
        let Response { output, tags, .. } = &mut answered.response;
        let is_cut = output.len() > OUTPUT;
        output.truncate(head(output, OUTPUT).len());
        output.shrink_to_fit();
        let tagged: usize = tags.iter().map(|tag| tag.key.len() + tag.value.len()).sum();
        let is_lost = tagged > OUTPUT || tags.len() > TAGS || self.answers.try_send(answered).is_err();
        self.lost.fetch_add(u64::from(is_cut || is_lost), Ordering::Relaxed);
    }

    /// What it has printed.
    pub fn intake(&self) -> MutexGuard<'_, Intake> {
        lock(&self.intake)
    }

    /// It is started again.
    pub fn restarts(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was, and how many answers were not, or not wholly, looked at, as work, since this was last asked.
    pub fn take_counts(&self) -> Work {
        let restarts = self.restarts.swap(0, Ordering::Relaxed);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let lost = (lost > 0).then_some(("unread_answers", lost));
        [("restarts", restarts)].into_iter().chain(lost).collect()
    }
}

impl Calling {
    /// Somebody can call `session` until this is dropped.
    pub fn new(session: &Arc<Session>) -> Self {
        session.callers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(session))
    }

    /// A call begins; it is under way until what is given back is dropped.
    pub fn begin(&self) -> Call<'_> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Call(&self.0)
    }

    /// Who is called.
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { test, address, state, .. } = self;
        f.debug_struct("Session").field("test", test).field("address", address).field("state", state).finish()
    }
}
