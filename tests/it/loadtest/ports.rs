//! Programs that only know a port: late, never, taken by others, wanted by two.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use super::{BOUND, arrived, end, expect_counted, expect_processes, odd, run, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::nginx::Nginx;
use crate::parts::processes::is_over;
use crate::parts::sandbox::Sandbox;
use crate::parts::server::free_tcp_port;

/// A sandbox whose test `a` runs the tests' own load test with these habits, at a port that is free; nginx, which it
/// hits; and the port.
fn at_a_port(habits: &str, more: &str) -> (Nginx, Sandbox, u16) {
    let (nginx, sandbox, port) = (Nginx::start(), sandbox(), free_tcp_port());
    odd(&sandbox, "odd", &nginx.url(""), habits, &format!("rpc_addr = \"127.0.0.1:{port}\"\n{more}"));
    sandbox.test("a|odd|120|out");
    (nginx, sandbox, port)
}

#[test]
fn one_at_a_port_is_counted_to_the_hit() {
    let (nginx, sandbox, _) = at_a_port("steps=2", "overtime = 4\n");
    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_silence();
    assert!(expect_counted(&results, "a", 120, &nginx) > 20, "{results}");
}

#[test]
fn a_port_that_is_taken_late_is_waited_for() {
    let (nginx, sandbox, _) = at_a_port("late_ms=1500", "");
    let clock = Clock::at(54.0);
    let (results, ended) = {
        let begun = sandbox.start(&clock);
        end(&sandbox, begun, &clock, 0.0)
    };
    ended.expect_silence();
    assert!(expect_counted(&results, "a", 120, &nginx) > 10, "{results}");
    assert_eq!(results.work("a", "restarts"), 0, "{results}");
    assert!(clock.second(nginx.hits()[0].at) > 55.5);
}

#[test]
fn a_port_that_is_never_taken_is_a_clear_error() {
    let (nginx, sandbox, port) = at_a_port("never=yes", "startup_timeout = \"1s\"\n");
    let clock = Clock::at(50.0);
    let begun = sandbox.start(&clock);
    let started = expect_processes(&sandbox, 1);
    let expected = format!("error: test a cannot run: its load test did not answer at 127.0.0.1:{port} within 1s");
    eventually("the error", seconds(2.0), || begun.stderr().contains(&expected).then_some(()));
    assert!(is_over(started[0]));
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_code(0);
    results.expect_planned("a", 120);
    assert_eq!(results.total("a", "missed"), 120, "{results}");
    assert!(nginx.hits().is_empty());
}

#[test]
fn a_port_that_somebody_else_has_is_a_clear_error_and_nobody_is_called_there() {
    let (nginx, sandbox, port) = at_a_port("", "startup_timeout = \"1s\"\n");
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    other.set_nonblocking(true).unwrap();
    let (results, ended) = run(&sandbox, 55.0, 0.0);
    ended.expect_code(0);
    assert!(
        ended.stderr.contains(&format!("error: test a cannot run: 127.0.0.1:{port} is not free")),
        "{}",
        ended.stderr
    );
    results.expect_planned("a", 120);
    assert_eq!(results.total("a", "missed"), 120, "{results}");
    assert!(other.accept().is_err(), "nobody has connected");
    assert!(nginx.hits().is_empty());
}

#[test]
fn a_port_that_the_last_minutes_load_test_still_has_is_waited_for() {
    let (nginx, sandbox, _) = at_a_port("hang_at=5", "grace = \"4s\"\ntimeout = \"10s\"\n");
    let clock = Clock::at(56.0);
    let first = sandbox.start(&clock);
    eventually("a hit that hangs", BOUND, || (nginx.hits().len() == 4).then_some(()));
    clock.wait_for(60.2);
    // Of another minute, and with nothing that hangs: its own program.
    sandbox.replace("types.d/odd.toml", "hang_at=5", "steps=1");
    let second = sandbox.start(&clock);
    eventually("hits of the second run", BOUND, || (nginx.hits().len() > 10).then_some(()));
    let fifth = clock.second(nginx.hits()[4].at);
    assert!((63.9..65.5).contains(&fifth), "the port is free at {fifth}");
    first.wait(seconds(5.0)).expect_code(0);
    second.terminate();
    second.succeed(3.0);
    let results = sandbox.results();
    results.expect_planned("a", 240);
    assert_eq!(results.failures("a", "deadline"), 1, "{results}");
    // One may have been under way at the stop.
    let (ok, arrived) = (results.total("a", "ok"), nginx.hits().len() as u64);
    assert!((ok..=ok + 1).contains(&arrived), "{arrived}\n{results}");
}

#[test]
fn two_tests_with_the_same_port_are_a_fault_and_the_first_one_runs() {
    let (nginx, sandbox, port) = at_a_port("", "");
    sandbox.test("b|odd|120|out");
    let expected = format!("127.0.0.1:{port} is the `rpc_addr` of test \"a\", too");
    let checked = Command::output(sandbox.ctl().arg("check")).unwrap();
    let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(!checked.status.success() && said.contains(&expected) && said.contains("b.conf:1:3"), "{said}");

    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_code(0);
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    assert!(expect_counted(&results, "a", 120, &nginx) > 20, "{results}");
    assert_eq!(results.of("b").len(), 0, "{results}");
    assert_eq!(arrived(&nginx).len(), 1);
}
