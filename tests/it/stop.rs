//! The stop file and the signals: at once, and nothing measured is lost.

use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use crate::parts::arrivals::latest;
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::nginx::Nginx;
use crate::parts::run::Run;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::target::{Answer, Target};

/// How soon after a stop no hit starts, in seconds; and a millisecond, which is how finely nginx tells the time.
const AT_ONCE: f64 = 0.101;

/// Lets a run go, stops it at second 20, and expects what a stop promises.
#[track_caller]
fn stops_within_100_ms(stop: impl FnOnce(&Sandbox, &Run)) -> (Sandbox, Nginx) {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|6000|out");
    // At no round time after its start, when something that looks now and then might be looking.
    let clock = Clock::at(16.77);
    let run = sandbox.start(&clock);
    clock.wait_for(20.0);
    let stopped = clock.now();
    stop(&sandbox, &run);
    run.succeed(5.0);
    assert!(clock.now() < stopped + 3.0, "it ended {} s after the stop", clock.now() - stopped);

    let arrived = nginx.seconds("/a", &clock);
    assert!(latest(&arrived) < stopped + AT_ONCE, "stopped at {stopped:.3}, last hit at {:.3}", latest(&arrived));
    let results = sandbox.results();
    results.expect_planned("a", 6_000);
    let ok = results.total("a", "ok");
    assert!(ok > 250, "three seconds at 140 a second\n{results}");
    // The one in flight may have been answered and dropped.
    assert!((ok..=ok + 1).contains(&(arrived.len() as u64)), "{} arrived\n{results}", arrived.len());
    assert_eq!(results.total("a", "stopped"), 6_000 - ok, "{results}");
    (sandbox, nginx)
}

#[test]
fn stop_file_stops_within_100_ms() {
    let (sandbox, nginx) = stops_within_100_ms(|sandbox, _| sandbox.write("stop", "enough\n"));
    // And the next runs exit at once.
    let before = nginx.hits().len();
    sandbox.start(&Clock::at(30.0)).succeed(2.0);
    sandbox.start(&Clock::in_minute(1, 10.0)).succeed(2.0);
    assert_eq!(nginx.hits().len(), before);
}

#[test]
fn sigterm_stops_within_100_ms() {
    stops_within_100_ms(|_, run| run.terminate());
}

#[test]
fn sigint_stops_within_100_ms() {
    stops_within_100_ms(|_, run| run.signal(Signal::SIGINT));
}

#[test]
fn frozen_until_the_stop_file_is_gone() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    sandbox.write("stop", "");
    sandbox.start(&Clock::at(54.0)).succeed(2.0);
    assert_eq!(nginx.hits().len(), 0);
    sandbox.remove("stop");
    sandbox.start(&Clock::at(54.0)).succeed(15.0);
    assert_eq!(nginx.hits().len(), sandbox.results().total("a", "ok") as usize);
    assert!(!nginx.hits().is_empty());
}

#[test]
fn a_stop_path_that_cannot_be_examined_counts_as_a_stop() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    symlink("stop", sandbox.path("etc/stop")).unwrap();
    let ended = sandbox.start(&Clock::at(54.0)).wait(seconds(2.0));
    ended.expect_code(0);
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn a_stop_ends_a_run_that_waits_for_its_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let clock = Clock::at(58.2);
    let run = sandbox.start(&clock);
    clock.wait_for(59.0);
    sandbox.write("stop", "");
    run.succeed(0.5);
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn a_stop_drops_hits_in_flight() {
    let target = Target::start(Answer::ok(seconds(10.0)));
    let sandbox = sandbox(&target.url("/"), "a|front|600|out");
    sandbox.http("front", &target.url("/"), "overtime = 5\ntimeout = \"20s\"\n");
    let clock = Clock::at(30.0);
    let run = sandbox.start(&clock);
    clock.wait_for(32.0);
    sandbox.write("stop", "");
    run.succeed(3.0);
    assert!(clock.now() < 34.0, "it waited for the target until {}", clock.now());
    let results = sandbox.results();
    assert_eq!(target.requests().len(), 5);
    results.expect_planned("a", 600);
    assert_eq!(results.total("a", "stopped"), 600, "{results}");
}
