//! Whole numbers, kept as the ranges that they make up: which of a test's points are written, say.
//!
//! Ranges never touch or overlap: what comes together becomes one.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of whole numbers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges {
    /// The end of each range by its start.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds every number of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &its_end)) = self.ends.range(..start).next_back()
            && its_end >= start
        {
            start = before;
        }
        while let Some((&other, &its_end)) = self.ends.range(start..=end).next_back() {
            end = end.max(its_end);
            self.ends.remove(&other);
        }
        self.ends.insert(start, end);
    }

    /// Takes every number of `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.ends.range(..range.end).next_back()
            && end > range.start
        {
            self.ends.remove(&start);
            if end > range.end {
                self.ends.insert(range.end, end);
            }
            if start < range.start {
                self.ends.insert(start, range.start);
            }
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|range| self.insert(range));
    }

    /// Takes every number of `other` out.
    pub fn remove_all(&mut self, other: &Self) {
        other.iter().for_each(|range| self.remove(range));
    }

    /// The numbers that are in `other`, too.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.remove_all(other);
        let mut common = self.clone();
        common.remove_all(&rest);
        common
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> {
        self.ends.iter().map(|(&start, &end)| start..end)
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// How many ranges they are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The largest number; `None` when there are none.
    pub fn last(&self) -> Option<u64> {
        self.ends.last_key_value().map(|(_, end)| end - 1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        pairs.into_iter().map(|(start, end)| start..end).collect()
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.ends.into_iter().collect()
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|range| all.insert(range));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every number, as a set that knows nothing of ranges.
    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.iter().flatten().collect()
    }

    #[test]
    fn whatever_comes_and_goes_the_numbers_are_those_of_a_set() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..20 {
                let start = random.u64(0..40);
                let range = start..start + random.u64(0..9);
                if random.u8(0..3) > 0 {
                    set.extend(range.clone());
                    ranges.insert(range);
                } else {
                    range.clone().for_each(|number| _ = set.remove(&number));
                    ranges.remove(range);
                }
                assert_eq!(numbers(&ranges), set);
                assert_eq!((ranges.count(), ranges.is_empty()), (set.len() as u64, set.is_empty()));
                let all: Vec<_> = ranges.iter().collect();
                assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start), "{all:?} touch");
            }
            let stored = serde_json::to_string(&ranges).unwrap();
            assert_eq!(serde_json::from_str::<Ranges>(&stored).unwrap(), ranges);
        }
    }

    #[test]
    fn merged_ranges_have_the_numbers_of_both() {
        let [mut one, other]: [Ranges; 2] = [vec![(0, 5), (10, 20)].into(), vec![(5, 7), (19, 30)].into()];
        one.merge(&other);
        assert_eq!(Vec::from(one.clone()), [(0, 7), (10, 30)]);
        assert_eq!((one.len(), one.last(), Ranges::default().last()), (2, Some(29), None));
    }

    #[test]
    fn common_numbers_are_in_both() {
        let [mut one, other]: [Ranges; 2] = [vec![(0, 5), (10, 20)].into(), vec![(3, 12), (19, 30)].into()];
        assert_eq!(Vec::from(one.common(&other)), [(3, 5), (10, 12), (19, 20)]);
        one.remove_all(&other);
        assert_eq!(Vec::from(one), [(0, 3), (12, 19)]);
    }

    #[test]
    fn what_is_no_range_is_nothing() {
        let stored: Ranges = serde_json::from_str("[[5,5],[9,3],[1,2]]").unwrap();
        assert_eq!(Vec::from(stored), [(1, 2)]);
    }
}
