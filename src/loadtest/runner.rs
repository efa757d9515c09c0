//! An author's code, and what runs it once.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use thiserror::Error;

use super::{Error, NullArg};

/// A journey of a user, as its author has written it.
///
/// ```
/// use canihaz::loadtest::{Error, Runner};
///
/// struct Shop;
///
/// impl Runner for Shop {
///     async fn run(&self) -> Result<(), Error> {
///         Ok(())
///     }
/// }
/// ```
///
/// # Cancellation
/// A journey is given up by dropping its future: when the agent has waited for long enough, and when the load test is
/// to end.
pub trait Runner: Send + Sync + 'static {
    /// Runs the journey once. Any number may be on their way at the same time: the type's `overtime` says how many.
    ///
    /// An error is a failed hit, whose words, with its sources', go to the log. Its reason is `other`, but of an
    /// error of reqwest's what that tells (`connect`, `dns`, `tls`, `timeout`, `status`, `body`, `protocol`), of a
    /// time-out of tokio's `timeout`, and of a [`Failure`](crate::Failure) its own.
    ///
    /// # Panics
    /// A journey that panics is a failed hit, too, reason `panic`, unless the program was built with
    /// `panic = "abort"`.
    fn run(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Runs an author's code when it is told to.
#[derive(Debug)]
pub struct Server<R> {
    runner: R,
}

/// A journey that panicked, and what it said.
#[derive(Debug, Error)]
#[error("the journey panicked: {0}")]
pub struct Panicked(pub String);

impl<R: Runner> Server<R> {
    /// A server of these journeys, to be [started](super::start_listener).
    pub const fn new(runner: R) -> Self {
        Self { runner }
    }

    /// Runs one journey: what the agent asks for.
    ///
    /// # Errors
    /// The journey's own; [`Panicked`] when it panicked.
    pub async fn run(&self, _: &NullArg, _: &NullArg) -> Result<(), Error> {
        // Called in the block, as it may panic before there is a future.
        let journey = AssertUnwindSafe(async { self.runner.run().await });
        journey.catch_unwind().await.unwrap_or_else(|payload| Err(Panicked(said(payload.as_ref())).into()))
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("it didn't say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Odd {
        Well,
        Erring,
        Panicking,
        Silent,
        AtOnce,
    }

    impl Runner for Odd {
        fn run(&self) -> impl Future<Output = Result<(), Error>> + Send {
            assert!(!matches!(self, Self::AtOnce), "at once");
            async {
                tokio::task::yield_now().await;
                match self {
                    Self::Well => Ok(()),
                    Self::Erring => Err("no cats".into()),
                    Self::Panicking => panic!("{} cats", 13),
                    Self::Silent => std::panic::panic_any(13),
                    Self::AtOnce => unreachable!(),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_journey_is_run_and_a_panic_is_an_error() {
        #[track_caller]
        fn check(ended: Result<(), Error>, expect: &str, panicked: bool) {
            let error = ended.unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is::<Panicked>()), (expect, panicked));
        }
        let run = async |runner| Server::new(runner).run(&(), &()).await;
        run(Odd::Well).await.unwrap();
        check(run(Odd::Erring).await, "no cats", false);
        check(run(Odd::Panicking).await, "the journey panicked: 13 cats", true);
        check(run(Odd::Silent).await, "the journey panicked: it didn't say why", true);
        check(run(Odd::AtOnce).await, "the journey panicked: at once", true);
    }
}
