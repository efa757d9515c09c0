//! Every way in which a hit can fail, and the reason that it is counted for: one run of the real program, a test a row.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};

use crate::parts::certificates::{Authority, Certificate};
use crate::parts::clock::Clock;
use crate::parts::frames;
use crate::parts::odd::{Odd, drip, read_request, reset, wait_for_end};
use crate::parts::preload::preload;
use crate::parts::sandbox::Sandbox;
use crate::parts::sink::Hanging;
use crate::parts::tls;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// How far apart the bytes of a drip are.
const DRIP: Duration = Duration::from_millis(20);
/// The most that a client may read of a head without an end, in bytes: its own bound, and what lies in buffers.
const MUCH: u64 = 32 << 20;

/// A test that can only fail.
struct Row {
    name: &'static str,
    /// What its type says.
    of_type: String,
    reason: &'static str,
}

/// The rows, and the servers behind them.
struct Table {
    sandbox: Sandbox,
    rows: Vec<Row>,
    servers: Vec<Odd>,
}

impl Table {
    /// A type of the kind `http` that asks `url`.
    fn http(&mut self, name: &'static str, url: &str, more: &str, reason: &'static str) {
        let of_type = format!("kind = \"http\"\nurl = \"{url}\"\n{more}\n");
        self.rows.push(Row { name, of_type, reason });
    }

    /// The same, that asks `server`.
    fn odd(&mut self, name: &'static str, server: Odd, more: &str, reason: &'static str) {
        self.http(name, &format!("http://127.0.0.1:{}/", server.port()), more, reason);
        self.servers.push(server);
    }

    /// The same, over TLS and under the name `localhost`.
    fn tls(&mut self, name: &'static str, server: Odd, reason: &'static str) {
        self.http(name, &format!("https://localhost:{}/", server.port()), "", reason);
        self.servers.push(server);
    }

    /// Runs all of them in a minute's last seconds, in a system that trusts `authority`.
    #[track_caller]
    fn check(self, authority: &Authority) {
        self.sandbox.out();
        let mut names = BTreeSet::new();
        for Row { name, of_type, reason } in &self.rows {
            assert!(names.insert(name), "two rows of the name {name}");
            let timeout = match *reason {
                _ if of_type.contains("timeout =") => "",
                "timeout" => "timeout = \"400ms\"\n",
                // Whatever a busy machine does.
                _ => "timeout = \"5s\"\n",
            };
            let (own, tables) = of_type.split_at(of_type.find("\n[").map_or(of_type.len(), |at| at + 1));
            self.sandbox.write(&format!("types.d/{name}.toml"), format!("{own}{timeout}overtime = 4\n{tables}"));
            self.sandbox.test(&format!("{name}|{name}|300|out"));
        }
        let mut runner = self.sandbox.runner();
        preload(&mut runner, "names");
        runner.env("SSL_CERT_FILE", authority.file());
        self.sandbox.start_command(runner, &Clock::at(57.5)).succeed(20.0);
        let results = self.sandbox.results();
        let mut wrong = String::new();
        for Row { name, reason, .. } in &self.rows {
            results.expect_planned(name, 300);
            let (failed, ok) = (results.total(name, "failed"), results.total(name, "ok"));
            if ok > 0 || failed == 0 || results.failures(name, reason) != failed {
                let told: Vec<_> = results.of(name).iter().map(|summary| summary["failures"].to_string()).collect();
                wrong += &format!("{name}: {reason} was expected of {failed} failures, {ok} were ok: {told:?}\n");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn every_failure_has_its_right_reason() {
    let sandbox = Sandbox::new();
    let mut table = Table { sandbox, rows: Vec::new(), servers: Vec::new() };
    let authority = Authority::new();

    // Connecting.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    table.http("refused", &format!("http://{closed}/"), "", "connect");
    let (_full, port) = full();
    table.http("connecting-takes-long", &format!("http://127.0.0.1:{port}/"), "", "timeout");
    table.http("no-such-name", "http://nowhere.test/", "", "dns");
    table.http("looking-up-takes-long", "http://hangs.test/", "", "timeout");

    // TLS.
    let hanging = Hanging::start();
    table.http("tls-takes-long", &format!("https://localhost:{}/", hanging.port), "", "timeout");
    table.tls("wrong-host-name", tls_server(&authority.certify("example.com", 3000), None, &[]), "tls");
    table.tls("expired", tls_server(&authority.certify("localhost", 2020), None, &[]), "tls");
    table.tls("self-signed", tls_server(&authority.self_signed("localhost"), None, &[]), "tls");
    let stranger = Authority::new();
    table.tls("unknown-authority", tls_server(&stranger.certify("localhost", 3000), None, &[]), "tls");
    let sound = authority.certify("localhost", 3000);
    table.tls("no-common-protocol", tls_server(&sound, None, &["gopher"]), "tls");
    table.tls("no-client-certificate", tls_server(&sound, Some(&authority), &[]), "tls");
    table.tls("no-tls-at-all", Odd::start(|stream| stream.write_all(OK.as_bytes()).ok()), "tls");

    // No answer.
    table.odd("closed-without-a-word", Odd::ending(""), "", "other");
    let resetting = |stream: &mut TcpStream| read_request(stream).and_then(|_| reset(stream));
    table.odd("reset", Odd::start(resetting), "", "other");
    table.odd("answering-takes-long", Odd::stuck_after(""), "", "timeout");
    table.odd("head-takes-long", Odd::stuck_after("HTTP/1.1 200 OK\r\nX: "), "", "timeout");
    let dripping_head = |stream: &mut TcpStream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").ok()?;
        drip(stream, b"X: y\r\n", DRIP)
    };
    table.odd("head-drips", Odd::start(dripping_head), "", "timeout");

    // An answer that is none.
    table.odd("not-http", Odd::ending("220 mail.example.com ESMTP\r\n\r\n"), "", "protocol");
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok";
    table.odd("two-lengths", Odd::answering(two), "", "protocol");
    let (endless_head, read) = endless_head();
    table.odd("a-gibibyte-of-headers", endless_head, "", "protocol");

    // A body that is none.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    table.odd("too-short", Odd::ending("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "", "body");
    table.odd("too-short-in-chunks", Odd::ending(format!("{chunked}9\r\nok")), "", "body");
    table.odd("too-long", Odd::answering(OK), "[expect]\nbody_max = 1", "body");
    let endless = |stream: &mut TcpStream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
        loop {
            stream.write_all(&[b'x'; 4096]).ok()?;
        }
    };
    table.odd("endless", Odd::start(endless), "[expect]\nbody_max = \"1MiB\"", "body");
    let behind = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay";
    table.odd("longer-than-it-says", Odd::answering(behind), "", "body");
    let endless_chunks = move |stream: &mut TcpStream| {
        read_request(stream)?;
        stream.write_all(chunked.as_bytes()).ok()?;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        loop {
            stream.write_all(chunk.as_bytes()).ok()?;
        }
    };
    table.odd("endless-in-chunks", Odd::start(endless_chunks), "[expect]\nbody_max = \"64KiB\"", "body");
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n";
    table.odd("bad-gzip", Odd::answering(format!("{gzip}nothing like")), "[expect]\nbody = \"fine\"", "body");
    let begin = [gzip.as_bytes(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\xcb"].concat();
    table.odd("gzip-too-short", Odd::answering(begin), "[expect]\nbody = \"f\"", "body");
    table.odd("bad-chunks", Odd::ending(format!("{chunked}2\r\nok\r\nx\r\n")), "", "body");
    table.odd("body-takes-long", Odd::stuck_after("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "", "timeout");
    let dripping_body = move |stream: &mut TcpStream| {
        read_request(stream)?;
        stream.write_all(chunked.as_bytes()).ok()?;
        drip(stream, b"1\r\nx\r\n", DRIP)
    };
    table.odd("body-drips", Odd::start(dripping_body), "", "timeout");
    let reset_in_body = |stream: &mut TcpStream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").ok()?;
        // Gone once the client has read that: a reset takes what is on its way with it.
        std::thread::sleep(DRIP);
        reset(stream)
    };
    table.odd("reset-in-mid-body", Odd::start(reset_in_body), "", "body");

    // An answer that isn't the expected one.
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    table.odd("wrong-status", Odd::answering(not_found), "", "status");
    let loops = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
    table.odd("redirect-loop", Odd::answering(loops), "redirects = 3", "status");
    table.odd("wrong-text", Odd::answering(OK), "[expect]\nbody = \"fine\"", "body");

    // HTTP/2.
    let speaks = |server: fn(&mut TcpStream, u32) -> Option<()>| {
        Odd::start(move |stream| {
            stream.write_all(&frames::settings()).ok()?;
            loop {
                let asked = frames::read_request(stream)?;
                server(stream, asked)?;
            }
        })
    };
    let knowing = "http2 = \"prior-knowledge\"";
    let leaves = |stream: &mut TcpStream, _| {
        stream.write_all(&frames::goaway(frames::ENHANCE_YOUR_CALM)).ok()?;
        None
    };
    let goaway = speaks(leaves);
    table.odd("goaway", goaway, knowing, "protocol");
    let faulted = speaks(|stream, asked| stream.write_all(&frames::reset(asked, frames::PROTOCOL_ERROR)).ok());
    table.odd("rst-stream-with-a-fault", faulted, knowing, "protocol");
    let canceled = speaks(|stream, asked| stream.write_all(&frames::reset(asked, frames::CANCEL)).ok());
    table.odd("rst-stream-without-one", canceled, knowing, "other");
    let reset_in_body = speaks(|stream, asked| {
        let frames = [frames::ok(asked), frames::data(asked, b"ok"), frames::reset(asked, frames::CANCEL)];
        stream.write_all(&frames.concat()).ok()
    });
    table.odd("rst-stream-in-mid-body", reset_in_body, knowing, "body");
    table.odd("not-http-2", Odd::start(|stream| stream.write_all(OK.as_bytes()).ok()), knowing, "protocol");
    let untouched = |stream: &mut TcpStream, _| {
        stream.write_all(&frames::goaway_before(0, frames::INTERNAL_ERROR)).ok()?;
        None
    };
    table.odd("goaway-before-it-was-looked-at", speaks(untouched), knowing, "protocol");
    for (name, protocols, reason) in [("no-http-2", &["http/1.1"][..], "tls"), ("no-agreement", &[], "protocol")] {
        let server = tls_server(&sound, None, protocols);
        table.http(name, &format!("https://localhost:{}/", server.port()), knowing, reason);
        table.servers.push(server);
    }

    // The other kinds.
    let kind = |kind: &str, more: &str| format!("kind = \"{kind}\"\n{more}\n");
    let banner = Odd::start(|stream| stream.write_all(b"-ERR busy\r\n").ok());
    let expects = format!("address = \"127.0.0.1:{}\"\n[expect]\ntext = \"+OK\"", banner.port());
    table.rows.push(Row { name: "wrong-banner", of_type: kind("tcp", &expects), reason: "body" });
    table.servers.push(banner);
    table.rows.push(Row { name: "exit-1", of_type: kind("exec", "command = [\"false\"]"), reason: "exit" });
    let sleeps = kind("exec", "command = [\"sleep\", \"9\"]");
    table.rows.push(Row { name: "command-takes-long", of_type: sleeps, reason: "timeout" });

    // The minute's end.
    table.odd("cut", Odd::stuck_after(""), "timeout = \"10s\"\ngrace = \"0s\"", "deadline");

    assert!(table.rows.len() >= 45, "{}", table.rows.len());
    table.check(&authority);
    // Of what was sent without an end, little was read.
    let most = read.load(Ordering::Relaxed);
    assert!((64 << 10..MUCH).contains(&most), "{most}");
}

/// A server whose queue is full, so that nobody gets through to it.
fn full() -> ((TcpListener, Vec<TcpStream>), u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    // The queue takes one more than it is said to.
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = (0..4).filter_map(connect).collect();
    ((listener, waiting), address.port())
}

/// A server that answers with headers until nobody listens, at most a gibibyte; and the most that it was rid of.
fn endless_head() -> (Odd, Arc<AtomicU64>) {
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let server = Odd::start(move |stream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").ok()?;
        let line = format!("X-Padding: {}\r\n", "x".repeat(4000));
        let mut sent = 0;
        while sent < 1 << 30 && stream.write_all(line.as_bytes()).is_ok() {
            sent += line.len() as u64;
        }
        seen.fetch_max(sent, Ordering::Relaxed);
        Some(())
    });
    (server, most)
}

/// A server that answers every request over TLS.
fn tls_server(certificate: &Certificate, clients: Option<&Authority>, protocols: &[&str]) -> Odd {
    let config = tls::config(certificate, clients, protocols);
    Odd::start(move |stream| {
        let mut stream = tls::accept(&config, stream)?;
        while read_request(&mut stream).is_some() {
            stream.write_all(OK.as_bytes()).ok()?;
        }
        wait_for_end(&mut stream.sock)
    })
}
