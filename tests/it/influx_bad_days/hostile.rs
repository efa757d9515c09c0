//! Servers in place of InfluxDB that do what no InfluxDB does: the right reason, bounded memory, and no point lost.

use std::io::Write;
use std::net::TcpStream;

use super::posts::{TAKEN, read_post};
use super::{Stress, expect_first, read, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::influx::Influx;
use crate::parts::odd::{Odd, read_request, reset, wait_for_end};
use crate::parts::points::numbers;

/// How many hits a test has.
const HITS: u64 = 20;
/// The most memory that a run may take that reads what it can't read, in KiB: an answer's 64 MiB, and what it takes to
/// have them.
const MAX_MEMORY: u64 = 256 << 10;

/// Beginnings of long refusals: InfluxDB 1.x repeats each line that it can't parse, whatever that says, and only then
/// tells how many points it dropped.
const LONG: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 99999999999\r\n\r\n{\"error\":\"unable to parse '";
const LONG_DROPPED: &str = "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFF\r\n{\"error\":\"partial \
                            write: unable to parse 'cpu,dropped=3 ";
const LONG_FULL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 99999999999\r\n\r\nno space left on device ";
const LONG_503: &str = "HTTP/1.1 503 No\r\ncontent-length: 99999999999\r\n\r\n";

/// What a server has said of points.
enum Said {
    /// It has them.
    Taken,
    /// It will never have them.
    Rejected,
    /// Neither.
    Nothing,
}

/// A server that reads each request, and then does this.
fn after_requests(serve: impl Fn(&mut TcpStream) -> Option<()> + Send + Sync + 'static) -> Odd {
    Odd::start(move |stream| {
        loop {
            read_post(stream)?;
            serve(stream)?;
        }
    })
}

/// One that says this to each request.
fn saying(answer: &'static str) -> Odd {
    after_requests(move |stream| stream.write_all(answer.as_bytes()).ok())
}

/// One that says this to a request, and ends the connection.
fn ending(answer: &'static str) -> Odd {
    Odd::start(move |stream| {
        read_post(stream)?;
        stream.write_all(answer.as_bytes()).ok()
    })
}

/// One that says this to each request, and goes on without an end.
fn endless_after(answer: &'static str) -> Odd {
    after_requests(move |stream| {
        stream.write_all(answer.as_bytes()).ok()?;
        endless(stream)
    })
}

/// Writes without an end.
fn endless(stream: &mut TcpStream) -> Option<()> {
    loop {
        stream.write_all(&[b'x'; 64 << 10]).ok()?;
    }
}

#[test]
fn whatever_a_server_says_to_a_write_no_point_is_lost() {
    let influx = Influx::start();
    // What it is, how it fails, what it has said of the points, and the server.
    let odd: [(&str, &str, Said, Odd); 17] = [
        (
            "endless",
            "body",
            Said::Taken,
            after_requests(|stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
                loop {
                    stream.write_all(b"5\r\nhello\r\n").ok()?;
                }
            }),
        ),
        (
            "endless_head",
            "protocol",
            Said::Nothing,
            after_requests(|stream| {
                stream.write_all(b"HTTP/1.1 204 No Content\r\nx: ").ok()?;
                endless(stream)
            }),
        ),
        ("endless_error", "status", Said::Rejected, endless_after(LONG)),
        ("endless_dropped", "status", Said::Rejected, endless_after(LONG_DROPPED)),
        ("endless_full", "status", Said::Nothing, endless_after(LONG_FULL)),
        ("endless_503", "status", Said::Nothing, endless_after(LONG_503)),
        ("garbage", "protocol", Said::Nothing, saying("\u{1}\u{2}\u{3} 204 what else\r\n\r\n")),
        ("half_head", "other", Said::Nothing, ending("HTTP/1.1 204 No Con")),
        (
            "half_body",
            "body",
            Said::Nothing,
            ending("HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{\"error\""),
        ),
        ("half_422", "body", Said::Nothing, ending("HTTP/1.1 422 No\r\ncontent-length: 100\r\n\r\n{\"error\"")),
        ("half_413", "body", Said::Rejected, ending("HTTP/1.1 413 No\r\ncontent-length: 100\r\n\r\n{\"error\"")),
        ("half_503", "body", Said::Nothing, ending("HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\n{\"error\"")),
        ("half_ok", "body", Said::Taken, ending("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")),
        ("nothing", "timeout", Said::Nothing, after_requests(wait_for_end)),
        ("closes", "other", Said::Nothing, ending("")),
        (
            "resets",
            "other",
            Said::Nothing,
            Odd::start(|stream| {
                read_request(stream)?;
                reset(stream)
            }),
        ),
        (
            "continues",
            "timeout",
            Said::Nothing,
            after_requests(|stream| {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
                wait_for_end(stream)
            }),
        ),
    ];
    let sandbox = sandbox();
    for (name, _, _, server) in &odd {
        influx.create(name);
        let port = server.port();
        let stress =
            Stress { top: "timeout = \"700ms\"", client: "concurrency = 20", database: name, ..Stress::to(&port) };
        stress.write(&sandbox, name);
        sandbox.test(&format!("{name}|{name}|{HITS}|out"));
    }
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    let results = sandbox.results();
    let mut wrong = String::new();
    for (name, reason, said, _) in &odd {
        let test = format!("{name}.write");
        results.expect_planned(&test, HITS);
        let failures = &results.of(&test).iter().map(|summary| summary["failures"].to_string()).collect::<Vec<_>>();
        let points = (sandbox.results().work(&test, "points"), sandbox.results().work(&test, "rejected"));
        let expect = match said {
            Said::Taken => (HITS * 100, 0),
            Said::Rejected => (0, HITS * 100),
            Said::Nothing => (0, 0),
        };
        if results.failures(&test, reason) != HITS || points != expect {
            wrong.push_str(&format!("{name}: {reason} was expected: {failures:?} {points:?}\n"));
        }
    }
    assert_eq!(wrong, "");
    // All of it, once there is a database.
    for (name, _, _, server) in &odd {
        let file = format!("types.d/{name}.toml");
        sandbox.replace(&file, &format!(":{}\"", server.port()), &format!(":{}\"", influx.port));
    }
    sandbox.start(&Clock::in_minute(1, 56.0)).succeed(12.0);
    for (name, _, said, _) in &odd {
        match said {
            Said::Nothing => expect_first(&influx, name, HITS * 100),
            Said::Taken | Said::Rejected => {
                assert_eq!(numbers(&influx, name), (HITS * 100..2 * HITS * 100).collect(), "{name}");
            }
        }
    }
}

#[test]
fn a_server_that_has_taken_a_batch_before_it_was_sent_has_not() {
    let influx = Influx::start();
    // Both say so after the first bytes; one breaks off then, the other reads no further.
    let breaks = Odd::start(|stream| {
        read_request(stream)?;
        stream.write_all(TAKEN.as_bytes()).ok()
    });
    let stuck = Odd::start(|stream| {
        read_request(stream)?;
        stream.write_all(TAKEN.as_bytes()).ok()?;
        std::thread::sleep(seconds(4.0));
        Some(())
    });
    let sandbox = sandbox();
    for (name, server) in [("breaks", &breaks), ("stuck", &stuck)] {
        influx.create(name);
        let port = server.port();
        let stress =
            Stress { top: "timeout = \"700ms\"", client: "concurrency = 4", database: name, ..Stress::to(&port) };
        stress.write(&sandbox, name);
        // A few MB, which no socket holds.
        sandbox.replace(&format!("types.d/{name}.toml"), "batch_size = 100", "batch_size = 200000");
        sandbox.test(&format!("{name}|{name}|4|out"));
    }
    sandbox.start(&Clock::at(57.0)).succeed(15.0);
    let results = sandbox.results();
    for name in ["breaks", "stuck"] {
        let test = format!("{name}.write");
        results.expect_planned(&test, 4);
        let points = (sandbox.results().work(&test, "points"), sandbox.results().work(&test, "rejected"));
        assert_eq!((results.failures(&test, "protocol"), points), (4, (0, 0)), "{results}");
    }
}

#[test]
fn whatever_a_server_says_to_a_query_the_reason_is_right_and_memory_is_bounded() {
    let deep = format!("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n{}", "[".repeat(2_000_000));
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let html = answer("<!DOCTYPE html><html><body>It works!</body></html>");
    let other = answer("{\"results\":{\"series\":7}}");
    let odd: [(&str, &str, Odd); 7] = [
        (
            "large",
            "body",
            after_requests(|stream| {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n{\"results\":[{\"series\":[")
                    .ok()?;
                endless(stream)
            }),
        ),
        ("deep", "body", after_requests(move |stream| stream.write_all(deep.as_bytes()).ok())),
        ("html", "body", after_requests(move |stream| stream.write_all(html.as_bytes()).ok())),
        ("other", "body", after_requests(move |stream| stream.write_all(other.as_bytes()).ok())),
        ("garbage", "protocol", saying("what?\r\n\r\n")),
        ("nothing", "timeout", after_requests(wait_for_end)),
        ("closes", "body", ending("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"results\":[")),
    ];
    let sandbox = sandbox();
    for (name, _, server) in &odd {
        let read = read(server.port(), "SELECT value FROM cpu WHERE host='server-%v'");
        let text =
            format!("kind = \"influxdb\"\ntimeout = \"2s\"\n{read}").replace("concurrency = 1", "concurrency = 4");
        sandbox.write(&format!("types.d/{name}.toml"), text);
        sandbox.test(&format!("{name}|{name}|4|out"));
    }
    // With some seconds more than they need, so that a busy machine misses none.
    let clock = Clock::at(53.0);
    let mut run = sandbox.start(&clock);
    // The most that it ever had, as long as it can be asked.
    let mut most = 0;
    while run.is_running() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        most = most.max(peak);
        std::thread::sleep(seconds(0.02));
        assert!(clock.now() < 75.0, "it goes on and on");
    }
    run.succeed(1.0);
    let results = sandbox.results();
    for (name, reason, _) in &odd {
        let test = format!("{name}.read");
        results.expect_planned(&test, 4);
        assert_eq!(results.failures(&test, reason), 4, "{reason} was expected\n{results}");
        assert_eq!(sandbox.results().work(&test, "rows"), 0, "{results}");
    }

    assert!((1..=MAX_MEMORY).contains(&most), "{most} KiB");
}
