//! Brings one destination what waits for it, on a thread of its own.
//!
//! A courier makes a round when it is told to: it takes the destination's lock,
//! reads what is in the spool, merges intervals to the length the destination
//! wants, and sends. What is taken is removed; what isn't stays for the next
//! round or the next run. A destination that hangs holds up its courier alone.
//! A collector gets requests as they were, and nothing is merged.

mod collect;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use chrono::{TimeDelta, Utc};

use crate::destinations::{Occasion, Post, Refusal, Takes};
use crate::label::{Label, complete};
use crate::minute;
use crate::places::Places;
use crate::spool::{Outputs, Spool};
use crate::summary::{Measured, Summary};
use crate::trust;

/// The most summaries that are sent in one batch, unless one (merged) interval has more: each takes some 100 KiB of
/// memory, and as much again for each of its routes.
const BATCH: usize = 32;

/// What a courier is told.
enum Errand {
    /// From now on this is the destination.
    Change(Post),
    /// An interval that could not be spooled.
    Carry(Label, Arc<Vec<Summary>>),
    /// The requests of an interval, for a collector, that could not be spooled.
    CarryOutputs(Label, Vec<u8>),
    /// Deliver what there is, until then.
    Round(Instant),
    /// Deliver what there is, until then, and end.
    Last(Instant),
}

/// The way to a courier's thread.
#[derive(Debug)]
pub struct Courier {
    errands: Sender<Errand>,
    /// The text its destination was made from.
    text: String,
}

/// The courier on its thread.
struct Round {
    post: Post,
    spool: Spool,
    places: Places,
    /// The run it belongs to, as its claim is named.
    run: String,
    carried: BTreeMap<Label, Arc<Vec<Summary>>>,
    carried_outputs: BTreeMap<Label, Outputs>,
    /// How many requests a collector gets at once.
    size: collect::Size,
    trouble: Option<String>,
}

/// Why a round went no further.
enum End {
    /// There is nothing more that can be sent.
    Done,
    /// The destination refuses, or time is up.
    Halt,
}

impl Courier {
    /// Starts a courier for `post`, in the run that is named `run`; `ended` is called after the last round.
    ///
    /// # Errors
    /// When no thread is left.
    pub fn start(
        post: Post,
        places: &Places,
        run: &str,
        ended: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (errands, receiver) = mpsc::channel();
        let text = post.text.clone();
        let mut round = Round {
            spool: Spool::new(&places.state),
            places: places.clone(),
            run: run.to_owned(),
            post,
            carried: BTreeMap::new(),
            carried_outputs: BTreeMap::new(),
            size: collect::Size::default(),
            trouble: None,
        };
        thread::Builder::new().name("courier".into()).spawn(move || {
            round.serve(&receiver);
            ended();
        })?;
        Ok(Self { errands, text })
    }

    /// Goes on with `post`, if it is another than before.
    pub fn change(&mut self, post: Post) {
        if post.text != self.text {
            self.text.clone_from(&post.text);
            self.tell(Errand::Change(post));
        }
    }

    /// Hands over an interval that could not be spooled.
    pub fn carry(&self, label: Label, summaries: Arc<Vec<Summary>>) {
        self.tell(Errand::Carry(label, summaries));
    }

    /// Hands over the requests of an interval, as lines, that could not be spooled.
    pub fn carry_outputs(&self, label: Label, lines: Vec<u8>) {
        self.tell(Errand::CarryOutputs(label, lines));
    }

    /// Has what there is delivered, until `until` at the latest.
    pub fn round(&self, until: Instant) {
        self.tell(Errand::Round(until));
    }

    /// The same, for the last time.
    pub fn last_round(&self, until: Instant) {
        self.tell(Errand::Last(until));
    }

    fn tell(&self, errand: Errand) {
        // The thread only ends when it was told to.
        let _ = self.errands.send(errand);
    }
}

impl Round {
    fn serve(&mut self, errands: &Receiver<Errand>) {
        while let Ok(errand) = errands.recv() {
            match errand {
                Errand::Change(post) => (self.post, self.size) = (post, collect::Size::default()),
                // Nobody would ever take them.
                Errand::Carry(..) if self.post.destination.takes() == Takes::Outputs => {}
                Errand::Carry(label, summaries) => _ = self.carried.insert(label, summaries),
                Errand::CarryOutputs(label, lines) => self.carry_outputs(label, lines),
                Errand::Round(until) => self.deliver(until),
                Errand::Last(until) => {
                    self.deliver(until);
                    if let Some(trouble) = &self.trouble {
                        log::warn!("destination {}: {trouble}; what it did not take is kept", self.post.name);
                    }
                    return;
                }
            }
        }
    }

    /// Delivers until nothing is left, also of what came while the lock was being let go.
    fn deliver(&mut self, until: Instant) {
        loop {
            let lock = match self.spool.lock(&self.post.name) {
                Ok(Some(lock)) => Some(lock),
                // Our own lines are nobody else's to show; the rest is shared with other runs.
                Ok(None) if self.post.destination.is_personal() => None,
                Ok(None) => return,
                Err(_) if !self.carried.is_empty() || !self.carried_outputs.is_empty() => None,
                Err(error) => return self.trouble = Some(format!("its spool cannot be used ({error})")),
            };
            let is_locked = lock.is_some();
            let end = match self.post.destination.takes() {
                Takes::Summaries => self.deliver_all(is_locked, until),
                Takes::Outputs => self.collect_all(is_locked, until),
            };
            drop(lock);
            // Who wanted the lock meanwhile has left its files to us.
            if matches!(end, End::Halt) || !is_locked || self.is_idle() {
                return;
            }
        }
    }

    /// Whether nothing can be sent at the moment.
    fn is_idle(&self) -> bool {
        match self.post.destination.takes() {
            Takes::Summaries => self.ready(true).is_empty(),
            Takes::Outputs => self.collectable(true).is_empty(),
        }
    }

    fn deliver_all(&mut self, is_locked: bool, until: Instant) -> End {
        // What can't be read at the moment holds up nothing but itself.
        let (mut unread, mut trouble) = (BTreeSet::new(), None);
        loop {
            let mut ready = self.ready(is_locked);
            ready.retain(|group| !unread.contains(group));
            if ready.is_empty() {
                return trouble.map_or(End::Done, |trouble| self.halt(trouble));
            }
            let (mut groups, mut summaries) = (Vec::new(), Vec::new());
            for (index, group) in ready.iter().enumerate() {
                match self.merged(group) {
                    Ok(merged) => {
                        summaries.extend(merged);
                        groups.push(group.clone());
                    }
                    Err(unreadable) => {
                        trouble = Some(unreadable);
                        unread.insert(group.clone());
                    }
                }
                let is_enough = summaries.iter().map(weight).sum::<usize>() >= BATCH || index + 1 == ready.len();
                if is_enough && !groups.is_empty() {
                    if let End::Halt = self.deliver_batch(&groups, &summaries, until) {
                        return End::Halt;
                    }
                    (groups, summaries) = (Vec::new(), Vec::new());
                }
            }
        }
    }

    /// The groups of intervals that are complete, the oldest first; without the lock only those that nobody else
    /// would deliver.
    fn ready(&self, is_locked: bool) -> Vec<Vec<Label>> {
        let mut labels = self.spool.waiting(&self.post.name);
        labels.extend(self.carried.keys().cloned());
        labels.sort();
        labels.dedup();
        let mut runs: BTreeMap<String, Vec<Label>> = BTreeMap::new();
        for label in labels {
            runs.entry(label.run()).or_default().push(label);
        }
        let mut ready = Vec::new();
        for (run, labels) in runs {
            let is_open = run == self.run || minute::is_alive(&self.places.state, &run);
            let is_theirs = !is_locked || (is_open && self.post.destination.is_personal());
            if run != self.run && is_theirs {
                continue;
            }
            ready.extend(complete(labels, self.post.every, is_open));
        }
        ready
    }

    fn deliver_batch(&mut self, groups: &[Vec<Label>], summaries: &[Summary], until: Instant) -> End {
        let occasion = Occasion { now: Utc::now(), until };
        if occasion.is_over() {
            self.trouble.get_or_insert_with(|| String::from("time to send was over"));
            return End::Halt;
        }
        let sent = if summaries.is_empty() { Ok(()) } else { self.post.destination.deliver(summaries, occasion) };
        match sent {
            Ok(()) => self.take(groups),
            Err(Refusal::Retry(error)) => self.halt(format!("{error:#}")),
            Err(Refusal::Final(_)) if groups.len() > 1 => {
                for group in groups {
                    let summaries = match self.merged(group) {
                        Ok(summaries) => summaries,
                        Err(trouble) => return self.halt(trouble),
                    };
                    if let End::Halt = self.deliver_batch(std::slice::from_ref(group), &summaries, until) {
                        return End::Halt;
                    }
                }
                End::Done
            }
            Err(Refusal::Final(error)) => {
                for label in groups.iter().flatten() {
                    self.set_aside(label, &format!("{error:#}"));
                }
                End::Done
            }
        }
    }

    /// Removes what was taken.
    fn take(&mut self, groups: &[Vec<Label>]) -> End {
        self.trouble = None;
        for label in groups.iter().flatten() {
            self.carried.remove(label);
            if let Err(error) = self.spool.taken(&self.post.name, label) {
                // Sent again and again otherwise.
                return self.halt(format!("{label} was sent but cannot be removed ({error})"));
            }
        }
        End::Done
    }

    /// The summaries of a group of intervals, a test's merged to one, which begins and is as long as the destination
    /// wants, also where the run began later or was stopped; or why one of them can't be read at the moment.
    fn merged(&mut self, group: &[Label]) -> Result<Vec<Summary>, String> {
        let every = self.post.every.and_then(|every| i64::try_from(every.as_secs()).ok());
        let mut merged: Vec<Summary> = Vec::new();
        for label in group {
            for mut summary in self.load(label)? {
                match merged.iter_mut().find(|earlier| earlier.test == summary.test) {
                    Some(earlier) => earlier.merge(&summary),
                    None => {
                        if let Some(every) = every {
                            summary.start -= TimeDelta::seconds(i64::from(label.from) % every);
                        }
                        merged.push(summary);
                    }
                }
            }
        }
        if let Some(every) = self.post.every {
            merged.iter_mut().for_each(|summary| summary.seconds = every.as_secs_f64());
        }
        Ok(merged)
    }

    fn load(&mut self, label: &Label) -> Result<Vec<Summary>, String> {
        if let Some(summaries) = self.carried.get(label) {
            let ours = summaries.iter().filter(|summary| summary.destinations.contains(&self.post.name));
            return Ok(ours.cloned().collect());
        }
        match self.spool.load(&self.post.name, label) {
            Ok(summaries) => Ok(summaries),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) if trust::is_passing(&error) => Err(format!("{label} cannot be read at the moment ({error})")),
            Err(error) => {
                self.set_aside(label, &error.to_string());
                Ok(Vec::new())
            }
        }
    }

    fn halt(&mut self, trouble: String) -> End {
        self.trouble = Some(trouble);
        End::Halt
    }

    fn set_aside(&mut self, label: &Label, reason: &str) {
        self.carried.remove(label);
        log::warn!("destination {}: {label} is set aside: {reason}", self.post.name);
        if let Err(error) = self.spool.reject(&self.post.name, label, reason) {
            log::warn!("destination {}: {label} cannot be set aside: {error}", self.post.name);
        }
    }
}

/// How many summaries without routes take as much memory as this one.
fn weight(summary: &Summary) -> usize {
    let Measured::Test(tally) = &summary.measured else { return 1 };
    1 + tally.routes.as_ref().map_or(0, |routes| routes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Mutex;
    use std::time::Duration;

    use chrono::DateTime;

    use crate::destinations::Destination;
    use crate::routes::{Request, Routes};
    use crate::summary::Tally;
    use crate::work::Work;

    /// Takes what it is told to, and remembers what it was given.
    struct Fake {
        given: Arc<Mutex<Vec<Vec<Summary>>>>,
        answer: fn(&[Summary]) -> Result<(), Refusal>,
    }

    impl Destination for Fake {
        fn deliver(&mut self, batch: &[Summary], _: Occasion) -> Result<(), Refusal> {
            self.given.lock().unwrap().push(batch.to_vec());
            (self.answer)(batch)
        }
    }

    struct Setting {
        round: Round,
        given: Arc<Mutex<Vec<Vec<Summary>>>>,
        _state: tempfile::TempDir,
    }

    /// A courier to `fake`, whose spool holds an interval with two ok hits under each of `labels`, which wrote as many
    /// points as the second at which it ends.
    fn setting(labels: &[&str], every: Option<u64>, answer: fn(&[Summary]) -> Result<(), Refusal>) -> Setting {
        let state = tempfile::tempdir().unwrap();
        let places = Places { etc: state.path().into(), state: state.path().into(), lock: state.path().into() };
        let spool = Spool::new(state.path());
        for label in labels {
            let label = Label::parse(label).unwrap();
            let work = Work::of([("points", u64::from(label.to)), ("rejected", 0)]);
            let summary = Summary {
                test: "a".into(),
                type_name: "t".into(),
                host: "h".into(),
                copy: 1,
                start: DateTime::UNIX_EPOCH + TimeDelta::seconds(label.from.into()),
                seconds: f64::from(label.to - label.from),
                last: label.last,
                destinations: vec!["fake".into()],
                measured: Measured::Test(Box::new(Tally { ok: 2, work: Some(work.into()), ..Tally::default() })),
            };
            spool.store(&label, &[summary]).unwrap();
        }
        let given = Arc::default();
        let destination = Box::new(Fake { given: Arc::clone(&given), answer });
        let every = every.map(Duration::from_secs);
        let post = Post { name: "fake".into(), every, text: String::new(), destination };
        let round = Round {
            post,
            spool,
            places,
            run: "M.9".into(),
            carried: BTreeMap::new(),
            carried_outputs: BTreeMap::new(),
            size: collect::Size::default(),
            trouble: None,
        };
        Setting { round, given, _state: state }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_minute_that_began_late_is_a_minute_all_the_same() {
        let Setting { mut round, given, _state } = setting(&["M.1.40-50", "M.1.50-60.last"], Some(60), |_| Ok(()));
        round.deliver(soon());
        let given = given.lock().unwrap();
        let [batch] = given.as_slice() else { panic!("one batch") };
        let [minute] = batch.as_slice() else { panic!("one summary") };
        let Measured::Test(tally) = &minute.measured else { panic!("of a test") };
        assert_eq!((minute.start, minute.seconds, minute.last, tally.ok), (DateTime::UNIX_EPOCH, 60.0, true, 4));
        assert_eq!(round.spool.waiting("fake"), []);
    }

    #[test]
    fn the_work_of_a_minute_is_that_of_its_intervals_over_its_time() {
        let labels = ["M.1.00-10", "M.1.10-20", "M.1.20-30", "M.1.30-40", "M.1.40-50", "M.1.50-60.last"];
        for (labels, points, a_second) in [(labels.as_slice(), 210, 3.5), (&labels[4..], 110, 110.0 / 60.0)] {
            let Setting { mut round, given, _state } = setting(labels, Some(60), |_| Ok(()));
            round.deliver(soon());
            let given = given.lock().unwrap();
            let [minute] = given[0].as_slice() else { panic!("one summary") };
            let Measured::Test(tally) = &minute.measured else { panic!("of a test") };
            assert_eq!(tally.work.as_deref(), Some(&Work::of([("points", points), ("rejected", 0)])));
            assert_eq!(minute.rate(points), a_second);
        }
    }

    #[test]
    fn a_batch_has_fewer_summaries_where_they_have_routes() {
        #[track_caller]
        fn check(routes: usize, expect: &[usize]) {
            let labels: Vec<_> = (0..40).map(|number| format!("M.1.{number:02}-{:02}", number + 1)).collect();
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            let Setting { mut round, given, _state } = setting(&labels, None, |_| Ok(()));
            let mut all = Routes::default();
            let ms = Duration::from_millis(1);
            for number in 0..routes {
                let route = format!("GET http://h/{number}");
                all.record(&Request { route: &route, duration: ms, status: 200, size: None, is_error: false });
            }
            for label in labels.iter().map(|label| Label::parse(label).unwrap()) {
                let mut summaries = round.spool.load("fake", &label).unwrap();
                let Measured::Test(tally) = &mut summaries[0].measured else { panic!("of a test") };
                tally.routes = (routes > 0).then(|| all.clone().into());
                round.spool.taken("fake", &label).unwrap();
                round.spool.store(&label, &summaries).unwrap();
            }
            round.deliver(soon());
            let given: Vec<_> = given.lock().unwrap().iter().map(Vec::len).collect();
            assert_eq!(given, expect);
        }
        check(0, &[32, 8]);
        check(7, &[4; 10]);
        check(60, &[1; 40]);
    }

    #[test]
    fn what_is_refused_for_now_stays() {
        let refuse = |_: &[Summary]| Err(Refusal::Retry(anyhow::anyhow!("down")));
        let Setting { mut round, given, _state } = setting(&["M.1.00-10", "M.1.10-20"], None, refuse);
        round.deliver(soon());
        assert_eq!((given.lock().unwrap().len(), round.spool.waiting("fake").len()), (1, 2));
        assert_eq!(round.trouble.as_deref(), Some("down"));
    }

    #[test]
    fn what_is_refused_for_good_is_set_aside_alone() {
        let picky = |batch: &[Summary]| match batch {
            [one] if one.start.timestamp() != 10 => Ok(()),
            _ => Err(Refusal::Final(anyhow::anyhow!("no such thing"))),
        };
        let Setting { mut round, given, _state: state } =
            setting(&["M.1.00-10", "M.1.10-20", "M.1.20-30"], None, picky);
        round.deliver(soon());
        assert_eq!((given.lock().unwrap().len(), round.spool.waiting("fake").len()), (4, 0));
        let reason = state.path().join("spool/fake/rejected/M.1.10-20.reason");
        assert_eq!(std::fs::read_to_string(reason).unwrap(), "no such thing\n");
    }

    #[test]
    fn another_run_that_delivers_is_left_to_it() {
        let Setting { mut round, given, _state } = setting(&["M.1.00-10"], None, |_| Ok(()));
        let lock = round.spool.lock("fake").unwrap();
        round.deliver(soon());
        assert_eq!(given.lock().unwrap().len(), 0);
        drop(lock);
        round.deliver(soon());
        assert_eq!(given.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_could_not_be_spooled_is_sent_from_memory() {
        let Setting { mut round, given, _state } = setting(&["M.1.00-10"], None, |_| Ok(()));
        let label = Label::parse("M.9.00-10").unwrap();
        let summaries = round.spool.load("fake", &Label::parse("M.1.00-10").unwrap()).unwrap();
        round.carried.insert(label, Arc::new(summaries));
        round.deliver(soon());
        assert_eq!(given.lock().unwrap().concat().len(), 2);
        assert!(round.carried.is_empty());
    }

    #[test]
    fn what_cannot_be_read_at_the_moment_stays_and_what_is_around_it_goes() {
        let labels = ["M.1.00-10", "M.1.10-20", "M.1.20-30"];
        let Setting { mut round, given, _state: state } = setting(&labels, None, |_| Ok(()));
        let file = state.path().join("spool/fake/new/M.1.10-20");
        let elsewhere = state.path().join("elsewhere");
        std::fs::rename(&file, &elsewhere).unwrap();
        // Reading its first byte is an I/O error.
        std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
        round.deliver(soon());
        assert_eq!((given.lock().unwrap().concat().len(), round.spool.waiting("fake").len()), (2, 1));
        assert!(round.trouble.as_ref().is_some_and(|trouble| trouble.contains("M.1.10-20")), "{:?}", round.trouble);
        std::fs::rename(&elsewhere, &file).unwrap();
        round.deliver(soon());
        assert_eq!((given.lock().unwrap().concat().len(), round.spool.waiting("fake").len()), (3, 0));
        assert_eq!(round.trouble, None);
    }

    #[test]
    fn a_collector_carries_no_summaries() {
        struct Collector;
        impl Destination for Collector {
            fn deliver(&mut self, _: &[Summary], _: Occasion) -> Result<(), Refusal> {
                panic!("a collector gets no summaries")
            }
            fn takes(&self) -> Takes {
                Takes::Outputs
            }
        }
        let Setting { mut round, .. } = setting(&[], None, |_| Ok(()));
        round.post.destination = Box::new(Collector);
        let (errands, receiver) = mpsc::channel();
        errands.send(Errand::Carry(Label::parse("M.9.00-10").unwrap(), Arc::default())).unwrap();
        drop(errands);
        round.serve(&receiver);
        assert!(round.carried.is_empty());
    }
}
