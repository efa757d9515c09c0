//! Round trips to the destinations that are not in `delivery`: counted at the receiver.

use serde_json::Value;

use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::sandbox;
use crate::parts::sink::Datagrams;
use crate::parts::statsd::Statsd;

#[test]
fn statsd_round_trip() {
    let nginx = Nginx::start();
    let statsd = Statsd::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|statsd");
    sandbox.destination("statsd", &format!("kind = \"statsd\"\naddress = \"127.0.0.1:{}\"\n", statsd.port));
    sandbox.http("back", &nginx.url("/500"), "");
    sandbox.test("b|back|60|statsd");
    let clock = Clock::at(48.0);
    sandbox.start(&clock).succeed(20.0);
    let [a, b] = ["/a", "/500"].map(|uri| nginx.seconds(uri, &clock).len() as f64);
    assert_eq!([a, b], [300.0, 60.0]);
    eventually("statsd to have counted", seconds(5.0), || {
        (statsd.counter("canihaz.box.b.hits.failed") == b && statsd.counter("canihaz.box.a.hits.ok") == a).then_some(())
    });
    assert_eq!(statsd.counter("canihaz.box.a.hits.failed"), 0.0);
    assert_eq!(statsd.counter("canihaz.box.b.failures.status"), b);
    let p99 = statsd.gauge("canihaz.box.a.response.p99").expect("a gauge of the response time");
    assert!((0.001..1000.0).contains(&p99), "{p99} ms");
    assert!((1..=1432).contains(&statsd.largest_datagram()), "{} bytes", statsd.largest_datagram());
}

#[test]
fn udp_round_trip() {
    let nginx = Nginx::start();
    let sink = Datagrams::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|udp");
    sandbox.destination("udp", &format!("kind = \"udp\"\naddress = \"127.0.0.1:{}\"\n", sink.port));
    let clock = Clock::at(48.0);
    sandbox.start(&clock).succeed(20.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
    let datagrams: Vec<Value> = sink.take().iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect();
    let of_test: Vec<&Value> = datagrams.iter().filter(|datagram| datagram["test"] == "a").collect();
    assert_eq!(of_test.iter().map(|datagram| datagram["ok"].as_u64().unwrap()).sum::<u64>(), 300, "{datagrams:?}");
    for (datagram, second) in of_test.iter().zip([40, 50]) {
        // What the first canihaz sent, under its names.
        assert_eq!(datagram["test_name"], "a");
        assert_eq!(datagram["test_epoch"], clock.epoch() + second);
        assert!((0.0..1.0).contains(&datagram["test_time"].as_f64().unwrap()), "{datagram}");
    }
    assert!(datagrams.iter().any(|datagram| datagram["test"] == "_runner"), "{datagrams:?}");
}

#[test]
fn log_has_a_line_an_interval_and_a_summary() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|log");
    sandbox.settings("interval = \"5s\"\n");
    let ended = sandbox.start(&Clock::at(46.0)).succeed(20.0);
    assert_eq!(nginx.hits().len(), 300);
    let lines: Vec<&str> =
        ended.stdout.lines().filter(|line| line.split_whitespace().any(|word| word == "a")).collect();
    assert!(lines.len() >= 4, "three intervals and a summary:\n{}", ended.stdout);
    assert!(ended.stdout.contains("300"), "the whole minute's count:\n{}", ended.stdout);
}

#[test]
fn a_closed_stdout_is_no_error() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|100|log,out");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("exec {} >&-", env!("CARGO_BIN_EXE_canihaz"))]);
    for (name, value) in sandbox.runner().get_envs() {
        command.env(name, value.unwrap());
    }
    sandbox.start_command(command, &Clock::at(55.0)).succeed(15.0);
    assert_eq!(nginx.hits().len() as u64, sandbox.results().total("a", "ok"));
}
