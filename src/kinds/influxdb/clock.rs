//! The time stamps of points that are stamped with the present.
//!
//! They are given when numbers are taken out, not when a batch is sent: so a
//! batch that is sent again has the ones that it had. Each batch has the moment
//! at which it will be about due.
//!
//! For 100 series in batches of 250, from the point 1000 on, with 1 s between
//! batches and stamps of whole milliseconds: points 1000 to 1099 have `base`,
//! 1100 to 1199 `base` + 1 ms, 1200 to 1249 `base` + 2 ms, 1250 to 1349
//! `base` + 1 s.

use serde::{Deserialize, Serialize};

/// Time stamps by a point's number. No two points of a series have the same one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Clock {
    /// The number of the first point that has a stamp by this clock.
    pub first: u64,
    /// Its stamp, in nanoseconds since 1970; a whole number of steps.
    pub base: i64,
    /// How many points a batch has, at least 1.
    pub batch: u64,
    /// From one batch to the next, in nanoseconds; more than a batch's points are apart.
    pub gap: u64,
    /// How many series take turns, at least 1.
    pub series: u64,
    /// From one point of a series to its next in a batch, in nanoseconds.
    pub step: u64,
}

impl Clock {
    /// The stamp of the point `number`, which isn't before the first, in nanoseconds since 1970.
    pub fn stamp(&self, number: u64) -> i64 {
        let since = number.saturating_sub(self.first);
        let (batch, within) = (since / self.batch, since % self.batch);
        let after = batch.saturating_mul(self.gap).saturating_add((within / self.series).saturating_mul(self.step));
        self.base.saturating_add_unsigned(after)
    }

    /// The first point after `number` that may have another stamp.
    pub fn until(&self, number: u64) -> u64 {
        let since = number.saturating_sub(self.first);
        let within = since % self.batch;
        let turn = (within - within % self.series).saturating_add(self.series);
        self.first.saturating_add(since - within).saturating_add(turn.min(self.batch))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_points_of_a_series_never_share_a_stamp() {
        for (batch, series) in [(250, 100), (1, 7), (7, 7), (10, 3), (100, 1), (3, 10)] {
            let gap = ((batch - 1) / series + 1) * 10;
            let clock = Clock { first: 1000, base: 5_000, batch, gap, series, step: 10 };
            let stamps: BTreeSet<_> = (1000..3000).map(|number| (number % series, clock.stamp(number))).collect();
            assert_eq!(stamps.len(), 2000, "{clock:?}");
        }
    }

    #[test]
    fn a_stamp_holds_until_it_is_said_to() {
        for (batch, series) in [(250, 100), (1, 7), (7, 7), (10, 3), (100, 1), (3, 10)] {
            let clock = Clock { first: 1000, base: 5_000, batch, gap: 10_000, series, step: 10 };
            for number in 990..2000 {
                let until = clock.until(number);
                assert!(until > number);
                assert!((number..until).all(|other| clock.stamp(other) == clock.stamp(number)), "{number} {clock:?}");
                assert_ne!(clock.stamp(until), clock.stamp(number), "{number} {clock:?}");
            }
        }
    }

    #[test]
    fn the_example() {
        let clock = Clock { first: 1000, base: 0, batch: 250, gap: 1_000_000_000, series: 100, step: 1_000_000 };
        let at = |number| clock.stamp(number) / 1_000_000;
        assert_eq!([at(1000), at(1099), at(1100), at(1249), at(1250), at(1350)], [0, 0, 1, 2, 1000, 1001]);
    }
}
