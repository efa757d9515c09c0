//! Why a worker did not work.

use std::io;
use std::time::Duration;

use crate::rate::Rate;

/// Why a worker did not begin to work, or did not work to the end.
///
/// A target that fails is none of it: that is what is measured.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use canihaz::{Error, Rate, work};
///
/// let target = async || Ok::<_, String>("pong");
/// let refused = work(Rate::per_second(0), Duration::from_secs(1), target).await;
/// assert!(matches!(refused, Err(Error::InvalidRate { .. })));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Less than one hit a minute, or more than a million a second.
    #[error("invalid rate: {rate}: from 1 a minute to 1000000 a second")]
    InvalidRate {
        /// What was asked for.
        rate: Rate,
    },
    /// Too short for a single hit at its rate, or longer than 30 days.
    #[error("invalid duration: {duration:?} at {rate}: long enough for one hit, and at most 30 days")]
    InvalidDuration {
        /// What was asked for.
        duration: Duration,
        /// The rate that was asked for.
        rate: Rate,
    },
    /// The worker was given nothing to hit.
    #[error("target is missing: the worker {worker} needs something to hit")]
    MissingTarget {
        /// The worker's name.
        worker: String,
    },
    /// The worker works already.
    #[error("worker is busy: {worker} works already: hire another, or wait until it has finished")]
    WorkerIsBusy {
        /// The worker's name.
        worker: String,
    },
    /// No hit may be in flight.
    #[error("invalid overtime: 0 of the worker {worker}: at least 1 hit has to be let into flight")]
    InvalidOvertime {
        /// The worker's name.
        worker: String,
    },
    /// A gossiper of the worker panicked: some of its gossip was not heard.
    #[error("a gossiper of the worker {worker} panicked")]
    GossiperPanicked {
        /// The worker's name.
        worker: String,
    },
    /// The system has no timer: most likely no descriptor is left.
    #[error("no timer: {0}")]
    Timer(#[from] io::Error),
}
