//! What hits got done beside having ended: points that a database took, rows that it gave back.
//!
//! Where the work has an order that is kept over runs, its finished parts are
//! here, too, so that a part is counted in the very interval with which it is
//! known to be done.
//!
//! Names become parts of metrics' names, so they are made to be such here, as
//! those of [values](crate::values) are. Of too many the first in byte order
//! stand, whatever came first, so that intervals, threads and servers merge to
//! what they would have been as one. What is not kept is counted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ranges::Ranges;
use crate::values::{MAX_NAMES, to_name};

/// What a hit got done; of a tally, what all of its hits did.
///
/// ```
/// use canihaz::{Outcome, Work, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// # use std::time::Duration;
/// # use canihaz::{Rate, Target};
/// struct Mailer;
///
/// impl Target for Mailer {
///     async fn hit(&self, _number: u64) -> Outcome {
///         Outcome { work: Some(Work::of([("mails", 25)]).into()), ..Outcome::default() }
///     }
/// }
///
/// let tally = Worker::hire("mailer", Mailer).work(Rate::per_second(20), Duration::from_millis(100)).await?;
/// assert_eq!(tally.work.expect("mails were sent").counts["mails"], 50);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Work {
    /// How many of what, by name. A count of 0 is one, too: it says that there is something to count.
    ///
    /// Of a tally's names, all but ASCII letters, digits, `_` and `-` is `_`, and they have at most 64 characters.
    /// There are at most 50: the first in byte order, each with all that was counted under it.
    pub counts: BTreeMap<Cow<'static, str>, u64>,
    /// The sum of what was counted under other names.
    #[serde(default, skip_serializing_if = "is_zero")]
    dropped: u64,
    /// Which parts of a larger work are done, by the loan that they were taken out with.
    #[serde(skip)]
    pub(crate) done: BTreeMap<u64, Ranges>,
}

impl Work {
    /// So many of each.
    pub fn of<const N: usize>(counts: [(&'static str, u64); N]) -> Self {
        let counts = counts.into_iter().map(|(name, count)| (name.into(), count)).collect();
        Self { counts, ..Self::default() }
    }

    /// The counts, in byte order of their names.
    pub fn named(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.counts.iter().map(|(name, count)| (name.as_ref(), *count))
    }

    /// The sum of what was counted under names that there were too many of.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds all of `other`, as if all had been done here.
    pub fn merge(&mut self, other: &Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        for (name, count) in &other.counts {
            match self.counts.get_mut(name) {
                Some(sum) => *sum = sum.saturating_add(*count),
                None => self.add(name.clone(), *count),
            }
        }
        for (loan, ranges) in &other.done {
            self.done.entry(*loan).or_default().merge(ranges);
        }
    }

    /// Adds a count under the name as it is written in metrics.
    fn add(&mut self, name: Cow<'static, str>, count: u64) {
        let safe = to_name(&name);
        // Most names are parts of the program: they are not copied.
        let other = (safe != name).then(|| safe.into_owned());
        let name = other.map_or(name, Cow::Owned);
        let sum = self.counts.entry(name).or_default();
        *sum = sum.saturating_add(count);
        if self.counts.len() > MAX_NAMES
            && let Some((_, last)) = self.counts.pop_last()
        {
            self.dropped = self.dropped.saturating_add(last);
        }
    }
}

impl<N: Into<Cow<'static, str>>> FromIterator<(N, u64)> for Work {
    /// So many of each, as if each had been done by a hit of its own.
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(counts: I) -> Self {
        let mut work = Self::default();
        counts.into_iter().for_each(|(name, count)| work.add(name.into(), count));
        work
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::gossip::Ended;
    use crate::pacer::Due;
    use crate::summary::Tally;
    use crate::target::Outcome;

    fn work<const N: usize>(counts: [(&str, u64); N]) -> Work {
        let counts = counts.into_iter().map(|(name, count)| (name.to_owned().into(), count)).collect();
        Work { counts, ..Work::default() }
    }

    fn ended(work: Option<Work>) -> Ended {
        let due = Due { number: 0, at: Instant::now(), blocked: Duration::ZERO, late: Duration::ZERO };
        Ended::new(due, due.at, due.at, Outcome { work: work.map(Box::new), ..Outcome::default() })
    }

    #[test]
    fn counts_of_a_name_are_added_up_and_none_is_one_too() {
        let mut sum = Work::default();
        for counts in [[("points", 5000), ("rejected", 0)], [("points", 4990), ("rejected", 10)]] {
            sum.merge(&Work::of(counts));
        }
        sum.merge(&Work::of([("retried", 0)]));
        assert_eq!(sum.named().collect::<Vec<_>>(), [("points", 9990), ("rejected", 10), ("retried", 0)]);
        sum.merge(&Work::of([("points", u64::MAX)]));
        assert_eq!((sum.counts["points"], sum.dropped()), (u64::MAX, 0));
    }

    #[test]
    fn names_are_made_parts_of_metrics_names() {
        #[track_caller]
        fn check(name: &str, expect: &str) {
            let mut sum = Work::default();
            sum.merge(&work([(name, 7)]));
            assert_eq!(sum.named().collect::<Vec<_>>(), [(expect, 7)]);
        }
        check("points", "points");
        check("Points-2_x", "Points-2_x");
        check("", "_");
        check("rows.read", "rows_read");
        check("größe", "gr__e");
        check("a:1|c\nb", "a_1_c_b");
        check(&"n".repeat(65), &"n".repeat(64));

        let all = [("rows_read", 1), ("rows read", 2), ("rows.read", 4)];
        assert_eq!(all.into_iter().collect::<Work>(), work([("rows_read", 7)]), "names that become the same are one");
        let mut sum = work([("rows_read", 1)]);
        sum.merge(&work([("rows read", 2), ("rows.read", 4)]));
        assert_eq!(sum, work([("rows_read", 7)]));
    }

    #[test]
    fn of_too_many_names_the_first_stand_and_the_rest_is_counted() {
        let mut all: Vec<_> = (0..80).flat_map(|number| vec![format!("n{number:02}"); 2]).collect();
        for _ in 0..10 {
            let mut sum = Work::default();
            all.iter().for_each(|name| sum.merge(&work([(name, 3)])));
            let expect: Vec<_> = (0..MAX_NAMES).map(|number| format!("n{number:02}")).collect();
            assert_eq!(sum.named().collect::<Vec<_>>(), expect.iter().map(|name| (&**name, 6)).collect::<Vec<_>>());
            assert_eq!(sum.dropped(), 30 * 6);
            fastrand::Rng::with_seed(3).shuffle(&mut all);
        }
    }

    #[test]
    fn however_it_is_split_merged_work_is_that_recorded_together() {
        let mut random = fastrand::Rng::with_seed(7);
        for parts in 1..8 {
            let mut split = vec![Tally::default(); parts];
            let mut together = Tally::default();
            let mut done = 0;
            for _ in 0..500 {
                let (name, count) = (format!("n{}", random.u32(0..70)), random.u64(0..1_000_000));
                let ended = ended(Some(work([(&name, count)])));
                split[random.usize(..parts)].record(&ended);
                together.record(&ended);
                done += count;
            }
            random.shuffle(&mut split);
            let mut merged = Tally::default();
            for part in split {
                // Through the disk, as each of them may have been.
                let stored = serde_json::to_string(&part).unwrap();
                merged.merge(&serde_json::from_str(&stored).unwrap());
            }
            assert_eq!(merged.work, together.work, "{parts} parts");
            let kept: u64 = merged.work.iter().flat_map(|work| work.named()).map(|(_, count)| count).sum();
            assert_eq!((kept + merged.work_dropped(), merged.ok), (done, 500));
        }
    }

    #[test]
    fn a_tally_has_work_once_a_hit_did_some() {
        let mut none = Tally::default();
        none.record(&ended(None));
        assert_eq!((none.work.as_ref(), none.work_dropped()), (None, 0));
        let some = Tally { work: Some(Work::of([("rows", 3)]).into()), ..Tally::default() };
        for (mut sum, other) in [(some.clone(), &none), (none.clone(), &some)] {
            sum.merge(other);
            assert_eq!(sum.work, some.work);
        }
    }
}
