//! The provisioner: harmless when it is done again, and never silent where it can't do what it should.

use std::io::Write;
use std::net::TcpListener;

use super::{Stress, expect_first, load, provision, read, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::influx::{Influx, Options};
use crate::parts::nginx::Nginx;
use crate::parts::odd::read_request;
use crate::parts::sandbox::{HOST, Sandbox};
use crate::parts::server::free_tcp_port;

/// What a server says that has executed a statement.
const EXECUTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"results\":[{}]}";

/// Runs a minute's end, its log included.
fn run(sandbox: &Sandbox, minute: i64) -> String {
    let ended = sandbox.start(&Clock::in_minute(minute, 57.0)).wait(seconds(12.0));
    ended.expect_code(0);
    ended.stderr
}

#[test]
fn provisioning_twice_is_harmless_over_runs() {
    let influx = Influx::start();
    let rest = provision(influx.port, "retention_policy = [{ name = \"ever\", duration = \"INF\", default = true }]");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 30);
    for minute in 0..3 {
        assert_eq!(run(&sandbox, minute), "");
    }
    assert_eq!(sandbox.results().work("load.write", "points"), 3 * 30 * 100);
    expect_first(&influx, "lab", 3 * 30 * 100);
    assert_eq!(influx.count("lab", "ever\".\"cpu", "value"), 3 * 30 * 100);
}

#[test]
fn a_reset_is_done_by_the_host_that_is_named_and_once_a_test() {
    let influx = Influx::start();
    influx.create("lab");
    assert_eq!(influx.write("lab", "old value=1 1").0, 204);
    let reset = format!("reset_database = true\nreset_host = \"{HOST}\"");
    let rest = provision(influx.port, &reset);
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 30);
    sandbox.settings("max_catch_up = 1000\nlog_level = \"info\"");
    // A second test of the type, which would drop what the first one has written.
    sandbox.test("other|stress|30|out");
    let dropped = "type stress: the database was dropped, as reset_database says";
    assert_eq!(run(&sandbox, 0).matches(dropped).count(), 1);
    assert_eq!(influx.count("lab", "old", "value"), 0);
    assert_eq!(influx.write("lab", "new value=1 1").0, 204);
    for minute in 1..3 {
        let said = run(&sandbox, minute);
        assert!(!said.contains("reset") && !said.contains("dropped"), "{said}");
    }
    assert_eq!(influx.count("lab", "new", "value"), 1);
    let points = sandbox.results().work("load.write", "points") + sandbox.results().work("other.write", "points");
    assert_eq!(points, 3 * 60 * 100);
    expect_first(&influx, "lab", points);
}

#[test]
fn a_reset_that_names_another_host_or_none_is_passed_over_and_told() {
    for (reset, expect, times) in [
        // A person is to mend that, and is told once.
        (
            "reset_database = true",
            "type stress: \"reset_database\" is passed over: add \"reset_host\", the name of the one server",
            1,
        ),
        (
            "reset_database = true\nreset_host = \"somebody-else\"",
            "type stress: reset_database is passed over: it is for \"somebody-else\", which reset_host names, to do",
            2,
        ),
    ] {
        let influx = Influx::start();
        influx.create("lab");
        assert_eq!(influx.write("lab", "old value=1 1").0, 204);
        let rest = provision(influx.port, reset);
        let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 30);
        sandbox.settings("max_catch_up = 1000\nlog_level = \"info\"");
        let said = [0, 1].map(|minute| run(&sandbox, minute)).concat();
        assert!(said.matches(expect).count() == times && !said.contains("was dropped"), "{said}");
        assert_eq!((influx.count("lab", "old", "value"), influx.count("lab", "cpu", "value")), (1, 2 * 30 * 100));
    }
}

#[test]
fn a_failing_provisioner_stops_its_test_with_an_error_and_no_other() {
    let nginx = Nginx::start();
    let influx = Influx::with(Options { admin: Some(("root", "s3cret")), ..Options::default() });
    influx.create("lab");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (closed, hangs) = (free_tcp_port(), silent.local_addr().unwrap().port());
    let sandbox = sandbox();
    sandbox.write("password", "wr0ng\n");
    let password = sandbox.path("etc/password");
    let user = format!("user = \"root\"\npassword_file = \"{}\"", password.display());
    let query = read(influx.port, "SELECT value FROM cpu WHERE host='server-%v'");
    for (name, port, top) in
        [("closed", closed, ""), ("wrong", influx.port, &user), ("hangs", hangs, "timeout = \"500ms\"")]
    {
        let rest = format!("{}{query}", provision(port, ""));
        Stress { top, rest: &rest, ..Stress::to(&influx.port) }.write(&sandbox, name);
        sandbox.test(&format!("{name}|{name}|60|out"));
    }
    sandbox.http("front", &nginx.url("/a"), "");
    sandbox.test("front|front|300|out");
    let clock = Clock::at(57.0);
    let ended = sandbox.start(&clock).wait(seconds(12.0));
    ended.expect_code(0);
    assert!(clock.now() < 62.0, "it ended at {}", clock.now());
    let results = sandbox.results();
    assert_eq!((results.total("front", "ok"), nginx.seconds("/a", &clock).len()), (300, 300), "{results}");
    for (name, port, expect) in [
        ("closed", closed, "Connection refused (os error 111); the server has to run, and the address and `ssl`"),
        ("wrong", influx.port, "401 Unauthorized: it says \"authorization failed\"; the user and password"),
        ("hangs", hangs, "no answer after 500ms; the server has to run"),
    ] {
        for (part, planned) in [("write", 60), ("read", 240)] {
            let test = format!("{name}.{part}");
            results.expect_planned(&test, planned);
            assert_eq!(results.total(&test, "missed"), planned, "{test}\n{results}");
            let line = ended.stderr.lines().find(|line| line.contains(&format!("test {test} cannot run: ")));
            let line = line.unwrap_or_else(|| panic!("nothing of {test} in {}", ended.stderr));
            let server = format!("http://127.0.0.1:{port}: cannot make the database \"lab\": ");
            assert!(line.contains("error: ") && line.contains(&server) && line.contains(expect), "{line}");
            assert!(line.contains("; its hits are missed"), "{line}");
        }
    }
    assert_eq!(ended.stderr.lines().count(), 6, "{}", ended.stderr);
    assert!(!ended.stderr.contains("wr0ng"), "{}", ended.stderr);
    assert_eq!(influx.count("lab", "cpu", "value"), 0);
    // The next run tries again.
    sandbox.write("password", "s3cret\n");
    assert!(!run(&sandbox, 1).contains("wrong"));
    assert_eq!(influx.count("lab", "cpu", "value"), 60 * 100);
}

#[test]
fn a_provisioner_that_hangs_to_the_minutes_end_is_told_of() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hangs.local_addr().unwrap().port();
    let rest = format!("{}{}", provision(port, ""), read(port, "SELECT %v"));
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&port) }, 60);
    let clock = Clock::at(57.0);
    let ended = sandbox.start(&clock).wait(seconds(12.0));
    ended.expect_code(0);
    assert!(clock.now() < 62.0, "it ended at {}", clock.now());
    let results = sandbox.results();
    for (test, planned) in [("load.write", 60), ("load.read", 240)] {
        results.expect_planned(test, planned);
        assert_eq!(results.total(test, "missed"), planned, "{results}");
        let line = ended.stderr.lines().find(|line| line.contains(test)).unwrap_or_default();
        assert!(
            line.contains("error: ")
                && line.contains("is not ready")
                && line.contains("hits that wait for that are missed"),
            "{line}"
        );
        let server = format!("the database \"lab\" at 127.0.0.1:{port} is not seen to; the server has to run");
        assert!(line.contains(&server), "{line}");
    }
}

#[test]
fn a_stop_while_the_provisioner_hangs_ends_the_run_at_once() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hangs.local_addr().unwrap().port();
    let rest = format!("{}{}", provision(port, ""), read(port, "SELECT %v"));
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&port) }, 60);
    // Whose turn comes when the first one's has.
    sandbox.test("other|stress|60|out");
    let clock = Clock::at(30.0);
    let run = sandbox.start(&clock);
    // Both hang now.
    let _connections = [hangs.accept().unwrap(), hangs.accept().unwrap()];
    let id = run.id();
    let stopped = clock.now();
    sandbox.write("stop", "enough\n");
    run.succeed(5.0);
    assert!(clock.now() < stopped + 1.0, "it ended {} s after the stop", clock.now() - stopped);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    let results = sandbox.results();
    for (test, planned) in [("load.write", 60), ("load.read", 240)] {
        results.expect_planned(test, planned);
        assert_eq!(results.total(test, "stopped"), planned, "{results}");
    }
}

#[test]
fn a_provisioner_that_is_out_of_date_stops_nothing() {
    let influx = Influx::start();
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hangs.local_addr().unwrap().port();
    let rest = provision(port, "");
    let sandbox = load(&Stress { top: "timeout = \"3s\"", rest: &rest, ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(52.0);
    let run = sandbox.start(&clock);
    let _connection = hangs.accept().unwrap();
    // Somebody sees that the address is a wrong one.
    sandbox.replace("types.d/stress.toml", &rest, &provision(influx.port, ""));
    let ended = run.wait(seconds(15.0));
    ended.expect_code(0);
    let results = sandbox.results();
    results.expect_planned("load.write", 240);
    assert_eq!(results.total("load.write", "ok"), 240, "{}\n{results}", ended.stderr);
    assert_eq!(influx.count("lab", "cpu", "value"), 24_000);
    assert_eq!(ended.stderr, "");
}

#[test]
fn what_is_removed_while_its_provisioner_hangs_is_stopped_and_may_come_back() {
    let influx = Influx::start();
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hangs.local_addr().unwrap().port();
    let rest = provision(port, "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 60);
    sandbox.test("gone|stress|30|out");
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    let _connections = [hangs.accept().unwrap(), hangs.accept().unwrap()];
    sandbox.remove("tests.d/gone.conf");
    sandbox.remove("tests.d/load.conf");
    clock.wait_for(56.0);
    sandbox.replace("types.d/stress.toml", &rest, "");
    influx.create("lab");
    sandbox.test("load|stress|40|out");
    let ended = run.wait(seconds(12.0));
    ended.expect_silence();
    let results = sandbox.results();
    for (test, count, planned) in [("load.write", "ok", 40), ("gone.write", "stopped", 30)] {
        results.expect_planned(test, planned);
        assert_eq!(results.total(test, count), planned, "{results}");
    }
    expect_first(&influx, "lab", 40 * 100);
}

#[test]
fn a_frequency_that_is_raised_while_the_provisioner_hangs_is_what_is_sent() {
    let influx = Influx::start();
    influx.create("lab");
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let rest = provision(hangs.local_addr().unwrap().port(), "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 60);
    let clock = Clock::at(54.0);
    let run = sandbox.start(&clock);
    let (mut connection, _) = hangs.accept().unwrap();
    sandbox.test("load|stress|600|out");
    clock.wait_for(56.0);
    read_request(&mut connection).unwrap();
    connection.write_all(EXECUTED).unwrap();
    run.succeed(12.0);
    let results = sandbox.results();
    results.expect_planned("load.write", 600);
    assert_eq!(results.total("load.write", "ok"), 600, "{results}");
    expect_first(&influx, "lab", 600 * 100);
}
