//! A database that can't be seen to, or not in time: its hits are missed, which the log says, and which is not held
//! against the server that hits.

use std::net::TcpListener;
use std::time::Duration;

use super::posts::Posts;
use super::{Stress, expect_first, load, provision};
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::influx::Influx;
use crate::parts::run::Ended;
use crate::parts::sandbox::Sandbox;
use crate::parts::server::free_tcp_port;

/// What a database says that has done as it was told.
const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{\"results\":[{\"statement_id\":0}]}";

/// Expects of the test `load` that so many hits are missed which weren't ok, and nobody's fault but the database's; and
/// one line in the log that says so.
#[track_caller]
fn expect_missed(sandbox: &Sandbox, ended: &Ended, planned: u64, why: &str) {
    ended.expect_code(0);
    let results = sandbox.results();
    results.expect_planned("load.write", planned);
    let [ok, missed] = ["ok", "missed"].map(|count| results.total("load.write", count));
    assert!(ok + missed == planned && missed > 0, "{results}");
    let limited = results.of("load.write").iter().filter(|summary| summary["generator_limited"] == true).count();
    assert_eq!(limited, 0, "{results}");
    let said: Vec<_> = ended.stderr.lines().filter(|line| line.contains("test load.write ")).collect();
    assert!(said.len() == 1 && said[0].contains(why) && said[0].contains("missed"), "{}", ended.stderr);
}

#[test]
fn who_has_no_database_is_not_limited_by_this_server() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = hangs.local_addr().unwrap().port();
    for (port, why) in [(free_tcp_port(), "cannot run: "), (hangs, "is not ready at the minute's end: ")] {
        let rest = provision(port, "");
        let sandbox = load(&Stress { rest: &rest, ..Stress::to(&port) }, 60);
        let ended = sandbox.start(&Clock::at(57.0)).wait(seconds(12.0));
        expect_missed(&sandbox, &ended, 60, why);
        assert_eq!(sandbox.results().total("load.write", "missed"), 60);
    }
}

#[test]
fn a_type_that_is_changed_back_goes_on_also_at_a_higher_frequency() {
    let influx = Influx::start();
    let rest = provision(influx.port, "");
    let nobody = provision(free_tcp_port(), "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    clock.wait_for(56.0);
    sandbox.replace("types.d/stress.toml", &rest, &nobody);
    clock.wait_for(57.0);
    sandbox.replace("types.d/stress.toml", &nobody, &rest);
    sandbox.test("load|stress|800|out");
    run.wait(seconds(12.0)).expect_code(0);
    let results = sandbox.results();
    results.expect_planned("load.write", 800);
    assert_eq!((results.total("load.write", "stopped"), results.total("load.write", "failed")), (0, 0), "{results}");
    let points = results.total("load.write", "ok") * 100;
    assert!(points > 60_000, "{results}");
    assert_eq!(results.work("load.write", "points"), points, "{results}");
    assert_eq!(influx.count("lab", "cpu", "value"), points);
    // What it had been lent at first is for the next run.
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(12.0);
    expect_first(&influx, "lab", sandbox.results().work("load.write", "points"));
}

#[test]
fn what_a_type_that_can_no_longer_be_provisioned_leaves_is_missed() {
    let influx = Influx::start();
    let rest = provision(influx.port, "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    clock.wait_for(57.0);
    // A wrong address, where nobody is.
    sandbox.replace("types.d/stress.toml", &rest, &provision(free_tcp_port(), ""));
    let ended = run.wait(seconds(12.0));
    expect_missed(&sandbox, &ended, 240, "cannot run: ");
    let ok = sandbox.results().total("load.write", "ok");
    assert!((60..200).contains(&ok), "{ok} before that");
    assert_eq!(influx.count("lab", "cpu", "value"), ok * 100);
}

#[test]
fn hits_that_are_no_longer_asked_for_are_not_missed() {
    let influx = Influx::start();
    let rest = provision(influx.port, "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    clock.wait_for(57.0);
    sandbox.replace("types.d/stress.toml", &rest, &provision(free_tcp_port(), ""));
    sandbox.test("load|stress|30|out");
    let ended = run.wait(seconds(12.0));
    ended.expect_code(0);
    assert!(ended.stderr.contains("test load.write cannot run: "), "{}", ended.stderr);
    let results = sandbox.results();
    let ok = results.total("load.write", "ok");
    assert!((60..200).contains(&ok), "{results}");
    results.expect_planned("load.write", ok);
}

#[test]
fn what_is_put_back_and_has_no_database_by_then_is_missed_at_its_new_frequency() {
    let influx = Influx::start();
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let rest = provision(influx.port, "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    clock.wait_for(56.5);
    sandbox.remove("tests.d/load.conf");
    clock.wait_for(57.5);
    sandbox.replace("types.d/stress.toml", &rest, &provision(hangs.local_addr().unwrap().port(), ""));
    sandbox.test("load|stress|300|out");
    let ended = run.wait(seconds(12.0));
    expect_missed(&sandbox, &ended, 300, "is not ready at the minute's end: ");
    assert!(sandbox.results().total("load.write", "ok") > 40, "{}", sandbox.results());
}

#[test]
fn a_database_that_is_ready_when_the_minute_is_over_is_told_of() {
    let slow = Posts::answering(DONE, Duration::from_secs(4));
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let rest = provision(slow.port(), "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&slow.port()) }, 60);
    // Its grace outlasts the minute, and keeps the run from ending.
    sandbox.http("slow", &format!("http://{}/", hangs.local_addr().unwrap()), "timeout = \"6s\"");
    sandbox.test("slow|slow|1|out");
    let clock = Clock::at(57.0);
    let ended = sandbox.start(&clock).wait(seconds(20.0));
    assert_eq!(sandbox.results().failures("slow", "timeout"), 1);
    assert_eq!(slow.all().len(), 1, "it is seen to, and not written to");
    expect_missed(&sandbox, &ended, 60, "is not ready at the minute's end: ");
}
