//! When each hit is due: pure arithmetic on moments that are handed in.
//!
//! `frequency` hits lie evenly between the moment the plan was made and the end
//! of the minute, shifted by a phase of the test's own. 60 a minute, planned at
//! second 0 with phase 0.25: due at 0.25 s, 1.248 s, 2.247 s, … 59.15 s.
//! Hits that could not start in time are never sent in a burst: what is left is
//! spread anew over what is left of the minute, at most `max_catch_up` times as
//! dense as the test's own rate. The pacer knows neither targets nor clocks.
//!
//! A test that is too much for one thread is dealt out in shares, each with a
//! pacer of its own that needs no other: share 1 of 3 has the hits 1, 4, 7, … at
//! the very moments at which the whole would have had them.

mod share;
mod stretch;

use std::time::{Duration, Instant};

use crate::backlog::Backlog;
pub use share::Share;
pub(crate) use stretch::Stretch;

/// What frequencies are counted in.
const MINUTE_NS: u128 = 60_000_000_000;

/// How the dues of a minute lie.
///
/// ```
/// use canihaz::{Arrivals, Worker};
///
/// let crowd = Worker::hire("shop", async || Ok::<_, String>("pong")).arrivals(Arrivals::Poisson);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Arrivals {
    /// At equal distances.
    #[default]
    Even,
    /// At random, as independent users would: the same number of hits, a Poisson process given its count.
    Poisson,
}

/// How a test is paced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Hits in a minute, at least 1.
    pub frequency: u64,
    /// Where in the distance between two hits the first lies, as a fraction of 2³²; see [`phase`].
    pub phase: u32,
    /// Evenly or at random.
    pub arrivals: Arrivals,
    /// How many times denser than its own rate a test may catch up, at least 1.
    pub max_catch_up: u32,
}

/// One hit that is to be started.
///
/// ```
/// use canihaz::{Due, Gossip};
///
/// /// How long the hits before this one kept it waiting.
/// fn waited(gossip: &Gossip) -> Option<std::time::Duration> {
///     match gossip {
///         Gossip::BeforeTarget(Due { blocked, .. }) => Some(*blocked),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// Counts the test's hits in this minute from 0, those of all its shares.
    pub number: u64,
    /// When it is to start.
    pub at: Instant,
    /// How long it had been due, before it was moved, as `overtime` hits were in flight.
    pub blocked: Duration,
    /// How late the generator already was when it was moved.
    pub late: Duration,
}

/// Deals out the dues of one test, or of a share of it, in one minute.
///
/// ```
/// use std::time::{Duration, Instant};
/// use canihaz::pacer::{Arrivals, Pace, Pacer};
///
/// let pace = Pace { frequency: 4, phase: 1 << 30, arrivals: Arrivals::Even, max_catch_up: 10 };
/// let begin = Instant::now();
/// let mut pacer = Pacer::new(pace, begin, begin + Duration::from_secs(40), 0);
/// let dues: Vec<_> = std::iter::from_fn(|| pacer.take()).map(|due| due.at - begin).collect();
/// assert_eq!(dues, [2.5, 12.5, 22.5, 32.5].map(Duration::from_secs_f64));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    share: Share,
    pace: Pace,
    /// What the frequency is counted in, in ns: with it, the test's own rate.
    per_ns: u128,
    end: Instant,
    taken: u64,
    left: u64,
    stretch: Stretch,
    /// While hits wait for places: the dues as they lay when the first had to, dealt out along with the others.
    jam: Option<Stretch>,
    blocked: Backlog,
    late: Backlog,
}

impl Pacer {
    /// Plans `pace.frequency` hits from `now` until before `end`. `seed` makes random arrivals repeatable.
    pub fn new(pace: Pace, now: Instant, end: Instant, seed: u64) -> Self {
        Self::counted_in(MINUTE_NS, Share::WHOLE, pace, now, end, seed)
    }

    /// The same for `pace.frequency` hits not in a minute, but in the time from `now` to `end`.
    pub fn within(pace: Pace, now: Instant, end: Instant, seed: u64) -> Self {
        let per_ns = end.saturating_duration_since(now).as_nanos().max(1);
        Self::counted_in(per_ns, Share::WHOLE, pace, now, end, seed)
    }

    /// Plans the hits of one share of a test, all of whose shares are handed the same. Together they plan what
    /// [`new`](Self::new) does; at random, other moments that are no less random.
    pub fn of_share(share: Share, pace: Pace, now: Instant, end: Instant, seed: u64) -> Self {
        Self::counted_in(MINUTE_NS, share, pace, now, end, seed)
    }

    fn counted_in(per_ns: u128, share: Share, pace: Pace, now: Instant, end: Instant, seed: u64) -> Self {
        // The golden ratio's bits: seeds of neighbours have nothing in common. The first share's is the test's.
        let seed = seed ^ u64::from(share.number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let stretch = Stretch::new(pace.arrivals, pace.phase, share, now, end, seed);
        let mut pacer = Self {
            share,
            pace,
            per_ns,
            end,
            taken: 0,
            left: share.part_of(pace.frequency),
            stretch,
            jam: None,
            blocked: Backlog::default(),
            late: Backlog::default(),
        };
        pacer.lay(now, pace.frequency);
        pacer
    }

    /// When the next hit is due; `None` when no further one fits into the minute.
    pub fn next_due(&self) -> Option<Instant> {
        self.stretch.next_due()
    }

    /// When the hit after the next is due, where that is known already.
    pub fn following(&self) -> Option<Instant> {
        let Stretch { dealt, count, arrivals, following, .. } = self.stretch;
        (dealt + 1 < count && arrivals == Arrivals::Even).then_some(following)
    }

    /// How long after the next hit the one that follows it by so many `hits` is due, on average.
    pub fn span(&self, hits: u32) -> Duration {
        let window = self.end.saturating_duration_since(self.stretch.origin);
        let count = u32::try_from(self.stretch.count).unwrap_or(u32::MAX).max(1);
        (window / count).saturating_mul(hits)
    }

    /// Deals out the next hit, to be started or canceled; `None` when no further one fits.
    pub fn take(&mut self) -> Option<Due> {
        let at = self.next_due()?;
        let mut due =
            Due { number: self.share.hit(self.taken), at, blocked: self.blocked.pop(), late: self.late.pop() };
        if let Some(jam) = &mut self.jam {
            let waited = jam.next_due().map(|due| at.saturating_duration_since(due));
            due.blocked += waited.unwrap_or_default();
            jam.deal();
        }
        self.taken += 1;
        self.left -= 1;
        self.stretch.deal();
        Some(due)
    }

    /// Hits dealt out so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Hits the frequency asks for that were not dealt out.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// What the plan, as it was made last, asks for: to be looked at before catch-up moves anything.
    pub(crate) fn plan(&self) -> &Stretch {
        &self.stretch
    }

    /// A place among `overtime`, all of which were taken, became free at `now`. If hits were due meanwhile, all that
    /// are left are spread anew, the first of them due at once.
    ///
    /// They wait on, though, by the dues that they had, until a place stays free that none of the new dues wants at
    /// once: before that the target holds them up, and after it only catch-up does. What they have waited by then
    /// they remember.
    pub fn unblock(&mut self, now: Instant) {
        if self.stretch.overdue(now).is_none() {
            return self.relieve(now);
        }
        if self.jam.is_none() {
            self.jam = Some(self.stretch.clone());
        }
        self.spread(now);
    }

    /// Another place became free at `now` than the one that the next hit has: nobody waits for places any more.
    pub fn relieve(&mut self, now: Instant) {
        if self.jam.is_some() {
            self.end_jam(self.next_due().map_or(now, |due| due.min(now)));
        }
    }

    /// The generator itself was late at `now`: what is left is spread anew, but the delay is ours.
    pub fn fall_behind(&mut self, now: Instant) {
        if let Some(overdue) = self.stretch.overdue(now) {
            // There is a place for the first of them, and was when it was due.
            self.end_jam(now - overdue.first);
            self.late.add(overdue.hits, overdue.first, overdue.last);
            self.spread(now);
        }
    }

    /// From `now` on another pace: what was dealt out counts towards its frequency. A share changes its own part of
    /// it; as it doesn't know what the others have dealt out, it falls between theirs to within one distance of hits.
    pub fn change(&mut self, pace: Pace, now: Instant) {
        self.end_jam(now);
        self.pace = pace;
        self.left = self.share.part_of(pace.frequency).saturating_sub(self.taken);
        self.lay(now, self.left * u64::from(self.share.of));
    }

    /// From `now` on nothing is due, until the next [`change`](Self::change).
    pub fn rest(&mut self, now: Instant) {
        self.end_jam(now);
        self.stretch.count = self.stretch.dealt;
    }

    /// The same; and of a frequency of so many hits those are [left](Self::left) that were not dealt out.
    pub fn give_up(&mut self, frequency: u64, now: Instant) {
        self.rest(now);
        self.left = self.share.part_of(frequency).saturating_sub(self.taken);
    }

    /// Nobody waits for a place any more: who did until `now` remembers how long.
    fn end_jam(&mut self, now: Instant) {
        if let Some(overdue) = self.jam.take().and_then(|jam| jam.overdue(now)) {
            self.blocked.add(overdue.hits, overdue.first, overdue.last);
        }
    }

    /// Lays the share's hits among the `hits` that all shares have left, as far as these fit, between `now` and the
    /// end.
    fn lay(&mut self, now: Instant, hits: u64) {
        let grid = hits.min(self.fits(now, self.pace.frequency));
        self.stretch.lay(self.pace, now, grid, self.share);
        self.stretch.draw();
    }

    /// Spreads what is left, as far as it fits, between `now` and the end, the first due at once. A share that has
    /// fallen behind does so on its own.
    fn spread(&mut self, now: Instant) {
        let grid = self.left.min(self.fits(now, self.share.part_of(self.pace.frequency)));
        self.stretch.lay(Pace { phase: 0, ..self.pace }, now, grid, Share::WHOLE);
    }

    /// How many hits catch-up allows between `now` and the end to what has `frequency`; never less than one.
    fn fits(&self, now: Instant, frequency: u64) -> u64 {
        let window = self.end.saturating_duration_since(now).as_nanos();
        let densest = u128::from(frequency) * u128::from(self.pace.max_catch_up);
        match window {
            0 => 0,
            _ => u64::try_from((window * densest / self.per_ns).max(1)).unwrap_or(u64::MAX),
        }
    }
}

/// Where in the distance between two hits the first one lies, as a fraction of
/// 2³²: a hash of host and test, so that a thousand servers with one hit a
/// minute each don't all send it at the same moment.
pub fn phase(host: &str, test: &str) -> u32 {
    (seed(host, test, 0) >> 32) as u32
}

/// A number that is always the same for the same host, test and minute.
pub fn seed(host: &str, test: &str, minute: i64) -> u64 {
    // FNV-1a, then the finalizer of splitmix64: FNV's high bits alone differ too
    // little between names that differ in their last letter.
    let bytes = host.bytes().chain([0]).chain(test.bytes()).chain(minute.to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u32 = 1 << 31;

    fn pace(frequency: u64) -> Pace {
        Pace { frequency, phase: HALF, arrivals: Arrivals::Even, max_catch_up: 10 }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn drain(pacer: &mut Pacer) -> Vec<Due> {
        std::iter::from_fn(|| pacer.take()).collect()
    }

    #[test]
    fn dues_lie_evenly_from_the_plan_to_the_end() {
        #[track_caller]
        fn check(frequency: u64, start_ms: u64, expect: usize) {
            let begin = Instant::now();
            let end = begin + ms(59_900);
            let dues = drain(&mut Pacer::new(pace(frequency), begin + ms(start_ms), end, 1));
            assert_eq!(dues.len(), expect);
            let step = (59_900 - start_ms) as f64 / 1e3 / dues.len() as f64;
            for (k, due) in dues.iter().enumerate() {
                let ideal = start_ms as f64 / 1e3 + step * (k as f64 + 0.5);
                assert!(((due.at - begin).as_secs_f64() - ideal).abs() < 1e-6, "hit {k}");
                assert!(due.at < end);
            }
        }
        check(1, 0, 1);
        check(60, 300, 60);
        check(600, 40_000, 600);
        check(100_000, 0, 100_000);
        // Ten times the own rate of 100 a second for 4.9 s.
        check(6000, 55_000, 4900);
        // Never less than one.
        check(1, 59_500, 1);
        check(1, 59_900, 0);
    }

    #[test]
    fn within_a_window_of_its_own_a_pace_catches_up_as_densely_as_in_a_minute() {
        let begin = Instant::now();
        let end = begin + ms(2_000);
        let mut pacer = Pacer::within(Pace { phase: 0, ..pace(200) }, begin, end, 1);
        assert_eq!(drain(&mut pacer.clone()).len(), 200);
        assert_eq!(pacer.take().map(|due| due.at), Some(begin));
        // Ten times the own rate of 100 a second for the last 50 ms.
        pacer.unblock(begin + ms(1_950));
        assert_eq!(drain(&mut pacer).len(), 50);
    }

    #[test]
    fn what_was_blocked_is_spread_over_what_is_left_and_remembers() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(Pace { phase: 0, ..pace(599) }, begin, begin + ms(59_900), 1);
        for _ in 0..100 {
            pacer.take();
        }
        // The hit due at 10 s waits until 12 s, as do the twenty behind it.
        pacer.unblock(begin + ms(12_000));
        let first = pacer.take().unwrap();
        // The next place is nobody's for a while.
        pacer.unblock(begin + ms(12_010));
        let dues: Vec<_> = [first].into_iter().chain(drain(&mut pacer)).collect();
        assert_eq!(dues.len(), 499);
        assert_eq!((dues[0].at, dues[0].blocked), (begin + ms(12_000), ms(2000)));
        for (hit, due) in (1..=20).zip(&dues[1..]) {
            assert!(due.blocked.abs_diff(ms(2010 - 100 * hit)) < Duration::from_nanos(30), "{hit}: {due:?}");
        }
        assert_eq!(dues[21].blocked, Duration::ZERO);
        let step = 47.9 / 499.0;
        assert!(dues.windows(2).all(|w| ((w[1].at - w[0].at).as_secs_f64() - step).abs() < 1e-6));
        assert!(dues.iter().all(|due| due.late == Duration::ZERO));
    }

    #[test]
    fn who_waits_behind_a_target_that_is_always_busy_waits_since_its_first_due() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let begin = Instant::now();
            let own = Pace { arrivals, ..pace(599) };
            let planned = drain(&mut Pacer::new(own, begin, begin + ms(59_900), 1));
            let mut pacer = Pacer::new(own, begin, begin + ms(59_900), 1);
            let mut now = planned[0].at;
            for first in &planned[..58] {
                let due = pacer.take().unwrap();
                assert!(due.blocked.abs_diff(due.at - first.at) < Duration::from_nanos(30));
                assert_eq!(due.at, now);
                now += ms(1000);
                pacer.unblock(now);
            }
        }
    }

    #[test]
    fn two_places_at_once_are_one_more_than_anybody_waits_for() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(Pace { phase: 0, ..pace(599) }, begin, begin + ms(59_900), 1);
        pacer.take();
        // Ten hits have become due when the first place is free, and catch-up gives the second to none of them.
        pacer.unblock(begin + ms(1050));
        pacer.relieve(begin + ms(1050));
        let dues = drain(&mut pacer);
        for (hit, due) in (1..=10).zip(&dues) {
            assert!(due.blocked.abs_diff(ms(1050 - 100 * hit)) < Duration::from_nanos(30), "{hit}: {due:?}");
        }
        assert_eq!(dues[10].blocked, Duration::ZERO);
    }

    #[test]
    fn our_own_lateness_is_spread_too_and_never_called_blocked() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(pace(600), begin, begin + ms(59_900), 1);
        pacer.fall_behind(begin + ms(5000));
        let dues = drain(&mut pacer);
        assert_eq!(dues.len(), 600);
        assert!(dues[0].late > ms(4900));
        assert!(dues.iter().all(|due| due.blocked == Duration::ZERO && due.at >= begin + ms(5000)));
    }

    #[test]
    fn a_change_counts_what_was_sent() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(pace(600), begin, begin + ms(59_900), 1);
        for _ in 0..300 {
            pacer.take();
        }
        pacer.change(pace(1000), begin + ms(30_000));
        assert_eq!((pacer.left(), drain(&mut pacer).len()), (700, 700));
        pacer.change(pace(600), begin + ms(31_000));
        assert_eq!((pacer.left(), pacer.next_due()), (0, None));
        pacer.change(pace(1100), begin + ms(31_000));
        pacer.rest(begin + ms(32_000));
        assert_eq!((pacer.left(), pacer.next_due()), (100, None));
    }

    #[test]
    fn random_arrivals_are_as_many_and_as_dense() {
        let begin = Instant::now();
        let end = begin + ms(60_000);
        let mut pacer = Pacer::new(Pace { arrivals: Arrivals::Poisson, ..pace(60_000) }, begin, end, 3);
        let dues = drain(&mut pacer);
        assert_eq!(dues.len(), 60_000);
        assert!(dues.windows(2).all(|w| w[0].at <= w[1].at) && dues.iter().all(|due| due.at <= end));
        for sixth in 0..6 {
            let from = begin + ms(sixth * 10_000);
            let hits = dues.iter().filter(|due| due.at >= from && due.at < from + ms(10_000)).count();
            // A binomial's standard deviation is 91 here.
            assert!((9_500..10_500).contains(&hits), "{hits} in sixth {sixth}");
        }
        // Gaps of a Poisson process are as long on average as they spread.
        let gaps: Vec<f64> = dues.windows(2).map(|w| (w[1].at - w[0].at).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((0.97..1.03).contains(&(deviation / mean)), "{}", deviation / mean);
    }

    /// Whatever happens in a minute, to a whole test or to a share: dues never
    /// go backwards, none is at or after the end, never denser than what is
    /// left ÷ time left or ten times the own rate, and every hit is dealt out
    /// or left.
    #[test]
    fn any_minute_of_stalls_and_changes_keeps_its_promises() {
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..300 {
            let begin = Instant::now();
            let end = begin + ms(59_900);
            let of = random.u32(1..4);
            let share = Share { number: random.u32(0..of), of };
            let whole = Pace { phase: random.u32(..), ..pace(random.u64(1..5000)) };
            let frequency = share.part_of(whole.frequency);
            let mut now = begin + ms(random.u64(0..59_900));
            let mut pacer = Pacer::of_share(share, whole, now, end, round);
            let mut dealt = 0;
            while let Some(due) = pacer.next_due() {
                assert!(due < end);
                now = now.max(due);
                if random.u8(..) < 10 {
                    now += ms(random.u64(0..5000));
                    let left = pacer.left();
                    if random.bool() {
                        pacer.unblock(now);
                    } else {
                        pacer.fall_behind(now);
                    }
                    assert_eq!(pacer.left(), left);
                    let Some(first) = pacer.next_due() else { break };
                    assert!(first >= now || first == due, "what was not overdue stays");
                    if first >= now {
                        let densest = (frequency * 10) as f64 / 60.0;
                        let rate = pacer.stretch.count as f64 / (end - now).as_secs_f64();
                        assert!(rate <= densest * 1.0001 || pacer.stretch.count == 1, "{rate} over {densest}");
                    }
                }
                let before = pacer.next_due();
                dealt += 1;
                assert_eq!(pacer.take().map(|due| due.at), before);
                if let (Some(before), Some(next)) = (before, pacer.next_due()) {
                    assert!(next > before);
                }
            }
            assert_eq!(dealt + pacer.left(), frequency);
            assert_eq!(dealt, pacer.taken());
        }
    }

    #[test]
    fn the_union_of_shares_is_the_whole() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let begin = Instant::now();
            let (now, end) = (begin + ms(random.u64(0..59_900)), begin + ms(59_900));
            let pace = Pace { phase: random.u32(..), ..pace(random.u64(1..3000)) };
            let of = random.u32(1..9);
            let whole = drain(&mut Pacer::new(pace, now, end, 1));
            let shares = Share::all(of).map(|share| Pacer::of_share(share, pace, now, end, 1));
            let mut union: Vec<Due> = shares.flat_map(|mut share| drain(&mut share)).collect();
            union.sort_by_key(|due| due.number);
            assert_eq!(union, whole, "{of} shares of {pace:?}");
        }
    }

    #[test]
    fn shares_stay_apart_and_whole_through_stalls_and_changes() {
        let mut random = fastrand::Rng::with_seed(9);
        for round in 0..300 {
            let begin = Instant::now();
            let end = begin + ms(59_900);
            let arrivals = if random.bool() { Arrivals::Even } else { Arrivals::Poisson };
            let first = Pace { arrivals, phase: random.u32(..), ..pace(random.u64(1..3000)) };
            let changed = Pace { frequency: random.u64(1..3000), ..first };
            let of = random.u32(1..6);
            let (stall, change) = (begin + ms(random.u64(0..30_000)), begin + ms(random.u64(30_000..50_000)));
            let (mut numbers, mut left) = (Vec::new(), 0);
            for share in Share::all(of) {
                let mut pacer = Pacer::of_share(share, first, begin, end, round);
                while pacer.next_due().is_some_and(|due| due < stall) {
                    numbers.extend(pacer.take().map(|due| due.number));
                }
                if random.bool() {
                    pacer.unblock(stall + ms(random.u64(0..20_000)));
                }
                while pacer.next_due().is_some_and(|due| due < change) {
                    numbers.extend(pacer.take().map(|due| due.number));
                }
                pacer.change(changed, change);
                let own = changed.max_catch_up as f64 * changed.frequency as f64 / 60.0 / f64::from(of);
                let rate = pacer.stretch.count as f64 / (end - change).as_secs_f64();
                assert!(rate <= own + 1.0, "{rate} over {own}");
                let dues = drain(&mut pacer);
                assert!(dues.iter().all(|due| due.at >= change && due.at <= end));
                numbers.extend(dues.iter().map(|due| due.number));
                left += pacer.left();
            }
            let dealt = numbers.len() as u64;
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len() as u64, dealt, "a number was given twice");
            assert!(dealt + left >= changed.frequency, "{dealt} and {left} of {changed:?}");
            if changed.frequency >= first.frequency {
                assert_eq!(dealt + left, changed.frequency);
            }
        }
    }

    #[test]
    fn a_share_that_was_held_up_spreads_its_own_hits_alone() {
        let begin = Instant::now();
        let share = Share { number: 1, of: 2 };
        let mut pacer = Pacer::of_share(share, Pace { phase: 0, ..pace(1198) }, begin, begin + ms(59_900), 1);
        for nth in 0..100 {
            assert_eq!(pacer.take().map(|due| due.number), Some(2 * nth + 1));
        }
        // The share's hit 100 is due at 10.05 s; it waits until 12.05 s, as do the twenty behind it.
        pacer.unblock(begin + ms(12_050));
        let first = pacer.take().unwrap();
        pacer.unblock(begin + ms(12_060));
        let dues: Vec<_> = [first].into_iter().chain(drain(&mut pacer)).collect();
        assert_eq!((dues.len(), dues[0].number), (499, 201));
        assert_eq!((dues[0].at, dues[0].blocked), (begin + ms(12_050), ms(2000)));
        assert!(dues[20].blocked > Duration::ZERO);
        assert_eq!(dues[21].blocked, Duration::ZERO);
        let step = 47.85 / 499.0;
        assert!(dues.windows(2).all(|w| ((w[1].at - w[0].at).as_secs_f64() - step).abs() < 1e-6));
    }

    #[test]
    fn random_arrivals_of_shares_are_as_many_and_not_the_same() {
        let begin = Instant::now();
        let pace = Pace { arrivals: Arrivals::Poisson, ..pace(1001) };
        let shares = Share::all(2).map(|share| Pacer::of_share(share, pace, begin, begin + ms(60_000), 3));
        let [first, second] = shares.map(|mut share| drain(&mut share)).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((first.len(), second.len()), (501, 500));
        assert!(first.iter().zip(&second).all(|(first, second)| first.at != second.at));
    }

    #[test]
    fn parts_of_a_total_add_up_to_it() {
        for of in 1..20 {
            for total in 0..100 {
                let parts: Vec<u64> = Share::all(of).map(|share| share.part_of(total)).collect();
                assert_eq!(parts.iter().sum::<u64>(), total);
                assert!(parts.is_sorted_by(|a, b| a >= b) && parts[0] - parts[parts.len() - 1] <= 1, "{parts:?}");
            }
        }
    }

    #[test]
    fn phases_of_a_thousand_servers_fill_the_minute() {
        let mut tenths = [0; 10];
        for server in 0..1000 {
            let phase = f64::from(phase(&format!("web{server}"), "checkout")) / 2f64.powi(32);
            tenths[(phase * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|hits| (60..140).contains(hits)), "{tenths:?}");
    }
}
