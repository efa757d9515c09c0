//! A stress test in a program of one's own: points are written and queries asked, as fast as the database takes them.
//!
//! The words are those of influx_stress: a [`StressTest`] has a provisioner, a
//! writer (a point generator and a client) and a reader (a query generator and
//! a client). Each is a trait with a basic member, and the basic ones are built
//! on what the hits of a type are built on.
//!
//! All of it is one future: what generates, sends, asks and listens takes turns
//! on the caller's thread.

mod broadcast;
mod client;
mod error;
mod generator;
mod handlers;
mod provisioner;
mod queries;
mod query_client;
mod report;
mod response;
mod server;
mod template;
mod timer;
mod totals;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::time::Instant;

pub use broadcast::Broadcast;
pub use client::{BasicClient, Batch, Batching, InfluxClient};
pub use error::{Cause, Error};
pub use generator::{BasicPointGenerator, PointGenerator, PointSource};
pub use handlers::{basic_read_handler, basic_write_handler};
pub use provisioner::{BasicProvisioner, Provisioner};
pub use queries::{BasicQuery, QueryGenerator, QuerySource};
pub use query_client::{BasicQueryClient, Pacing, QueryClient};
pub use report::Report;
pub use response::{Asked, QueryResponse, Response, Responses, Teller, WriteResponse, Written};
pub use timer::Timer;
pub use totals::{Totals, Worked};

use super::session::now;

/// What is written and what is read beside each other, and what is seen to before that; each part where there is one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::influxdb::Error> {
/// use std::time::Duration;
/// use canihaz::influxdb::{
///     Batch, Fate, InfluxClient, PointGenerator, Response, StressTest, WriteResponse, Writer, Written,
/// };
///
/// /// A thousand points of one series, a second from each to the next.
/// struct Countdown(i64);
///
/// impl PointGenerator for Countdown {
///     fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
///         self.0 -= 1;
///         lines.extend_from_slice(format!("countdown left={}i {}", self.0, self.time()).as_bytes());
///         self.0 >= 0
///     }
///
///     fn time(&self) -> i64 {
///         (1_700_001_000 - self.0) * 1_000_000_000
///     }
/// }
///
/// /// Takes everything; a `BasicClient` would write it.
/// struct Nowhere;
///
/// impl InfluxClient for Nowhere {
///     async fn send(&self, batch: &Batch) -> WriteResponse {
///         let written = Written { points: batch.points(), fate: Fate::Done { rejected: 0 }, attempt: batch.attempt() };
///         Response::new(written, Duration::ZERO)
///     }
/// }
///
/// let mut test = StressTest::new().writer(Writer::new(Countdown(1000), Nowhere));
/// let ended = test
///     .start(
///         async |mut responses, _timer| {
///             let mut points = 0;
///             while let Some(response) = responses.next().await {
///                 points += response.work.acknowledged();
///             }
///             points
///         },
///         async |_responses, _timer| {},
///     )
///     .await?;
/// assert_eq!((ended.write.handled?, ended.write.totals.points()), (1000, 1000));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StressTest<
    P = BasicProvisioner,
    G = BasicPointGenerator,
    C = BasicClient,
    Q = BasicQuery,
    D = BasicQueryClient,
> {
    /// What sees to the database first; `None`: it is as it is.
    pub provisioner: Option<P>,
    /// What writes; `None`: nothing does.
    pub writer: Option<Writer<G, C>>,
    /// What reads; `None`: nothing does.
    pub reader: Option<Reader<Q, D>>,
}

/// Points, and where they go.
#[derive(Debug)]
pub struct Writer<G, C> {
    /// What the points are.
    pub point_generator: G,
    /// Where they go, and how.
    pub influx_client: C,
}

/// Queries, and who is asked.
#[derive(Debug)]
pub struct Reader<Q, D> {
    /// What the queries are.
    pub query_generator: Q,
    /// Who is asked, and how.
    pub query_client: D,
}

/// How a stress test ended: `A` and `B` are what its handlers gave back.
#[derive(Debug)]
pub struct Ended<A = (), B = ()> {
    /// The writer.
    pub write: Half<A>,
    /// The reader.
    pub read: Half<B>,
}

/// How one half of a stress test ended. It is known whatever its handler did.
#[derive(Debug)]
pub struct Half<T> {
    /// Whether it got to its end, and why not.
    pub result: Result<(), Error>,
    /// What all of its responses come to.
    pub totals: Totals,
    /// How many of these its handler did not hear: it had left, or had taken nothing for a minute.
    pub unheard: u64,
    /// From when it began to when its last response was there.
    pub timer: Timer,
    /// What its handler gave back; [`Error::HandlerPanicked`] where it panicked.
    pub handled: Result<T, Error>,
}

impl StressTest {
    /// One that does nothing yet.
    ///
    /// ```
    /// use canihaz::influxdb::StressTest;
    ///
    /// let test = StressTest::new();
    /// assert!(test.provisioner.is_none() && test.writer.is_none() && test.reader.is_none());
    /// ```
    pub fn new() -> Self {
        Self { provisioner: None, writer: None, reader: None }
    }
}

impl Default for StressTest {
    fn default() -> Self {
        Self::new()
    }
}

impl<P, G, C, Q, D> StressTest<P, G, C, Q, D> {
    /// The same with another provisioner.
    #[must_use]
    pub fn provisioner<O: Provisioner>(self, provisioner: O) -> StressTest<O, G, C, Q, D> {
        StressTest { provisioner: Some(provisioner), writer: self.writer, reader: self.reader }
    }

    /// The same with another writer.
    #[must_use]
    pub fn writer<H: PointGenerator, E: InfluxClient>(self, writer: Writer<H, E>) -> StressTest<P, H, E, Q, D> {
        StressTest { provisioner: self.provisioner, writer: Some(writer), reader: self.reader }
    }

    /// The same with another reader.
    #[must_use]
    pub fn reader<R: QueryGenerator, E: QueryClient>(self, reader: Reader<R, E>) -> StressTest<P, G, C, R, E> {
        StressTest { provisioner: self.provisioner, writer: self.writer, reader: Some(reader) }
    }
}

impl<P, G, C, Q, D> StressTest<P, G, C, Q, D>
where
    P: Provisioner,
    G: PointGenerator,
    C: InfluxClient,
    Q: QueryGenerator,
    D: QueryClient,
{
    /// Sees to the database; then writes and reads, beside each other, until the generators are at their ends and the
    /// handlers have returned.
    ///
    /// Each handler gets the responses of its half, as they come, and the half's timer, which has stopped when there are
    /// no more of them. A few responses wait for a handler that is busy; one that can't keep up slows its half. A handler
    /// may return early: what comes then is not heard, but [counted](Half::totals); and so is what comes after one has
    /// taken nothing for a minute. A half that is `None` has no responses.
    ///
    /// Dropping the future drops what is under way. What generators had been asked for by then is gone.
    ///
    /// # Errors
    /// [`Error::Provisioning`]: then nothing was written or read, and no handler was called. What keeps a half from its
    /// end, or its handler, is told in [`Half`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled (any flavour will do), or when a part of one's own does. A
    /// handler's panic is caught.
    pub async fn start<A, B>(
        &mut self,
        write_handler: impl AsyncFnOnce(Responses<Written>, Timer) -> A,
        read_handler: impl AsyncFnOnce(Responses<Asked>, Timer) -> B,
    ) -> Result<Ended<A, B>, Error> {
        if let Some(provisioner) = &mut self.provisioner {
            provisioner.provision().await.map_err(Error::Provisioning)?;
        }
        let (points, client) = match &mut self.writer {
            Some(writer) => (Some(PointSource::new(&mut writer.point_generator)), Some(&writer.influx_client)),
            None => (None, None),
        };
        let time = || points.as_ref().map_or_else(now, PointSource::time);
        let writing = half(
            async |teller| match (&points, client) {
                (Some(points), Some(client)) => client.batch(points, teller).await,
                _ => Ok(()),
            },
            write_handler,
        );
        let reader = self.reader.as_mut();
        let reading = half(
            async |teller| match reader {
                Some(Reader { query_generator, query_client }) => {
                    query_client.exec(&QuerySource::new(query_generator, &time), teller).await
                }
                None => Ok(()),
            },
            read_handler,
        );
        // Boxed, as they are large.
        let (write, read) = tokio::join!(Box::pin(writing), Box::pin(reading));
        Ok(Ended { write, read })
    }
}

impl<G: PointGenerator, C: InfluxClient> Writer<G, C> {
    /// Writes the points of one to the database of the other.
    pub fn new(point_generator: G, influx_client: C) -> Self {
        Self { point_generator, influx_client }
    }
}

impl<Q: QueryGenerator, D: QueryClient> Reader<Q, D> {
    /// Asks the queries of one, of the database of the other.
    pub fn new(query_generator: Q, query_client: D) -> Self {
        Self { query_generator, query_client }
    }
}

/// Does `work`, while the handler hears of it.
async fn half<W: Worked, T>(
    work: impl AsyncFnOnce(&Teller<W>) -> Result<(), Error>,
    handler: impl AsyncFnOnce(Responses<W>, Timer) -> T,
) -> Half<T> {
    let timer = Timer::start_now();
    let (teller, responses) = response::channel();
    let heard = responses.heard();
    let working = async {
        let result = work(&teller).await;
        // What came after the last response was a rest, or a wait for the handler.
        timer.stop_at(teller.last().unwrap_or_else(Instant::now));
        // The handler hears that nothing more comes, as the teller is gone.
        (result, teller.into_totals())
    };
    let listening = AssertUnwindSafe(async { handler(responses, timer.clone()).await }).catch_unwind();
    let ((result, totals), handled) = tokio::join!(working, listening);
    let unheard = totals.responses().saturating_sub(heard.get());
    Half { result, totals, unheard, timer, handled: handled.map_err(|_| Error::HandlerPanicked) }
}

#[cfg(test)]
mod tests;
