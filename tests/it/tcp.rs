//! What the kind `tcp` says, and what it makes of what comes back, as counted on the other side.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};

use crate::parts::certificates::Authority;
use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::lines::Lines;
use crate::parts::odd::{Odd, reset};
use crate::parts::sandbox::Sandbox;
use crate::parts::sink::Hanging;

const PING: &str = "send = \"PING\\r\\n\"\n[expect]\ntext = \"+PONG\\r\\n\"\n";

/// A sandbox with the type `front` of the kind `tcp`, and a test of it, `line`.
fn tcp(address: &str, more: &str, line: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("types.d/front.toml", format!("kind = \"tcp\"\naddress = \"{address}\"\n{more}"));
    sandbox.out();
    sandbox.test(line);
    sandbox
}

fn pong(line: &str) -> Option<&'static str> {
    Some(if line == "PING" { "+PONG\r\n" } else { "-ERR\r\n" })
}

/// Runs a minute's last three seconds, in which all is ok; says how many hits that were.
#[track_caller]
fn run(sandbox: &Sandbox) -> usize {
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    let ok = results.total("a", "ok");
    assert!(ok > 50 && results.total("a", "failed") == 0, "{results}");
    ok as usize
}

#[test]
fn a_connection_a_hit_is_counted_to_the_last_one() {
    let server = Lines::start("", pong);
    let address = server.address().to_string();
    for (more, says) in [("", 0), (PING, 1)] {
        let (connections, closed, lines) = (server.connections(), server.closed(), server.count("PING"));
        let hits = run(&tcp(&address, more, "a|front|600|out"));
        // It is told of the last one a moment after the hit is over.
        eventually("the last connection to be closed", seconds(5.0), || {
            (server.closed() - closed == hits).then_some(())
        });
        assert_eq!(server.connections() - connections, hits);
        assert_eq!(server.count("PING") - lines, says * hits);
    }
}

#[test]
fn a_kept_connection_is_the_only_one() {
    let server = Lines::start("", pong);
    let more = format!("keep_alive = true\n{PING}");
    let hits = run(&tcp(&server.address().to_string(), &more, "a|front|600|out"));
    assert_eq!((server.connections(), server.count("PING")), (1, hits));
}

#[test]
fn a_connection_that_is_kept_is_greeted_once() {
    let server = Lines::start("220 mail\r\n", |line| match line {
        "EHLO me" => Some("250-mail\r\n250 HELP\r\n"),
        "NOOP" => Some("250 OK\r\n"),
        _ => None,
    });
    let steps = "keep_alive = true\n\
        [[step]]\nonce = true\nexpect = { regex = '^220 .*\\r\\n' }\n\
        [[step]]\nonce = true\nsend = \"EHLO me\\r\\n\"\nexpect = { regex = '^(250-.*\\r\\n)*250 .*\\r\\n' }\n\
        [[step]]\nsend = \"NOOP\\r\\n\"\nexpect = { text = \"250 OK\\r\\n\" }\n";
    let hits = run(&tcp(&server.address().to_string(), steps, "a|front|600|out"));
    assert_eq!((server.connections(), server.count("EHLO me"), server.count("NOOP")), (1, 1, hits));
}

#[test]
fn tls_by_an_authority_of_ones_own() {
    let authority = Authority::new();
    let server = Lines::start_tls(&authority.certify("127.0.0.1", 3000), "", pong);
    let address = server.address().to_string();
    let tls = format!("tls = true\nca_file = {:?}\n", authority.file());
    let hits = run(&tcp(&address, &format!("{tls}{PING}"), "a|front|600|out"));
    assert_eq!((server.connections(), server.count("PING")), (hits, hits));
    let kept = run(&tcp(&address, &format!("{tls}keep_alive = true\n{PING}"), "a|front|600|out"));
    assert_eq!((server.connections(), server.count("PING")), (hits + 1, hits + kept));
}

#[test]
fn at_a_unix_socket() {
    let sandbox = tcp("unix:/nowhere", PING, "a|front|600|out");
    let path = sandbox.path("app.sock");
    let server = Lines::start_at(&path, "", pong);
    let of_type = format!("kind = \"tcp\"\naddress = \"unix:{}\"\n{PING}", path.display());
    sandbox.write("types.d/front.toml", of_type);
    let hits = run(&sandbox);
    assert_eq!((server.connections(), server.count("PING")), (hits, hits));
}

#[test]
fn every_failure_of_tcp_has_its_right_reason() {
    let sandbox = Sandbox::new();
    sandbox.out();
    let mut servers = Vec::new();
    let mut names = Vec::new();
    let mut row = |name: &'static str, address: &str, more: &str, reason: &'static str| {
        let of_type = format!("kind = \"tcp\"\naddress = \"{address}\"\ntimeout = \"400ms\"\novertime = 4\n{more}");
        sandbox.write(&format!("types.d/{name}.toml"), of_type);
        sandbox.test(&format!("{name}|{name}|300|out"));
        names.push((name, reason));
    };
    let mut at = |server: Odd| {
        let address = format!("127.0.0.1:{}", server.port());
        servers.push(server);
        address
    };
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let hanging = Hanging::start();
    let hangs = format!("127.0.0.1:{}", hanging.port);
    let greeting = "[expect]\ntext = \"220 \"\n";
    let after_a_line = |said: &'static str| {
        Odd::start(move |stream| {
            std::io::Read::read(stream, &mut [0; 100]).ok()?;
            stream.write_all(said.as_bytes()).ok()
        })
    };

    row("refused", &closed.to_string(), "", "connect");
    row("no-such-name", &format!("{}:1", "x".repeat(64)), "", "dns");
    row("no-such-socket", "unix:/nowhere/at-all", "", "connect");
    row("no-tls-at-all", &at(after_a_line("220 mail\r\n")), "tls = true\n", "tls");
    row("tls-takes-long", &hangs, "tls = true\n", "timeout");
    row("greeting-takes-long", &hangs, greeting, "timeout");
    row("closed-without-a-greeting", &at(Odd::start(|_| None)), greeting, "connect");
    row("reset-without-a-greeting", &at(Odd::start(|stream| reset(stream))), greeting, "connect");
    row("closed-without-an-answer", &at(after_a_line("")), PING, "other");
    row("closed-in-an-answer", &at(after_a_line("+PO")), PING, "body");
    row("another-answer", &at(after_a_line("-ERR\r\n")), PING, "body");
    let endless = || {
        Odd::start(|stream| {
            loop {
                stream.write_all(&[b'x'; 4096]).ok()?;
            }
        })
    };
    row("an-answer-without-end", &at(endless()), "[expect]\nregex = \"y\"\n", "body");
    sandbox.start(&Clock::at(57.5)).succeed(20.0);
    let results = sandbox.results();
    for (name, reason) in names {
        results.expect_planned(name, 300);
        let failed = results.total(name, "failed");
        assert!(failed > 0 && results.total(name, "ok") == 0, "{name}: {results}");
        assert_eq!(results.failures(name, reason), failed, "{name}: {results}");
    }
}

#[test]
fn a_stop_drops_what_is_said_in_flight() {
    let hanging = Hanging::start();
    let address = format!("127.0.0.1:{}", hanging.port);
    let sandbox = tcp(&address, &format!("overtime = 5\ntimeout = \"20s\"\n{PING}"), "a|front|600|out");
    let clock = Clock::at(30.0);
    let run = sandbox.start(&clock);
    clock.wait_for(32.0);
    sandbox.write("stop", "");
    run.succeed(3.0);
    assert!(clock.now() < 34.0, "it waited for the server until {}", clock.now());
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.total("a", "stopped"), 600, "{results}");
}

#[test]
fn a_server_that_closes_idle_tcp_connections_costs_no_hit() {
    // Closes when it is idle, now and then: what a hit has asked is always answered.
    let server = Odd::start(|stream| {
        for _ in 0..7 {
            let mut byte = [0];
            while byte != [b'\n'] {
                std::io::Read::read_exact(stream, &mut byte).ok()?;
            }
            stream.write_all(b"+PONG\r\n").ok()?;
        }
        None
    });
    let address = format!("127.0.0.1:{}", server.port());
    run(&tcp(&address, &format!("keep_alive = true\n{PING}"), "a|front|600|out"));
}
