//! How often a worker hits: a number, and whether it is a second's or a minute's.

use std::fmt;
use std::time::Duration;

/// The most hits a second that can be asked of one worker.
const MOST_PER_SECOND: u64 = 1_000_000;

/// Hits a second, or a minute: whichever was said.
///
/// From one a minute to a million a second; a worker that is asked for less or
/// more doesn't begin. Two rates are equal when the same was said.
///
/// ```
/// use canihaz::Rate;
///
/// assert_eq!(Rate::per_second(1).to_string(), "1 a second");
/// assert_eq!(Rate::per_minute(60).to_string(), "60 a minute");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    hits: u64,
    per: Per,
}

/// What hits are counted in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Per {
    Second,
    Minute,
}

impl Rate {
    /// So many hits a second, 1 to 1,000,000.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), canihaz::Error> {
    /// # use std::time::Duration;
    /// # use canihaz::{Rate, work};
    /// # let target = async || Ok::<_, String>("pong");
    /// let tally = work(Rate::per_second(500), Duration::from_millis(20), target).await?;
    /// assert_eq!(tally.planned(), 10);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn per_second(hits: u64) -> Self {
        Self { hits, per: Per::Second }
    }

    /// So many hits a minute, 1 to 60,000,000.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), canihaz::Error> {
    /// # use std::time::Duration;
    /// # use canihaz::{Rate, work};
    /// # let target = async || Ok::<_, String>("pong");
    /// let tally = work(Rate::per_minute(30_000), Duration::from_millis(20), target).await?;
    /// assert_eq!(tally.planned(), 10);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn per_minute(hits: u64) -> Self {
        Self { hits, per: Per::Minute }
    }

    /// Whether it can be worked at.
    pub(crate) const fn is_valid(self) -> bool {
        0 < self.hits && self.hits <= MOST_PER_SECOND * self.per.seconds()
    }

    /// How many whole hits `duration` has time for.
    pub(crate) fn hits_in(self, duration: Duration) -> u64 {
        let hits = duration.as_nanos().saturating_mul(self.hits.into()) / self.per.ns();
        u64::try_from(hits).unwrap_or(u64::MAX)
    }

    /// How long `hits` hits take, one distance each; none for a rate of zero.
    pub(crate) fn time_of(self, hits: u64) -> Duration {
        let ns = (u128::from(hits) * self.per.ns()).checked_div(u128::from(self.hits)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl Per {
    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
        }
    }

    fn ns(self) -> u128 {
        u128::from(self.seconds()) * 1_000_000_000
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => "second",
            Per::Minute => "minute",
        };
        write!(f, "{} a {per}", self.hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_time_for_whole_hits() {
        #[track_caller]
        fn check(rate: Rate, ms: u64, hits: u64, time_ms: u64) {
            assert_eq!(rate.hits_in(Duration::from_millis(ms)), hits);
            assert_eq!(rate.time_of(hits), Duration::from_millis(time_ms));
        }
        check(Rate::per_second(1000), 1500, 1500, 1500);
        check(Rate::per_second(10), 950, 9, 900);
        check(Rate::per_minute(60), 90_500, 90, 90_000);
        check(Rate::per_minute(1), 59_999, 0, 0);
        check(Rate::per_second(0), 1000, 0, 0);
        assert_eq!(Rate::per_second(u64::MAX).hits_in(Duration::MAX), u64::MAX);
    }

    #[test]
    fn rates_reach_from_one_a_minute_to_a_million_a_second() {
        #[track_caller]
        fn check(rate: Rate, expect: bool) {
            assert_eq!(rate.is_valid(), expect, "{rate}");
        }
        check(Rate::per_minute(1), true);
        check(Rate::per_minute(0), false);
        check(Rate::per_second(0), false);
        check(Rate::per_second(1_000_000), true);
        check(Rate::per_second(1_000_001), false);
        check(Rate::per_minute(60_000_000), true);
        check(Rate::per_minute(60_000_001), false);
        check(Rate::per_second(u64::MAX), false);
    }
}
