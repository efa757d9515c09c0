//! The destination `collector`: requests as they were, to the last one, counted at a collector.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use canihaz::golo::Output;
use canihaz::label::Label;
use canihaz::spool::{Collected, Spool, by_collector};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::parts::clock::Clock;
use crate::parts::collector::Collector;
use crate::parts::deadline::seconds;
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::{Sandbox, sandbox};

/// How long a run that begins at second 57 may take: its tests, sending, and the machine's share.
const SHORT: f64 = 3.0 + 5.0 + 2.0;

/// The requests `from` to `to`, each with its number as its size.
fn outputs(from: i64, to: i64) -> Vec<Output> {
    let output = |number: i64| Output {
        sequence_id: format!("journey-{}", number / 3),
        url: String::from("http://10.50.0.4:8765/pay?\"much\"=ü"),
        method: String::from("GET"),
        status: 200,
        size: number,
        timestamp: DateTime::UNIX_EPOCH + TimeDelta::nanoseconds(number),
        duration: Duration::from_nanos(1_500_000),
        error: None,
    };
    (from..to).map(output).collect()
}

/// A sandbox with a test that has the destinations `names`, of which `magnum` is the collector at `url`.
fn collecting(nginx: &Nginx, names: &str, url: &str) -> Sandbox {
    let sandbox = sandbox(&nginx.url("/a"), &format!("a|front|60|{names}"));
    sandbox.settings("max_catch_up = 100\n");
    sandbox.destination("magnum", &format!("kind = \"collector\"\nurl = \"{url}\"\n"));
    sandbox
}

/// Spools requests as an earlier run, which is over, would have.
fn spool(sandbox: &Sandbox, label: &str, outputs: Vec<Output>) {
    let collected = [Collected { collectors: vec!["magnum".into()], outputs }];
    for (collector, lines) in by_collector(&collected).unwrap() {
        let label = Label::parse(label).unwrap();
        Spool::new(&sandbox.path("state")).store_outputs(&collector, &label, &lines).unwrap();
    }
}

/// The files of the collector in the spool's folder `folder`.
fn spooled(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    sandbox.files(&format!("state/spool/magnum/{folder}"))
}

/// The numbers of what was pushed.
fn numbers(pushed: &[Value]) -> Vec<i64> {
    pushed.iter().map(|output| output["size"].as_i64().unwrap()).collect()
}

#[test]
fn a_collector_gets_each_request_as_it_was_and_once() {
    let (nginx, collector) = (Nginx::start(), Collector::start());
    let sandbox = collecting(&nginx, "magnum", &collector.url("shop"));
    spool(&sandbox, "20261121T0326Z.1.00-10", outputs(0, 2345));
    spool(&sandbox, "20261121T0326Z.1.10-20.last", outputs(2345, 2400));
    sandbox.start(&Clock::at(57.0)).succeed(SHORT);
    let pushed = collector.pushed("shop");
    assert_eq!(numbers(&pushed), (0..2400).collect::<Vec<_>>());
    assert_eq!(collector.arrays(), [1000, 1000, 345, 55]);
    let expect = outputs(7, 8).remove(0);
    assert_eq!(serde_json::from_value::<Output>(pushed[7].clone()).unwrap(), expect);
    let when: DateTime<Utc> = pushed[7]["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!((when, &pushed[7]["duration"]), (expect.timestamp, &Value::from(1_500_000)));
    assert_eq!(spooled(&sandbox, ""), [PathBuf::from("lock")]);
}

#[test]
fn a_collector_that_is_down_and_back_in_the_next_run_gets_all_of_them_once() {
    let (nginx, collector) = (Nginx::start(), Collector::start());
    let sandbox = collecting(&nginx, "magnum,out", &collector.url("shop"));
    spool(&sandbox, "20261121T0326Z.1.00-10", outputs(0, 2500));
    // It is gone in the middle of an interval.
    collector.fails_after(Some(1));
    let ended = sandbox.start(&Clock::at(57.0)).wait(seconds(SHORT));
    ended.expect_code(0);
    let words = "destination magnum: it answered 503 Service Unavailable; what it did not take is kept";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert_eq!(sandbox.results().total("a", "planned"), 60, "others have theirs");
    assert_eq!((collector.pushed("shop").len(), spooled(&sandbox, "new").len()), (1000, 1));

    spool(&sandbox, "20261121T0327Z.1.00-10", outputs(2500, 2600));
    collector.fails_after(None);
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(SHORT);
    assert_eq!(numbers(&collector.pushed("shop")), (0..2600).collect::<Vec<_>>());
    assert_eq!(collector.arrays(), [1000, 1000, 500, 100]);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());
}

#[test]
fn what_a_collector_refuses_for_good_is_set_aside_and_nothing_else() {
    let (nginx, collector) = (Nginx::start(), Collector::start());
    let sandbox = collecting(&nginx, "magnum", &collector.url("shop"));
    let mut some = outputs(0, 1500);
    // The first version's collector can't read an error that is a text, and refuses all that is beside it.
    for number in [17, 1200] {
        some[number].error = Some(String::from("connection refused"));
    }
    spool(&sandbox, "20261121T0326Z.1.00-10", some);
    let ended = sandbox.start(&Clock::at(57.0)).wait(seconds(SHORT));
    ended.expect_code(0);
    let words = "2 requests of 20261121T0326Z.1.00-10 are set aside: it answered 400 Bad Request";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    let expect: Vec<i64> = (0..1500).filter(|number| ![17, 1200].contains(number)).collect();
    assert_eq!(numbers(&collector.pushed("shop")), expect);
    let rejected = sandbox.path("state/spool/magnum/rejected/20261121T0326Z.1.00-10.outputs");
    let lines: Vec<Value> =
        fs::read_to_string(rejected).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(numbers(&lines), [17, 1200]);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());

    // There is nothing at all at such a path.
    sandbox.destination(
        "magnum",
        &format!("kind = \"collector\"\nurl = \"http://127.0.0.1:{}/pull/shop\"\n", collector.port()),
    );
    spool(&sandbox, "20261121T0327Z.1.00-10", outputs(0, 1500));
    let ended = sandbox.start(&Clock::in_minute(1, 57.0)).wait(seconds(SHORT));
    let words = "1500 requests of 20261121T0327Z.1.00-10 are set aside: it answered 404 Not Found";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert_eq!(spooled(&sandbox, "new"), Vec::<PathBuf>::new());
    let reason = sandbox.path("state/spool/magnum/rejected/20261121T0327Z.1.00-10.outputs.reason");
    assert_eq!(fs::read_to_string(reason).unwrap(), "it answered 404 Not Found\n");
}

#[test]
fn a_collector_gets_no_summaries_and_others_get_no_requests() {
    let (nginx, collector) = (Nginx::start(), Collector::start());
    let sandbox = collecting(&nginx, "magnum,out", &collector.url("shop"));
    sandbox.test("b|front|60|magnum");
    spool(&sandbox, "20261121T0326Z.1.00-10", outputs(0, 10));
    sandbox.start(&Clock::at(57.0)).succeed(SHORT);
    assert_eq!(numbers(&collector.pushed("shop")), (0..10).collect::<Vec<_>>());
    let results = sandbox.results();
    assert_eq!((results.total("a", "planned"), results.of("b").len(), results.of("_runner").len()), (60, 0, 1));
    assert_eq!(spooled(&sandbox, ""), [PathBuf::from("lock")]);
    let archive = sandbox.files("state/archive").remove(0);
    let archived = fs::read_to_string(sandbox.path("state/archive").join(archive)).unwrap();
    let tests: Vec<Value> =
        archived.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["test"].clone()).collect();
    for test in ["a", "b", "_runner"] {
        assert!(tests.contains(&test.into()), "{test} in {tests:?}");
    }
    assert!(!archived.contains("sequenceID"));
}

#[test]
fn requests_that_nobody_takes_make_room_for_what_others_wait_for() {
    let (nginx, collector) = (Nginx::start(), Collector::start());
    let sandbox = collecting(&nginx, "magnum,later", &collector.url("shop"));
    collector.fails_after(Some(0));
    sandbox.settings("max_catch_up = 100\nspool_max = \"512KiB\"\n");
    sandbox.destination("later", "kind = \"file\"\npath = \"../../later/out.jsonl\"\n");
    for (from, to) in [(0, 10), (10, 20), (20, 30), (30, 40)] {
        spool(&sandbox, &format!("20261121T0326Z.1.{from:02}-{to}"), outputs(from * 100, to * 100));
    }
    let held: u64 = spooled(&sandbox, "new")
        .iter()
        .map(|file| sandbox.path("state/spool/magnum/new").join(file).metadata().unwrap().len())
        .sum();
    assert!(held > 600 << 10, "{held} bytes");
    sandbox.start(&Clock::at(57.0)).wait(seconds(SHORT)).expect_code(0);
    let left = spooled(&sandbox, "new").len();
    assert!((1..4).contains(&left), "{left} of 4 are left");

    collector.fails_after(None);
    fs::create_dir(sandbox.path("later")).unwrap();
    sandbox.start(&Clock::in_minute(1, 57.0)).wait(seconds(SHORT)).expect_code(0);
    // The newest are there, and each run's summaries, in which the others are counted.
    let first = (4 - left as i64) * 1000;
    assert_eq!(numbers(&collector.pushed("shop")), (first..4000).collect::<Vec<_>>());
    let results = crate::parts::results::Results::read(&sandbox.path("later/out.jsonl"));
    assert_eq!(results.total("a", "planned"), 120, "{results}");
    assert_eq!(results.total("_runner", "spool_dropped"), 4 - left as u64, "{results}");
}
