//! `kind = "statsd"`: gauges and counters over UDP, with the statsd crate.
//!
//! Sent is taken: the crate swallows what the socket says, so the address is
//! resolved, and a route to it found, beforehand. statsd knows no time but its
//! own: of a late interval only the counters are sent, as its gauges would
//! pass for those of now. Counters of hits are sent also as 0: statsd itself
//! goes on with 0 for those it knows, and a series that begins with the first
//! failure is of no use to an alarm. A sign means "so much less than it was" to
//! statsd, so a gauge below zero is sent as 0 first.

use anyhow::Error;
use chrono::{DateTime, TimeDelta, Utc};
use statsd::client::{Client, Pipeline};

use super::dotted::{self, Value};
use super::{Destination, Occasion, Refusal, address, datagrams};
use crate::keys::Keys;
use crate::summary::Summary;

/// The most bytes of a datagram: what statsd's own documentation advises for
/// Ethernet's 1,500, with room for the headers of IPv6, UDP and a tunnel.
const MAX_DATAGRAM: usize = 1432;

/// About the bytes of a value with what is around it.
const VALUE: usize = 12;

/// Where datagrams go.
struct Statsd {
    address: String,
    prefix: String,
}

/// Reads `address`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let address = address::read(keys)?;
    let prefix = prefix.unwrap_or_else(|| dotted::PREFIX.to_owned());
    Some(Box::new(Statsd { address, prefix }))
}

impl Destination for Statsd {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let retry = |error: Error| Refusal::Retry(error);
        let address = datagrams::connect(&self.address)?.peer_addr().map_err(|error| retry(error.into()))?;
        // Names are whole already, so the crate has none to put before them.
        let client = Client::new(address, "").map_err(|error| retry(error.into()))?;
        let metrics: Vec<_> = batch.iter().flat_map(|summary| metrics(&self.prefix, summary, occasion.now)).collect();
        datagrams::in_bursts(
            &metrics,
            |(name, _)| name.len() + VALUE,
            occasion,
            |burst| {
                let mut pipeline = client.pipeline();
                pipeline.set_max_udp_size(MAX_DATAGRAM);
                burst.iter().for_each(|(name, value)| add(&mut pipeline, name, *value));
                pipeline.send(&client);
                Ok(())
            },
        )
    }
}

/// What can be said of `summary` now.
fn metrics(prefix: &str, summary: &Summary, now: DateTime<Utc>) -> Vec<(String, Value)> {
    let mut metrics = dotted::metrics(prefix, summary);
    if !is_fresh(summary, now) {
        metrics.retain(|(_, value)| matches!(value, Value::Count(_)));
    }
    metrics
}

fn add(pipeline: &mut Pipeline, name: &str, value: Value) {
    match value {
        Value::Count(count) => pipeline.count(name, count as f64),
        // One entry of the pipeline, as the two lines must not be parted: between datagrams another may come, or
        // statsd hand on the 0.
        Value::Gauge(gauge) if gauge < 0.0 => pipeline.gauge(&format!("{name}:0|g\n{name}"), gauge),
        Value::Gauge(gauge) => pipeline.gauge(name, gauge),
    }
}

/// Whether the interval ended no longer than its own length ago.
fn is_fresh(summary: &Summary, now: DateTime<Utc>) -> bool {
    now - summary.end() <= TimeDelta::milliseconds((summary.seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::super::sample;
    use super::*;
    use crate::routes::{MAX_ROUTE, Request};
    use crate::summary::Measured;
    use crate::target;
    use crate::values::MAX_NAME;

    /// Delivers `batch`, and gives back the datagrams that were received, as texts.
    fn received(batch: &[Summary], occasion: Occasion) -> Vec<String> {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        receiver.set_read_timeout(Some(Duration::from_millis(200))).expect("it takes a time-out");
        let address = receiver.local_addr().expect("it is bound").to_string();
        let mut statsd = Statsd { address, prefix: String::from("canihaz") };
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || statsd.deliver(batch, occasion));
            let mut datagrams = Vec::new();
            let mut buffer = [0; 65_536];
            // The last come when all were sent: a busy machine may be long about the first.
            while let Some(length) = receiver.recv(&mut buffer).ok().or_else(|| (!sending.is_finished()).then_some(0)) {
                datagrams.push(String::from_utf8(buffer[..length].to_vec()).expect("it is text"));
            }
            datagrams.retain(|datagram| !datagram.is_empty());
            sending.join().expect("it does not panic").expect("somebody listens");
            datagrams
        })
    }

    #[test]
    fn gauges_and_counters_arrive_whole_in_small_datagrams() {
        let batch: Vec<_> = (0..50).map(|number| sample::test(&format!("test-{number}"))).collect();
        let datagrams = received(&batch, sample::occasion());
        assert!(datagrams.iter().all(|datagram| datagram.len() <= MAX_DATAGRAM));
        assert!(datagrams.iter().any(|datagram| datagram.len() > MAX_DATAGRAM - 100), "they are filled");
        let lines: Vec<_> = datagrams.iter().flat_map(|datagram| datagram.lines()).collect();
        assert_eq!(lines.len(), 50 * 38);
        for line in [
            "canihaz.web-1_example_com.test-7.hits.ok:97|c",
            "canihaz.web-1_example_com.test-7.hits.stopped:0|c",
            "canihaz.web-1_example_com.test-7.failures.timeout:2|c",
            "canihaz.web-1_example_com.test-7.response.max:100.1|g",
            "canihaz.web-1_example_com.test-7.rate.sent:10.2|g",
            "canihaz.web-1_example_com.test-7.truncated:1|g",
        ] {
            assert_eq!(lines.iter().filter(|seen| **seen == line).count(), 1, "{line}");
        }
    }

    #[test]
    fn work_is_counted_also_late_and_its_rate_is_a_gauge() {
        let batch = [
            sample::working("load.write", 1, [("points", 20_000_000), ("rejected", 0)]),
            sample::later(sample::working("load.read", 1, [("rows", 7)]), -60),
        ];
        let datagrams = received(&batch, sample::occasion());
        let lines: Vec<_> = datagrams.iter().flat_map(|datagram| datagram.lines()).collect();
        let work: Vec<_> = lines.iter().filter(|line| line.contains(".work.")).copied().collect();
        assert_eq!(
            work,
            [
                "canihaz.web-1_example_com.load.write.work.points:20000000|c",
                "canihaz.web-1_example_com.load.write.work.points_per_second:2000000|g",
                "canihaz.web-1_example_com.load.write.work.rejected:0|c",
                "canihaz.web-1_example_com.load.write.work.rejected_per_second:0|g",
                "canihaz.web-1_example_com.load.read.work.rows:7|c",
            ]
        );
    }

    #[test]
    fn a_gauge_below_zero_is_zero_first_in_the_same_datagram() {
        let batch: Vec<_> = (0..20).map(|number| sample::rich(&format!("t{number}"))).collect();
        let datagrams = received(&batch, sample::occasion());
        for number in 0..20 {
            let name = format!("canihaz.web-1_example_com.t{number}.values.queued");
            for expect in [
                format!("{name}.mean:0|g\n{name}.mean:-1.5|g"),
                format!("{name}.min:0|g\n{name}.min:-5|g"),
                format!("{name}.max:2|g"),
            ] {
                assert_eq!(datagrams.iter().filter(|datagram| datagram.contains(&expect)).count(), 1, "{expect}");
            }
        }
    }

    #[test]
    fn all_routes_of_a_test_arrive_at_a_receiver_with_a_common_buffer() {
        let routes: Vec<_> = (0..60).map(|number| format!("GET https://h/{number:02}/{}", "x".repeat(200))).collect();
        let routes: Vec<_> = routes.iter().map(|route| (route.as_str(), 2)).collect();
        let batch = [sample::routed("shop", &routes), sample::later(sample::routed("late", &routes), -60)];
        let datagrams = received(&batch, sample::occasion());
        assert!(datagrams.iter().all(|datagram| datagram.len() <= MAX_DATAGRAM));
        let count = |test: &str, end: &str| {
            let lines = datagrams.iter().flat_map(|datagram| datagram.lines());
            lines.filter(|line| line.contains(&format!(".{test}.routes.")) && line.ends_with(end)).count()
        };
        for (end, expect) in [("|c", 51 * 5), ("|g", 51 * 6), (".requests:2|c", 50), (".duration.max:2|g", 51)] {
            assert_eq!(count("shop", end), expect, "{end}");
        }
        assert_eq!((count("late", "|c"), count("late", "|g")), (51 * 5, 0));
    }

    #[test]
    fn of_the_longest_names_and_numbers_a_datagram_holds_one() {
        let mut summary = sample::rich(&format!("{}.write", "t".repeat(64)));
        summary.host = "h".repeat(255);
        let Measured::Test(tally) = &mut summary.measured else { unreachable!("it is a test") };
        let name = "v".repeat(MAX_NAME);
        let values = tally.values.get_or_insert_default();
        // The longest in plain digits: small, and with as many of them as a number can have.
        values.record(&target::Value { name, value: -2.225_073_858_507_201_4e-308, unit: String::new() });
        tally.work = Some(Box::new([("w".repeat(MAX_NAME), u64::MAX)].into_iter().collect()));
        tally.routes.get_or_insert_default().record(&Request {
            route: &"r".repeat(MAX_ROUTE),
            duration: Duration::from_nanos(123_456_789),
            status: 200,
            size: Some(u64::MAX),
            is_error: false,
        });
        let metrics = dotted::metrics(&"p".repeat(128), &summary);
        let long = |(name, value): &(String, Value)| format!("{name}:0|g\n{name}:{value}|g").len();
        assert!(metrics.iter().map(long).max() > Some(1300), "they are long");
        assert!(metrics.iter().map(long).all(|length| length <= MAX_DATAGRAM));
    }

    #[test]
    fn of_late_intervals_only_the_counters_are_sent() {
        #[track_caller]
        fn check(seconds_after_its_end: i64, expect: bool) {
            let summary = sample::runner();
            let now = summary.end() + TimeDelta::seconds(seconds_after_its_end);
            let lines = received(&[summary], Occasion { now, ..sample::occasion() }).concat();
            assert!(lines.contains("canihaz.web-1_example_com._runner.runs_skipped:1|c"), "{lines}");
            assert_eq!(lines.contains("config_errors:2|g"), expect, "{lines}");
        }
        check(-5, true);
        check(10, true);
        check(11, false);
        check(86_400, false);
    }

    #[test]
    fn an_address_that_does_not_resolve_is_worth_another_try() {
        let mut statsd = Statsd { address: String::from("name.invalid:8125"), prefix: String::from("canihaz") };
        assert!(matches!(statsd.deliver(&[sample::runner()], sample::occasion()), Err(Refusal::Retry(_))));
    }
}
