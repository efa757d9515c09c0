//! Files that change while load tests run.

use std::time::{Duration, Instant};

use super::{BOUND, arrived, end, expect_gone, expect_processes, odd, processes, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::eventually;
use crate::parts::nginx::Nginx;
use crate::parts::processes::is_over;
use crate::parts::run::Run;
use crate::parts::sandbox::Sandbox;

/// How soon a change is obeyed.
const OBEYED: Duration = Duration::from_secs(1);

/// A run whose test `a` is hit, with its program.
fn under_way(clock: &Clock) -> (Nginx, Sandbox, Run, i32) {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "front", &nginx.url("/old"), "", "");
    sandbox.test("a|front|120|out");
    let run = sandbox.start(clock);
    let [program] = expect_processes(&sandbox, 1)[..] else { unreachable!() };
    hits(&nginx, "/old/");
    (nginx, sandbox, run, program)
}

/// Waits for some hits.
#[track_caller]
fn hits(nginx: &Nginx, below: &str) {
    let count = || nginx.hits().iter().filter(|hit| hit.uri.starts_with(below)).count();
    let before = count();
    eventually("hits", BOUND, || (count() > before + 3).then_some(()));
}

#[test]
fn another_program_takes_over_in_mid_minute_and_nothing_is_counted_twice() {
    let clock = Clock::at(50.0);
    let (nginx, sandbox, run, old) = under_way(&clock);
    odd(&sandbox, "front", &nginx.url("/new"), "", "");
    let changed = clock.now();
    hits(&nginx, "/new/");
    eventually("the old program to be gone", OBEYED + super::GONE, || is_over(old).then_some(()));
    assert_eq!(processes(&sandbox).len(), 1);
    let (results, ended) = end(&sandbox, run, &clock, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 120);
    let (arrived, ok) = (arrived(&nginx), results.total("a", "ok"));
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["/new/a/:id", "/old/a/:id"]);
    assert_eq!(super::routes(&results, "a"), arrived, "{results}");
    assert_eq!(arrived.values().sum::<u64>(), ok, "{results}");
    assert_eq!(results.total("a", "failed"), 0, "{results}");
    let late = nginx.hits().into_iter().filter(|hit| hit.uri.starts_with("/old/")).map(|hit| clock.second(hit.at));
    assert!(late.fold(0.0, f64::max) < changed + 2.0, "the old one is not hit for long");
}

#[test]
fn at_a_port_another_program_takes_over_in_mid_minute() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    let port = format!("rpc_addr = \"127.0.0.1:{}\"\n", crate::parts::server::free_tcp_port());
    // A hit is under way most of the time, also when the old one is to end.
    odd(&sandbox, "front", &nginx.url("/old"), "linger_ms=400", &port);
    sandbox.test("a|front|120|out");
    let clock = Clock::at(40.0);
    let run = sandbox.start(&clock);
    hits(&nginx, "/old/");
    odd(&sandbox, "front", &nginx.url("/new"), "", &port);
    hits(&nginx, "/new/");
    assert_eq!(processes(&sandbox).len(), 1);
    let (results, ended) = end(&sandbox, run, &clock, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 120);
    let arrived = arrived(&nginx);
    assert_eq!(super::routes(&results, "a"), arrived, "{results}");
    assert_eq!(
        (arrived.values().sum::<u64>(), 0),
        (results.total("a", "ok"), results.total("a", "failed")),
        "{results}"
    );
}

#[test]
fn a_program_that_fails_in_mid_minute_is_a_clear_error_until_another_takes_over() {
    let clock = Clock::at(40.0);
    let (nginx, sandbox, run, old) = under_way(&clock);
    odd(&sandbox, "front", &nginx.url("/broken"), "exit=3", "startup_timeout = \"1s\"\n");
    eventually("an attempt", BOUND, || run.stderr().contains("exit status 3").then_some(()));
    // The old one is hit until it is known what becomes of the new one.
    assert!(!is_over(old));
    eventually("the error", BOUND, || run.stderr().contains("error: test a cannot run").then_some(()));
    expect_gone(&sandbox, Instant::now());
    odd(&sandbox, "front", &nginx.url("/new"), "", "");
    hits(&nginx, "/new/");
    run.terminate();
    let ended = run.wait(BOUND);
    ended.expect_code(0);
    let results = sandbox.results();
    results.expect_planned("a", 120);
    let (arrived, ok) = (arrived(&nginx), results.total("a", "ok"));
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["/new/a/:id", "/old/a/:id"]);
    assert!((ok..=ok + 1).contains(&arrived.values().sum()), "{arrived:?}\n{results}");
    assert_eq!(results.total("a", "failed"), 0, "{results}");
}

#[test]
fn a_change_that_is_taken_back_while_it_starts_leaves_one_program() {
    let clock = Clock::at(40.0);
    let (nginx, sandbox, run, _) = under_way(&clock);
    for round in 0..5 {
        odd(&sandbox, "front", &nginx.url("/new"), "never=yes", "");
        eventually("two programs", BOUND, || (processes(&sandbox).len() >= 2).then_some(()));
        odd(&sandbox, "front", &nginx.url("/old"), &format!("round={round}"), "");
        hits(&nginx, "/old/");
    }
    eventually("one program", BOUND, || (processes(&sandbox).len() == 1).then_some(()));
    run.terminate();
    run.succeed(3.0);
    let results = sandbox.results();
    results.expect_planned("a", 120);
    let (arrived, ok) = (arrived(&nginx), results.total("a", "ok"));
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["/old/a/:id"]);
    assert!((ok..=ok + 1).contains(&arrived["/old/a/:id"]), "{arrived:?}\n{results}");
    assert_eq!(results.total("a", "failed"), 0, "{results}");
}

#[test]
fn a_removed_test_leaves_no_process_and_comes_back_with_a_new_one() {
    let clock = Clock::at(48.0);
    let (nginx, sandbox, run, first) = under_way(&clock);
    sandbox.remove("tests.d/a.conf");
    expect_gone(&sandbox, Instant::now() + OBEYED);
    sandbox.test("a|front|120|out");
    let [second] = expect_processes(&sandbox, 1)[..] else { unreachable!() };
    assert_ne!(first, second);
    hits(&nginx, "/old/");
    let (results, ended) = end(&sandbox, run, &clock, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 120);
    let (ok, failed) = (results.total("a", "ok"), results.total("a", "failed"));
    let arrived = arrived(&nginx).values().sum::<u64>();
    // The one under way at the removal may have been dropped.
    assert!((ok..=ok + 1).contains(&arrived) && failed == 0, "{arrived}\n{results}");
    assert_eq!(results.work("a", "requests"), arrived, "{results}");
}

#[test]
fn another_frequency_is_the_same_program() {
    let clock = Clock::at(50.0);
    let (nginx, sandbox, run, program) = under_way(&clock);
    sandbox.test("a|front|240|out");
    clock.wait_for(57.0);
    assert_eq!(processes(&sandbox), [program]);
    let (results, ended) = end(&sandbox, run, &clock, 0.0);
    ended.expect_silence();
    results.expect_planned("a", 240);
    let ok = results.total("a", "ok");
    assert_eq!((arrived(&nginx)["/old/a/:id"], results.work("a", "requests")), (ok, ok), "{results}");
    assert_eq!(results.work("a", "restarts"), 0, "{results}");
    assert!(ok > 150, "{results}");
}
