//! Runs that are ended in mid-minute, or can't file what they have done: what they say is there, and the next one leaves
//! no gap.

use std::fs;

use super::{PAST, Stress, expect_first, load};
use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::influx::Influx;
use crate::parts::points::numbers;
use crate::parts::run::Run;
use crate::parts::sandbox::Sandbox;

#[test]
fn after_the_stop_file_the_next_run_leaves_no_gap() {
    leaves_no_gap(|sandbox, _| sandbox.write("stop", "enough\n"));
}

#[test]
fn after_sigterm_the_next_run_leaves_no_gap() {
    leaves_no_gap(|_, run| run.terminate());
}

/// Stops a run whose hits are under way.
#[track_caller]
fn leaves_no_gap(stop: impl FnOnce(&Sandbox, &Run)) {
    let influx = Influx::start();
    influx.create("lab");
    let stress = Stress { client: "concurrency = 8", ..Stress::to(&influx.port) };
    let sandbox = load(&stress, 12_000);
    sandbox.replace("types.d/stress.toml", "batch_size = 100", "batch_size = 1000");
    let clock = Clock::at(53.0);
    let run = sandbox.start(&clock);
    clock.wait_for(55.3);
    stop(&sandbox, &run);
    run.succeed(5.0);
    let results = sandbox.results();
    results.expect_planned("load.write", 12_000);
    let (ok, stopped) = (results.total("load.write", "ok"), results.total("load.write", "stopped"));
    assert!(ok > 10 && ok + stopped == 12_000, "{results}");
    let reported = sandbox.results().work("load.write", "points");
    assert_eq!(reported, ok * 1000);
    // Those that were in flight may be there, too.
    let held = influx.count("lab", "cpu", "value");
    assert!((reported..=reported + 8 * 1000).contains(&held), "{reported} reported, {held} there");

    let _ = fs::remove_file(sandbox.path("etc/stop"));
    sandbox.test("load|stress|30|out");
    sandbox.start(&Clock::in_minute(1, 56.0)).succeed(12.0);
    let reported = sandbox.results().work("load.write", "points");
    assert_eq!(reported, (ok + 30) * 1000, "{}", sandbox.results());
    assert_eq!(numbers(&influx, "lab").len() as u64, reported);
    expect_first(&influx, "lab", reported);
}

#[test]
fn a_type_that_cannot_be_filed_holds_no_other_up_and_is_told_of_once() {
    let influx = Influx::start();
    influx.create("lab");
    influx.create("other");
    let sandbox = load(&Stress::to(&influx.port), 60);
    sandbox.settings("max_catch_up = 1000\ninterval = \"1s\"");
    let points = format!("{PAST}\npoint_count = 30");
    Stress { database: "other", points: &points, ..Stress::to(&influx.port) }.write(&sandbox, "few");
    sandbox.test("few|few|60|out");
    let run = sandbox.start(&Clock::at(55.0));
    eventually("the first points", seconds(5.0), || (influx.count("lab", "cpu", "value") > 0).then_some(()));
    // Root can write anywhere, but not over a folder.
    let full = sandbox.path("state/influxdb/stress.json.partial");
    fs::create_dir(&full).unwrap();
    let ended = run.wait(seconds(12.0));
    ended.expect_code(0);
    assert_eq!(ended.stderr.matches("can't be filed").count(), 1, "{}", ended.stderr);
    let said = "test few: all 300 points of type few are written: the writer is done";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    // The next run takes nothing of it for a crash.
    let book = fs::read_to_string(sandbox.path("state/influxdb/few.json")).unwrap();
    assert!(book.contains("\"loans\":{}"), "{book}");
    fs::remove_dir(&full).unwrap();
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(12.0);
    assert_eq!((sandbox.results().work("few.write", "points"), influx.count("other", "cpu", "value")), (300, 300));
}
