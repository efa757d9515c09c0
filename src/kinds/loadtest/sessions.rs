//! All load tests of a run.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use chrono::Utc;

use super::binary::PublicKey;
use super::journeys::{self, Journey, SLOWEST};
use super::place::Places;
use super::session::{Order, Session};
use super::settings::Settings;
use super::supervisor;
use crate::label::Label;
use crate::spool::Collected;
use crate::summary::{Measured, Summary};
use crate::unpoisoned::lock;

/// How long the end of load tests is waited for: what they are given to end by themselves, and to be killed.
const ENDS: Duration = Duration::from_millis(1500);

/// The load tests of one run.
#[derive(Debug)]
pub struct Sessions {
    house: Arc<House>,
    /// All that there were; the last one of a test is the one that is run now.
    all: Mutex<Vec<Arc<Session>>>,
    next: AtomicU32,
    /// By test, the collectors that its requests are for.
    collectors: Mutex<BTreeMap<String, Vec<String>>>,
    /// What killed runs have left is removed.
    cleared: Once,
    is_stopped: AtomicBool,
}

/// What is kept of journeys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keep {
    /// For how many days.
    pub days: u32,
    /// How much, in bytes.
    pub bytes: u64,
}

/// What all load tests of a run have in common.
#[derive(Debug)]
pub struct House {
    /// The state folder.
    pub state: PathBuf,
    /// The run's name.
    run: String,
    keep: Keep,
    /// Where they listen.
    pub places: Places,
    /// When no call begins any more.
    pub end: Instant,
    /// Whose signature programs must have; `None` where they need none.
    pub key: Option<PublicKey>,
}

impl Sessions {
    /// None yet, for the run `run`, which keeps in the folder `state` what there is to be kept, and begins no hit after
    /// `end`.
    pub fn new(state: &Path, run: &str, key: Option<PublicKey>, keep: Keep, end: Instant) -> Self {
        let places = Places::new(state, run);
        let house = House { state: state.to_owned(), run: run.to_owned(), keep, places, end, key };
        let (all, next) = (Mutex::default(), AtomicU32::new(1));
        Self {
            house: Arc::new(house),
            all,
            next,
            collectors: Mutex::default(),
            cleared: Once::new(),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Starts the load test of a test, and waits until it answers; one that runs so already is that.
    ///
    /// # Errors
    /// It can't be started, or doesn't answer; why.
    pub fn start(&self, test: &str, type_name: &str, settings: &Arc<Settings>) -> anyhow::Result<Arc<Session>> {
        let session = self.session(test, type_name, settings)?;
        session.wait_ready()?;
        Ok(session)
    }

    fn session(&self, test: &str, type_name: &str, settings: &Arc<Settings>) -> anyhow::Result<Arc<Session>> {
        // Before others have to wait for the lock, as it may take a disk's time.
        self.cleared.call_once(|| self.house.places.clear());
        let mut all = lock(&self.all);
        let lives = |session: &&Arc<Session>| session.order() == Order::Live && !session.is_over();
        let is_same = |session: &&Arc<Session>| session.type_name == type_name && session.settings == *settings;
        if let Some(session) = latest(&all, test).filter(lives).filter(is_same) {
            return Ok(Arc::clone(session));
        }
        // Two can't have one port, and of one test the new one is to have it.
        for session in all.iter().filter(|session| session.test == test && settings.rpc_addr.is_some()) {
            session.order_to(Order::Retire);
        }
        let address = match &settings.rpc_addr {
            Some(address) => address.clone(),
            None => self.house.places.socket(self.next.fetch_add(1, Ordering::Relaxed)),
        };
        let (session, inbox) = Session::new(test, type_name, settings, address);
        session.intake().wants_outputs(lock(&self.collectors).contains_key(test));
        if self.is_stopped.load(Ordering::Relaxed) {
            session.order_to(Order::End);
        }
        supervisor::start(&session, inbox, Arc::clone(&self.house))?;
        all.push(Arc::clone(&session));
        Ok(session)
    }

    /// From now on a test is hit by `session` alone, or by none: its others are ended once their hits are.
    pub fn settle(&self, test: &str, session: Option<&Arc<Session>>) {
        let all = lock(&self.all);
        let others = all.iter().filter(|other| session.is_none_or(|session| !Arc::ptr_eq(other, session)));
        others.filter(|other| other.test == test).for_each(|other| other.order_to(Order::Retire));
    }

    /// From now on the requests of a test are for these collectors; without one they aren't kept.
    pub fn collect_for(&self, test: &str, collectors: &[String]) {
        // First, so that a session that is made meanwhile knows.
        match collectors {
            [] => _ = lock(&self.collectors).remove(test),
            some => _ = lock(&self.collectors).insert(test.to_owned(), some.to_vec()),
        }
        let all = lock(&self.all).clone();
        let of_test = all.iter().filter(|session| session.test == test);
        of_test.for_each(|session| session.intake().wants_outputs(!collectors.is_empty()));
    }

    /// Ends all of them, and starts no other.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        lock(&self.all).iter().for_each(|session| session.order_to(Order::End));
    }

    /// Adds what load tests have said since the last time to the summaries of their tests; gives back the requests that are
    /// for collectors. With the last interval they are ended, and what they say until then is in it.
    pub fn collect(&self, label: &Label, summaries: &mut [Summary]) -> Vec<Collected> {
        if label.last {
            self.end();
        }
        let mut collected = Vec::new();
        for session in lock(&self.all).iter() {
            let summary = summaries.iter_mut().find(|summary| summary.test == session.test);
            let Some(Measured::Test(tally)) = summary.map(|summary| &mut summary.measured) else { continue };
            let taken = session.intake().take();
            if let Some(routes) = taken.routes {
                tally.routes.get_or_insert_default().merge(&routes);
            }
            let work = tally.work.get_or_insert_default();
            work.merge(&taken.work);
            work.merge(&session.take_counts());
            if let Some(collectors) = lock(&self.collectors).get(&session.test).filter(|_| !taken.outputs.is_empty()) {
                collected.push(Collected { collectors: collectors.clone(), outputs: taken.outputs });
            }
        }
        if label.last {
            self.keep_journeys();
        }
        collected
    }

    /// Keeps the slowest journeys of the minute.
    fn keep_journeys(&self) {
        let House { state, run, keep, .. } = &*self.house;
        let mut slowest: BTreeMap<String, Vec<Journey>> = BTreeMap::new();
        for session in lock(&self.all).iter() {
            slowest.entry(session.test.clone()).or_default().append(&mut session.intake().finish());
        }
        for (test, mut journeys) in slowest {
            journeys.sort_by_key(|journey| Reverse(journey.duration));
            journeys.truncate(SLOWEST);
            if let Err(error) = journeys::write(state, run, &test, &journeys) {
                log::error!("test {test}: its slowest journeys can't be kept: {error}");
            }
        }
        journeys::prune(state, Utc::now().date_naive(), keep.days, keep.bytes);
    }

    fn end(&self) {
        self.stop();
        let until = Instant::now() + ENDS;
        let all = lock(&self.all).clone();
        for session in &all {
            if session.wait_over(until).is_err() {
                // With this program it ends all the same.
                log::warn!("test {}: its load test isn't known to have ended", session.test);
            }
        }
        if !all.is_empty() {
            self.house.places.clear();
        }
    }
}

/// The session of a test that is run now.
fn latest<'a>(all: &'a [Arc<Session>], test: &str) -> Option<&'a Arc<Session>> {
    all.iter().rfind(|session| session.test == test)
}
