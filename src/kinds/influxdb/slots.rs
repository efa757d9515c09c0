//! Which time stamps may be given next, so that no two points of a series get the same.
//!
//! Loans that are out at once are stamped with the same present, and so is what
//! is added to one. So each has a slot of its own: of every 16 units of the
//! precision it has one. With milliseconds, slot 3 has the stamps …003, …019,
//! …035. In a slot every new clock begins after all stamps that were given
//! there before. With a precision of seconds there is one slot only, and a
//! clock begins after every other.

use std::io;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use crate::ranges::Ranges;

/// How many slots there are, and how many units are from one stamp of a slot to its next.
pub const SLOTS: u32 = 16;
/// From this unit on there is one slot, in nanoseconds: 16 of them would be too far from the present.
const COARSE: u64 = 1_000_000_000;

/// What stamps with the present are made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Present {
    /// The wall clock's time, in nanoseconds since 1970.
    pub now: i64,
    /// When all batches are out that go out evenly from now on, in nanoseconds since 1970.
    pub until: i64,
    /// The unit of the precision, in nanoseconds, at least 1.
    pub step: u64,
    /// How many series take turns, at least 1.
    pub series: u64,
    /// How many points a batch has, at least 1.
    pub batch: u64,
}

/// The newest stamp that was given in each slot, in nanoseconds since 1970; `None`: none was.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Slots([Option<i64>; SLOTS as usize]);

impl Slots {
    /// The slot for what is lent beside what has `taken` others: a free one in which the present has not been given yet.
    ///
    /// Where all are taken it is shared: then its clocks begin after each other.
    pub fn choose(&self, present: &Present, taken: &[u32]) -> u32 {
        let all = 0..present.slots();
        let free: Vec<u32> = all.clone().filter(|slot| !taken.contains(slot)).collect();
        let candidates = if free.is_empty() { all.collect() } else { free };
        let is_past = |slot: &u32| self.newest(*slot) < Some(present.now);
        let past = candidates.iter().copied().find(is_past);
        past.or_else(|| candidates.into_iter().min_by_key(|slot| self.newest(*slot))).unwrap_or_default()
    }

    /// A clock for each of these ranges, one after the other in time: from the present on, evenly, until all are out.
    /// Later where the present was given already, or where there are too few stamps until then.
    ///
    /// # Errors
    /// When there are no stamps that far in the future.
    pub fn give(&mut self, slot: u32, present: &Present, ranges: &Ranges) -> io::Result<Vec<Clock>> {
        let (batch, series, unit) = (present.batch.max(1), present.series.max(1), present.step.max(1));
        let step = unit.saturating_mul(u64::from(present.slots()));
        let of_slot = |stamp: i64| {
            let (step, place) = (i128::from(step), i128::from(unit) * i128::from(slot));
            let stamp = i128::from(stamp);
            i64::try_from(stamp - (stamp - place).rem_euclid(step)).unwrap_or(i64::MIN)
        };
        let base_after = |newest: Option<i64>, wanted| match newest {
            Some(newest) if of_slot(wanted) <= newest => of_slot(newest).saturating_add_unsigned(step),
            _ => of_slot(wanted),
        };
        let mut wanted = present.now;
        let mut newest = self.newest(slot);
        let left = i128::from(present.until) - i128::from(base_after(newest, wanted));
        let batches: u64 = ranges.iter().map(|range| (range.end - range.start).div_ceil(batch)).sum();
        let gap = u64::try_from(left / i128::from(batches.max(1))).unwrap_or(0);
        let gap = gap.max(Clock::least_gap(batch, series, step));
        let mut clocks = Vec::with_capacity(ranges.len());
        for range in ranges.iter() {
            let base = base_after(newest, wanted);
            let clock = Clock { first: range.start, base, batch, gap, series, step };
            let last = clock.stamp(range.end - 1);
            if last == i64::MAX {
                return Err(io::Error::other("there are no time stamps left: is the wall clock right?"));
            }
            wanted = base.saturating_add_unsigned((range.end - range.start).div_ceil(batch).saturating_mul(gap));
            newest = Some(last);
            clocks.push(clock);
        }
        if let Some(slot) = self.0.get_mut(slot as usize) {
            *slot = newest;
        }
        Ok(clocks)
    }

    /// The newest stamp that was given in a slot.
    pub fn newest(&self, slot: u32) -> Option<i64> {
        self.0.get(slot as usize).copied().flatten()
    }

    /// The newest stamps of a slot were `given` and have not been used: `newest` was the last that was.
    ///
    /// Nothing is taken back when others were given after them.
    pub fn take_back(&mut self, slot: u32, given: Option<i64>, newest: Option<i64>) {
        if let Some(slot) = self.0.get_mut(slot as usize)
            && *slot == given
        {
            *slot = newest;
        }
    }

    /// Points of another kind come: whatever their unit is, their stamps begin after all that were given.
    pub fn level(&mut self) {
        self.0 = [self.0.iter().copied().max().flatten(); SLOTS as usize];
    }
}

impl Present {
    /// How far the `newest` stamp is after the moment at which all are out, in nanoseconds; `None` when it isn't.
    pub fn ahead(&self, newest: Option<i64>) -> Option<u64> {
        u64::try_from(newest?.checked_sub(self.until)?).ok()
    }

    /// How many slots there are at this precision.
    fn slots(&self) -> u32 {
        if self.step < COARSE { SLOTS } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;

    fn of(pairs: &[(u64, u64)]) -> Ranges {
        pairs.to_vec().into()
    }

    fn present(step: u64) -> Present {
        at(1_000_000_000_000_000_123, step)
    }

    /// For a minute from `now` on.
    fn at(now: i64, step: u64) -> Present {
        Present { now, until: now.saturating_add_unsigned(60 * S), step, series: 100, batch: 250 }
    }

    #[test]
    fn each_slot_has_its_own_stamps_near_the_present() {
        let mut slots = Slots::default();
        for step in [1, 1000, MS] {
            for slot in 0..SLOTS {
                let clock = slots.give(slot, &at(2 * present(step).now, step), &of(&[(0, 1000)])).unwrap()[0];
                for number in 0..1000 {
                    let stamp = clock.stamp(number).unsigned_abs();
                    assert_eq!((stamp % step, stamp / step % 16), (0, u64::from(slot)));
                }
                assert!((clock.base - 2 * present(step).now).unsigned_abs() <= 16 * step);
            }
            slots = Slots::default();
        }
    }

    #[test]
    fn batches_lie_evenly_in_what_is_left_and_none_is_ahead() {
        #[track_caller]
        fn check(left: u64, ranges: &[(u64, u64)], gap: u64) {
            let (mut slots, step) = (Slots::default(), 1_000);
            let present = Present { until: present(step).now.saturating_add_unsigned(left), ..present(step) };
            let clocks = slots.give(0, &present, &of(ranges)).unwrap();
            assert!(clocks.iter().all(|clock| clock.gap.abs_diff(gap) <= 16 * step), "{clocks:?}");
            assert!(slots.newest(0) <= Some(present.until), "{:?}", slots.newest(0));
        }
        check(60 * S, &[(0, 150_000)], S / 10);
        check(10 * S, &[(0, 150_000)], S / 60);
        check(10 * S, &[(0, 5_000), (10_000, 14_999)], S / 4);
        check(10 * S, &[(0, 1)], 10 * S);
    }

    #[test]
    fn a_clock_begins_after_every_stamp_that_was_given_in_its_slot() {
        for step in [1, 1000, MS, S] {
            let mut slots = Slots::default();
            let mut newest = i64::MIN;
            for start in [0, 10_000, 500] {
                let clocks = slots.give(0, &present(step), &of(&[(start, start + 777), (50_000, 50_010)])).unwrap();
                for (clock, end) in clocks.iter().zip([start + 777, 50_010]) {
                    assert!(clock.base > newest && clock.is_sound());
                    newest = clock.stamp(end - 1);
                }
            }
            assert_eq!(slots.newest(0), Some(newest));
        }
    }

    #[test]
    fn a_loan_takes_a_free_slot_in_which_the_present_has_not_been() {
        #[track_caller]
        fn check(newest: &[i64], taken: &[u32], step: u64, expect: u32) {
            let mut slots = Slots::default();
            slots.0.iter_mut().zip(newest).for_each(|(slot, ahead)| *slot = Some(present(step).now + ahead));
            assert_eq!(slots.choose(&present(step), taken), expect);
        }
        check(&[], &[], MS, 0);
        check(&[], &[0, 1], MS, 2);
        check(&[5, -5], &[], MS, 1);
        check(&[7, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7], &[1], MS, 2);
        check(&[7, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7], &(0..16).collect::<Vec<_>>(), MS, 1);
        check(&[7], &[0], S, 0);
    }

    #[test]
    fn stamps_that_were_not_used_are_given_again() {
        let mut slots = Slots::default();
        slots.give(0, &present(MS), &of(&[(0, 1000)])).unwrap();
        let given = slots.newest(0);
        slots.take_back(0, Some(7), None);
        assert_eq!(slots.newest(0), given);
        slots.take_back(0, given, None);
        assert_eq!(slots, Slots::default());
    }

    #[test]
    fn stamps_run_ahead_where_the_precision_leaves_too_few() {
        #[track_caller]
        fn check(step: u64, expect: Option<u64>) {
            let mut slots = Slots::default();
            slots.give(0, &present(step), &of(&[(0, 150_000)])).unwrap();
            assert_eq!(present(step).ahead(slots.newest(0)).map(|ahead| ahead / S), expect);
        }
        // 600 batches in a minute, each with three stamps a series; the first is up to a second in the past.
        check(1, None);
        check(MS, None);
        check(S, Some(600 * 3 - 2 - 60));
    }

    #[test]
    fn where_time_ends_there_is_an_error() {
        let mut slots = Slots([Some(i64::MAX); SLOTS as usize]);
        assert!(slots.give(3, &present(MS), &of(&[(0, 10)])).is_err());
        assert!(Slots::default().give(3, &at(i64::MAX, MS), &of(&[(0, u64::MAX)])).is_err());
        assert!(Slots::default().give(15, &at(i64::MIN, S), &of(&[(0, 10)])).is_ok());
    }
}
