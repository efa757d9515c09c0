//! Three runs at a time, however they end; and minutes that each belong to their runs.

use std::collections::BTreeSet;

use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::nginx::Nginx;
use crate::parts::run::Run;
use crate::parts::sandbox::sandbox;

#[test]
fn ten_copies_three_run() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    let clock = Clock::at(50.0);
    let mut runs: Vec<Run> = (0..10).map(|_| sandbox.start(&clock)).collect();
    eventually("seven runs to leave", seconds(5.0), || {
        (runs.iter_mut().map(Run::is_running).filter(|running| *running).count() == 3).then_some(())
    });
    for run in runs {
        run.succeed(20.0);
    }

    assert_eq!(nginx.seconds("/a", &clock).len(), 180, "each copy sends the whole frequency");
    let results = sandbox.results();
    results.expect_planned("a", 180);
    let copies: BTreeSet<u64> = results.of("a").iter().map(|summary| summary["copy"].as_u64().unwrap_or(1)).collect();
    assert_eq!(copies, BTreeSet::from([1, 2, 3]), "{results}");

    // A later run says how many left.
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(10.0);
    assert_eq!(sandbox.results().total("_runner", "runs_skipped"), 7);
}

#[test]
fn kill_9_frees_its_slot() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    let clock = Clock::at(30.0);
    let mut runs: Vec<Run> = (0..3).map(|_| sandbox.start(&clock)).collect();
    eventually("three runs to hit", seconds(10.0), || (nginx.count_now("/a") >= 3).then_some(()));
    // All slots are held: a fourth leaves, and another does once again.
    for _ in 0..2 {
        sandbox.start(&clock).succeed(2.0);
    }
    runs.remove(1).kill_9();
    let mut fourth = sandbox.start(&clock);
    clock.wait_for(clock.now() + 2.0);
    assert!(fourth.is_running(), "it left although a slot was free: {}", fourth.stderr());
    sandbox.write("stop", "");
    runs.push(fourth);
    for run in runs {
        run.succeed(5.0);
    }
}

#[test]
fn a_minute_claimed_by_a_waiting_run_is_left_to_it() {
    // By hand in a minute's last seconds, and cron at the next minute's first: one of them sends.
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let clock = Clock::at(58.5);
    let waiting = sandbox.start(&clock);
    clock.wait_for(60.5);
    sandbox.start(&clock).succeed(2.0);
    clock.wait_for(64.0);
    sandbox.write("stop", "");
    waiting.succeed(5.0);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.of("a").iter().filter(|summary| !summary["copy"].is_null()).count(), 0, "{results}");
    sandbox.remove("stop");
    sandbox.start(&Clock::in_minute(3, 57.0)).succeed(10.0);
    assert_eq!(sandbox.results().total("_runner", "runs_skipped"), 1);
}
