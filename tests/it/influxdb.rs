//! The kind `influxdb` against Debian's InfluxDB: what is reported is what the database has.

use crate::parts::clock::Clock;
use crate::parts::cron::{cron, minutes};
use crate::parts::deadline::seconds;
use crate::parts::influx::{Influx, Options};
use crate::parts::points::{SERIES, numbers};
use crate::parts::sandbox::Sandbox;

/// A sandbox with the type `stress`, which writes to `influx` in batches of `batch`; `points` and `client` are more keys
/// of the point generator and the client, `rest` is the rest of the file.
fn sandbox(influx: &Influx, batch: u64, [points, client, rest]: [&str; 3]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.settings("max_catch_up = 1000");
    sandbox.out();
    let address = influx.url().replace("http://", "");
    let text = format!(
        "kind = \"influxdb\"\n\
         [write.point_generator.basic]\nseries_count = {SERIES}\ntick = \"10s\"\nmeasurement = \"cpu\"\n{points}\n\
         tag = [{{ key = \"host\", value = \"server\" }}, {{ key = \"location\", value = \"us-west\" }}]\n\
         field = [{{ key = \"value\", value = \"float64\" }}]\n\
         [write.influx_client.basic]\naddresses = [\"{address}\"]\nbatch_size = {batch}\n{client}\n{rest}"
    );
    sandbox.write("types.d/stress.toml", text);
    sandbox
}

/// The points that the summaries of `test` say were written.
fn reported(sandbox: &Sandbox, test: &str) -> u64 {
    sandbox.results().work(test, "points")
}

const PAST: &str = "start_date = \"2006-Jan-02\"";
const LAB: &str = "database = \"lab\"";

#[test]
fn every_point_is_counted_the_last_partial_batch_included() {
    let influx = Influx::start();
    influx.create("lab");
    // 1,030 points are ten batches, and one of 30.
    let sandbox = sandbox(&influx, 100, [&format!("{PAST}\npoint_count = 103"), LAB, ""]);
    sandbox.test("load|stress|60|out");
    let ended = sandbox.start(&Clock::at(57.0)).wait(seconds(12.0));
    ended.expect_code(0);
    let said = "test load: all 1030 points of type stress are written: the writer is done";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(influx.count("lab", "cpu", "value"), 1030);
    assert_eq!(numbers(&influx, "lab"), (0..1030).collect());
    let results = sandbox.results();
    assert_eq!((reported(&sandbox, "load.write"), sandbox.results().work("load.write", "rejected")), (1030, 0));
    assert_eq!((results.total("load.write", "ok"), results.total("load.write", "stopped")), (11, 49), "{results}");
    results.expect_planned("load.write", 60);

    // From now on there is nothing to do, which is said no more.
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    assert_eq!(influx.count("lab", "cpu", "value"), 1030);
    assert_eq!((reported(&sandbox, "load.write"), sandbox.results().total("load.write", "stopped")), (1030, 49 + 60));
}

#[test]
fn after_kill_9_no_more_is_reported_than_there_is_and_the_next_run_leaves_no_gap() {
    let influx = Influx::start();
    influx.create("lab");
    let sandbox = sandbox(&influx, 100, [PAST, LAB, ""]);
    // Ten batches a second.
    sandbox.test("load|stress|600|out");
    let clock = Clock::at(36.0);
    let run = sandbox.start(&clock);
    clock.wait_for(53.5);
    run.kill_9();
    let held = influx.count("lab", "cpu", "value");
    let known = reported(&sandbox, "load.write");
    // Two intervals were closed; the open one has no more than what catch-up makes of 3.5 s.
    assert!(known > 0 && known <= held, "{known} reported, {held} there");
    let open = (held - known) as f64;
    assert!(open <= 3.6 * 600.0 / 23.9 * 100.0, "{known} reported, {held} there");

    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(12.0);
    let known = reported(&sandbox, "load.write");
    let held = numbers(&influx, "lab");
    let highest = *held.last().expect("there are some");
    assert_eq!(held.len() as u64, highest + 1, "a gap");
    assert!(known <= held.len() as u64, "{known} reported, {} there", held.len());
    assert!(held.len() as f64 - known as f64 <= open, "{known} reported, {} there", held.len());
}

#[test]
fn copies_never_send_the_same_points() {
    let influx = Influx::start();
    influx.create("lab");
    let sandbox = sandbox(&influx, 100, [PAST, LAB, ""]);
    sandbox.test("load|stress|60|out");
    sandbox.test("other|stress|60|out");
    let clock = Clock::at(57.0);
    let runs = [1, 2, 3].map(|_| sandbox.start(&clock));
    runs.into_iter().for_each(|run| _ = run.succeed(12.0));
    let all = reported(&sandbox, "load.write") + reported(&sandbox, "other.write");
    assert_eq!((all, influx.count("lab", "cpu", "value")), (6 * 60 * 100, 6 * 60 * 100));
    assert_eq!(numbers(&influx, "lab"), (0..6 * 60 * 100).collect());
}

#[test]
fn points_of_the_present_are_counted_too() {
    for (precision, is_fine) in [("n", true), ("ms", true), ("s", false)] {
        let influx = Influx::start();
        influx.create("lab");
        let client = format!("{LAB}\nprecision = \"{precision}\"");
        let sandbox = sandbox(&influx, 25, ["", &client, ""]);
        sandbox.test("load|stress|40|out");
        let clock = Clock::at(57.0);
        for _ in 0..2 {
            sandbox.start(&Clock::at(57.0)).succeed(12.0);
        }
        let expect = 2 * 40 * 25;
        assert_eq!((reported(&sandbox, "load.write"), influx.count("lab", "cpu", "value")), (expect, expect));
        // None is of the future, unless stamps of whole seconds have to be, as no two of a series are the same.
        let from = (clock.epoch() + 57) * 1_000_000_000 - 16_000_000;
        let until = (clock.epoch() + if is_fine { 60 } else { 600 }) * 1_000_000_000;
        let present = format!("SELECT count(value) FROM cpu WHERE time >= {from} AND time < {until}");
        assert_eq!(influx.number("lab", &present), expect as f64, "{precision}");
    }
}

#[test]
fn line_udp_is_counted_by_query() {
    let influx = Influx::with(Options { udp: Some("lab"), ..Options::default() });
    other_format(&influx, influx.udp_port, "line_udp");
}

#[test]
fn graphite_tcp_is_counted_by_query() {
    let influx = Influx::with(Options { graphite: Some(("lab", &TEMPLATES)), ..Options::default() });
    other_format(&influx, influx.graphite_tcp_port, "graphite_tcp");
}

#[test]
fn graphite_udp_is_counted_by_query() {
    let influx = Influx::with(Options { graphite: Some(("lab", &TEMPLATES)), ..Options::default() });
    other_format(&influx, influx.graphite_udp_port, "graphite_udp");
}

/// How InfluxDB is to read Graphite's lines.
const TEMPLATES: [&str; 1] = ["host.location.measurement.field"];

/// Writes in another format than requests, and counts what arrived.
#[track_caller]
fn other_format(influx: &Influx, port: u16, format: &str) {
    let client = format!("{LAB}\nformat = \"{format}\"");
    // 1,030 points.
    let sandbox = sandbox(influx, 100, [&format!("{PAST}\npoint_count = 103"), &client, ""]);
    sandbox.replace("types.d/stress.toml", &influx.url().replace("http://", ""), &format!("127.0.0.1:{port}"));
    sandbox.test("load|stress|60|out");
    sandbox.start(&Clock::at(57.0)).wait(seconds(12.0)).expect_code(0);
    assert_eq!(reported(&sandbox, "load.write"), 1030);
    // These listeners hand on what they have when they like.
    influx.expect_count("lab", "cpu", "value", 1030);
    assert_eq!(numbers(influx, "lab"), (0..1030).collect());
}

#[test]
fn the_reader_runs_beside_the_writer_and_its_rows_are_counted() {
    let influx = Influx::start();
    influx.create("lab");
    let address = influx.url().replace("http://", "");
    // One row a query: the points of the newest tick that the writer sent, or the one before.
    let read = format!(
        "[read.query_generator.basic]\nquery_count = 10\n\
         template = \"SELECT value FROM cpu WHERE host='server-%v' AND time >= 0 AND time < %now% LIMIT 1\"\n\
         [read.query_client.basic]\naddresses = [\"{address}\"]\ndatabase = \"lab\"\nquery_interval = \"250ms\"\n\
         concurrency = 4"
    );
    let sandbox = sandbox(&influx, 100, [PAST, LAB, &read]);
    influx.write("lab", &(0..SERIES).map(|host| format!("cpu,host=server-{host} value=1 1\n")).collect::<String>());
    sandbox.test("load|stress|60|out");
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    let results = sandbox.results();
    results.expect_planned("load.write", 60);
    results.expect_planned("load.read", 240);
    assert_eq!((results.total("load.write", "ok"), results.total("load.read", "ok")), (60, 240), "{results}");
    assert_eq!(sandbox.results().work("load.read", "rows"), 240, "{results}");
}

#[test]
fn a_query_that_fails_is_a_failed_hit() {
    let influx = Influx::start();
    influx.create("lab");
    let address = influx.url().replace("http://", "");
    let sandbox = Sandbox::new();
    sandbox.settings("max_catch_up = 1000");
    sandbox.out();
    for (name, query) in [("wrong", "SELECT value FROM"), ("refused", "SELECT value FROM nowhere..cpu")] {
        let text = format!(
            "kind = \"influxdb\"\n[read.query_generator.basic]\ntemplate = \"{query}\"\nquery_count = 1\n\
             [read.query_client.basic]\naddresses = [\"{address}\"]\ndatabase = \"lab\"\nquery_interval = \"1s\""
        );
        sandbox.write(&format!("types.d/{name}.toml"), text);
        sandbox.test(&format!("{name}|{name}|30|out"));
    }
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    let results = sandbox.results();
    // There is no writer: the frequency is the reader's.
    results.expect_planned("wrong.read", 30);
    assert_eq!(results.failures("wrong.read", "status"), 30, "{results}");
    // That is said in an answer with status 200.
    assert_eq!(results.failures("refused.read", "body"), 30, "{results}");
}

#[test]
fn after_three_runs_under_cron_the_count_is_what_was_reported() {
    let influx = Influx::start();
    influx.create("lab");
    let sandbox = sandbox(&influx, 1000, [PAST, LAB, ""]);
    sandbox.test("load|stress|600|out");
    let cron = cron(&sandbox);
    Clock::real().wait_for(60.0);
    minutes(&sandbox, 3);
    // The fourth minute's run has not begun.
    sandbox.write("stop", "enough\n");
    let known = reported(&sandbox, "load.write");
    assert_eq!(sandbox.results().total("load.write", "ok"), 3 * 600);
    assert_eq!((known, influx.count("lab", "cpu", "value")), (3 * 600 * 1000, 3 * 600 * 1000));
    assert_eq!(cron.mails(), Vec::<String>::new());
}
