//! THE minute. This file is the program; everything else is what it speaks of.
//!
//! ```text
//! stop file? → settings → slot (1 of 3) → minute claimed → plan → hits … :59.9 → summaries → destinations
//! ```
//!
//! The main thread decides and waits for nothing but events. The engine hits,
//! the watch notices what people do, the keeper writes to disk, a courier a
//! destination delivers: each on a thread of its own, telling the main thread
//! what happened.

mod ready;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::TimeDelta;

use crate::courier::Courier;
use crate::engine::{Assignment, Engine, Interval, Limits, RATE_OF_A_THREAD, Window};
use crate::fault::Fault;
use crate::keeper::{Keeper, Kept};
use crate::kinds::loadtest::{Ended, Keep};
use crate::kinds::{Backstage, MAX_GRACE, Prepared, Type};
use crate::label::Label;
use crate::marks::Marks;
use crate::minute::{Claim, Clock, Minute};
use crate::pacer::{Pace, phase, seed};
use crate::places::Places;
use crate::plan::{Plan, Reader, Test};
use crate::ranges::Ranges;
use crate::reported::Reported;
use crate::settings::Settings;
use crate::spool::Spool;
use crate::stop::Stop;
use crate::summary::{Measured, RUNNER, Summary, Upkeep};
use crate::watch::{self, Notice};

/// When, after the minute's grace, a last interval that is still not on disk is given up.
const KEPT: Duration = Duration::from_secs(2);
/// When a file that a writer may be in the middle of is read again.
const SETTLED: Duration = Duration::from_millis(1050);
/// What threads get to say that they have ended, once their time is up.
const FAREWELL: Duration = Duration::from_millis(200);

/// How a run ends; the numbers are those of sysexits.h.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Done, stopped, frozen, no slot, or nothing to do.
    Done = 0,
    /// What was asked for isn't there; only `canihazctl`.
    Missing = 1,
    /// Arguments were given.
    Usage = 64,
    /// State can't be written, or can't be trusted.
    State = 74,
    /// The configuration is unusable as a whole.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What happens while a run lives.
enum Event {
    /// Somebody did something to it.
    Notice(Notice),
    /// A test can be hit, or can't.
    Prepared(Box<Assignment>, anyhow::Result<Prepared>),
    /// An interval of hits is over.
    Closed(Interval),
    /// It is on disk, or can't be.
    Kept(Kept),
    /// A courier has made its last round.
    Ended(String),
}

/// Runs one minute, from its claim to the last summary.
pub fn run(places: &Places) -> Exit {
    let ready = match ready::prepare(places) {
        Ok(ready) => ready,
        Err(exit) => return exit,
    };
    let (events, inbox) = mpsc::channel();
    let run = match Run::begin(places, &ready, events) {
        Ok(run) => run,
        Err(error) => {
            log::error!("the run cannot begin: {error}; nothing runs");
            return Exit::State;
        }
    };
    if ready.minute.waits
        && let Some(stop) = wait_for(ready.minute.begin, &inbox)
    {
        log::info!("stopped before its minute began: {stop}");
        ready.claim.into_iter().for_each(Claim::withdraw);
        return Exit::Done;
    }
    run.live(&inbox)
}

/// Waits until the minute begins, or for what stops it.
fn wait_for(begin: Instant, inbox: &Receiver<Event>) -> Option<Stop> {
    loop {
        match inbox.recv_timeout(begin.saturating_duration_since(Instant::now())) {
            Ok(Event::Notice(Notice::Stop(stop))) => return Some(stop),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// One run in its minute.
struct Run {
    places: Places,
    settings: Settings,
    host: String,
    clock: Clock,
    minute: Minute,
    copy: u32,
    engine: Engine,
    backstage: Arc<Backstage>,
    keeper: Keeper,
    couriers: BTreeMap<String, Courier>,
    events: Sender<Event>,
    /// Every test that ran in this minute.
    tests: BTreeMap<String, Known>,
    /// The tests that are being got ready, and when the plan was made that they are got ready for.
    preparing: BTreeMap<String, Instant>,
    reported: Reported,
    /// What is wrong with canihaz.toml.
    settings_faults: Vec<Fault>,
    config_errors: u64,
    lines: usize,
    writable: bool,
    /// When the files are to be read again although nothing changed.
    again: Option<Instant>,
}

/// A test, or a part of one, as it runs, or ran until it was removed.
struct Known {
    /// The test's own name.
    test: String,
    file: PathBuf,
    of_type: Type,
    frequency: u64,
    destinations: Vec<String>,
    active: bool,
}

impl Run {
    /// Starts the threads; nothing is hit yet.
    fn begin(places: &Places, ready: &ready::Ready, events: Sender<Event>) -> std::io::Result<Self> {
        let (minute, settings) = (ready.minute, ready.settings.clone());
        raise_open_files();
        let slack = settings.pacing_slack;
        let window = Window { begin: minute.begin, end: minute.end(), interval: settings.interval, slack };
        let closed = events.clone();
        let limits = Limits { threads: settings.threads(), rate_of_a_thread: RATE_OF_A_THREAD };
        let engine = Engine::start(window, limits, move |interval| _ = closed.send(Event::Closed(interval)))?;
        let copy = ready.claim.as_ref().map_or(1, |claim| claim.copy);
        let run_name = format!("{}.{copy}", minute.name());
        let keep = Keep { days: settings.archive_days, bytes: settings.archive_max };
        let key = settings.minisign_key.clone();
        let backstage = Arc::new(Backstage::new(&places.state, &run_name, &settings.host(), key, keep, minute.end()));
        let (noticed, stopper, behind) = (events.clone(), engine.clone(), Arc::clone(&backstage));
        watch::start(&places.etc, move |notice| {
            if let Notice::Stop(_) = notice {
                // Straight to the engine, and first: the main thread may be reading files.
                stopper.stop();
                behind.stop();
            }
            let _ = noticed.send(Event::Notice(notice));
        })?;
        let (kept, behind) = (events.clone(), Arc::clone(&backstage));
        let mut is_told = false;
        let before = move |label: &Label, summaries: &mut Vec<Summary>| {
            let collected = behind.collect(label, summaries);
            file(&behind, label, summaries, &mut is_told);
            collected
        };
        let keeper =
            Keeper::start(&places.state, &settings, before, move |interval| _ = kept.send(Event::Kept(interval)))?;
        let mut reported = Reported::load(&places.state);
        if std::io::stderr().is_terminal() {
            reported.forget();
        }
        Ok(Self {
            places: places.clone(),
            host: settings.host(),
            settings,
            clock: ready.clock,
            minute,
            copy,
            engine,
            backstage,
            keeper,
            couriers: BTreeMap::new(),
            events,
            tests: BTreeMap::new(),
            preparing: BTreeMap::new(),
            reported,
            settings_faults: ready.faults.clone(),
            config_errors: 0,
            lines: 0,
            writable: ready.writable,
            again: None,
        })
    }

    /// Lives until the minute's summaries are delivered, or the time to send is over.
    fn live(mut self, inbox: &Receiver<Event>) -> Exit {
        self.read_plan();
        let latest = self.minute.end() + MAX_GRACE + KEPT;
        let mut last_hit = None;
        let kept = loop {
            let wake = self.again.map_or(latest, |again| again.min(latest));
            match inbox.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Event::Notice(Notice::Changed)) => self.read_plan(),
                Ok(Event::Notice(Notice::Stop(stop))) => log::info!("stopped: {stop}"),
                Ok(Event::Prepared(assignment, prepared)) => self.hit(*assignment, prepared),
                Ok(Event::Closed(interval)) => {
                    if interval.last {
                        last_hit = Some(Instant::now());
                    }
                    self.keep(interval);
                }
                Ok(Event::Kept(kept)) if kept.label.last => break Some(kept),
                Ok(Event::Kept(kept)) => {
                    self.hand_on(kept);
                    for courier in self.couriers.values() {
                        courier.round(Instant::now() + self.settings.send_for);
                    }
                }
                Ok(Event::Ended(_)) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < latest => self.read_plan(),
                Err(_) => break None,
            }
        };
        match kept {
            Some(kept) => self.hand_on(kept),
            None => log::error!("the last interval is not on disk in time"),
        }
        self.tell_unready();
        self.deliver(inbox, last_hit.unwrap_or_else(Instant::now) + self.settings.send_for);
        match (self.writable, self.lines > 0 && self.tests.is_empty()) {
            (_, true) => Exit::Config,
            (false, _) => Exit::State,
            (true, false) => Exit::Done,
        }
    }

    /// Reads the files and has the engine do what they say now.
    fn read_plan(&mut self) {
        self.again = None;
        if Instant::now() >= self.minute.end() {
            return;
        }
        let running = self.tests.values().filter(|known| known.active);
        let running = running.map(|known| (known.test.clone(), known.file.clone())).collect();
        let interval = self.settings.interval;
        let ports = self.tests.values().filter(|known| known.active);
        let ports = ports.filter_map(|known| Some((known.of_type.kind.port()?.clone(), known.test.clone()))).collect();
        let reader =
            Reader { etc: &self.places.etc, now: SystemTime::now(), interval, running: &running, ports: &ports };
        let plan = Plan::read(reader, &Spool::new(&self.places.state).destinations());
        let made = Instant::now();
        if plan.unreadable {
            log::info!("the files cannot be read at the moment, so what they said before still stands");
            self.again = Some(made + SETTLED);
            return;
        }
        let wanted = plan.tests.values().flat_map(|test| test.parts().map(move |part| (test, part)));
        let wanted: BTreeMap<_, _> =
            wanted.map(|(test, (name, of_type, rate))| (name, (test, of_type, rate))).collect();
        for (name, known) in &mut self.tests {
            if known.active && !wanted.contains_key(name) {
                known.active = false;
                self.engine.withdraw(name);
                self.backstage.settle(name, &Prepared::Nothing);
            }
        }
        for (name, (test, of_type, frequency)) in wanted {
            self.assign(name, test, of_type, frequency, made);
        }
        for (name, post) in plan.posts {
            match self.couriers.get_mut(&name) {
                Some(courier) => courier.change(post),
                None => self.engage(name, post),
            }
        }
        self.again = plan.unsettled.then(|| made + SETTLED);
        self.lines = plan.lines;
        let faults = [self.settings_faults.as_slice(), &plan.faults].concat();
        self.config_errors = faults.len() as u64;
        for news in self.reported.news(&faults) {
            log::warn!("{news}");
        }
    }

    /// Has a test, or a part of one, run, unless it runs just so already.
    fn assign(&mut self, name: String, test: &Test, of_type: &Type, frequency: u64, made: Instant) {
        let known = Known {
            test: test.line.name.clone(),
            file: test.file.clone(),
            of_type: of_type.clone(),
            frequency,
            destinations: test.destinations(),
            active: true,
        };
        self.backstage.collect_for(&test.line.name, &test.collectors);
        let before = self.tests.insert(name.clone(), known);
        if before.as_ref().is_some_and(|b| b.active && b.frequency == frequency && b.of_type == *of_type) {
            return;
        }
        // What it is being got ready for is out of date.
        self.preparing.remove(&name);
        let pace = Pace {
            frequency,
            phase: phase(&self.host, &name),
            arrivals: of_type.arrivals,
            max_catch_up: self.settings.max_catch_up,
        };
        let seed = seed(&self.host, &name, self.minute.start.timestamp());
        if before.is_some_and(|before| before.active && before.of_type != *of_type) && of_type.kind.port().is_some() {
            // What has the port is ended before what is to have it begins: its hits wait.
            self.engine.withdraw(&name);
        }
        if Backstage::is_for(of_type) {
            self.engine.expect(&name, frequency);
        }
        let assignment =
            Assignment { of_type: of_type.clone(), prepared: Prepared::Nothing, test: name, pace, seed, made };
        match Backstage::is_for(of_type) {
            true => self.prepare(&test.line.name, assignment),
            false => self.hit_now(&assignment),
        }
    }

    /// Gets a test ready that can't be hit at once. What runs already goes on meanwhile as it did.
    fn prepare(&mut self, test: &str, assignment: Assignment) {
        let (events, backstage, test) = (self.events.clone(), Arc::clone(&self.backstage), test.to_owned());
        let (name, made, frequency) = (assignment.test.clone(), assignment.made, assignment.pace.frequency);
        let work = move || {
            let prepared = backstage.prepare(&test, &assignment.of_type, frequency);
            let _ = events.send(Event::Prepared(Box::new(assignment), prepared));
        };
        match thread::Builder::new().name("backstage".into()).spawn(work) {
            Ok(_) => _ = self.preparing.insert(name, made),
            Err(error) => {
                log::error!("test {name} cannot run: {error}; its hits are missed");
                self.engine.give_up(&name, frequency);
            }
        }
    }

    /// Hits a test that is ready, unless something else is wanted of it by now.
    fn hit(&mut self, assignment: Assignment, prepared: anyhow::Result<Prepared>) {
        let name = &assignment.test;
        if self.preparing.get(name) != Some(&assignment.made) {
            return;
        }
        let is_wanted = self.tests.get(name).is_some_and(|known| known.active) && !self.backstage.is_stopped();
        let is_ended = prepared.as_ref().is_err_and(anyhow::Error::is::<Ended>);
        if (prepared.is_ok() || is_ended) && Instant::now() >= self.minute.end() {
            // Too late: it is told with those that still aren't ready.
            return;
        }
        self.preparing.remove(name);
        match prepared {
            Err(_) if is_ended && is_wanted => {
                // By what an older change began, later.
                let test = self.tests.get(name).map(|known| known.test.clone());
                test.iter().for_each(|test| self.prepare(test, assignment.clone()));
            }
            _ if !is_wanted => self.backstage.settle(name, &Prepared::Nothing),
            Ok(prepared) => self.hit_now(&Assignment { prepared, made: Instant::now(), ..assignment }),
            Err(error) => {
                log::error!("test {name} cannot run: {error:#}; its hits are missed");
                self.engine.give_up(name, assignment.pace.frequency);
                self.backstage.settle(name, &Prepared::Nothing);
            }
        }
    }

    /// Has a test hit as it is ready now, and in no other way.
    fn hit_now(&self, assignment: &Assignment) {
        self.engine.run(assignment);
        self.backstage.settle(&assignment.test, &assignment.prepared);
    }

    /// Names the tests that were to be hit, and weren't ready before the minute was over.
    fn tell_unready(&self) {
        let unready = self.preparing.keys().filter_map(|name| Some((name, self.tests.get(name)?)));
        for (name, known) in unready.filter(|(_, known)| known.active && !self.backstage.is_stopped()) {
            let what = Backstage::waits_for(&known.of_type);
            log::error!("test {name} is not ready at the minute's end: {what}; hits that wait for that are missed");
        }
    }

    /// Starts a courier, and has it deliver what earlier runs have left.
    fn engage(&mut self, name: String, post: crate::destinations::Post) {
        let (events, ended) = (self.events.clone(), name.clone());
        let run = format!("{}.{}", self.minute.name(), self.copy);
        match Courier::start(post, &self.places, &run, move || _ = events.send(Event::Ended(ended))) {
            Ok(courier) => {
                courier.round(Instant::now() + self.settings.send_for);
                self.couriers.insert(name, courier);
            }
            Err(error) => log::error!("nothing is sent to {name}: {error}"),
        }
    }

    /// Makes summaries of an interval and has them written.
    fn keep(&mut self, interval: Interval) {
        let Interval { index, last, mut tallies } = interval;
        if last {
            // What they say until they are ended is in it, whoever was still hit.
            let theirs = self.tests.iter().filter(|(_, known)| Backstage::adds_to(&known.of_type));
            theirs.for_each(|(test, _)| _ = tallies.entry(test.clone()).or_default());
        }
        let length = self.settings.interval;
        let from = length.as_secs() as u32 * index;
        let label =
            Label { minute: self.minute.name(), copy: self.copy, from, to: from + length.as_secs() as u32, last };
        let summary = |test: String, type_name: &str, destinations: Vec<String>, measured| Summary {
            test,
            type_name: type_name.to_owned(),
            host: self.host.clone(),
            copy: self.copy,
            start: self.minute.start + TimeDelta::seconds(from.into()),
            seconds: length.as_secs_f64(),
            last,
            destinations,
            measured,
        };
        let mut summaries: Vec<Summary> = tallies
            .into_iter()
            .filter_map(|(test, tally)| {
                let known = self.tests.get(&test)?;
                let measured = Measured::Test(Box::new(tally));
                Some(summary(test, &known.of_type.name, known.destinations.clone(), measured))
            })
            .collect();
        if last {
            let destinations: BTreeSet<&String> = self.tests.values().flat_map(|known| &known.destinations).collect();
            let destinations: Vec<String> = destinations.into_iter().cloned().collect();
            let upkeep = self.upkeep(!destinations.is_empty());
            summaries.push(summary(RUNNER.to_owned(), "", destinations, Measured::Runner(upkeep)));
        }
        if !summaries.is_empty() {
            self.keeper.keep(label, summaries);
        }
    }

    /// What the runner says of itself; the runs that were skipped only when there is somebody to hear it.
    fn upkeep(&self, is_heard: bool) -> Upkeep {
        let skipped = if is_heard { Marks::of_skipped_runs(&self.places.state).take() } else { Ok(0) };
        Upkeep {
            config_errors: self.config_errors,
            runs_skipped: skipped.unwrap_or(0),
            spool_dropped: 0,
            last_run: self.minute.start.timestamp(),
        }
    }

    /// Gives what couldn't be spooled to the couriers, and says once that it couldn't.
    fn hand_on(&mut self, kept: Kept) {
        if let Some(error) = kept.trouble
            && std::mem::take(&mut self.writable)
        {
            ready::unwritable(&self.places, &error);
        }
        for (collector, lines) in kept.unspooled {
            if let Some(courier) = self.couriers.get(&collector) {
                courier.carry_outputs(kept.label.clone(), lines);
            }
        }
        if !kept.spooled {
            let summaries = Arc::new(kept.summaries);
            for courier in self.couriers.values() {
                courier.carry(kept.label.clone(), Arc::clone(&summaries));
            }
        }
    }

    /// Sends what there is to send, until `until` at the latest.
    fn deliver(&mut self, inbox: &Receiver<Event>, until: Instant) {
        for courier in self.couriers.values() {
            courier.last_round(until);
        }
        let mut out: BTreeSet<String> = self.couriers.keys().cloned().collect();
        while !out.is_empty() {
            match inbox.recv_timeout((until + FAREWELL).saturating_duration_since(Instant::now())) {
                Ok(Event::Ended(name)) => _ = out.remove(&name),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        for name in out {
            log::warn!("destination {name}: no answer in time; what it did not take is kept");
        }
        log::debug!("the minute ended at {}", self.clock.now().format("%T%.3f"));
    }
}

/// Files the work that is in an interval, which is about to be told; says once that it can't be.
fn file(backstage: &Backstage, label: &Label, summaries: &[Summary], is_told: &mut bool) {
    let mut done: BTreeMap<u64, Ranges> = BTreeMap::new();
    for summary in summaries {
        let Measured::Test(tally) = &summary.measured else { continue };
        for (loan, ranges) in tally.work.iter().flat_map(|work| &work.done) {
            done.entry(*loan).or_default().merge(ranges);
        }
    }
    let filed = if label.last { backstage.close(&done) } else { backstage.file(&done) };
    if let Err(error) = filed
        && !std::mem::replace(is_told, true)
    {
        log::error!("what was done can't be filed ({error}): what can't be in this minute is done, and counted, again");
    }
}

/// Lets `overtime` hits have a socket each, as far as the system allows.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        log::info!("no more than {soft} files can be open: {error}");
    }
}
