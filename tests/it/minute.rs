//! How hits lie in the minute: started early or late, against fast targets and slow ones.

use crate::parts::arrivals::{earliest, expect_even, in_parts, latest, most_within};
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::target::{Answer, Target};

/// From this second of its minute on no hit starts.
const END: f64 = 59.9;
/// How late the receiver's stamp of a hit may be, in seconds.
const LATE: f64 = 0.05;

#[test]
fn started_at_second_40_sends_all_evenly() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|400|out");
    let clock = Clock::at(40.0);
    sandbox.start(&clock).succeed(30.0);

    let seconds = nginx.seconds("/a", &clock);
    assert_eq!(seconds.len(), 400);
    assert!(earliest(&seconds) >= 40.0 && latest(&seconds) < END + LATE, "{seconds:?}");
    expect_even(&seconds, END, 4);
    let results = sandbox.results();
    results.expect_planned("a", 400);
    assert_eq!(results.total("a", "ok"), 400);
}

#[test]
fn started_at_second_55_never_exceeds_ten_times() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|6000|out");
    sandbox.http("front", &nginx.url("/a"), "overtime = 50\n");
    let clock = Clock::at(55.0);
    sandbox.start(&clock).succeed(15.0);

    let seconds = nginx.seconds("/a", &clock);
    // 10 × 100 hits a second; what the receiver sees late comes a little closer together.
    let most = most_within(&seconds, 0.5);
    assert!(most <= 525, "{most} in half a second");
    assert!((4_700..=4_910).contains(&seconds.len()), "{} hits", seconds.len());
    let results = sandbox.results();
    results.expect_planned("a", 6_000);
    assert_eq!(results.total("a", "ok"), seconds.len() as u64);
    assert_eq!(results.total("a", "missed"), 6_000 - seconds.len() as u64);
}

#[test]
fn started_at_second_59_owns_the_next_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let clock = Clock::at(59.0);
    let next = clock.later(1);
    sandbox.start(&clock).succeed(70.0);

    let seconds = nginx.seconds("/a", &next);
    assert_eq!(seconds.len(), 600);
    assert!((0.0..0.1 + LATE).contains(&earliest(&seconds)), "the first at {}", earliest(&seconds));
    assert!(latest(&seconds) < END + LATE, "the last at {}", latest(&seconds));
    expect_even(&seconds, END, 6);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.of("a").len(), 6, "{results}");
}

/// A target that takes 10 s, asked 60 times in a whole minute; the hits it got and what became of them.
fn slow_target(keys: &str) -> (Sandbox, Vec<f64>) {
    let target = Target::start(Answer::ok(seconds(10.0)));
    let sandbox = sandbox(&target.url("/slow"), "slow|front|60|out");
    sandbox.http("front", &target.url("/slow"), keys);
    let clock = Clock::at(0.0);
    sandbox.start(&clock).succeed(85.0);
    let arrived = target.requests().iter().map(|request| clock.second(request.at)).collect();
    sandbox.results().expect_planned("slow", 60);
    (sandbox, arrived)
}

#[test]
fn slow_target_overtime_1_gets_6_or_7() {
    let (sandbox, arrived) = slow_target("timeout = \"15s\"\n");
    assert!((6..=7).contains(&arrived.len()), "{arrived:?}");
    let results = sandbox.results();
    assert_eq!(results.total("slow", "ok"), arrived.len() as u64, "{results}");
    assert_eq!(results.total("slow", "missed"), 60 - arrived.len() as u64, "{results}");
}

#[test]
fn slow_target_overtime_100_gets_60() {
    let (sandbox, arrived) = slow_target("overtime = 100\ntimeout = \"15s\"\n");
    assert_eq!(arrived.len(), 60);
    expect_even(&arrived, END, 6);
    let results = sandbox.results();
    assert_eq!(results.total("slow", "ok"), 60, "{results}");
    for summary in results.of("slow").iter().filter(|summary| summary["ok"] != 0) {
        for latency in ["response", "service"] {
            let p50 = summary[latency]["p50"].as_f64().unwrap();
            assert!((9.9..10.6).contains(&p50), "{latency} of {summary}");
        }
    }
}

#[test]
fn slow_target_times_out_60_failed() {
    let (sandbox, arrived) = slow_target("overtime = 100\ntimeout = \"5s\"\n");
    assert_eq!(arrived.len(), 60);
    let results = sandbox.results();
    assert_eq!(results.total("slow", "failed"), 60, "{results}");
    assert_eq!(results.failures("slow", "timeout"), 60, "{results}");
}

#[test]
fn a_busy_test_that_does_not_wait_cancels() {
    let target = Target::start(Answer::ok(seconds(1.0)));
    let sandbox = sandbox(&target.url("/"), "a|front|60|out");
    sandbox.http("front", &target.url("/"), "when_busy = \"cancel\"\n");
    let clock = Clock::at(50.0);
    sandbox.start(&clock).succeed(20.0);

    let arrived = target.requests().len() as u64;
    assert!((8..=10).contains(&arrived), "{arrived}");
    let results = sandbox.results();
    results.expect_planned("a", 60);
    assert_eq!(results.total("a", "ok"), arrived, "{results}");
    assert_eq!(results.total("a", "canceled"), 60 - arrived, "{results}");
    assert!(results.of("a").iter().any(|summary| summary["truncated"] == true), "{results}");
}

#[test]
fn hits_in_flight_when_grace_is_over_are_cut() {
    let target = Target::start(Answer::ok(seconds(20.0)));
    let sandbox = sandbox(&target.url("/"), "a|front|60|out");
    sandbox.http("front", &target.url("/"), "overtime = 3\ntimeout = \"30s\"\ngrace = \"2s\"\n");
    let clock = Clock::at(50.0);
    let run = sandbox.start(&clock);
    run.succeed(20.0);
    assert!(clock.now() < 65.0, "ended at {}", clock.now());

    assert_eq!(target.requests().len(), 3);
    let results = sandbox.results();
    results.expect_planned("a", 60);
    assert_eq!(results.failures("a", "deadline"), 3, "{results}");
    assert_eq!(results.total("a", "missed"), 57, "{results}");
    // No summary outside the minute: what ended after it counts in its last interval.
    assert_eq!(results.of("a").last().unwrap()["start"], results.of("_runner").last().unwrap()["start"]);
}

#[test]
fn a_target_that_recovers_is_not_hit_by_a_burst() {
    // Busy for 5 s with the first hit, then free: what waited is spread over what is left.
    let target = Target::start(Answer::ok(seconds(5.0)).once());
    let sandbox = sandbox(&target.url("/"), "a|front|100|out");
    let clock = Clock::at(45.0);
    sandbox.start(&clock).succeed(25.0);

    let arrived: Vec<f64> = target.requests().iter().map(|request| clock.second(request.at)).collect();
    assert_eq!(arrived.len(), 100);
    let rest: Vec<f64> = arrived[1..].to_vec();
    let counts = in_parts(&rest, earliest(&rest), END, 3);
    assert!(counts.iter().all(|count| count.abs_diff(33) <= 2), "{counts:?}");
    let results = sandbox.results();
    results.expect_planned("a", 100);
    let most_blocked =
        results.of("a").iter().filter_map(|summary| summary["blocked"]["max"].as_f64()).fold(0.0, f64::max);
    assert!((4.0..5.5).contains(&most_blocked), "blocked is not hidden: {most_blocked}\n{results}");
}

#[test]
fn many_servers_at_one_hit_a_minute_do_not_hit_together() {
    // Two hosts, each at one hit in the rest of the minute: their phases differ.
    let nginx = Nginx::start();
    let clock = Clock::at(50.0);
    let sandboxes: Vec<_> = (0..4)
        .map(|number| {
            let sandbox = sandbox(&nginx.url(&format!("/{number}")), "a|front|1|out");
            sandbox.write("canihaz.toml", format!("host = \"web{number}\"\n"));
            sandbox
        })
        .collect();
    let runs: Vec<_> = sandboxes.iter().map(|sandbox| sandbox.start(&clock)).collect();
    for run in runs {
        run.succeed(20.0);
    }
    let mut times: Vec<f64> = (0..4).flat_map(|number| nginx.seconds(&format!("/{number}"), &clock)).collect();
    assert_eq!(times.len(), 4, "one hit each");
    times.sort_by(f64::total_cmp);
    assert!(times[3] - times[0] > 1.0, "{times:?}");
}

#[test]
fn hits_that_take_all_sockets_stop_no_test() {
    // More hits in flight than the system lets it have files: those fail, and what the files say still counts.
    let target = Target::start(Answer::ok(seconds(3.0)));
    let sandbox = sandbox(&target.url("/"), "a|front|600|out");
    sandbox.http("front", &target.url("/"), "overtime = 1000\n");
    let mut command = std::process::Command::new("prlimit");
    command.args(["--nofile=48:48", env!("CARGO_BIN_EXE_canihaz")]);
    for (name, value) in sandbox.runner().get_envs() {
        command.env(name, value.unwrap());
    }
    let clock = Clock::at(50.0);
    let run = sandbox.start_command(command, &clock);
    clock.wait_for(55.0);
    sandbox.write("tests.d/other.conf", "# a change\n");
    run.wait(seconds(20.0)).expect_code(0);

    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.total("a", "stopped"), 0, "{results}");
    assert_eq!(results.total("a", "ok"), target.requests().len() as u64, "{results}");
    assert!(results.failures("a", "connect") + results.failures("a", "other") > 100, "{results}");
}
