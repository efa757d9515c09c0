//! Work in one call: of one worker, of several, or of as many as are alike.

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::error::Error;
use crate::rate::Rate;
use crate::summary::Tally;
use crate::target::Target;
use crate::wakeups::Wakeups;
use crate::worker::{Stint, Stopper, Worker, on_wakeups};

/// Hits `target` at `rate` for `duration`: hires a worker and lets it [work](Worker::work).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::time::Duration;
/// use canihaz::{Rate, work};
///
/// let target = async || Ok::<_, std::io::Error>("pong");
/// let tally = work(Rate::per_second(20), Duration::from_millis(100), target).await?;
/// assert_eq!(tally.ok, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Worker::work`].
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
pub async fn work(rate: Rate, duration: Duration, target: impl Target + 'static) -> Result<Tally, Error> {
    Worker::hire("work", target).work(rate, duration).await
}

/// Lets `workers` work side by side for `duration`, each of them at `rate`, and
/// gives back what each measured, in their order; at once when there are none.
///
/// Their hits take turns: those of the second of four come a quarter of their
/// distance after the first's. When one fails, all are canceled: none begins
/// if one can't, and if one stops later, the others do; their hits in flight
/// are dropped, and their gossipers hear of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::time::Duration;
/// use canihaz::{Rate, Worker, farm};
///
/// let workers = [
///     Worker::hire("browse", async || Ok::<_, String>("a page")),
///     Worker::hire("buy", async || Err::<&str, _>("sold out")),
/// ];
/// let tallies = farm(Rate::per_second(20), Duration::from_millis(100), &workers).await?;
/// assert_eq!((tallies[0].ok, tallies[1].failed), (2, 2));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first that a worker had, as [`Worker::work`].
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
pub async fn farm(rate: Rate, duration: Duration, workers: &[Worker]) -> Result<Vec<Tally>, Error> {
    let begin = Instant::now();
    let stints: Result<Vec<_>, _> = workers.iter().map(|worker| worker.agree(rate, duration, begin)).collect();
    let stints = stints?;
    on_wakeups(async |wakeups| together(stints, wakeups).await).await
}

/// Works through all of `stints`, which take turns; stops all when one fails.
async fn together(stints: Vec<Stint<'_>>, wakeups: &Rc<Wakeups>) -> Result<Vec<Tally>, Error> {
    let workers = stints.len();
    let stoppers: Vec<_> = stints.iter().map(Stint::stopper).collect();
    let working = stints.into_iter().enumerate().map(async |(number, stint)| {
        let turn = ((number as u128) << 32) / workers as u128;
        let phase = u32::try_from(turn).expect("a number is less than their count");
        (number, stint.shifted(phase).work(wakeups).await)
    });
    let mut working: FuturesUnordered<_> = working.collect();
    let mut tallies = vec![Tally::default(); workers];
    let mut failed = None;
    while let Some((number, worked)) = working.next().await {
        match worked {
            Ok(tally) => tallies[number] = tally,
            Err(error) => {
                stoppers.iter().for_each(Stopper::stop);
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(tallies), Err)
}

/// A farm of workers that are alike, as many as one likes: all hit `target`,
/// each of them at `rate`, for `duration`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::time::Duration;
/// use canihaz::{Rate, force};
///
/// let target = async || Ok::<_, String>("pong");
/// let force = force(Rate::per_second(20), Duration::from_millis(100), target);
/// for amount in 1..=3 {
///     assert_eq!(force.of(amount).await?.ok, 2 * amount as u64);
/// }
/// # Ok(())
/// # }
/// ```
pub fn force(rate: Rate, duration: Duration, target: impl Target + 'static) -> Force {
    Force { rate, duration, pattern: Worker::hire("force", target) }
}

/// Farms as many workers as it is told to; made by [`force`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// # use std::time::Duration;
/// # use canihaz::{Rate, force};
/// # let target = async || Ok::<_, String>("pong");
/// let tally = force(Rate::per_second(20), Duration::from_millis(100), target).of(4).await?;
/// assert_eq!(tally.ok, 8);
/// # Ok(())
/// # }
/// ```
pub struct Force {
    rate: Rate,
    duration: Duration,
    /// What all of them are like.
    pattern: Worker,
}

impl Force {
    /// What each of the workers is offered; overtime is each worker's own.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use canihaz::{Rate, force};
    /// # let target = async || Ok::<_, String>("pong");
    /// let force = force(Rate::per_second(20), Duration::from_millis(100), target).offers(|worker| worker.overtime(10));
    /// ```
    #[must_use]
    pub fn offers(mut self, offer: impl FnOnce(Worker) -> Worker) -> Self {
        self.pattern = offer(self.pattern);
        self
    }

    /// [Farms](farm) `amount` workers, and gives back what they measured
    /// together; at once for an amount of 0.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), canihaz::Error> {
    /// # use std::time::Duration;
    /// # use canihaz::{Rate, force};
    /// # let target = async || Ok::<_, String>("pong");
    /// let force = force(Rate::per_second(20), Duration::from_millis(100), target);
    /// assert_eq!(force.of(2).await?.planned(), 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`farm`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn of(&self, amount: usize) -> Result<Tally, Error> {
        let workers: Vec<_> = (0..amount).map(|number| self.pattern.like(format!("force #{number}"))).collect();
        let mut together = Tally::default();
        for tally in farm(self.rate, self.duration, &workers).await? {
            together.merge(&tally);
        }
        Ok(together)
    }
}

impl fmt::Debug for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Force({} for {:?}, {:?})", self.rate, self.duration, self.pattern)
    }
}
