//! The time stamps of points that are stamped with the present.
//!
//! They are given when numbers are lent, not when a batch is sent: so a batch
//! that is sent again has the ones that it had. Each batch has the moment at
//! which it will be about due; where the frequency is raised after that, it is
//! sent sooner than its stamps say.
//!
//! For 100 series in batches of 250, from the point 1000 on, with 1 s between
//! batches and stamps of whole milliseconds: points 1000 to 1099 have `base`,
//! 1100 to 1199 `base` + 1 ms, 1200 to 1249 `base` + 2 ms, 1250 to 1349
//! `base` + 1 s.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Time stamps by a point's number. No two points of a series have the same one, and none has a smaller one than a
/// point before it, if `gap` is at least the [least](Clock::least_gap).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The number of the first point that has a stamp by this clock.
    pub first: u64,
    /// Its stamp, in nanoseconds since 1970.
    pub base: i64,
    /// How many points a batch has, at least 1.
    pub batch: u64,
    /// From one batch to the next, in nanoseconds; stamps are the last whole number of steps from the base by then.
    pub gap: u64,
    /// How many series take turns, at least 1.
    pub series: u64,
    /// From one point of a series to its next in a batch, in nanoseconds, at least 1.
    pub step: u64,
}

impl Clock {
    /// The least gap between batches that keeps the points of a series apart, in nanoseconds.
    pub fn least_gap(batch: u64, series: u64, step: u64) -> u64 {
        if batch > series {
            ((batch - 1) / series + 1).saturating_mul(step)
        } else {
            // A series has its turn again after so many batches at the least.
            step.div_ceil(series / batch)
        }
    }

    /// Whether stamps can be had by it: text from a file may say anything.
    pub fn is_sound(&self) -> bool {
        let sizes = self.batch > 0 && self.series > 0 && self.step > 0;
        sizes && self.gap >= Self::least_gap(self.batch, self.series, self.step)
    }

    /// The stamp of the point `number`, which isn't before the first, in nanoseconds since 1970.
    pub fn stamp(&self, number: u64) -> i64 {
        let since = number.saturating_sub(self.first);
        let (batch, within) = (since / self.batch, since % self.batch);
        let steps = (batch.saturating_mul(self.gap) / self.step).saturating_add(within / self.series);
        self.base.saturating_add_unsigned(steps.saturating_mul(self.step))
    }

    /// The stamp of the point `number`, and the points from it on that share it: at most one of each series.
    pub fn run(&self, number: u64) -> (i64, Range<u64>) {
        let within = number.saturating_sub(self.first) % self.batch;
        let left = (self.series - within % self.series).min(self.batch - within);
        (self.stamp(number), number..number.saturating_add(left))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_points_of_a_series_never_share_a_stamp() {
        for (batch, series) in [(250, 100), (1, 7), (7, 7), (10, 3), (100, 1), (3, 10), (4, 10), (1, 1)] {
            for more in [0, 1, 7, 25] {
                let gap = Clock::least_gap(batch, series, 10) + more;
                let clock = Clock { first: 1000, base: 5_000, batch, gap, series, step: 10 };
                let stamps: BTreeSet<_> = (1000..3000).map(|number| (number % series, clock.stamp(number))).collect();
                assert_eq!(stamps.len(), 2000, "{clock:?}");
                assert!((1000..3000).all(|number| clock.stamp(number) <= clock.stamp(number + 1)), "{clock:?}");
                assert!((1000..3000).all(|number| clock.stamp(number) % 10 == 0), "{clock:?}");
            }
        }
    }

    #[test]
    fn the_example() {
        let clock = Clock { first: 1000, base: 0, batch: 250, gap: 1_000_000_000, series: 100, step: 1_000_000 };
        let at = |number| clock.stamp(number) / 1_000_000;
        assert_eq!([at(1000), at(1099), at(1100), at(1249), at(1250), at(1350)], [0, 0, 1, 2, 1000, 1001]);
        assert_eq!(clock.run(1000), (0, 1000..1100));
        assert_eq!(clock.run(1240), (2_000_000, 1240..1250));
    }

    #[test]
    fn a_run_of_points_shares_one_stamp() {
        for (batch, series) in [(250, 100), (1, 7), (7, 7), (10, 3), (100, 1), (3, 10)] {
            let gap = Clock::least_gap(batch, series, 10);
            let clock = Clock { first: 5, base: 0, batch, gap, series, step: 10 };
            for number in 5..600 {
                let (stamp, run) = clock.run(number);
                assert!(run.contains(&number) && run.into_iter().all(|number| clock.stamp(number) == stamp));
            }
        }
    }
}
