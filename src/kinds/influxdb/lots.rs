//! Numbers of points, by the clock that their time stamps are from.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use crate::ranges::Ranges;

/// Numbers, each with its clock, or with none: where stamps follow from numbers alone, or aren't given yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<Lot>", into = "Vec<Lot>")]
pub struct Lots(BTreeMap<Option<Clock>, Ranges>);

/// The numbers of one clock, as they stand in a file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Lot {
    clock: Option<Clock>,
    numbers: Ranges,
}

impl Lots {
    /// Adds the numbers of `range`.
    pub fn insert(&mut self, clock: Option<Clock>, range: Range<u64>) {
        if !range.is_empty() {
            self.0.entry(clock).or_default().insert(range);
        }
    }

    /// Adds all of `numbers`.
    pub fn add(&mut self, clock: Option<Clock>, numbers: &Ranges) {
        numbers.iter().for_each(|range| self.insert(clock, range));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(clock, numbers)| self.add(*clock, numbers));
    }

    /// Takes `numbers` out, whatever their clocks are.
    pub fn remove(&mut self, numbers: &Ranges) {
        self.0.values_mut().for_each(|ranges| ranges.remove_all(numbers));
        self.0.retain(|_, ranges| !ranges.is_empty());
    }

    /// Takes the first numbers out, in their order: at most `most`, and none from `end` on.
    pub fn take(&mut self, most: u64, end: u64) -> Self {
        let mut taken = Self::default();
        let mut left = most;
        for (range, clock) in self.in_order() {
            let range = range.start..range.end.min(end).min(range.start.saturating_add(left));
            if range.is_empty() {
                break;
            }
            left -= range.end - range.start;
            taken.insert(clock, range);
        }
        taken.0.values().for_each(|numbers| self.remove(numbers));
        taken
    }

    /// Takes out the last range without a clock if it ends at `end`; where it began.
    pub fn take_end(&mut self, end: u64) -> Option<u64> {
        let unstamped = self.0.get_mut(&None)?;
        let last = unstamped.iter().next_back().filter(|range| range.end == end)?;
        unstamped.remove(last.clone());
        self.0.retain(|_, ranges| !ranges.is_empty());
        Some(last.start)
    }

    /// The clocks, with their numbers.
    pub fn by_clock(&self) -> impl Iterator<Item = (Option<Clock>, &Ranges)> {
        self.0.iter().map(|(clock, numbers)| (*clock, numbers))
    }

    /// The ranges, with their clocks, in the order of numbers.
    pub fn in_order(&self) -> Vec<(Range<u64>, Option<Clock>)> {
        let mut all: Vec<_> =
            self.0.iter().flat_map(|(clock, numbers)| numbers.iter().map(|range| (range, *clock))).collect();
        all.sort_unstable_by_key(|(range, _)| range.start);
        all
    }

    /// The smallest number; `None` when there are none.
    pub fn first(&self) -> Option<u64> {
        self.0.values().filter_map(|numbers| numbers.iter().next()).map(|range| range.start).min()
    }

    /// How many ranges they are.
    pub fn len(&self) -> usize {
        self.0.values().map(Ranges::len).sum()
    }
}

impl From<Vec<Lot>> for Lots {
    fn from(all: Vec<Lot>) -> Self {
        let mut lots = Self::default();
        all.iter().for_each(|lot| lots.add(lot.clock, &lot.numbers));
        lots
    }
}

impl From<Lots> for Vec<Lot> {
    fn from(lots: Lots) -> Self {
        lots.0.into_iter().map(|(clock, numbers)| Lot { clock, numbers }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(first: u64) -> Option<Clock> {
        Some(Clock { first, base: 0, batch: 10, gap: 10, series: 1, step: 1 })
    }

    #[test]
    fn the_first_are_taken_whatever_their_clocks_are() {
        let mut lots = Lots::default();
        lots.insert(clock(40), 40..50);
        lots.insert(clock(0), 0..10);
        lots.insert(None, 20..30);
        let taken = lots.take(25, 100);
        assert_eq!(taken.in_order(), [(0..10, clock(0)), (20..30, None), (40..45, clock(40))]);
        assert_eq!(lots.in_order(), [(45..50, clock(40))]);
        assert_eq!(lots.take(9, 47).in_order(), [(45..47, clock(40))]);
        assert_eq!((lots.first(), lots.len(), lots.take(9, 47)), (Some(47), 1, Lots::default()));
    }

    #[test]
    fn only_numbers_without_a_clock_are_taken_from_the_end() {
        let mut lots = Lots::default();
        lots.insert(clock(40), 40..50);
        lots.insert(None, 20..30);
        assert_eq!(
            (lots.take_end(50), lots.take_end(31), lots.take_end(30), lots.take_end(20)),
            (None, None, Some(20), None)
        );
        assert_eq!(lots.len(), 1);
    }
}
