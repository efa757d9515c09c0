//! The dues between two plannings: where they lie, and how many there are until a moment.

use std::time::{Duration, Instant};

use super::share::Share;
use super::{Arrivals, Pace};

/// The dues between two re-plannings: `grid` moments from `origin` to the end of the minute, those of them that are
/// the share's.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    /// How they lie.
    pub(super) arrivals: Arrivals,
    /// Where the first distance begins.
    pub(super) origin: Instant,
    end: Instant,
    phase: u32,
    grid: u64,
    share: Share,
    /// How many of the moments are the share's.
    pub(crate) count: u64,
    /// How many of those were dealt out.
    pub(super) dealt: u64,
    /// The next due, and where they lie evenly, the one after it: each is computed once.
    next: Instant,
    pub(super) following: Instant,
    random: fastrand::Rng,
}

/// Hits that are due and were not dealt out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    /// How many, at least one.
    pub(super) hits: u64,
    /// How long the first of them has been.
    pub(super) first: Duration,
    /// How long the last of them has been.
    pub(super) last: Duration,
}

impl Stretch {
    /// Nothing is due until `end`.
    pub(super) fn new(arrivals: Arrivals, phase: u32, share: Share, now: Instant, end: Instant, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (origin, next, following) = (now, now, now);
        Self { arrivals, origin, end, phase, grid: 0, share, count: 0, dealt: 0, next, following, random }
    }

    /// When the next hit is due; `None` when all were dealt out.
    pub(super) fn next_due(&self) -> Option<Instant> {
        (self.dealt < self.count).then_some(self.next)
    }

    /// Deals out the next hit.
    pub(super) fn deal(&mut self) {
        self.dealt += 1;
        match self.arrivals {
            Arrivals::Even => (self.next, self.following) = (self.following, self.even(self.dealt + 1)),
            Arrivals::Poisson => self.draw(),
        }
    }

    /// The hits that are due at `now` but not dealt out; `None` without any.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let first = self.next_due().filter(|due| *due <= now)?;
        let (hits, last) = match self.arrivals {
            Arrivals::Even => {
                let hits = self.even_until(now).saturating_sub(self.dealt).max(1);
                (hits, self.even(self.dealt + hits - 1))
            }
            Arrivals::Poisson => self.clone().skip_until(now).unwrap_or((1, first)),
        };
        let waited = |due| now.saturating_duration_since(due);
        Some(Overdue { hits, first: waited(first), last: waited(last) })
    }

    /// How many of its hits were due by `now`. At random, those are passed over, and never counted one by one again.
    pub(crate) fn due_until(&mut self, now: Instant) -> u64 {
        match self.arrivals {
            Arrivals::Even => self.even_until(now),
            Arrivals::Poisson => {
                self.skip_until(now);
                self.dealt
            }
        }
    }

    /// Whether its hits are at random, so that counting them takes as many steps.
    pub(crate) fn is_random(&self) -> bool {
        self.arrivals == Arrivals::Poisson
    }

    /// Deals out what is due by `now`, and says how much that was, and when the last of it was due.
    fn skip_until(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let (before, mut last) = (self.dealt, None);
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            last = Some(due);
            self.deal();
        }
        last.map(|last| (self.dealt - before, last))
    }

    /// Lays `grid` moments anew from `now` on, at a pace, for a share.
    pub(super) fn lay(&mut self, pace: Pace, now: Instant, grid: u64, share: Share) {
        let Pace { arrivals, phase, .. } = pace;
        let count = share.part_of(grid);
        let (end, random) = (self.end, self.random.clone());
        let (next, following) = (now, now);
        *self = Self { arrivals, origin: now, end, phase, grid, share, count, dealt: 0, next, following, random };
        if arrivals == Arrivals::Even && count > 0 {
            (self.next, self.following) = (self.even(0), self.even(1));
        }
    }

    /// The share's hits up to `now`, where they lie evenly.
    fn even_until(&self, now: Instant) -> u64 {
        let Some(since) = now.checked_duration_since(self.origin) else { return 0 };
        let window = self.end.saturating_duration_since(self.origin).as_nanos().max(1);
        let due = (since.as_nanos() * u128::from(self.grid)) << 32;
        let Some(due) = due.checked_sub(u128::from(self.phase) * window) else { return 0 };
        let passed = u64::try_from((due / window) >> 32).unwrap_or(u64::MAX).saturating_add(1);
        self.share.part_of(passed).min(self.count)
    }

    /// The due of the hit `nth`, which is the grid's number `i`: `origin + (i + phase) × (end − origin) / grid`, exact
    /// to the nanosecond.
    fn even(&self, nth: u64) -> Instant {
        let window = self.end.saturating_duration_since(self.origin).as_nanos();
        let position = u128::from(self.share.hit(nth)) << 32 | u128::from(self.phase);
        let ns = position * window / (u128::from(self.grid) << 32);
        self.origin + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Draws the next of `count − dealt` moments that lie independently between the last one and the end:
    /// the least of k uniform numbers is `1 − U^(1/k)`.
    pub(super) fn draw(&mut self) {
        let left = self.count.saturating_sub(self.dealt);
        if left > 0 && self.arrivals == Arrivals::Poisson {
            let window = self.end.saturating_duration_since(self.next).as_secs_f64();
            let share = 1.0 - self.random.f64().powf(1.0 / left as f64);
            self.next += Duration::from_secs_f64(window * share);
        }
    }
}
