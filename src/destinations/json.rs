//! A summary as one line of JSON: what files, datagrams and HTTP carry. A histogram is six numbers here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;

use crate::connections::Connections;
use crate::latency::Quantiles;
use crate::routes::Route;
use crate::summary::{Measured, Summary, Tally, Upkeep};
use crate::target::Reason;
use crate::values::Spread;

/// The summary as one JSON object, without a newline; with a prefix, the field
/// `test_name` is `PREFIX.NAME`.
pub(super) fn object(summary: &Summary, prefix: Option<&str>) -> String {
    let test = summary.test.as_str();
    let (numbers, test_time) = match &summary.measured {
        Measured::Test(tally) => {
            let hits = Hits::of(summary, tally);
            let test_time = hits.service.map(|service| service.mean);
            (Numbers::Test(Box::new(hits)), test_time)
        }
        Measured::Runner(upkeep) => (Numbers::Runner(upkeep), None),
    };
    let written = Written {
        test,
        type_name: &summary.type_name,
        host: &summary.host,
        copy: (summary.copy > 1).then_some(summary.copy),
        start: summary.start.to_rfc3339_opts(SecondsFormat::Secs, true),
        seconds: summary.seconds,
        numbers,
        test_name: prefix.map_or_else(|| test.to_owned(), |prefix| format!("{prefix}.{test}")),
        test_time,
        test_epoch: summary.start.timestamp(),
    };
    serde_json::to_string(&written).expect("it is plain data with texts for keys")
}

/// A batch as JSON lines, each with its newline.
pub(super) fn lines(batch: &[Summary], prefix: Option<&str>) -> String {
    batch.iter().map(|summary| object(summary, prefix) + "\n").collect()
}

/// A summary as people's tools read it: the last three fields are those of the first canihaz.
#[derive(Serialize)]
struct Written<'a> {
    test: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<u32>,
    start: String,
    seconds: f64,
    #[serde(flatten)]
    numbers: Numbers<'a>,
    test_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_time: Option<f64>,
    test_epoch: i64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Test(Box<Hits<'a>>),
    Runner(&'a Upkeep),
}

/// Each distribution is `null` when no hit ended.
#[derive(Serialize)]
struct Hits<'a> {
    planned: u64,
    ok: u64,
    failed: u64,
    canceled: u64,
    missed: u64,
    stopped: u64,
    asked_rate: f64,
    sent_rate: f64,
    failures: &'a BTreeMap<Reason, u64>,
    response: Option<Quantiles>,
    service: Option<Quantiles>,
    lag: Option<Quantiles>,
    blocked: Option<Quantiles>,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phases: Option<Phases>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<BTreeMap<&'a str, Number<'a>>>,
    #[serde(skip_serializing_if = "is_zero")]
    values_dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<&'a BTreeMap<Cow<'static, str>, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_per_second: Option<BTreeMap<&'a str, f64>>,
    #[serde(skip_serializing_if = "is_zero")]
    work_dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<BTreeMap<&'a str, Requests<'a>>>,
    generator_limited: bool,
    truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    insecure: bool,
}

/// Those that new connections had.
#[derive(Serialize)]
struct Phases {
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte: Option<Quantiles>,
}

/// What the values of one name came to.
#[derive(Serialize)]
struct Number<'a> {
    mean: f64,
    min: f64,
    max: f64,
    count: u64,
    unit: &'a str,
}

/// What the requests of one route came to.
#[derive(Serialize)]
struct Requests<'a> {
    requests: u64,
    errors: u64,
    bytes: u64,
    statuses: &'a BTreeMap<u16, u64>,
    duration: Option<Quantiles>,
}

impl<'a> Hits<'a> {
    fn of(summary: &Summary, tally: &'a Tally) -> Self {
        let taken = tally.values.as_ref().filter(|values| values.iter().len() > 0);
        let work = tally.work.as_deref().filter(|work| work.named().len() > 0);
        let routes = tally.routes.as_deref().filter(|routes| !routes.is_empty());
        Self {
            planned: tally.planned(),
            ok: tally.ok,
            failed: tally.failed,
            canceled: tally.canceled,
            missed: tally.missed,
            stopped: tally.stopped,
            asked_rate: summary.rate(tally.asked),
            sent_rate: summary.rate(tally.sent),
            failures: &tally.failures,
            response: tally.response.quantiles(),
            service: tally.service.quantiles(),
            lag: tally.lag.quantiles(),
            blocked: tally.blocked.quantiles(),
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            connections: tally.connections.as_ref().map(|connections| connections.opened),
            phases: tally.connections.as_deref().map(phases),
            values: taken.map(|values| values.iter().map(number).collect()),
            values_dropped: tally.values_dropped(),
            work: work.map(|work| &work.counts),
            work_per_second: work.map(|work| work.named().map(|(name, count)| (name, summary.rate(count))).collect()),
            work_dropped: tally.work_dropped(),
            routes: routes.map(|routes| routes.named().map(requests).collect()),
            generator_limited: tally.generator_limited(),
            truncated: tally.truncated(),
            insecure: tally.insecure,
        }
    }
}

fn phases(connections: &Connections) -> Phases {
    let Connections { dns, connect, tls, first_byte, .. } = connections;
    let [dns, connect, tls, first_byte] = [dns, connect, tls, first_byte].map(|times| times.as_ref()?.quantiles());
    Phases { dns, connect, tls, first_byte }
}

fn number<'a>((name, spread): (&'a str, &'a Spread)) -> (&'a str, Number<'a>) {
    let Spread { count, min, max, unit, .. } = spread;
    (name, Number { mean: spread.mean(), min: *min, max: *max, count: *count, unit })
}

fn requests<'a>((name, route): (&'a str, &'a Route)) -> (&'a str, Requests<'a>) {
    let Route { duration, statuses, errors, bytes } = route;
    let (errors, bytes, duration) = (*errors, *bytes, duration.quantiles());
    (name, Requests { requests: route.count(), errors, bytes, statuses, duration })
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_false(mark: &bool) -> bool {
    !mark
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::target::Value;

    #[test]
    fn a_prefix_stands_before_the_seeds_name_alone() {
        let summary = sample::test("hello");
        assert!(object(&summary, None).contains(r#""test_name":"hello""#));
        let value: serde_json::Value = serde_json::from_str(&object(&summary, Some("lab.a"))).expect("it is JSON");
        assert_eq!((&value["test_name"], &value["test"]), (&"lab.a.hello".into(), &"hello".into()));
        assert_eq!(value["planned"], 105);
    }

    #[test]
    fn rates_are_hits_a_second_and_who_was_the_limit_is_told() {
        #[track_caller]
        fn check(summary: &Summary, asked: f64, sent: f64, limited: bool) {
            let value: serde_json::Value = serde_json::from_str(&object(summary, None)).expect("it is JSON");
            assert_eq!((&value["asked_rate"], &value["sent_rate"]), (&asked.into(), &sent.into()));
            assert_eq!(value["generator_limited"], limited);
        }
        check(&sample::test("a"), 10.5, 10.2, false);
        check(&sample::late("a"), 0.1, 0.1, true);
        check(&sample::short("a"), 300.0, 291.0, true);
        check(&Summary { seconds: 0.0, ..sample::short("a") }, 0.0, 0.0, true);
    }

    #[test]
    fn connections_phases_and_values_are_there_where_there_were_some() {
        let value: serde_json::Value = serde_json::from_str(&object(&sample::rich("a"), None)).expect("it is JSON");
        assert_eq!(value["connections"], 3);
        let phases = &value["phases"];
        assert_eq!(phases.as_object().map(serde_json::Map::len), Some(3), "{phases}");
        assert_eq!((&phases["dns"]["max"], &phases["connect"]["mean"]), (&0.000_2.into(), &0.002.into()));
        assert_eq!((&phases["tls"], &phases["first_byte"]["p999"]), (&serde_json::Value::Null, &0.03.into()));
        let queued = serde_json::json!({ "mean": -1.5, "min": -5.0, "max": 2.0, "count": 2, "unit": "" });
        assert_eq!(value["values"]["queued"], queued);
        assert_eq!(value["values"]["time"]["unit"], "s");
        assert_eq!((&value["values_dropped"], &value["insecure"]), (&1.into(), &true.into()));

        let mut nothing = sample::idle("a");
        let Measured::Test(tally) = &mut nothing.measured else { unreachable!("it is a test") };
        let value = Value { name: String::from("a"), value: f64::NAN, unit: String::new() };
        tally.values.get_or_insert_default().record(&value);
        let text = object(&nothing, None);
        assert!(text.contains(r#""values_dropped":1"#) && !text.contains(r#""values":"#), "{text}");

        let plain = object(&sample::test("a"), None);
        for field in ["connections", "phases", "values", "values_dropped", "work", "routes", "insecure"] {
            assert!(!plain.contains(field), "{field} in {plain}");
        }
    }

    #[test]
    fn work_is_counts_and_what_they_are_a_second_where_there_was_some() {
        let write = sample::working("load.write", 100, [("points", 4_999_997), ("rejected", 0)]);
        let text = object(&write, Some("lab"));
        let fields = r#""work":{"points":4999997,"rejected":0},"work_per_second":{"points":499999.7,"rejected":0.0},"#;
        assert!(text.contains(fields) && !text.contains("work_dropped"), "{text}");
        assert!(text.starts_with(r#"{"test":"load.write","#) && text.contains(r#""test_name":"lab.load.write""#));

        let mut nothing = sample::idle("a");
        let Measured::Test(tally) = &mut nothing.measured else { unreachable!("it is a test") };
        tally.work = Some(Box::default());
        assert!(!object(&nothing, None).contains("work"), "no count has a name");
    }

    #[test]
    fn routes_are_an_object_by_their_whole_text_where_there_was_a_request() {
        let summary = sample::routed("shop", &[("GET https://h/\"a\"", 2), ("GET https://h/a?", 4)]);
        let value: serde_json::Value = serde_json::from_str(&object(&summary, None)).expect("it is JSON");
        let expect = serde_json::json!({
            "GET https://h/\"a\"": {
                "requests": 2, "errors": 1, "bytes": 100, "statuses": { "0": 1, "200": 1 },
                "duration": {
                    "mean": 0.0015, "p50": 0.001000447, "p90": 0.002, "p99": 0.002, "p999": 0.002, "max": 0.002
                },
            },
            "GET https://h/a?": {
                "requests": 4, "errors": 1, "bytes": 300, "statuses": { "0": 1, "200": 3 },
                "duration": {
                    "mean": 0.0025, "p50": 0.002000895, "p90": 0.004, "p99": 0.004, "p999": 0.004, "max": 0.004
                },
            },
        });
        assert_eq!(value["routes"], expect);
        assert!(!object(&sample::routed("shop", &[]), None).contains("routes"), "there was none");
    }

    #[test]
    fn fields_stand_in_the_order_of_their_documentation() {
        let text = object(&sample::test("hello"), None);
        let places: Vec<_> = [
            "test",
            "type",
            "host",
            "start",
            "seconds",
            "planned",
            "ok",
            "sent_rate",
            "failures",
            "response",
            "test_name",
        ]
        .iter()
        .map(|key| text.find(&format!("\"{key}\":")))
        .collect();
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
    }

    #[test]
    fn a_batch_is_one_line_each() {
        let lines = lines(&[sample::test("a"), sample::runner()], Some("p"));
        assert_eq!(lines.matches('\n').count(), 2);
        assert!(lines.ends_with("}\n"));
    }
}
