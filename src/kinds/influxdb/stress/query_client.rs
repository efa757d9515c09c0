//! Who is asked, and how.

use std::cell::{Cell, OnceCell};
use std::num::NonZeroU32;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use url::form_urlencoded::byte_serialize;

use super::error::Error;
use super::queries::QuerySource;
use super::response::{Asked, QueryResponse, Response, Teller};
use crate::kinds::dial::{Sharing, Tally};
use crate::kinds::influxdb::outlet::queries::Queries;
use crate::kinds::influxdb::settings::{Reading, Server};
use crate::target::{Failure, Reason};

/// From the end of a query to the next one, where nobody says otherwise.
const INTERVAL: Duration = Duration::from_millis(100);

/// Asks queries of a database.
///
/// One of one's own says how a query is [asked](Self::query); the rest is there: how many at once, and how often.
pub trait QueryClient {
    /// Asks one query; `number` counts them from 0.
    fn query(&self, number: u64, query: &str) -> impl Future<Output = QueryResponse>;

    /// How often queries are asked.
    fn pacing(&self) -> Pacing {
        Pacing::default()
    }

    /// Asks all queries, as [`pacing`](Self::pacing) says, and tells what became of each.
    ///
    /// # Errors
    /// Whatever keeps a client from its work. A query that failed is none of it.
    fn exec(&self, queries: &QuerySource<'_>, responses: &Teller<Asked>) -> impl Future<Output = Result<(), Error>> {
        ask_all(self, queries, responses)
    }
}

/// How often queries are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pacing {
    /// How many are on their way at once; 1 by default.
    pub concurrency: NonZeroU32,
    /// How long a place of those rests after a query; 100 ms by default.
    pub interval: Duration,
}

/// Asks InfluxDB, or what speaks its protocol.
///
/// ```
/// use std::time::Duration;
/// use canihaz::influxdb::BasicQueryClient;
///
/// let mut client = BasicQueryClient::to("localhost:8086", "stress")?;
/// client.settings.query_interval = Duration::from_millis(10);
/// # Ok::<_, canihaz::influxdb::Error>(())
/// ```
#[derive(Debug)]
pub struct BasicQueryClient {
    /// Who is asked, and how; the queries are the generator's. What is changed after the first one was asked may go
    /// unnoticed.
    pub settings: Reading,
    /// How servers are spoken to, and by whom.
    pub server: Server,
    servers: OnceCell<Queries>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { concurrency: NonZeroU32::MIN, interval: INTERVAL }
    }
}

impl BasicQueryClient {
    /// A client that does as `settings` say.
    pub fn new(settings: Reading, server: Server) -> Self {
        Self { settings, server, servers: OnceCell::new() }
    }

    /// Asks a database at `host:port`: one query at a time, and 100 ms between them.
    ///
    /// # Errors
    /// [`Error::Address`]
    pub fn to(address: &str, database: &str) -> Result<Self, Error> {
        let settings = Reading {
            template: String::new(),
            query_count: std::num::NonZeroU64::MIN,
            addresses: vec![super::server::address(address)?],
            ssl: false,
            database: database.to_owned(),
            query_interval: INTERVAL,
            concurrency: 1,
        };
        Ok(Self::new(settings, Server::default()))
    }

    fn servers(&self) -> Result<&Queries, Error> {
        if let Some(servers) = self.servers.get() {
            return Ok(servers);
        }
        if self.settings.addresses.is_empty() {
            return Err(Error::Client("no address to ask".into()));
        }
        let servers = Queries::new(&self.settings, &self.server, &Sharing::default());
        let servers = servers.map_err(|error| Error::Client(error.into()))?;
        Ok(self.servers.get_or_init(|| servers))
    }

    async fn ask(&self, servers: &Queries, number: u64, query: &str) -> QueryResponse {
        let mut parameters = String::from("db=");
        parameters.extend(byte_serialize(self.settings.database.as_bytes()));
        parameters.push_str("&q=");
        parameters.extend(byte_serialize(query.as_bytes()));
        let (tally, rows, timeout) = (Tally::default(), Cell::new(0), self.server.timeout);
        let begun = Instant::now();
        let done = {
            let asking = pin!(servers.ask(number, &parameters, &tally, &rows));
            tokio::time::timeout(timeout, asking).await.ok()
        };
        let took = begun.elapsed();
        let outcome = tally.outcome(done, timeout);
        let (bytes_in, bytes_out) = (outcome.bytes_in, outcome.bytes_out);
        let work = Asked { rows: rows.get() };
        Response { failure: outcome.failure, work, time: SystemTime::now(), took, bytes_in, bytes_out }
    }
}

impl QueryClient for BasicQueryClient {
    async fn query(&self, number: u64, query: &str) -> QueryResponse {
        match self.servers() {
            Ok(servers) => self.ask(servers, number, query).await,
            Err(error) => {
                let failure = Failure::new(Reason::Other, error);
                Response::new(Asked::default(), Duration::ZERO).failed(failure)
            }
        }
    }

    fn pacing(&self) -> Pacing {
        let concurrency = NonZeroU32::new(self.settings.concurrency).unwrap_or(NonZeroU32::MIN);
        Pacing { concurrency, interval: self.settings.query_interval }
    }

    async fn exec(&self, queries: &QuerySource<'_>, responses: &Teller<Asked>) -> Result<(), Error> {
        self.servers()?;
        ask_all(self, queries, responses).await
    }
}

/// Asks all queries, as the client's pacing says.
async fn ask_all<D: QueryClient + ?Sized>(
    client: &D,
    queries: &QuerySource<'_>,
    responses: &Teller<Asked>,
) -> Result<(), Error> {
    let Pacing { concurrency, interval } = client.pacing();
    let begun = Cell::new(0);
    let place = async |_| {
        while let Some(query) = queries.take() {
            let number = begun.replace(begun.get() + 1);
            responses.tell(client.query(number, &query).await).await;
            // A client that never waits must not keep the thread.
            tokio::task::yield_now().await;
            if !queries.is_dry() {
                sleep(interval).await;
            }
        }
    };
    let mut places: FuturesUnordered<_> = (0..concurrency.get()).map(place).collect();
    while places.next().await.is_some() {}
    Ok(())
}
