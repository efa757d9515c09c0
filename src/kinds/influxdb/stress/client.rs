//! Where points go, and how.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::error::Error;
use super::generator::PointSource;
use super::response::{Response, Teller, WriteResponse, Written};
use crate::kinds::dial::{Sharing, Tally};
use crate::kinds::http::Body;
use crate::kinds::influxdb::outlet::{Fate, Outlet, Sent};
use crate::kinds::influxdb::settings::{Api, Client, Format, Precision, Server};
use crate::target::{Failure, Reason};

/// By how much longer it is waited after each attempt, before a batch is sent again.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest that is waited.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// For how long a batch is sent again, where nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How many points a batch has, where nobody says otherwise.
const BATCH_SIZE: NonZeroU64 = NonZeroU64::new(5_000).expect("that is more than 0");
/// How many batches are on their way at once, where nobody says otherwise.
const CONCURRENCY: u32 = 10;

/// Writes points to a database.
///
/// One of one's own says how a batch is [sent](Self::send); the rest is there: which points are a batch, how many are
/// on their way, and that each is sent until it is done.
pub trait InfluxClient {
    /// Sends a batch once, and says what became of it.
    fn send(&self, batch: &Batch) -> impl Future<Output = WriteResponse>;

    /// How points become batches.
    fn batching(&self) -> Batching {
        Batching::default()
    }

    /// Sends all points, in batches: as [`batching`](Self::batching) says, each until it is done, and tells of each
    /// attempt.
    ///
    /// # Errors
    /// [`Error::GaveUp`] where a batch was undone for too long: no further batch was begun then. Whatever else keeps a
    /// client from its work.
    fn batch(&self, points: &PointSource<'_>, responses: &Teller<Written>) -> impl Future<Output = Result<(), Error>> {
        send_all(self, points, responses)
    }
}

/// Points that are sent together.
#[derive(Clone)]
pub struct Batch {
    number: u64,
    attempt: u32,
    points: u64,
    lines: Bytes,
}

/// How points become batches, and what becomes of those.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batching {
    /// How many points a batch has; the last one has what is left. 5,000 by default.
    pub size: NonZeroU64,
    /// How many batches are on their way at once; 10 by default. Each of them is kept in memory until it is done.
    pub concurrency: NonZeroU32,
    /// How long a place of those rests after a batch, at least; not at all by default.
    pub interval: Duration,
    /// For how long a batch is sent again that is undone, half a second later with each attempt, but 10 s at most; an
    /// hour by default.
    pub patience: Duration,
}

/// Writes to InfluxDB, or to what speaks its protocol.
///
/// ```
/// use std::num::NonZeroU64;
/// use std::time::Duration;
/// use canihaz::influxdb::BasicClient;
///
/// let mut client = BasicClient::to("localhost:8086", "stress")?;
/// client.settings.batch_size = NonZeroU64::new(1000).unwrap();
/// client.settings.concurrency = 2;
/// client.patience = Duration::from_secs(60);
/// # Ok::<_, canihaz::influxdb::Error>(())
/// ```
#[derive(Debug)]
pub struct BasicClient {
    /// Where points go, and how. What is changed after the first batch was sent may go unnoticed.
    pub settings: Client,
    /// How servers are spoken to, and by whom.
    pub server: Server,
    /// For how long a batch is sent again that is undone; an hour by default.
    pub patience: Duration,
    outlet: OnceCell<Outlet>,
}

/// What the places of a client have in common.
#[derive(Default)]
struct Course {
    /// How many batches were begun.
    begun: Cell<u64>,
    given_up: RefCell<Option<GivenUp>>,
}

/// What was not done after all.
struct GivenUp {
    points: u64,
    last: Failure,
}

impl Batch {
    /// Lines that were not sent yet.
    pub(super) fn new(number: u64, points: u64, lines: Bytes) -> Self {
        Self { number, attempt: 1, points, lines }
    }

    /// Its number among all batches, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The attempt to send it, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How many points it has.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Its points, each a line with its end (with Graphite, a line a field).
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, attempt, points, lines } = self;
        write!(f, "Batch({number}, attempt {attempt}: {points} points, {} bytes)", lines.len())
    }
}

impl Default for Batching {
    fn default() -> Self {
        let concurrency = NonZeroU32::new(CONCURRENCY).unwrap_or(NonZeroU32::MIN);
        Self { size: BATCH_SIZE, concurrency, interval: Duration::ZERO, patience: PATIENCE }
    }
}

impl BasicClient {
    /// A client that does as `settings` say.
    pub fn new(settings: Client, server: Server) -> Self {
        Self { settings, server, patience: PATIENCE, outlet: OnceCell::new() }
    }

    /// Writes to a database at `host:port` over HTTP: batches of 5,000 points, ten at once, with stamps in nanoseconds.
    ///
    /// # Errors
    /// [`Error::Address`]
    pub fn to(address: &str, database: &str) -> Result<Self, Error> {
        let settings = Client {
            addresses: vec![super::server::address(address)?],
            ssl: false,
            api: Api::V1 { database: database.to_owned(), retention_policy: None, consistency: None },
            precision: Precision::N,
            batch_size: BATCH_SIZE,
            batch_interval: Duration::ZERO,
            concurrency: CONCURRENCY,
            format: Format::LineHttp,
            gzip: false,
        };
        Ok(Self::new(settings, Server::default()))
    }

    fn outlet(&self) -> Result<&Outlet, Error> {
        if let Some(outlet) = self.outlet.get() {
            return Ok(outlet);
        }
        if self.settings.addresses.is_empty() {
            return Err(Error::Client("no address to write to".into()));
        }
        let outlet = Outlet::new(&self.settings, &self.server, &Sharing::default());
        let outlet = outlet.map_err(|error| Error::Client(error.into()))?;
        Ok(self.outlet.get_or_init(|| outlet))
    }

    async fn send_over(&self, outlet: &Outlet, batch: &Batch) -> WriteResponse {
        // A batch that failed is for the next server.
        let turn = batch.number.wrapping_add(u64::from(batch.attempt) - 1);
        let (tally, timeout) = (Tally::default(), self.server.timeout);
        let begun = Instant::now();
        let sent = {
            let sending = pin!(outlet.send(turn, batch.points, Body::Same(batch.lines.clone()), &tally));
            tokio::time::timeout(timeout, sending).await.ok()
        };
        let took = begun.elapsed();
        let (done, fate) = match sent {
            Some((Sent { failure, fate }, _)) => (Some(failure), fate),
            None => (None, Fate::Undone),
        };
        let outcome = tally.outcome(done, timeout);
        let work = Written { points: batch.points, fate, attempt: batch.attempt };
        let (bytes_in, bytes_out) = (outcome.bytes_in, outcome.bytes_out);
        Response { failure: outcome.failure, work, time: SystemTime::now(), took, bytes_in, bytes_out }
    }
}

impl InfluxClient for BasicClient {
    async fn send(&self, batch: &Batch) -> WriteResponse {
        match self.outlet() {
            Ok(outlet) => self.send_over(outlet, batch).await,
            Err(error) => {
                let work = Written { points: batch.points, fate: Fate::Undone, attempt: batch.attempt };
                Response::new(work, Duration::ZERO).failed(Failure::new(Reason::Other, error))
            }
        }
    }

    fn batching(&self) -> Batching {
        Batching {
            size: self.settings.batch_size,
            concurrency: NonZeroU32::new(self.settings.concurrency).unwrap_or(NonZeroU32::MIN),
            interval: self.settings.batch_interval,
            patience: self.patience,
        }
    }

    async fn batch(&self, points: &PointSource<'_>, responses: &Teller<Written>) -> Result<(), Error> {
        self.outlet()?;
        send_all(self, points, responses).await
    }
}

/// Sends all points, as the client's batching says.
async fn send_all<C: InfluxClient + ?Sized>(
    client: &C,
    points: &PointSource<'_>,
    responses: &Teller<Written>,
) -> Result<(), Error> {
    let batching = client.batching();
    let course = Course::default();
    let place = |_| send_some(client, &batching, points, responses, &course);
    let mut places: FuturesUnordered<_> = (0..batching.concurrency.get()).map(place).collect();
    while places.next().await.is_some() {}
    drop(places);
    match course.given_up.into_inner() {
        Some(GivenUp { points, last }) => Err(Error::GaveUp { points, last }),
        None => Ok(()),
    }
}

/// Sends one batch after the other, until there are no points left.
async fn send_some<C: InfluxClient + ?Sized>(
    client: &C,
    batching: &Batching,
    points: &PointSource<'_>,
    responses: &Teller<Written>,
    course: &Course,
) {
    let mut buffer = Vec::new();
    while course.given_up.borrow().is_none() {
        buffer.clear();
        let count = points.take(batching.size.get(), &mut buffer);
        if count == 0 {
            return;
        }
        let mut batch = Batch::new(course.begun.get(), count, Bytes::from(buffer));
        course.begun.set(batch.number + 1);
        if let Err(last) = send_until_done(client, batching, &mut batch, responses).await {
            let undone = count + course.given_up.take().map_or(0, |before| before.points);
            *course.given_up.borrow_mut() = Some(GivenUp { points: undone, last });
        }
        // The same memory, where the client keeps none of it.
        buffer = Vec::from(batch.lines);
        // A client that never waits must not keep the thread.
        tokio::task::yield_now().await;
        if !batching.interval.is_zero() && !points.is_dry() {
            sleep(batching.interval).await;
        }
    }
}

/// Sends a batch until it is done; the last failure where patience was at its end before that.
pub(super) async fn send_until_done<C: InfluxClient + ?Sized>(
    client: &C,
    batching: &Batching,
    batch: &mut Batch,
    responses: &Teller<Written>,
) -> Result<(), Failure> {
    let begun = tokio::time::Instant::now();
    loop {
        let mut response = client.send(batch).await;
        // Whatever the client made of it: counts follow from these.
        (response.work.points, response.work.attempt) = (batch.points, batch.attempt);
        let undone = (response.work.fate == Fate::Undone).then(|| response.failure.clone());
        responses.tell(response).await;
        let Some(failure) = undone else { return Ok(()) };
        let backoff = BACKOFF.saturating_mul(batch.attempt).min(MAX_BACKOFF).max(batching.interval);
        if begun.elapsed().saturating_add(backoff) > batching.patience {
            return Err(failure.unwrap_or_else(|| Failure::new(Reason::Other, "the client doesn't say why")));
        }
        sleep(backoff).await;
        batch.attempt = batch.attempt.saturating_add(1);
    }
}
