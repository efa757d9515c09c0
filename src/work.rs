//! What hits got done beside having ended: points that a database took, rows that it gave back.
//!
//! Where the work has an order that is kept over runs, its finished parts are
//! here, too, so that a part is counted in the very interval with which it is
//! known to be done.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ranges::Ranges;

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
    /// How many of what; a name is part of a metric's name: of `a–z 0–9 _`.
    pub counts: BTreeMap<Cow<'static, str>, u64>,
    /// Which parts of a larger work are done, by the loan that they were taken out with.
    #[serde(skip)]
    pub(crate) done: BTreeMap<u64, Ranges>,
}

impl Work {
    /// So many of each.
    pub fn of<const N: usize>(counts: [(&'static str, u64); N]) -> Self {
        let counts = counts.into_iter().map(|(name, count)| (name.into(), count)).collect();
        Self { counts, done: BTreeMap::new() }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            match self.counts.get_mut(name) {
                Some(sum) => *sum = sum.saturating_add(*count),
                None => _ = self.counts.insert(name.clone(), *count),
            }
        }
        for (loan, ranges) in &other.done {
            self.done.entry(*loan).or_default().merge(ranges);
        }
    }
}
