//! A summary as dotted names with one number each: what statsd and Graphite take.
//!
//! `canihaz.web-1.checkout.response.p99` is in milliseconds, and a test that is
//! a part of one has a name of two parts, as in `canihaz.web-1.load.write`. Beside
//! the distributions stand `.truncated` and `.generator_limited`, 0 or 1: where
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
/// when a hit ended, phases only of new connections, values and work only
/// where hits brought some, routes only of requests. No name is there twice.
pub(super) fn metrics(prefix: &str, summary: &Summary) -> Vec<(String, Value)> {
    let root = format!("{prefix}.{}.{}", component(&summary.host_label()), path(&summary.test));
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
            for (name, hits) in [("asked", tally.asked), ("sent", tally.sent)] {
                add(&format!("rate.{name}"), a_second(summary, hits));
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
            if let Some(work) = &tally.work {
                for (name, count) in work.named() {
                    add(&format!("work.{name}"), Value::Count(count));
                    let rate = format!("{name}_per_second");
                    // What is counted under that very name has it.
                    if !work.counts.contains_key(rate.as_str()) {
                        add(&format!("work.{rate}"), a_second(summary, count));
                    }
                }
            }
            if tally.work_dropped() > 0 {
                add("work_dropped", Value::Count(tally.work_dropped()));
            }
            for (name, route) in tally.routes.iter().flat_map(|routes| routes.by_name()) {
                let counts = [("requests", route.count()), ("errors", route.errors), ("bytes", route.bytes)];
                for (which, count) in counts {
                    add(&format!("routes.{name}.{which}"), Value::Count(count));
                }
                for (status, count) in &route.statuses {
                    add(&format!("routes.{name}.status.{status}"), Value::Count(*count));
                }
                for (quantile, seconds) in route.duration.quantiles().iter().flat_map(Quantiles::named) {
                    add(&format!("routes.{name}.duration.{quantile}"), Value::Gauge(milliseconds(seconds)));
                }
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

/// A rate to the thousandth: a gauge that is read, not one that is added up.
fn a_second(summary: &Summary, count: u64) -> Value {
    Value::Gauge((summary.rate(count) * 1e3).round() / 1e3)
}

/// Milliseconds to the nanosecond: without the digits that a product of floats brings along.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e6
}

/// `text` as parts of a name that its dots part, as they do in `load.write`.
fn path(text: &str) -> String {
    text.split('.').map(component).collect::<Vec<_>>().join(".")
}

/// `text` as one part of a name: whatever would end the part, the name or the line is `_`, and so is nothing at all.
fn component(text: &str) -> String {
    let text = if text.is_empty() { "_" } else { text };
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
    fn work_is_its_counts_and_what_they_are_a_second_also_of_nothing() {
        #[track_caller]
        fn check(summary: &Summary, expect: &[&str]) {
            let lines = lines(summary);
            let work: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("p.q.web-1_example_com.")).collect();
            assert_eq!(work[12 + 4 * 6..], *expect);
        }
        let write = sample::working("load.write", 100, [("points", 4_999_997), ("rejected", 0)]);
        check(
            &write,
            &[
                "load.write.work.points 4999997",
                "load.write.work.points_per_second 499999.7",
                "load.write.work.rejected 0",
                "load.write.work.rejected_per_second 0",
            ],
        );
        let read = sample::working("load.read", 3, [("rows", 1)]);
        check(&read, &["load.read.work.rows 1", "load.read.work.rows_per_second 0.1"]);
        check(
            &sample::working("a", 1, [("rows", 20), ("rows_per_second", 7), ("x y.z", 0)]),
            &[
                "a.work.rows 20",
                "a.work.rows_per_second 7",
                "a.work.rows_per_second_per_second 0.7",
                "a.work.x_y_z 0",
                "a.work.x_y_z_per_second 0",
            ],
        );
    }

    #[test]
    fn of_work_with_too_many_names_the_rest_is_counted() {
        let mut summary = sample::idle("hello");
        let Measured::Test(tally) = &mut summary.measured else { unreachable!("it is a test") };
        tally.work = Some(Box::new((0..60).map(|number| (format!("n{number:02}"), 2)).collect()));
        let lines = lines(&summary);
        assert_eq!(lines.iter().filter(|line| line.contains(".work.")).count(), 2 * 50);
        assert_eq!(lines.last().map(String::as_str), Some("p.q.web-1_example_com.hello.work_dropped 20"));
    }

    #[test]
    fn merged_intervals_have_the_work_of_all_over_the_time_of_all() {
        let mut minute = sample::working("load.write", 1, [("points", 1000), ("rejected", 0)]);
        minute.merge(&sample::later(sample::working("load.write", 1, [("points", 2000), ("rejected", 1)]), 10));
        minute.merge(&sample::later(sample::idle("load.write"), 20));
        let lines = lines(&minute);
        let work: Vec<_> = lines.iter().filter_map(|line| Some(line.split_once(".write.work.")?.1)).collect();
        assert_eq!(work, ["points 3000", "points_per_second 100", "rejected 1", "rejected_per_second 0.033"]);
    }

    #[test]
    fn routes_are_their_requests_errors_bytes_statuses_and_times_and_no_name_is_there_twice() {
        #[track_caller]
        fn check(routes: &[(&str, u64)], expect: &[&str]) {
            let lines = lines(&sample::routed("shop", routes));
            let routes: Vec<_> = lines.iter().filter_map(|line| Some(line.split_once(".shop.routes.")?.1)).collect();
            assert_eq!(routes, expect);
        }
        check(&[], &[]);
        check(
            &[("POST https://shop.example.com/orders/:id/pay", 4), ("GET https://shop.example.com/", 1)],
            &[
                "GET_https___shop_example_com_.requests 1",
                "GET_https___shop_example_com_.errors 1",
                "GET_https___shop_example_com_.bytes 0",
                "GET_https___shop_example_com_.status.0 1",
                "GET_https___shop_example_com_.duration.mean 1",
                "GET_https___shop_example_com_.duration.p50 1",
                "GET_https___shop_example_com_.duration.p90 1",
                "GET_https___shop_example_com_.duration.p99 1",
                "GET_https___shop_example_com_.duration.p999 1",
                "GET_https___shop_example_com_.duration.max 1",
                "POST_https___shop_example_com_orders__id_pay.requests 4",
                "POST_https___shop_example_com_orders__id_pay.errors 1",
                "POST_https___shop_example_com_orders__id_pay.bytes 300",
                "POST_https___shop_example_com_orders__id_pay.status.0 1",
                "POST_https___shop_example_com_orders__id_pay.status.200 3",
                "POST_https___shop_example_com_orders__id_pay.duration.mean 2.5",
                "POST_https___shop_example_com_orders__id_pay.duration.p50 2.000895",
                "POST_https___shop_example_com_orders__id_pay.duration.p90 4",
                "POST_https___shop_example_com_orders__id_pay.duration.p99 4",
                "POST_https___shop_example_com_orders__id_pay.duration.p999 4",
                "POST_https___shop_example_com_orders__id_pay.duration.max 4",
            ],
        );
        check(
            &[("GET /a.b", 1), ("GET /a/b", 3), ("GET /a b", 1)],
            &[
                "GET__a_b.requests 5",
                "GET__a_b.errors 3",
                "GET__a_b.bytes 200",
                "GET__a_b.status.0 3",
                "GET__a_b.status.200 2",
                "GET__a_b.duration.mean 1.6",
                "GET__a_b.duration.p50 1.000447",
                "GET__a_b.duration.p90 3",
                "GET__a_b.duration.p99 3",
                "GET__a_b.duration.p999 3",
                "GET__a_b.duration.max 3",
            ],
        );
    }

    #[test]
    fn of_too_many_routes_the_others_are_one_that_is_complete() {
        let routes: Vec<_> = (0..70).map(|number| format!("GET /{number:02}")).collect();
        let routes: Vec<_> = routes.iter().map(|route| (route.as_str(), 3)).collect();
        let lines = lines(&sample::routed("shop", &routes));
        assert_eq!(lines.iter().filter(|line| line.ends_with(".requests 3")).count(), 50);
        for line in ["other.requests 60", "other.errors 20", "other.bytes 4000", "other.status.200 40"] {
            let line = format!("p.q.web-1_example_com.shop.routes.{line}");
            assert_eq!(lines.iter().filter(|seen| **seen == line).count(), 1, "{line}");
        }
    }

    #[test]
    fn the_dots_of_a_tests_name_part_the_metrics_and_no_part_is_empty() {
        #[track_caller]
        fn check(test: &str, expect: &str) {
            let summary = Summary { test: test.to_owned(), ..sample::idle("a") };
            assert_eq!(lines(&summary)[0], format!("p.q.web-1_example_com.{expect}.hits.planned 0"));
        }
        check("load.write", "load.write");
        check("load..write.", "load._.write._");
        check("a b.c:d|e\nf", "a_b.c_d_e_f");
        check("", "_");
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
