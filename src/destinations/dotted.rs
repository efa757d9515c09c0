//! A summary as dotted names with one number each: what statsd and Graphite take.
//!
//! `canihaz.web-1.checkout.response.p99` is in milliseconds. Beside the
//! distributions stand `.truncated` and `.generator_limited`, 0 or 1: where
//! either is 1, the percentiles tell less than the whole.

use std::fmt;

use crate::latency::Quantiles;
use crate::summary::{Measured, Summary};

/// What names begin with unless the destination's file says otherwise.
pub(super) const PREFIX: &str = "canihaz";

/// A number under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// So many in the interval: adds up.
    Count(u64),
    /// As it is now: the last one stands.
    Gauge(f64),
}

impl fmt::Display for Value {
    /// Plain digits, never an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Gauge(gauge) => gauge.fmt(f),
        }
    }
}

/// All that `summary` has to say, under full names that begin with `prefix`.
///
/// Results of hits are always there, also as 0, so that a series exists before
/// the first failure; reasons only once there was one, distributions only
/// when a hit ended, phases only of new connections, values only where hits
/// brought some.
pub(super) fn metrics(prefix: &str, summary: &Summary) -> Vec<(String, Value)> {
    let root = format!("{prefix}.{}.{}", component(&summary.host_label()), component(&summary.test));
    let mut metrics = Vec::new();
    let mut add = |name: &str, value| metrics.push((format!("{root}.{name}"), value));
    match &summary.measured {
        Measured::Test(tally) => {
            add("hits.planned", Value::Count(tally.planned()));
            for (result, count) in tally.results() {
                add(&format!("hits.{result}"), Value::Count(count));
            }
            for (reason, count) in &tally.failures {
                add(&format!("failures.{reason}"), Value::Count(*count));
            }
            // To the thousandth: a gauge that is read, not one that is added up.
            for (name, hits) in [("asked", tally.asked), ("sent", tally.sent)] {
                let rate = (summary.rate(hits) * 1e3).round() / 1e3;
                add(&format!("rate.{name}"), Value::Gauge(rate));
            }
            add("bytes.in", Value::Count(tally.bytes_in));
            add("bytes.out", Value::Count(tally.bytes_out));
            add("truncated", Value::Gauge(f64::from(u8::from(tally.truncated()))));
            add("generator_limited", Value::Gauge(f64::from(u8::from(tally.generator_limited()))));
            for (name, latency) in tally.latencies() {
                for (quantile, seconds) in latency.quantiles().iter().flat_map(Quantiles::named) {
                    add(&format!("{name}.{quantile}"), Value::Gauge(milliseconds(seconds)));
                }
            }
            if let Some(connections) = &tally.connections {
                add("connections", Value::Count(connections.opened));
                for (name, times) in connections.phases() {
                    for (quantile, seconds) in times.quantiles().iter().flat_map(Quantiles::named) {
                        add(&format!("phases.{name}.{quantile}"), Value::Gauge(milliseconds(seconds)));
                    }
                }
            }
            // Names are parts of names already, as they were recorded.
            for (name, spread) in tally.values.iter().flat_map(|values| values.iter()) {
                for (which, value) in [("mean", spread.mean()), ("min", spread.min), ("max", spread.max)] {
                    add(&format!("values.{name}.{which}"), Value::Gauge(value));
                }
            }
            if tally.values_dropped() > 0 {
                add("values_dropped", Value::Count(tally.values_dropped()));
            }
        }
        Measured::Runner(upkeep) => {
            add("config_errors", Value::Gauge(upkeep.config_errors as f64));
            add("runs_skipped", Value::Count(upkeep.runs_skipped));
            add("spool_dropped", Value::Count(upkeep.spool_dropped));
            // Before 1970 a clock is merely wrong, and statsd would take a sign for "less than it was".
            add("last_run", Value::Gauge(upkeep.last_run.max(0) as f64));
        }
    }
    metrics
}

/// Milliseconds to the nanosecond: without the digits that a product of floats brings along.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e6
}

/// `text` as one part of a name: whatever would end the part, the name or the line is `_`.
fn component(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn lines(summary: &Summary) -> Vec<String> {
        metrics("p.q", summary).iter().map(|(name, value)| format!("{name} {value}")).collect()
    }

    #[test]
    fn a_test_is_its_results_reasons_bytes_marks_and_distributions() {
        let lines = lines(&sample::test("hello"));
        assert_eq!(
            lines[..19],
            [
                "p.q.web-1_example_com.hello.hits.planned 105",
                "p.q.web-1_example_com.hello.hits.ok 97",
                "p.q.web-1_example_com.hello.hits.failed 3",
                "p.q.web-1_example_com.hello.hits.canceled 3",
                "p.q.web-1_example_com.hello.hits.missed 2",
                "p.q.web-1_example_com.hello.hits.stopped 0",
                "p.q.web-1_example_com.hello.failures.timeout 2",
                "p.q.web-1_example_com.hello.failures.status 1",
                "p.q.web-1_example_com.hello.rate.asked 10.5",
                "p.q.web-1_example_com.hello.rate.sent 10.2",
                "p.q.web-1_example_com.hello.bytes.in 20000",
                "p.q.web-1_example_com.hello.bytes.out 10000",
                "p.q.web-1_example_com.hello.truncated 1",
                "p.q.web-1_example_com.hello.generator_limited 0",
                "p.q.web-1_example_com.hello.response.mean 50.6",
                "p.q.web-1_example_com.hello.response.p50 50.102271",
                "p.q.web-1_example_com.hello.response.p90 90.111999",
                "p.q.web-1_example_com.hello.response.p99 99.155967",
                "p.q.web-1_example_com.hello.response.p999 100.1",
            ]
        );
        assert_eq!(lines.len(), 14 + 4 * 6);
    }

    #[test]
    fn new_connections_are_their_number_and_phases_and_values_three_numbers_a_name() {
        let lines = lines(&sample::rich("hello"));
        let others: Vec<_> =
            lines[12 + 4 * 6..].iter().filter(|line| !line.contains(".p")).map(String::as_str).collect();
        assert_eq!(
            others,
            [
                "p.q.web-1_example_com.hello.connections 3",
                "p.q.web-1_example_com.hello.values.queued.mean -1.5",
                "p.q.web-1_example_com.hello.values.queued.min -5",
                "p.q.web-1_example_com.hello.values.queued.max 2",
                "p.q.web-1_example_com.hello.values.time.mean 0.25",
                "p.q.web-1_example_com.hello.values.time.min 0.25",
                "p.q.web-1_example_com.hello.values.time.max 0.25",
                "p.q.web-1_example_com.hello.values_dropped 1",
            ]
        );
        let phases: Vec<_> = lines.iter().filter(|line| line.contains(".phases.")).map(String::as_str).collect();
        assert_eq!(phases.len(), 3 * 6);
        assert_eq!(
            phases[4..8],
            [
                "p.q.web-1_example_com.hello.phases.dns.p999 0.2",
                "p.q.web-1_example_com.hello.phases.dns.max 0.2",
                "p.q.web-1_example_com.hello.phases.connect.mean 2",
                "p.q.web-1_example_com.hello.phases.connect.p50 2.000895",
            ]
        );
    }

    #[test]
    fn without_a_hit_that_ended_there_are_no_percentiles() {
        let lines = lines(&sample::idle("hello"));
        assert_eq!(lines.len(), 12, "{lines:?}");
        assert!(lines.iter().all(|line| line.ends_with(" 0")), "{lines:?}");
    }

    #[test]
    fn the_runner_is_four_numbers() {
        assert_eq!(
            lines(&sample::runner()),
            [
                "p.q.web-1_example_com._runner.config_errors 2",
                "p.q.web-1_example_com._runner.runs_skipped 1",
                "p.q.web-1_example_com._runner.spool_dropped 0",
                "p.q.web-1_example_com._runner.last_run 1767268800",
            ]
        );
    }

    #[test]
    fn a_second_copy_and_a_strange_host_have_names_of_their_own() {
        let summary = Summary { copy: 2, host: String::from("a b:c|d\n.e"), ..sample::runner() };
        assert!(lines(&summary)[0].starts_with("p.q.a_b_c_d__e-2._runner."), "{:?}", lines(&summary));
    }

    #[test]
    fn numbers_are_plain_digits() {
        #[track_caller]
        fn check(value: Value, expect: &str) {
            assert_eq!(value.to_string(), expect);
        }
        check(Value::Count(u64::MAX), "18446744073709551615");
        check(Value::Gauge(milliseconds(0.000_000_1)), "0.0001");
        check(Value::Gauge(milliseconds(0.012_345_678)), "12.345678");
        check(Value::Gauge(milliseconds(7200.0)), "7200000");
        check(Value::Gauge(1.0), "1");
    }
}
