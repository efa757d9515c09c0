//! What the threads have measured, put together: one interval of all of them.
//!
//! Each thread closes its own intervals, by its own clock. An interval is
//! reported once every thread that takes part has closed it, the last one once
//! every thread has ended; intervals that only some of them closed, as a stop
//! came just at a boundary, are reported as well. Nobody waits here: who comes
//! last reports. Hits that were expected and are in no interval, for whatever
//! reason, are missed, and are in the last one: of those that a thread was to
//! start that is this machine's fault, of those that no thread was told of not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Interval;
use crate::summary::Tally;

/// Where intervals are put together; all clones are the same.
#[derive(Clone)]
pub struct Gather {
    open: Arc<Mutex<Open>>,
}

/// The part that one thread takes. Dropped before the last interval is closed, as when its thread panics, it is lost
/// from its last closed interval on; the others' intervals are reported all the same.
pub struct Part {
    gather: Gather,
    thread: usize,
    first: u32,
}

/// What is not reported yet.
struct Open {
    report: Box<dyn FnMut(Interval) + Send>,
    /// The first interval that is not reported.
    next: u32,
    intervals: BTreeMap<u32, BTreeMap<String, Tally>>,
    threads: BTreeMap<usize, Thread>,
    /// Hits in the minute of tests that are to be run so once they are ready.
    awaited: BTreeMap<String, u64>,
    /// Tests that nobody counts on any more.
    withdrawn: BTreeSet<String>,
    /// Whether nobody counts on any.
    is_stopped: bool,
    is_over: bool,
}

/// One thread's part.
struct Thread {
    /// The first interval that it has not closed.
    next: u32,
    /// Whether it may close another.
    is_working: bool,
    /// Hits that were asked of it, by test.
    expected: BTreeMap<String, u64>,
    /// Hits that are in its intervals, by test.
    counted: BTreeMap<String, u64>,
}

impl Gather {
    /// Reports intervals from `first` on, each once, in order.
    pub fn new(first: u32, report: impl FnMut(Interval) + Send + 'static) -> Self {
        let open = Open {
            report: Box::new(report),
            next: first,
            intervals: BTreeMap::new(),
            threads: BTreeMap::new(),
            awaited: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            is_stopped: false,
            is_over: false,
        };
        Self { open: Arc::new(Mutex::new(open)) }
    }

    /// Has a thread take part from the first interval that is not reported; `None` when the last one is.
    pub fn join(&self, thread: usize) -> Option<Part> {
        let mut open = self.open();
        let first = open.next;
        let joined = Thread { next: first, is_working: true, expected: BTreeMap::new(), counted: BTreeMap::new() };
        (!open.is_over).then(|| {
            open.threads.insert(thread, joined);
            Part { gather: self.clone(), thread, first }
        })
    }

    /// So many hits of a test are expected in the minute, of threads that are named once it is ready.
    pub fn wait_for(&self, test: &str, hits: u64) {
        let mut open = self.open();
        open.withdrawn.remove(test);
        open.awaited.insert(test.to_owned(), hits);
    }

    /// From now on a thread is to account for so many hits of a test in the minute.
    pub fn expect(&self, thread: usize, test: &str, hits: u64) {
        let mut open = self.open();
        open.withdrawn.remove(test);
        open.awaited.remove(test);
        if let Some(thread) = open.threads.get_mut(&thread) {
            thread.expected.insert(test.to_owned(), hits);
        }
    }

    /// Hits of a test that are expected and never counted are stopped from now on, not missed, until they are expected
    /// again.
    pub fn withdraw(&self, test: &str) {
        self.open().withdrawn.insert(test.to_owned());
    }

    /// So are those of all tests.
    pub fn stop(&self) {
        self.open().is_stopped = true;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Should `report` have panicked, the others' intervals are still worth reporting.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// The first interval that is to be closed.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The thread has closed an interval; they come in order, without gaps.
    pub fn close(&self, interval: Interval) {
        let Interval { index, last, tallies } = interval;
        let mut open = self.gather.open();
        if let Some(thread) = open.threads.get_mut(&self.thread) {
            thread.next = index + 1;
            thread.is_working = !last;
            for (test, tally) in &tallies {
                *thread.counted.entry(test.clone()).or_default() += tally.planned();
            }
        }
        open.add(index, tallies);
        open.report_complete();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut open = self.gather.open();
        if let Some(thread) = open.threads.get_mut(&self.thread).filter(|thread| thread.is_working) {
            thread.is_working = false;
            if !thread.expected.is_empty() {
                log::error!("thread {} of hits is gone: hits that are in no interval yet are missed", self.thread);
            }
            open.report_complete();
        }
    }
}

impl Open {
    fn add(&mut self, index: u32, tallies: BTreeMap<String, Tally>) {
        let interval = self.intervals.entry(index).or_default();
        for (test, tally) in tallies {
            interval.entry(test).and_modify(|sum| sum.merge(&tally)).or_insert(tally);
        }
    }

    /// Reports what nobody will add to any more.
    fn report_complete(&mut self) {
        let working = self.threads.values().filter(|thread| thread.is_working);
        match working.map(|thread| thread.next).min() {
            Some(next) => self.report_before(next),
            None if self.is_over => {}
            None => {
                self.is_over = true;
                let last = self.intervals.last_key_value().map_or(self.next, |(index, _)| *index);
                let lost = self.threads.values().flat_map(Thread::lost);
                let left: Vec<_> = lost.chain(self.never_ready()).collect();
                for (test, missed) in left {
                    let tally = match self.is_stopped || self.withdrawn.contains(&test) {
                        true => Tally { stopped: missed.missed, ..Tally::default() },
                        false => missed,
                    };
                    self.add(last, BTreeMap::from([(test, tally)]));
                }
                self.report_before(last);
                let tallies = self.intervals.remove(&last).unwrap_or_default();
                (self.report)(Interval { index: last, last: true, tallies });
            }
        }
    }

    /// What was expected and no thread was told of.
    fn never_ready(&self) -> impl Iterator<Item = (String, Tally)> {
        let told = |test| self.threads.values().map(|thread| thread.share(test)).sum();
        let left = self.awaited.iter().map(move |(test, hits)| (test, hits.saturating_sub(told(test))));
        let missed = |hits| Tally { missed: hits, asked: hits, ..Tally::default() };
        left.filter(|(_, hits)| *hits > 0).map(move |(test, hits)| (test.clone(), missed(hits)))
    }

    fn report_before(&mut self, next: u32) {
        for index in self.next..next {
            self.next = index + 1;
            let tallies = self.intervals.remove(&index).unwrap_or_default();
            (self.report)(Interval { index, last: false, tallies });
        }
    }
}

impl Thread {
    /// What was expected and is in no interval.
    fn lost(&self) -> impl Iterator<Item = (String, Tally)> {
        let left = self.expected.iter().map(|(test, hits)| (test, hits.saturating_sub(self.counted(test))));
        left.filter(|(_, hits)| *hits > 0).map(|(test, hits)| (test.clone(), Tally::unable(hits)))
    }

    /// How many hits of a test it accounts for.
    fn share(&self, test: &str) -> u64 {
        self.expected.get(test).copied().unwrap_or(0).max(self.counted(test))
    }

    fn counted(&self, test: &str) -> u64 {
        self.counted.get(test).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    #[test]
    fn hits_that_nobody_counts_on_any_more_are_stopped() {
        let (gather, reported) = gather(0);
        let part = gather.join(0).unwrap();
        for test in ["a", "b", "c"] {
            gather.expect(0, test, 10);
        }
        gather.withdraw("a");
        gather.withdraw("b");
        gather.expect(0, "b", 20);
        part.close(interval(0, true, 1));
        let tallies = reported.try_recv().unwrap().tallies;
        let seen = tallies.values().map(|tally| (tally.ok, tally.missed, tally.stopped)).collect::<Vec<_>>();
        assert_eq!(seen, [(1, 0, 9), (0, 20, 0), (0, 10, 0)]);
    }

    #[test]
    fn hits_that_no_thread_was_told_of_are_missed_and_not_for_want_of_a_thread() {
        let (gather, reported) = gather(0);
        let [x, y] = [0, 1].map(|thread| gather.join(thread).unwrap());
        // Gone, and back with another frequency; ready in the end; running as it did; never; and of a thread that is lost.
        for (test, hits) in [("a", 10), ("b", 10), ("c", 10), ("d", 10), ("e", 10), ("f", 0)] {
            gather.wait_for(test, hits);
        }
        gather.withdraw("a");
        gather.wait_for("a", 20);
        gather.expect(0, "b", 1);
        gather.expect(1, "c", 7);
        gather.wait_for("c", 12);
        gather.withdraw("e");
        gather.expect(1, "f", 3);
        x.close(Interval { index: 0, last: true, tallies: BTreeMap::new() });
        y.close(Interval { index: 0, last: false, tallies: tallies("c", 2) });
        drop(y);
        let [first, last] = [(); 2].map(|()| reported.try_recv().unwrap().tallies);
        assert_eq!(first["c"].ok, 2);
        let count = |tally: &Tally| (tally.missed, tally.stopped, tally.asked, tally.unsent);
        let counts: Vec<_> = last.iter().map(|(test, tally)| (test.as_str(), count(tally))).collect();
        let expect = [
            ("a", (20, 0, 20, 0)),
            ("b", (1, 0, 1, 1)),
            ("c", (10, 0, 10, 5)),
            ("d", (10, 0, 10, 0)),
            ("e", (0, 10, 0, 0)),
            ("f", (3, 0, 3, 3)),
        ];
        assert_eq!(counts, expect);
        assert!(!last["a"].generator_limited() && last["f"].generator_limited());
    }

    /// An interval that was reported: its index, whether it was the last, and hits that were ok, and missed, by test.
    type Seen = (u32, bool, Vec<(String, u64, u64)>);

    fn gather(first: u32) -> (Gather, Receiver<Interval>) {
        let (told, reported) = mpsc::channel();
        (Gather::new(first, move |interval| told.send(interval).unwrap()), reported)
    }

    fn seen(reported: &Receiver<Interval>) -> Vec<Seen> {
        let tests = |tallies: BTreeMap<String, Tally>| {
            tallies.into_iter().map(|(test, tally)| (test, tally.ok, tally.missed)).collect()
        };
        reported.try_iter().map(|interval| (interval.index, interval.last, tests(interval.tallies))).collect()
    }

    /// Hits of the test `a` that were ok.
    fn interval(index: u32, last: bool, ok: u64) -> Interval {
        Interval { index, last, tallies: tallies("a", ok) }
    }

    fn tallies(test: &str, ok: u64) -> BTreeMap<String, Tally> {
        BTreeMap::from([(test.to_owned(), Tally { ok, ..Tally::default() })])
    }

    fn a(index: u32, last: bool, ok: u64, missed: u64) -> Seen {
        (index, last, vec![(String::from("a"), ok, missed)])
    }

    #[test]
    fn an_interval_is_reported_once_all_have_closed_it_whoever_comes_first() {
        let (gather, reported) = gather(2);
        let [x, y] = [0, 1].map(|thread| gather.join(thread).unwrap());
        assert_eq!((x.first(), y.first()), (2, 2));
        x.close(interval(2, false, 1));
        x.close(interval(3, false, 2));
        assert_eq!(seen(&reported), []);
        y.close(interval(2, false, 10));
        assert_eq!(seen(&reported), [a(2, false, 11, 0)]);
        y.close(interval(3, false, 20));
        y.close(interval(4, true, 40));
        assert_eq!(seen(&reported), [a(3, false, 22, 0)]);
        x.close(interval(4, true, 4));
        assert_eq!(seen(&reported), [a(4, true, 44, 0)]);
        drop((x, y));
        assert_eq!(seen(&reported), []);
        assert!(gather.join(2).is_none());
    }

    #[test]
    fn a_thread_that_comes_late_takes_part_from_the_first_interval_that_is_not_reported() {
        let (gather, reported) = gather(0);
        let x = gather.join(0).unwrap();
        x.close(interval(0, false, 1));
        let y = gather.join(1).unwrap();
        assert_eq!(y.first(), 1);
        x.close(interval(1, false, 2));
        assert_eq!(seen(&reported), [a(0, false, 1, 0)]);
        // Behind a thread that is behind.
        let z = gather.join(2).unwrap();
        assert_eq!(z.first(), 1);
        y.close(interval(1, true, 10));
        z.close(interval(1, true, 100));
        assert_eq!(seen(&reported), [a(1, false, 112, 0)]);
        x.close(interval(2, true, 3));
        assert_eq!(seen(&reported), [a(2, true, 3, 0)]);
    }

    #[test]
    fn last_intervals_may_differ() {
        let (gather, reported) = gather(0);
        let [x, y] = [0, 1].map(|thread| gather.join(thread).unwrap());
        // A stop comes as x has passed a boundary, and y has not.
        x.close(interval(0, false, 1));
        y.close(interval(0, true, 10));
        assert_eq!(seen(&reported), [a(0, false, 11, 0)]);
        x.close(interval(1, true, 2));
        assert_eq!(seen(&reported), [a(1, true, 2, 0)]);

        let (gather, reported) = self::gather(0);
        let [x, y] = [0, 1].map(|thread| gather.join(thread).unwrap());
        x.close(interval(0, false, 1));
        x.close(interval(1, true, 2));
        y.close(interval(0, true, 10));
        assert_eq!(seen(&reported), [a(0, false, 11, 0), a(1, true, 2, 0)]);
    }

    #[test]
    fn of_a_lost_thread_what_it_had_not_closed_is_missed_and_the_others_go_on() {
        let (gather, reported) = gather(0);
        let [x, y] = [0, 1].map(|thread| gather.join(thread).unwrap());
        gather.expect(0, "a", 100);
        gather.expect(1, "a", 50);
        x.close(interval(0, false, 30));
        gather.expect(1, "a", 99);
        y.close(interval(0, false, 10));
        x.close(interval(1, false, 30));
        assert_eq!(seen(&reported), [a(0, false, 40, 0)]);
        drop(y);
        assert_eq!(seen(&reported), [a(1, false, 30, 0)]);
        x.close(interval(2, true, 40));
        assert_eq!(seen(&reported), [a(2, true, 40, 89)]);
    }

    #[test]
    fn a_thread_may_be_lost_last_or_alone() {
        let (gather, reported) = gather(0);
        let [x, y] = [0, 1].map(|thread| gather.join(thread).unwrap());
        gather.expect(0, "a", 5);
        y.close(interval(0, false, 1));
        y.close(interval(1, true, 1));
        assert_eq!(seen(&reported), []);
        drop(x);
        assert_eq!(seen(&reported), [a(0, false, 1, 0), a(1, true, 1, 5)]);

        let (gather, reported) = self::gather(3);
        let x = gather.join(0).unwrap();
        gather.expect(0, "a", 5);
        // Lowered below what was done: nothing is missed then.
        gather.expect(0, "b", 5);
        x.close(Interval { index: 3, last: false, tallies: tallies("b", 3) });
        gather.expect(0, "b", 2);
        drop(x);
        assert_eq!(seen(&reported), [(3, false, vec![(String::from("b"), 3, 0)]), a(4, true, 0, 5)]);
    }

    #[test]
    fn whatever_the_order_nothing_is_lost_or_reported_twice() {
        let mut random = fastrand::Rng::with_seed(17);
        for _ in 0..300 {
            let (gather, reported) = gather(0);
            let lasts: Vec<u32> = (0..random.u32(1..5)).map(|_| random.u32(2..4)).collect();
            let parts: Vec<Part> = (0..lasts.len()).map(|thread| gather.join(thread).unwrap()).collect();
            let mut todo: Vec<usize> =
                lasts.iter().enumerate().flat_map(|(thread, last)| vec![thread; *last as usize + 1]).collect();
            random.shuffle(&mut todo);
            let mut next = vec![0; lasts.len()];
            let mut hits = 0;
            for thread in todo {
                let ok = random.u64(0..100);
                hits += ok;
                parts[thread].close(interval(next[thread], next[thread] == lasts[thread], ok));
                next[thread] += 1;
            }
            let seen = seen(&reported);
            let most = *lasts.iter().max().unwrap();
            let expect: Vec<(u32, bool)> = (0..=most).map(|index| (index, index == most)).collect();
            assert_eq!(seen.iter().map(|(index, last, _)| (*index, *last)).collect::<Vec<_>>(), expect);
            assert_eq!(seen.iter().flat_map(|(.., tests)| tests).map(|(_, ok, _)| ok).sum::<u64>(), hits);
        }
    }
}
