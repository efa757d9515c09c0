//! Programs that behave badly: the test ends in time, with a clear count, and nothing is left of them.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BOUND, arrived, end, expect_gone, expect_processes, odd, processes, routes, run, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::nginx::Nginx;
use crate::parts::processes::peak;
use crate::parts::results::Results;
use crate::parts::sandbox::Sandbox;

/// How many lines of a load test's standard error are in the log.
const SAID: usize = 20;

/// A sandbox whose test `a` runs the tests' own load test with these habits, and nginx, which it hits.
fn misbehaving(habits: &str, more: &str) -> (Nginx, Sandbox) {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "odd", &nginx.url(""), habits, more);
    sandbox.test("a|odd|120|out");
    (nginx, sandbox)
}

/// Hits that were ok, and those that failed.
fn ends(results: &Results) -> (u64, u64) {
    results.expect_planned("a", 120);
    (results.total("a", "ok"), results.total("a", "failed"))
}

/// How often a text is in another.
fn times(text: &str, in_text: &str) -> usize {
    in_text.matches(text).count()
}

#[test]
fn one_that_hangs_fails_with_timeout() {
    let (nginx, sandbox) = misbehaving("hang_at=4", "timeout = \"300ms\"\n");
    let (results, ended) = run(&sandbox, 54.0, 0.3);
    ended.expect_silence();
    let (ok, failed) = ends(&results);
    assert_eq!((ok, arrived(&nginx)["/a/:id"]), (3, 3), "{results}");
    assert!(failed > 3, "{results}");
    // The last one may have no such time left.
    assert!(results.failures("a", "timeout") >= failed - 1, "{results}");
}

#[test]
fn one_that_hangs_at_the_end_fails_with_deadline() {
    let (nginx, sandbox) = misbehaving("hang_at=4", "grace = \"200ms\"\novertime = 3\n");
    let (results, ended) = run(&sandbox, 55.0, 0.2);
    ended.expect_silence();
    assert_eq!(ends(&results), (3, 3), "{results}");
    assert_eq!(results.failures("a", "deadline"), 3, "{results}");
    assert_eq!(arrived(&nginx)["/a/:id"], 3);
}

#[test]
fn one_that_dies_at_once_is_a_clear_error_and_its_hits_are_missed() {
    let (nginx, sandbox) = misbehaving("exit=3", "startup_timeout = \"1s\"\n");
    let (results, ended) = run(&sandbox, 55.0, 0.0);
    ended.expect_code(0);
    assert_eq!(ends(&results), (0, 0), "{results}");
    assert_eq!((ends(&results), results.total("a", "missed")), ((0, 0), 120), "{results}");
    let log = &ended.stderr;
    let expected = "error: test a cannot run: its load test died before it answered: exit status 3; its hits are";
    assert!(log.contains(expected), "{log}");
    assert!(times("it was told to exit", log) >= 2, "what it says is in the log\n{log}");
    assert!(nginx.hits().is_empty());
}

#[test]
fn one_that_dies_at_the_100th_trigger_fails_that_one_and_is_started_again() {
    let (nginx, sandbox) = misbehaving("die_at=100", "");
    sandbox.test("a|odd|240|out");
    let (results, ended) = run(&sandbox, 53.0, 0.0);
    ended.expect_code(0);
    results.expect_planned("a", 240);
    let [ok, failed] = ["ok", "failed"].map(|count| results.total("a", count));
    assert!(ok > 100, "it goes on\n{results}");
    assert_eq!(results.work("a", "restarts"), ok / 99, "{results}");
    assert_eq!(results.failures("a", "other"), ok / 99, "the one under way\n{results}");
    assert_eq!(results.failures("a", "connect"), failed - ok / 99, "{results}");
    assert_eq!((arrived(&nginx)["/a/:id"], results.work("a", "requests")), (ok, ok), "{results}");
    let log = &ended.stderr;
    assert!(log.contains("test a: its load test died: exit status 3; it is started again in 100ms"), "{log}");
}

#[test]
fn one_that_floods_stdout_with_100_mb_is_counted_line_by_line_and_harms_nobody() {
    let (nginx, sandbox) = misbehaving("flood_stdout=100000000", "timeout = \"50s\"\n");
    odd(&sandbox, "good", &nginx.url("/good"), "", "");
    sandbox.test("b|good|240|out");
    let clock = Clock::at(51.0);
    let begun = sandbox.start(&clock);
    clock.wait_for(59.5);
    let peak = peak(begun.id() as i32);
    let (results, ended) = end(&sandbox, begun, &clock, 5.0);
    ended.expect_code(0);
    assert!(peak < 64 << 10, "{peak} KiB");
    assert_eq!(results.work("a", "lines"), 1_000_000, "{results}");
    let (ok, _) = ends(&results);
    assert!(ok > 0 && results.work("a", "requests") == ok, "{results}");
    assert!(times("is no Output", &ended.stderr) + times("are no Outputs", &ended.stderr) >= 1, "{}", ended.stderr);
    assert!(ended.stderr.lines().count() < 20, "{}", ended.stderr);
    results.expect_planned("b", 240);
    assert_eq!((results.total("b", "failed"), routes(&results, "b")["/good/a/:id"]), (0, results.total("b", "ok")));
    assert!(results.total("b", "ok") > 100, "{results}");
}

#[test]
fn a_line_of_50_mb_is_one_that_is_no_output() {
    let (nginx, sandbox) = misbehaving("long_line=50000000", "timeout = \"50s\"\n");
    let clock = Clock::at(54.0);
    let begun = sandbox.start(&clock);
    clock.wait_for(59.5);
    let peak = peak(begun.id() as i32);
    let (results, ended) = end(&sandbox, begun, &clock, 2.0);
    ended.expect_code(0);
    assert!(peak < 64 << 10, "{peak} KiB");
    let (ok, failed) = ends(&results);
    assert!(ok > 1 && failed == 0, "{results}");
    assert_eq!((results.work("a", "lines"), results.work("a", "requests")), (1, ok), "{results}");
    assert_eq!(arrived(&nginx)["/a/:id"], ok);
    assert!(ended.stderr.len() < 1000, "{}", ended.stderr);
}

#[test]
fn one_that_is_stopped_by_a_signal_fails_with_timeout_and_is_killed() {
    let (nginx, sandbox) = misbehaving("", "timeout = \"300ms\"\n");
    let clock = Clock::at(53.0);
    let begun = sandbox.start(&clock);
    let [program] = expect_processes(&sandbox, 1)[..] else { unreachable!() };
    eventually("hits", BOUND, || (nginx.hits().len() > 3).then_some(()));
    kill(Pid::from_raw(program), Signal::SIGSTOP).unwrap();
    let (results, ended) = end(&sandbox, begun, &clock, 0.3);
    ended.expect_silence();
    let (ok, failed) = ends(&results);
    assert!(ok > 0 && failed > 3, "{results}");
    // The last one may have no such time left.
    assert!(results.failures("a", "timeout") >= failed - 1, "{results}");
    // The first of those that failed may have asked.
    assert!((ok..=ok + 1).contains(&arrived(&nginx)["/a/:id"]), "{results}");
}

#[test]
fn one_that_floods_stderr_is_a_few_lines_in_the_log() {
    let (_nginx, sandbox) = misbehaving("flood_stderr=10000000", "timeout = \"50s\"\n");
    let (results, ended) = run(&sandbox, 53.0, 3.0);
    ended.expect_code(0);
    let log = &ended.stderr;
    assert_eq!(times("test a: its load test says \"xxx", log), SAID, "{log}");
    assert!(log.contains("test a: its load test said 99980 lines more, which are not shown"), "{log}");
    assert_eq!(log.lines().count(), SAID + 1, "{log}");
    let (ok, failed) = ends(&results);
    assert!(ok > 0 && failed == 0, "{results}");
}

#[test]
fn half_a_line_and_death_is_one_line_that_is_no_output() {
    let (nginx, sandbox) = misbehaving("half={\"seq half_at=20 die_at=20", "");
    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_code(0);
    let (ok, _) = ends(&results);
    let deaths = results.failures("a", "other");
    assert!(deaths > 0 && ok >= 19, "{results}");
    assert_eq!(results.work("a", "lines"), deaths, "{results}");
    assert_eq!((arrived(&nginx)["/a/:id"], results.work("a", "requests")), (ok, ok), "{results}");
    assert!(ended.stderr.contains("the first was \"{\\\"seq\""), "{}", ended.stderr);
}

#[test]
fn half_a_line_and_life_spoils_the_line_that_follows_alone() {
    let (nginx, sandbox) = misbehaving("half={\"seq half_at=10", "");
    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_code(0);
    let (ok, failed) = ends(&results);
    assert!(ok > 10 && failed == 0, "{results}");
    assert_eq!(results.work("a", "lines"), ok / 10, "{results}");
    assert_eq!(results.work("a", "requests"), ok - ok / 10, "{results}");
    assert_eq!(arrived(&nginx)["/a/:id"], ok);
}

#[test]
fn what_it_forks_is_gone_with_it() {
    let (nginx, sandbox) = misbehaving("forks=yes", "");
    let clock = Clock::at(54.0);
    let begun = sandbox.start(&clock);
    // The program, and a child in its group, in a session of its own, and orphaned.
    eventually("its children", BOUND, || (children(&sandbox) == 3).then_some(()));
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_silence();
    let (ok, failed) = ends(&results);
    assert!(ok > 20 && failed == 0, "{results}");
    assert_eq!(arrived(&nginx)["/a/:id"], ok);
}

/// How many `sleep`s there are.
fn children(sandbox: &Sandbox) -> usize {
    let is_asleep = |id: &i32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name == "sleep\n");
    processes(sandbox).iter().filter(|id| is_asleep(id)).count()
}

#[test]
fn what_it_forks_is_gone_when_it_dies() {
    let (_nginx, sandbox) = misbehaving("forks=yes die_at=2", "");
    let clock = Clock::at(50.0);
    let begun = sandbox.start(&clock);
    eventually("two deaths", BOUND, || (times("exit status 3", &begun.stderr()) == 2).then_some(()));
    // Of those before nothing is left, though others come.
    assert!(children(&sandbox) <= 3);
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_code(0);
    assert!(results.work("a", "restarts") > 1, "{results}");
    let (ok, failed) = ends(&results);
    assert!(ok > 1 && failed > 1, "{results}");
}

#[test]
fn one_that_ignores_sigterm_is_killed() {
    let (nginx, sandbox) = misbehaving("stubborn=yes forks=yes", "");
    let (results, ended) = run(&sandbox, 55.0, 0.0);
    ended.expect_silence();
    let (ok, failed) = ends(&results);
    assert!(ok > 20 && failed == 0, "{results}");
    assert_eq!(arrived(&nginx)["/a/:id"], ok);
}

#[test]
fn one_that_ignores_sigterm_is_gone_within_a_second_of_a_stop() {
    let (_nginx, sandbox) = misbehaving("stubborn=yes", "");
    let clock = Clock::at(30.0);
    let begun = sandbox.start(&clock);
    expect_processes(&sandbox, 1);
    sandbox.write("stop", "");
    expect_gone(&sandbox, std::time::Instant::now());
    begun.succeed(4.0);
}

#[test]
fn one_that_listens_late_is_waited_for_and_its_hits_catch_up() {
    let (nginx, sandbox) = misbehaving("late_ms=1500", "");
    sandbox.test("a|odd|60|out");
    let clock = Clock::at(50.0);
    let begun = sandbox.start(&clock);
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 60);
    assert_eq!((results.total("a", "ok"), results.work("a", "restarts")), (60, 0), "{results}");
    let seconds: Vec<_> = nginx.hits().iter().map(|hit| clock.second(hit.at)).collect();
    assert!(seconds.len() == 60 && seconds[0] > 51.5, "{seconds:?}");
}

#[test]
fn one_that_never_listens_is_a_clear_error_within_its_startup_timeout() {
    let (nginx, sandbox) = misbehaving("never=yes", "startup_timeout = \"1s\"\n");
    let clock = Clock::at(50.0);
    let begun = sandbox.start(&clock);
    expect_processes(&sandbox, 1);
    let started = std::time::Instant::now();
    let expected = "error: test a cannot run: its load test did not answer at unix:";
    let is_told = || begun.stderr().contains(expected).then_some(());
    eventually("the error", seconds(2.0), is_told);
    expect_gone(&sandbox, started + seconds(1.0));
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_code(0);
    assert!(ended.stderr.contains(" within 1s "), "{}", ended.stderr);
    assert_eq!((ends(&results), results.total("a", "missed")), ((0, 0), 120), "{results}");
    assert!(nginx.hits().is_empty());
}

#[test]
fn one_that_takes_more_memory_than_it_may_have_fails_the_hit_and_is_started_again() {
    let (nginx, sandbox) = misbehaving("hog=300000000", "memory = \"256MiB\"\n");
    let (results, ended) = run(&sandbox, 55.0, 0.0);
    ended.expect_code(0);
    let (ok, failed) = ends(&results);
    assert!(ok == 0 && failed > 1 && results.failures("a", "other") > 1, "{results}");
    assert!(results.work("a", "restarts") >= 1, "{results}");
    let log = &ended.stderr;
    assert!(log.contains("memory allocation of 300000000 bytes failed"), "{log}");
    assert!(log.contains("its load test died: ended by signal 6 (SIGABRT)"), "{log}");
    assert!(nginx.hits().is_empty());
}
