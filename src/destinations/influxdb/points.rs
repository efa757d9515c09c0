//! A summary as points: which measurements, tags and fields it has, in the order of README's table.

use crate::latency::{Latency, Quantiles};
use crate::routes::Route;
use crate::summary::{Measured, Summary, Tally};

use super::line::Line;

const NS: i64 = 1_000_000_000;

/// What all points have in common.
#[derive(Debug)]
pub(super) struct Points {
    /// The measurement's name, and what the others begin with.
    pub(super) measurement: String,
    /// Tags beside a point's own.
    pub(super) tags: Vec<(String, String)>,
}

impl Points {
    /// All that `summary` has to say, a point a line, each at the interval's beginning.
    ///
    /// Results of hits are always there, also as 0; reasons only once there was one, distributions only when a hit
    /// ended, phases only of new connections, values only where hits brought some, routes only of requests.
    pub(super) fn lines(&self, summary: &Summary) -> Vec<String> {
        let ns = summary.start.timestamp_nanos_opt().unwrap_or_else(|| summary.start.timestamp().saturating_mul(NS));
        let (host, copy) = (summary.host.replace('.', "_"), summary.copy.to_string());
        let line = |suffix: &str, more: &[(&'static str, &str)]| {
            let mut tags: Vec<(&str, &str)> = self.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
            tags.extend([("host", &*host), ("test", &*summary.test), ("type", &*summary.type_name)]);
            // Another copy of the minute is another series.
            tags.extend((summary.copy > 1).then_some(("copy", &*copy)));
            tags.extend(more.iter().map(|(name, value)| (*name, *value)));
            Line::new(&format!("{}{suffix}", self.measurement), tags)
        };
        let mut lines = vec![line("", &[])];
        match &summary.measured {
            Measured::Runner(upkeep) => {
                upkeep.named().into_iter().for_each(|(name, number)| lines[0].whole(name, number));
            }
            Measured::Test(tally) => {
                add_tally(&mut lines[0], summary, tally);
                for (reason, count) in &tally.failures {
                    let mut failures = line("_failures", &[("reason", &reason.to_string())]);
                    failures.count("count", *count);
                    lines.push(failures);
                }
                for (name, spread) in tally.values.iter().flat_map(|values| values.iter()) {
                    let mut values = line("_values", &[("value", name), ("unit", &spread.unit)]);
                    values.count("count", spread.count);
                    for (which, value) in [("mean", spread.mean()), ("min", spread.min), ("max", spread.max)] {
                        values.float(which, value);
                    }
                    lines.push(values);
                }
                for (name, route) in tally.routes.iter().flat_map(|routes| routes.named()) {
                    let mut point = line("_routes", &[("route", name)]);
                    add_route(&mut point, route);
                    lines.push(point);
                }
            }
        }
        lines.into_iter().map(|line| line.at(ns)).collect()
    }
}

/// The fields of a test: one more group of numbers is one more block here.
fn add_tally(line: &mut Line, summary: &Summary, tally: &Tally) {
    line.count("planned", tally.planned());
    for (result, count) in tally.results() {
        line.count(result, count);
    }
    line.float("asked_rate", summary.rate(tally.asked));
    line.float("sent_rate", summary.rate(tally.sent));
    line.count("bytes_in", tally.bytes_in);
    line.count("bytes_out", tally.bytes_out);
    // As numbers, which InfluxQL can take the largest of.
    line.count("truncated", u64::from(tally.truncated()));
    line.count("generator_limited", u64::from(tally.generator_limited()));
    if tally.insecure {
        line.count("insecure", 1);
    }
    for (name, latency) in tally.latencies() {
        add_latency(line, name, latency);
    }
    if let Some(connections) = &tally.connections {
        line.count("connections", connections.opened);
        for (name, times) in connections.phases() {
            add_latency(line, &format!("phases_{name}"), times);
        }
    }
    if tally.values_dropped() > 0 {
        line.count("values_dropped", tally.values_dropped());
    }
    if let Some(work) = &tally.work {
        for (name, count) in work.named() {
            line.count(&format!("work_{name}"), count);
            let rate = format!("{name}_per_second");
            // A count of that name stands.
            if !work.counts.contains_key(rate.as_str()) {
                line.float(&format!("work_{rate}"), summary.rate(count));
            }
        }
        if work.dropped() > 0 {
            line.count("work_dropped", work.dropped());
        }
    }
}

fn add_route(line: &mut Line, route: &Route) {
    line.count("requests", route.count());
    line.count("errors", route.errors);
    line.count("bytes", route.bytes);
    for (status, count) in &route.statuses {
        line.count(&format!("status_{status}"), *count);
    }
    add_latency(line, "duration", &route.duration);
}

fn add_latency(line: &mut Line, name: &str, latency: &Latency) {
    for (quantile, seconds) in latency.quantiles().iter().flat_map(Quantiles::named) {
        line.float(&format!("{name}_{quantile}"), seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::super::sample;
    use super::*;

    fn lines(summary: &Summary) -> Vec<String> {
        Points { measurement: String::from("canihaz"), tags: Vec::new() }.lines(summary)
    }

    #[test]
    fn work_is_its_counts_and_what_they_are_a_second() {
        let lines = lines(&sample::working("load.write", 100, [("points", 4_999_997), ("rejected", 0)]));
        let work = "work_points=4999997i,work_points_per_second=499999.7,work_rejected=0i,work_rejected_per_second=0";
        assert!(lines[0].contains(",test=load.write,") && lines[0].contains(work), "{}", lines[0]);
    }

    #[test]
    fn a_test_is_a_point_and_one_a_reason() {
        let lines = lines(&sample::test("hello"));
        let head = "canihaz,host=web-1_example_com,test=hello,type=loopback planned=105i,ok=97i,failed=3i,canceled=3i,\
                    missed=2i,stopped=0i,asked_rate=10.5,sent_rate=10.2,bytes_in=20000i,bytes_out=10000i,\
                    truncated=1i,generator_limited=0i,response_mean=0.0506,response_p50=0.050102271,\
                    response_p90=0.090111999,response_p99=0.099155967,response_p999=0.1001,response_max=0.1001,\
                    service_mean=";
        assert!(lines[0].starts_with(head), "{}", lines[0]);
        assert!(lines[0].ends_with(" 1767268800000000000\n"), "{}", lines[0]);
        assert_eq!(lines[0].matches('=').count(), 3 + 12 + 4 * 6);
        assert_eq!(
            lines[1..],
            [
                "canihaz_failures,host=web-1_example_com,reason=timeout,test=hello,type=loopback count=2i \
                 1767268800000000000\n",
                "canihaz_failures,host=web-1_example_com,reason=status,test=hello,type=loopback count=1i \
                 1767268800000000000\n",
            ]
        );
    }

    #[test]
    fn without_a_hit_that_ended_there_are_no_percentiles() {
        assert_eq!(
            lines(&sample::idle("hello")),
            ["canihaz,host=web-1_example_com,test=hello,type=loopback planned=0i,ok=0i,failed=0i,canceled=0i,\
              missed=0i,stopped=0i,asked_rate=0.0,sent_rate=0.0,bytes_in=0i,bytes_out=0i,truncated=0i,\
              generator_limited=0i 1767268800000000000\n"]
        );
    }

    #[test]
    fn connections_phases_and_values_are_there_where_there_were_some() {
        let lines = lines(&sample::rich("hello"));
        for field in [
            ",insecure=1i,",
            ",connections=3i,",
            ",phases_dns_max=0.0002,",
            ",phases_connect_mean=0.002,",
            ",phases_first_byte_p999=0.03,",
            ",values_dropped=1i ",
        ] {
            assert!(lines[0].contains(field), "{field} in {}", lines[0]);
        }
        assert!(!lines[0].contains("tls"), "{}", lines[0]);
        let tags = "host=web-1_example_com,test=hello,type=loopback";
        assert_eq!(
            lines[1..],
            [
                format!("canihaz_values,{tags},value=queued count=2i,mean=-1.5,min=-5.0,max=2.0 1767268800000000000\n"),
                format!(
                    "canihaz_values,{tags},unit=s,value=time count=1i,mean=0.25,min=0.25,max=0.25 1767268800000000000\n"
                ),
            ]
        );
    }

    #[test]
    fn a_route_is_a_point_with_its_whole_text_for_a_tag() {
        let lines = lines(&sample::routed("shop", &[("POST https://shop.example.com/a,b=c/:id", 4)]));
        assert_eq!(
            lines[1..],
            ["canihaz_routes,host=web-1_example_com,route=POST\\ https://shop.example.com/a\\,b\\=c/:id,test=shop,\
              type=loopback requests=4i,errors=1i,bytes=300i,status_0=1i,status_200=3i,duration_mean=0.0025,\
              duration_p50=0.002000895,duration_p90=0.004,duration_p99=0.004,duration_p999=0.004,duration_max=0.004 \
              1767268800000000000\n"]
        );
    }

    #[test]
    fn no_two_routes_are_one_point() {
        let hostile = ["a\\", "a_", "a\\,", "a_,", "a,", "a\\\\,", "a\n", "a\\ ", "a ", "a", "", "_", "other", "a=\\="];
        let mut lines = lines(&sample::routed("shop", &hostile.map(|route| (route, 1))));
        lines.remove(0);
        let points: Vec<_> = lines.iter().filter_map(|line| line.split_once(" requests=")).collect();
        let series: BTreeSet<_> = points.iter().map(|(series, _)| *series).collect();
        assert_eq!((series.len(), points.len()), (lines.len(), lines.len()), "{lines:?}");
        let requests = |(_, fields): &(&str, &str)| -> Option<usize> {
            fields.split_once('i').and_then(|(count, _)| count.parse().ok())
        };
        assert_eq!(points.iter().filter_map(requests).sum::<usize>(), hostile.len());
    }

    #[test]
    fn the_runner_is_a_point_without_a_type() {
        assert_eq!(
            lines(&sample::runner()),
            ["canihaz,host=web-1_example_com,test=_runner config_errors=2i,runs_skipped=1i,spool_dropped=0i,\
              last_run=1767268800i 1767268800000000000\n"]
        );
    }

    #[test]
    fn a_second_copy_a_strange_host_and_more_tags_are_series_of_their_own() {
        let tags = [("dc", "Köln, 2"), ("zone", "a=b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let points = Points { measurement: String::from("lab.a"), tags: tags.into() };
        let summary = Summary { copy: 2, host: String::from("a\\b,c."), ..sample::runner() };
        let line = points.lines(&summary).remove(0);
        let expect = "lab.a,copy=2,dc=Köln\\,\\ 2,host=a\\b\\,c_,test=_runner,zone=a\\=b config_errors=2i,";
        assert!(line.starts_with(expect), "{line}");
    }
}
