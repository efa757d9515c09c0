//! Files that change in mid-minute: nothing is lost, and nothing is written twice.

use std::fs;

use super::{Stress, expect_first, load};
use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::influx::Influx;
use crate::parts::points::{START, TICK, numbers_of};
use crate::parts::results::Results;
use crate::parts::sandbox::Sandbox;

/// Runs from second 54 on, and changes something at 57.
#[track_caller]
fn change(change: impl FnOnce(&Sandbox)) -> (Sandbox, Influx, Results) {
    let influx = Influx::start();
    influx.create("lab");
    let sandbox = load(&Stress { client: "concurrency = 2", ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    clock.wait_for(57.0);
    change(&sandbox);
    run.succeed(12.0);
    let results = sandbox.results();
    assert_eq!(results.total("load.write", "failed"), 0, "{results}");
    assert_eq!(results.work("load.write", "points"), results.total("load.write", "ok") * 100, "{results}");
    (sandbox, influx, results)
}

#[test]
fn a_frequency_may_be_raised() {
    let (_, influx, results) = change(|sandbox| sandbox.test("load|stress|800|out"));
    results.expect_planned("load.write", 800);
    assert_eq!(results.work("load.write", "points"), 80_000, "{results}");
    expect_first(&influx, "lab", 80_000);
}

#[test]
fn a_frequency_that_nothing_can_be_lent_for_goes_on_with_what_it_has() {
    let influx = Influx::start();
    influx.create("lab");
    let sandbox = load(&Stress::to(&influx.port), 240);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    clock.wait_for(56.0);
    // Root can write anywhere, but not over a folder.
    let full = sandbox.path("state/influxdb/stress.json.partial");
    fs::create_dir(&full).unwrap();
    sandbox.test("load|stress|300|out");
    eventually("it to be told", seconds(3.0), || {
        run.stderr().contains("no more points can be taken out").then_some(())
    });
    fs::remove_dir(&full).unwrap();
    let ended = run.wait(seconds(12.0));
    ended.expect_code(0);
    let results = sandbox.results();
    results.expect_planned("load.write", 300);
    let [ok, stopped] = ["ok", "stopped"].map(|count| results.total("load.write", count));
    assert_eq!((ok, stopped), (240, 60), "{}\n{results}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    expect_first(&influx, "lab", 24_000);
}

#[test]
fn a_frequency_may_be_lowered() {
    let (sandbox, influx, results) = change(|sandbox| sandbox.test("load|stress|30|out"));
    let ok = results.total("load.write", "ok");
    assert!((60..240).contains(&ok), "{results}");
    expect_first(&influx, "lab", ok * 100);
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(12.0);
    expect_first(&influx, "lab", (ok + 30) * 100);
}

#[test]
fn a_test_may_be_removed_and_come_back() {
    let (_, influx, results) = change(|sandbox| {
        sandbox.remove("tests.d/load.conf");
        std::thread::sleep(std::time::Duration::from_millis(700));
        sandbox.test("load|stress|240|out");
    });
    results.expect_planned("load.write", 240);
    assert_eq!(results.work("load.write", "points"), 24_000, "{results}");
    expect_first(&influx, "lab", 24_000);
}

#[test]
fn a_type_may_have_another_measurement() {
    let (sandbox, influx, results) =
        change(|sandbox| sandbox.replace("types.d/stress.toml", "measurement = \"cpu\"", "measurement = \"mem\""));
    results.expect_planned("load.write", 240);
    let all = results.work("load.write", "points");
    assert_eq!(all, 24_000, "{results}");
    let [cpu, mem] = ["cpu", "mem"].map(|measurement| numbers_of(&influx, "lab", measurement, TICK));
    assert!(cpu.len() > 4_000 && mem.len() > 4_000, "{} {}", cpu.len(), mem.len());
    assert_eq!(cpu.len() + mem.len(), 24_000);
    for numbers in [cpu, mem] {
        assert_eq!(numbers.last().map(|last| last + 1), Some(numbers.len() as u64), "a gap");
    }
    // It goes on with what it is now.
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(12.0);
    let mem = numbers_of(&influx, "lab", "mem", TICK);
    assert_eq!(mem.last().map(|last| last + 1), Some(mem.len() as u64), "a gap");
    assert_eq!(influx.number("lab", &format!("SELECT count(value) FROM mem WHERE time > {START}")), mem.len() as f64);
}

#[test]
fn a_type_may_be_sent_in_another_way() {
    let (sandbox, influx, results) = change(|sandbox| {
        // What the old hits have begun with is theirs; the next run takes what they leave.
        sandbox.replace("types.d/stress.toml", "addresses", "gzip = true\naddresses");
    });
    results.expect_planned("load.write", 240);
    assert_eq!(results.work("load.write", "points"), 24_000, "{results}");
    assert_eq!(influx.count("lab", "cpu", "value"), 24_000);
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(12.0);
    expect_first(&influx, "lab", 48_000);
}
