//! Runs that are ended in mid-minute: what they say is there, and the next one leaves no gap.

use super::{Stress, expect_first, load};
use crate::parts::clock::Clock;
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

    let _ = std::fs::remove_file(sandbox.path("etc/stop"));
    sandbox.test("load|stress|30|out");
    sandbox.start(&Clock::in_minute(1, 56.0)).succeed(12.0);
    let reported = sandbox.results().work("load.write", "points");
    assert_eq!(reported, (ok + 30) * 1000, "{}", sandbox.results());
    assert_eq!(numbers(&influx, "lab").len() as u64, reported);
    expect_first(&influx, "lab", reported);
}
