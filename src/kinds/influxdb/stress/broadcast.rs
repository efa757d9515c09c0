//! Several handlers that hear the same.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::sync::mpsc::Sender;

use super::response::{Heard, Response, Responses, pipe};
use super::timer::Timer;

/// How long a handler that takes nothing keeps the others waiting: from then on it hears no more. Less than all of them
/// together are waited for.
pub const MAX_DEAF: Duration = Duration::from_secs(30);

/// A handler, whatever it is.
type AnyHandler<'a, W> = Box<dyn FnOnce(Responses<W>, Timer) -> LocalBoxFuture<'a, ()> + 'a>;

/// Lets several handlers hear the responses of one half of a stress test.
///
/// Each of them hears all. The slowest of them sets the pace, as one handler alone would; one that returns, or takes
/// nothing for half a minute, is waited for no longer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::influxdb::Error> {
/// use canihaz::influxdb::{Broadcast, StressTest, basic_read_handler, basic_write_handler};
///
/// let handlers = Broadcast::new()
///     .register(basic_write_handler)
///     .register(async |mut responses, _timer| {
///         while let Some(response) = responses.next().await {
///             if let Some(failure) = response.failure {
///                 eprintln!("{failure}");
///             }
///         }
///     });
/// let mut test = StressTest::new();
/// test.start(async |responses, timer| handlers.handle(responses, timer).await, basic_read_handler).await?;
/// # Ok(())
/// # }
/// ```
pub struct Broadcast<'a, W>(Vec<AnyHandler<'a, W>>);

impl<'a, W: Clone + 'a> Broadcast<'a, W> {
    /// Nobody hears anything yet.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// One handler more; what it gives back is dropped.
    #[must_use]
    pub fn register<T>(mut self, handler: impl AsyncFnOnce(Responses<W>, Timer) -> T + 'a) -> Self {
        self.0.push(Box::new(move |responses, timer| {
            Box::pin(async move {
                handler(responses, timer).await;
            })
        }));
        self
    }

    /// Hands each response to each of the handlers, and waits until they have returned. To be a handler itself.
    ///
    /// How many of the responses that it has heard some handler has not; what came after all of them had left it hasn't
    /// heard itself.
    ///
    /// # Panics
    /// When one of the handlers has, but not before the others have returned.
    pub async fn handle(self, mut responses: Responses<W>, timer: Timer) -> u64 {
        let (mut tellers, mut heard, mut handlers) = (Vec::new(), Vec::new(), Vec::new());
        for handler in self.0 {
            let (teller, responses) = pipe();
            tellers.push(teller);
            heard.push(responses.heard());
            let timer = timer.clone();
            handlers.push(AssertUnwindSafe(async move { handler(responses, timer).await }).catch_unwind());
        }
        let telling = async move {
            let mut told = 0;
            while !tellers.is_empty()
                && let Some(response) = responses.next().await
            {
                tellers = tell(tellers, &response).await;
                told += 1;
            }
            told
        };
        let (told, ended) = tokio::join!(telling, join_all(handlers));
        let panicked: Option<Box<dyn Any + Send>> = ended.into_iter().find_map(Result::err);
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
        // Each has heard the first ones, up to where it left.
        told - heard.iter().map(Heard::get).min().unwrap_or(told)
    }
}

impl<'a, W: Clone + 'a> Default for Broadcast<'a, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> fmt::Debug for Broadcast<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broadcast({} handlers)", self.0.len())
    }
}

/// Tells all; those who are still there to hear it.
async fn tell<W: Clone>(tellers: Vec<Sender<Response<W>>>, response: &Response<W>) -> Vec<Sender<Response<W>>> {
    // All at once: those who are deaf together are waited for no longer than one of them.
    let telling = tellers.into_iter().map(async |teller| {
        let told = teller.send_timeout(response.clone(), MAX_DEAF).await;
        told.is_ok().then_some(teller)
    });
    join_all(telling).await.into_iter().flatten().collect()
}
