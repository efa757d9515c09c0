//! The handler that writes what it hears into a database.

use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::client::{BasicClient, Batch, InfluxClient, send_until_done};
use super::error::Error;
use super::response::{Response, Responses, channel};
use super::totals::{Totals, Worked};
use crate::kinds::influxdb::{Precision, spelling};

/// How many responses are written at once.
const BATCH_SIZE: u64 = 1_000;

/// Writes a point a response: `performance,method=write response_time=1.5e6,success=true TIME`, the response time in
/// nanoseconds.
///
/// ```
/// # async fn report(test: &mut canihaz::influxdb::StressTest) -> Result<(), canihaz::influxdb::Error> {
/// use canihaz::influxdb::{BasicClient, Report, basic_read_handler};
///
/// let report = Report::to(BasicClient::to("metrics.example.com:8086", "stress")?).tag("run", "17");
/// let ended = test.start(async |responses, _timer| report.handle("write", responses).await, basic_read_handler).await?;
/// println!("reported in {} requests", ended.write.handled??.responses());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Report {
    client: BasicClient,
    tags: String,
}

impl Report {
    /// Writes over `client`, to a database that is there, in lines of the line protocol with nanoseconds, whatever the
    /// client's settings say of those.
    pub fn to(mut client: BasicClient) -> Self {
        client.settings.precision = Precision::N;
        Self { client, tags: String::new() }
    }

    /// The same, and all points have this tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.tags.extend([",", &spelling::key(key), "=", &spelling::key(value)]);
        }
        self
    }

    /// Writes all responses, with `method` as a tag; what its own requests came to. They are made between responses,
    /// one at a time, and again where that is of use.
    ///
    /// # Errors
    /// [`Error::GaveUp`] where the client has lost its patience, with how many responses were not written; the rest
    /// isn't heard then.
    pub async fn handle<W: Worked>(self, method: &str, mut responses: Responses<W>) -> Result<Totals, Error> {
        let (teller, _) = channel();
        let prefix = format!("performance{},method={} ", self.tags, spelling::key(method));
        let (mut lines, mut points, mut number, mut newest) = (String::new(), 0, 0, i64::MIN);
        loop {
            let response = responses.next().await;
            let is_over = response.is_none();
            if let Some(response) = response {
                // Of two points with one stamp only one would stay.
                newest = stamp(&response).max(newest.saturating_add(1));
                let (time, success) = (response.took.as_nanos(), response.success());
                lines.push_str(&format!("{prefix}response_time={time}.0,success={success} {newest}\n"));
                points += 1;
            }
            if points == BATCH_SIZE || is_over && points > 0 {
                let mut batch = Batch::new(number, points, Bytes::from(std::mem::take(&mut lines)));
                let sent = send_until_done(&self.client, &self.client.batching(), &mut batch, &teller).await;
                sent.map_err(|last| Error::GaveUp { points, last })?;
                (points, number) = (0, number + 1);
            }
            if is_over {
                return Ok(teller.into_totals().0);
            }
        }
    }
}

/// When a response was over, in nanoseconds since 1970.
fn stamp<W>(response: &Response<W>) -> i64 {
    let since = response.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
