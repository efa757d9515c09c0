//! The ends that a load test may find: a stop, a signal, the runner's own death.

use std::time::{Duration, Instant};

use super::{BOUND, expect_gone, expect_no_socket, expect_processes, odd, processes, run, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::eventually;
use crate::parts::nginx::Nginx;
use crate::parts::processes::{guard, is_over};
use crate::parts::run::Run;
use crate::parts::sandbox::Sandbox;

/// Two load tests under way, of which one has children that would outlive it; and how many processes that is.
fn two_under_way(more: &str) -> (Nginx, Sandbox, Run) {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "forks", &nginx.url("/a"), &format!("forks=yes {more}"), "");
    odd(&sandbox, "plain", &nginx.url("/b"), more, "");
    sandbox.test("a|forks|600|out");
    sandbox.test("b|plain|600|out");
    let run = sandbox.start(&Clock::at(10.0));
    expect_processes(&sandbox, 5);
    eventually("hits", BOUND, || (nginx.hits().len() > 20).then_some(()));
    (nginx, sandbox, run)
}

/// Stops a run in some way, and expects that it ends, and its processes even sooner.
#[track_caller]
fn stops_all(habits: &str, stop: impl FnOnce(&Sandbox, &Run)) {
    let (nginx, sandbox, run) = two_under_way(habits);
    stop(&sandbox, &run);
    expect_gone(&sandbox, Instant::now());
    run.succeed(3.0);
    expect_no_socket(&sandbox);
    let results = sandbox.results();
    let counts = ["a", "b"].map(|test| {
        results.expect_planned(test, 600);
        assert_eq!(results.total(test, "stopped"), 600 - results.total(test, "ok"), "{results}");
        (results.total(test, "ok"), results.work(test, "requests"))
    });
    let [ok, requests] = [counts.map(|(ok, _)| ok), counts.map(|(_, requests)| requests)].map(|all| all.iter().sum());
    // Those that were dropped in flight may have asked already, and may not have said so.
    let arrived = nginx.hits().len() as u64;
    assert!((ok..=ok + 2).contains(&arrived) && (ok..=arrived).contains(&requests), "{arrived} {requests}\n{results}");
}

#[test]
fn a_stop_file_leaves_no_process_for_a_second() {
    stops_all("", |sandbox, _| sandbox.write("stop", "enough\n"));
}

#[test]
fn a_stop_file_leaves_no_process_that_ignores_sigterm_for_a_second() {
    stops_all("stubborn=yes", |sandbox, _| sandbox.write("stop", "enough\n"));
}

#[test]
fn sigterm_leaves_no_process_for_a_second() {
    stops_all("", |_, run| run.terminate());
}

#[test]
fn a_stop_while_it_starts_leaves_no_process_for_a_second() {
    for habits in ["never=yes", "exit=3"] {
        let (nginx, sandbox) = (Nginx::start(), sandbox());
        odd(&sandbox, "late", &nginx.url(""), habits, "startup_timeout = \"30s\"\n");
        sandbox.test("a|late|600|out");
        let run = sandbox.start(&Clock::at(10.0));
        // One of them lives too shortly to be found.
        let has_lived = || !processes(&sandbox).is_empty() || run.stderr().contains("exit status 3");
        eventually("a process", BOUND, || has_lived().then_some(()));
        sandbox.write("stop", "");
        expect_gone(&sandbox, Instant::now());
        let ended = run.wait(Duration::from_secs(3));
        // Nor was it started again.
        assert!(processes(&sandbox).is_empty());
        ended.expect_code(0);
        expect_no_socket(&sandbox);
        let results = sandbox.results();
        results.expect_planned("a", 600);
        assert_eq!(results.total("a", "stopped"), 600, "{results}");
        assert!(nginx.hits().is_empty());
    }
}

#[test]
fn kill_9_of_the_runner_leaves_no_process_for_a_second_and_the_next_run_cleans_up() {
    let (_nginx, sandbox, begun) = two_under_way("stubborn=yes");
    let of_guard = guard(&begun).unwrap();
    let before = processes(&sandbox);
    begun.kill_9();
    let killed = Instant::now();
    expect_gone(&sandbox, killed);
    eventually("the guard to leave", super::GONE, || is_over(of_guard).then_some(()));
    assert_eq!(before.len(), 5);
    assert_eq!(sandbox.path("state/rpc").read_dir().unwrap().count(), 1, "its folder");
    // In another minute; nothing of it stays, and nothing of the killed one.
    sandbox.remove("tests.d/a.conf");
    let (results, ended) = run(&sandbox, 56.0, 0.0);
    ended.expect_silence();
    assert!(results.total("b", "ok") > 0, "{results}");
}

#[test]
fn kill_9_of_the_guard_leaves_no_process_and_all_are_started_again() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let (_nginx, sandbox, begun) = two_under_way("");
    let before = processes(&sandbox);
    kill(Pid::from_raw(guard(&begun).unwrap()), Signal::SIGKILL).unwrap();
    eventually("all to be gone", super::GONE, || before.iter().all(|id| is_over(*id)).then_some(()));
    expect_processes(&sandbox, 5);
    begun.terminate();
    expect_gone(&sandbox, Instant::now());
    let ended = begun.wait(Duration::from_secs(3));
    ended.expect_code(0);
    let results = sandbox.results();
    for test in ["a", "b"] {
        results.expect_planned(test, 600);
        assert!(results.work(test, "restarts") >= 1, "{results}");
    }
}
