//! Which threads have which tests: arithmetic on rates, which starts nothing itself.
//!
//! A test goes where the least is asked for. One that asks for more than a
//! thread is trusted with is divided: 120,000 hits a second, where a thread has
//! 50,000, are three shares of 40,000 on three threads.

use std::collections::BTreeMap;

use crate::pacer::Share;

/// How many hits a second one thread is trusted with: about half of what it holds against an HTTP server on the same
/// machine. At that rate 99 of 100 hits start within half a millisecond of their dues (`tests/bench/scale.sh`); at the
/// limit, everything that holds a thread up for a moment has to be caught up with.
pub const RATE_OF_A_THREAD: u64 = 50_000;

/// How many threads there may be, and what makes them necessary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most threads, at least 1.
    pub threads: usize,
    /// Hits a second, at least 1, beyond which a thread is asked for too much; see [`RATE_OF_A_THREAD`].
    pub rate_of_a_thread: u64,
}

/// What every thread was asked for.
#[derive(Debug)]
pub struct Placement {
    limits: Limits,
    /// Hits a minute; `None` for a thread that is gone.
    asked: Vec<Option<u64>>,
    tests: BTreeMap<String, Placed>,
}

#[derive(Debug)]
struct Placed {
    /// The thread of each share.
    threads: Vec<usize>,
    /// Hits a minute of all shares; 0 while the test rests.
    frequency: u64,
}

impl Placement {
    /// Nothing is asked for, and there is no thread yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, asked: Vec::new(), tests: BTreeMap::new() }
    }

    /// There is one thread more.
    pub fn add_thread(&mut self) {
        self.asked.push(Some(0));
    }

    /// A thread is gone: nothing new goes there.
    pub fn lose(&mut self, thread: usize) {
        self.asked[thread] = None;
    }

    /// There will be no more than `threads` threads.
    pub fn limit(&mut self, threads: usize) {
        self.limits.threads = threads;
    }

    /// Whether there should be a thread more, and may be, before this test is placed.
    pub fn wants_thread(&self, test: &str, frequency: u64, overtime: u32) -> bool {
        if self.has(test) || self.asked.len() >= self.limits.threads {
            return false;
        }
        let shares = self.shares(frequency, overtime);
        let threads = self.least_asked(shares);
        let most = self.most();
        // What is too much for an idle thread already is not helped by another.
        let is_too_much = |thread: &usize| {
            self.asked[*thread].is_some_and(|asked| asked > 0 && asked + frequency.div_ceil(shares as u64) > most)
        };
        threads.len() < shares || threads.iter().any(is_too_much)
    }

    /// Gives a test to the threads on which the least is asked for, and says to which, a share each; a test that has
    /// been placed stays where it is. With no thread left it is the first, which is gone.
    pub fn place(&mut self, test: &str, frequency: u64, overtime: u32) -> Vec<usize> {
        self.rest(test);
        if !self.has(test) {
            let mut threads = self.least_asked(self.shares(frequency, overtime));
            if threads.is_empty() {
                threads.push(0);
            }
            self.tests.insert(test.to_owned(), Placed { threads, frequency: 0 });
        }
        self.ask(test, frequency)
    }

    /// Whether a test was placed and rests now.
    pub fn rests(&self, test: &str) -> bool {
        self.tests.get(test).is_some_and(|placed| placed.frequency == 0)
    }

    /// Whether a test was placed, also if it rests now.
    fn has(&self, test: &str) -> bool {
        self.tests.contains_key(test)
    }

    /// Nothing is asked for by a test any longer; says on which threads it is.
    pub fn rest(&mut self, test: &str) -> Vec<usize> {
        self.ask(test, 0)
    }

    /// Has a test that was placed ask for `frequency`.
    fn ask(&mut self, test: &str, frequency: u64) -> Vec<usize> {
        let Some(placed) = self.tests.get_mut(test) else { return Vec::new() };
        for (share, &thread) in Share::all(placed.threads.len() as u32).zip(&placed.threads) {
            if let Some(Some(asked)) = self.asked.get_mut(thread) {
                *asked = *asked - share.part_of(placed.frequency) + share.part_of(frequency);
            }
        }
        placed.frequency = frequency;
        placed.threads.clone()
    }

    /// How many shares a test should have; each has at least one hit in flight.
    fn shares(&self, frequency: u64, overtime: u32) -> usize {
        let wanted = usize::try_from(frequency.div_ceil(self.most())).unwrap_or(usize::MAX);
        wanted.min(overtime as usize).min(self.limits.threads).max(1)
    }

    /// Hits a minute that a thread is trusted with.
    fn most(&self) -> u64 {
        self.limits.rate_of_a_thread.saturating_mul(60).max(1)
    }

    /// Up to so many threads, those with the least asked of them first.
    fn least_asked(&self, threads: usize) -> Vec<usize> {
        let mut alive: Vec<(u64, usize)> =
            self.asked.iter().enumerate().filter_map(|(thread, asked)| asked.map(|asked| (asked, thread))).collect();
        alive.sort_unstable();
        alive.into_iter().take(threads).map(|(_, thread)| thread).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hits a minute that a thread is trusted with here.
    const MOST: u64 = 600;

    fn placement(threads: usize) -> Placement {
        let mut placement = Placement::new(Limits { threads, rate_of_a_thread: MOST / 60 });
        placement.add_thread();
        placement
    }

    /// Places a test as the engine does, with every thread that it wants.
    fn place(placement: &mut Placement, test: &str, frequency: u64, overtime: u32) -> Vec<usize> {
        while placement.wants_thread(test, frequency, overtime) {
            placement.add_thread();
        }
        placement.place(test, frequency, overtime)
    }

    #[test]
    fn a_test_has_as_many_shares_as_its_rate_needs_and_limits_allow() {
        #[track_caller]
        fn check(threads: usize, frequency: u64, overtime: u32, expect: &[usize], running: usize) {
            let mut placement = placement(threads);
            let placed = place(&mut placement, "a", frequency, overtime);
            assert_eq!((placed.as_slice(), placement.asked.len()), (expect, running));
        }
        check(4, 1, 100, &[0], 1);
        check(4, MOST, 100, &[0], 1);
        check(4, MOST + 1, 100, &[0, 1], 2);
        check(4, 3 * MOST, 100, &[0, 1, 2], 3);
        check(4, 100_000 * MOST, 100, &[0, 1, 2, 3], 4);
        check(1, 100_000 * MOST, 100, &[0], 1);
        check(4, 100_000 * MOST, 2, &[0, 1], 2);
        check(4, 100_000 * MOST, 1, &[0], 1);
    }

    #[test]
    fn ordinary_tests_stay_on_one_thread_until_their_sum_is_too_much() {
        let mut placement = placement(3);
        for test in 0..100 {
            assert_eq!(place(&mut placement, &test.to_string(), MOST / 100, 1), [0]);
        }
        assert_eq!(placement.asked, [Some(MOST)]);
        assert_eq!(place(&mut placement, "one more", 400, 1), [1]);
        assert_eq!(place(&mut placement, "and more", 300, 1), [2]);
        // All are full: where the least is asked for.
        assert_eq!(place(&mut placement, "too much", 301, 1), [2]);
        assert_eq!(placement.asked, [Some(MOST), Some(400), Some(601)]);
    }

    #[test]
    fn a_large_test_beside_others_gets_threads_that_have_room() {
        let mut placement = placement(4);
        assert_eq!(place(&mut placement, "small", 1, 1), [0]);
        assert_eq!(place(&mut placement, "large", 2 * MOST, 100), [1, 2]);
        assert_eq!(place(&mut placement, "larger", 4 * MOST, 100), [3, 0, 1, 2]);
    }

    #[test]
    fn a_test_that_was_placed_stays_and_its_rate_counts_while_it_runs() {
        let mut placement = placement(2);
        assert_eq!(place(&mut placement, "a", 2 * MOST - 1, 100), [0, 1]);
        assert_eq!(placement.asked, [Some(MOST), Some(MOST - 1)]);
        assert_eq!(place(&mut placement, "a", 3, 1), [0, 1]);
        assert_eq!(placement.asked, [Some(2), Some(1)]);
        assert_eq!((placement.rests("a"), placement.rests("b")), (false, false));
        assert_eq!(placement.rest("a"), [0, 1]);
        assert!(placement.rests("a"));
        assert_eq!(placement.rest("b"), [0; 0]);
        assert_eq!(placement.asked, [Some(0), Some(0)]);
        assert_eq!(place(&mut placement, "a", 5, 100), [0, 1]);
        assert_eq!(placement.asked, [Some(3), Some(2)]);
    }

    #[test]
    fn nothing_new_goes_to_a_thread_that_is_gone() {
        let mut placement = placement(2);
        assert_eq!(place(&mut placement, "a", 10, 1), [0]);
        placement.lose(0);
        assert_eq!(place(&mut placement, "a", 20, 1), [0]);
        assert_eq!(place(&mut placement, "b", 10 * MOST, 100), [1]);
        assert_eq!(placement.asked, [None, Some(10 * MOST)]);
        placement.lose(1);
        assert_eq!(place(&mut placement, "c", 1, 1), [0]);
    }

    #[test]
    fn where_no_thread_can_be_had_a_test_makes_do() {
        let mut placement = placement(4);
        assert!(placement.wants_thread("a", 3 * MOST, 100));
        placement.limit(1);
        assert_eq!(place(&mut placement, "a", 3 * MOST, 100), [0]);
    }
}
