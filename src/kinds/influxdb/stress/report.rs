//! The handler that writes what it hears into a database.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::broadcast;
use super::client::{BasicClient, Batch, Batching, InfluxClient, send_until_done};
use super::error::Error;
use super::response::{Response, Responses, channel};
use super::totals::{Totals, Worked};
use crate::kinds::influxdb::settings::{Client, Format, Precision};
use crate::kinds::influxdb::spelling;

/// How many responses are written at once.
const BATCH_SIZE: u64 = 1_000;
/// For how long they are sent again, at most: nothing is heard meanwhile.
const MAX_PATIENCE: Duration = Duration::from_secs(15);
/// How long a request takes, at most, the last one after all that patience, too.
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

// Who gives up says so; who is deaf doesn't even know.
const _: () = assert!(MAX_PATIENCE.as_secs() + MAX_TIMEOUT.as_secs() < broadcast::MAX_DEAF.as_secs());

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
    /// Writes as `client` would, to a database that is there; but over HTTP, in lines of the line protocol with
    /// nanoseconds, whatever its settings say of those. It waits for an answer for 10 s at most, and its patience is 15 s
    /// at most, as it hears nothing meanwhile.
    pub fn to(client: BasicClient) -> Self {
        let BasicClient { settings, mut server, patience, .. } = client;
        let settings =
            Client { precision: Precision::N, format: Format::LineHttp, batch_interval: Duration::ZERO, ..settings };
        server.timeout = server.timeout.min(MAX_TIMEOUT);
        // A new one, as one that has sent before stays as it was then.
        let mut client = BasicClient::new(settings, server);
        client.patience = patience;
        Self { client, tags: String::new() }
    }

    /// The same, and all points have this tag; none where the key or the value is empty, as no line can have that.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        if !key.is_empty() && !value.is_empty() {
            self.tags.extend([",", &spelling::key(key), "=", &spelling::key(value)]);
        }
        self
    }

    /// Writes all responses, with `method` as a tag; what its own requests came to. They are made between responses,
    /// one at a time, and again where that is of use.
    ///
    /// # Errors
    /// [`Error::GaveUp`] where the client has lost its patience, with how many of the responses that it has heard may not
    /// be written. The rest isn't heard then, which is counted by whoever tells: in [`Half::unheard`](super::Half), or by
    /// [`Broadcast::handle`](super::Broadcast::handle).
    pub async fn handle<W: Worked>(self, method: &str, responses: Responses<W>) -> Result<Totals, Error> {
        let Self { client, tags } = self.tag("method", method);
        write(&client, &tags, responses).await
    }
}

/// Writes all responses over `client`, as points with these tags.
pub(super) async fn write<C: InfluxClient, W: Worked>(
    client: &C,
    tags: &str,
    mut responses: Responses<W>,
) -> Result<Totals, Error> {
    let (teller, _) = channel();
    let batching = client.batching();
    let batching = Batching { patience: batching.patience.min(MAX_PATIENCE), ..batching };
    let (mut lines, mut points, mut number, mut newest) = (String::new(), 0, 0, i64::MIN);
    loop {
        let response = responses.next().await;
        let is_over = response.is_none();
        if let Some(response) = response {
            // Of two points with one stamp only one would stay.
            newest = stamp(&response).max(newest.saturating_add(1));
            let (time, success) = (response.took.as_nanos(), response.success());
            lines.push_str(&format!("performance{tags} response_time={time}.0,success={success} {newest}\n"));
            points += 1;
        }
        if points == BATCH_SIZE || is_over && points > 0 {
            let mut batch = Batch::new(number, points, Bytes::from(std::mem::take(&mut lines)));
            let sent = send_until_done(client, &batching, &mut batch, &teller).await;
            sent.map_err(|last| Error::GaveUp { points, last })?;
            (points, number) = (0, number + 1);
        }
        if is_over {
            return Ok(teller.into_totals());
        }
    }
}

/// When a response was over, in nanoseconds since 1970.
fn stamp<W>(response: &Response<W>) -> i64 {
    let since = response.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_client_of_its_own_for_http_and_nanoseconds() {
        let mut client = BasicClient::to("localhost:8086", "metrics").unwrap();
        let settings = &mut client.settings;
        (settings.precision, settings.format, settings.gzip) = (Precision::S, Format::GraphiteTcp, true);
        settings.batch_interval = Duration::from_secs(60);
        client.server.timeout = Duration::from_secs(60);
        client.patience = Duration::from_secs(3);
        let Report { client, .. } = Report::to(client);
        let BasicClient { settings, server, patience, .. } = client;
        assert_eq!((settings.precision, settings.format, settings.gzip), (Precision::N, Format::LineHttp, true));
        assert_eq!((settings.batch_interval, server.timeout), (Duration::ZERO, MAX_TIMEOUT));
        assert_eq!(patience, Duration::from_secs(3));
    }
}
