//! Hits on little servers that do one thing each, right or wrong.

mod follow;
mod h2;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer, TrustAnchor};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::keys::Source;
use crate::kinds::dial::served::server;
use crate::pacer::{Arrivals, Pace, Pacer};
use crate::recorder::Recorder;
use crate::shift::{Shift, Terms, WhenBusy};
use crate::summary;
use crate::target::Reason;
use crate::wakeups::{Alarm, Wake};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads a request's head; `None` when the connection is closed.
fn read_head(stream: impl Read) -> Option<String> {
    let mut head = String::new();
    // A byte at a time, as what follows belongs to somebody else.
    let mut reader = BufReader::with_capacity(1, stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(head)
}

/// Waits for the other side to close.
fn wait_for_end(mut stream: impl Read) {
    while !matches!(stream.read(&mut [0; 1024]), Ok(0) | Err(_)) {}
}

fn target_of(url: &str, text: &str, mut roots: RootCertStore) -> HttpTarget {
    // Somebody whose certificates nobody has: no authorities at all would be the system's.
    let none = Der::from_slice(&[]);
    let stranger = TrustAnchor { subject: none.clone(), subject_public_key_info: none, name_constraints: None };
    roots.roots.push(stranger);
    let text = format!("url = \"{url}\"\n{text}");
    let source = Source { file: Path::new("x.toml"), text: &text, quotes_values: false, now: "", now_unknown: "" };
    let (settings, faults) = source.read(Settings::read);
    assert_eq!(faults, []);
    let mut settings = settings.flatten().unwrap();
    settings.dial.authorities = Some(roots.into());
    HttpTarget::new(&settings).unwrap()
}

fn target(address: SocketAddr, text: &str) -> HttpTarget {
    target_of(&format!("http://{address}/path"), text, RootCertStore::empty())
}

#[track_caller]
fn assert_ok(outcome: &Outcome) {
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
}

#[track_caller]
fn assert_failed(outcome: &Outcome, reason: Reason) {
    assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), Some(reason), "{:?}", outcome.failure);
}

#[tokio::test]
async fn answers_and_what_they_are_counted_as() {
    async fn check(name: &str, answer: impl AsRef<[u8]>, text: &str, expect: Option<Reason>) {
        let answer = answer.as_ref().to_owned();
        let (address, accepted) = server(move |_, mut stream| {
            read_head(&stream).unwrap();
            let _ = stream.write_all(&answer);
        });
        let outcome = target(address, text).hit(0).await;
        assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), expect, "{name}: {outcome:?}");
        assert_eq!(accepted.load(Ordering::SeqCst), 1, "{name}: asked again");
    }
    let head = "HTTP/1.1 200 OK\r\n";
    let long = |length| format!("{head}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(length));
    let many = |number: usize| format!("{head}{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(number - 1));

    check("ok", OK, "", None).await;
    check("no body", "HTTP/1.1 204 No Content\r\n\r\n", "", None).await;
    check("body until close", format!("{head}\r\nbody"), "expect = { body = \"body\" }", None).await;
    check("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nbody", "", None).await;
    check("early hints", format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}"), "", None).await;
    check("chunks", format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "", None).await;
    check("trailers", format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n"), "", None).await;
    check("head", format!("{head}Content-Length: 9\r\n\r\n"), "method = \"HEAD\"", None).await;
    check("long header", long(50_000), "", None).await;
    check("many headers", many(100), "", None).await;
    check("redirect", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "", None).await;

    let status = Some(Reason::Status);
    check("not found", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "", status).await;
    check("not as listed", OK, "expect = { status = [201, \"3xx\"] }", status).await;
    check("wrong and cut off", "HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nno", "", status).await;
    check("upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "", status).await;

    let body = Some(Reason::Body);
    let split = format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nnee\r\n3\r\ndle\r\n0\r\n\r\n");
    check("text across chunks", &split, "expect = { body = \"needle\" }", None).await;
    check("other text across chunks", &split, "expect = { body = \"needles\" }", body).await;
    check("text in no body", "HTTP/1.1 204 No Content\r\n\r\n", "expect = { body = \"x\" }", body).await;
    check("as large as may be", OK, "expect = { body_max = 2 }", None).await;
    check("too large", OK, "expect = { body_max = 1 }", body).await;
    check("cut off", format!("{head}Content-Length: 3\r\n\r\nok"), "", body).await;
    check("cut off in a chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nok"), "", body).await;
    check("last chunk missing", format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), "", body).await;
    check("bad chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"), "", body).await;

    let protocol = Some(Reason::Protocol);
    check("not HTTP", "+PONG\r\n\r\n", "", protocol).await;
    check("zeros", [0; 64], "", protocol).await;
    check("bad length", format!("{head}Content-Length: two\r\n\r\nok"), "", protocol).await;
    check("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "", protocol).await;
    check("head too large", long(100_000), "", protocol).await;
    check("too many headers", many(101), "", protocol).await;

    check("closed", "", "", Some(Reason::Other)).await;
    check("closed in the head", head, "", Some(Reason::Other)).await;
}

#[tokio::test]
async fn servers_that_do_not_get_as_far() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_failed(&target(nobody, "").hit(0).await, Reason::Connect);

    // A label of more than 63 letters is refused without asking anybody.
    let no_name = target_of(&format!("http://{}/", "x".repeat(64)), "", RootCertStore::empty());
    assert_failed(&no_name.hit(0).await, Reason::Dns);

    // What was received and not read makes the system answer with a reset.
    let (resets, _) = server(|_, mut stream| _ = stream.read(&mut [0]));
    assert_failed(&target(resets, "").hit(0).await, Reason::Other);

    let (greets, _) = server(|_, mut stream| {
        stream.write_all(b"220 mail ESMTP\r\n").unwrap();
        wait_for_end(stream);
    });
    assert_failed(&target(greets, "").hit(0).await, Reason::Protocol);

    let (silent, _) = server(|_, stream| wait_for_end(stream));
    assert_failed(&target(silent, "timeout = \"20ms\"").hit(0).await, Reason::Timeout);
    let in_handshake = target_of(&format!("https://{silent}/"), "timeout = \"20ms\"", RootCertStore::empty());
    assert_failed(&in_handshake.hit(0).await, Reason::Timeout);

    let (plain, _) = server(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        wait_for_end(stream);
    });
    assert_failed(&target_of(&format!("https://{plain}/"), "", RootCertStore::empty()).hit(0).await, Reason::Tls);
}

#[tokio::test]
async fn answers_without_end_are_bounded() {
    fn endless(start: &'static str) -> SocketAddr {
        let (address, _) = server(move |_, mut stream| {
            read_head(&stream).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        address
    }
    let body = endless("HTTP/1.1 200 OK\r\n\r\n");
    assert_failed(&target(body, "timeout = \"50ms\"").hit(0).await, Reason::Timeout);
    let outcome = target(body, "expect = { body_max = \"1MiB\" }").hit(0).await;
    assert_failed(&outcome, Reason::Body);
    assert!((1 << 20..2 << 20).contains(&outcome.bytes_in), "{}", outcome.bytes_in);
    assert_failed(&target(endless("HTTP/1.1 200 OK\r\nX: "), "").hit(0).await, Reason::Protocol);
}

/// Answers every request of a connection, and tells what they were.
fn answering(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let (address, accepted) = server(move |_, mut stream| {
        while let Some(head) = read_head(&stream) {
            let _ = tell.send(head);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, accepted, told)
}

#[tokio::test]
async fn a_hundred_hits_take_one_connection_or_a_hundred() {
    async fn check(text: &str, answer: &'static str, connections: usize) {
        let (address, accepted, mut told) = answering(answer);
        let target = target(address, text);
        for number in 0..100 {
            assert_ok(&target.hit(number).await);
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "{text} {answer}");
        let mut asked = 0;
        while told.try_recv().is_ok() {
            asked += 1;
        }
        assert_eq!(asked, 100, "{text} {answer}");
    }
    check("", OK, 1).await;
    check("expect = { body = \"ok\", body_max = 2 }", OK, 1).await;
    check("keep_alive = false", OK, 100).await;
    check("", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 100).await;
    check("", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1).await;
    check("", "HTTP/1.1 204 No Content\r\n\r\n", 1).await;
    check("method = \"HEAD\"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 1).await;
}

#[tokio::test]
async fn a_request_is_what_the_type_says() {
    let (address, _, mut told) = answering(OK);
    let text = "method = \"DELETE\"\nheaders = { Accept = \"text/html\" }\nkeep_alive = false";
    assert_ok(&target_of(&format!("http://{address}/a?b=c"), text, RootCertStore::empty()).hit(0).await);
    let agent = concat!("canihaz/", env!("CARGO_PKG_VERSION"));
    let expect = format!(
        "DELETE /a?b=c HTTP/1.1\r\nhost: {address}\r\nuser-agent: {agent}\r\naccept: text/html\r\n\
         connection: close\r\n\r\n"
    );
    assert_eq!(told.recv().await.unwrap(), expect);
}

#[tokio::test]
async fn bodies_are_sent_whole_and_every_byte_is_counted() {
    const SIZE: usize = 1 << 20;
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, _) = server(move |_, mut stream| {
        while let Some(head) = read_head(&stream) {
            let mut body = vec![0; SIZE];
            stream.read_exact(&mut body).unwrap();
            assert!(body.iter().all(|byte| *byte == b'b'));
            stream.write_all(OK.as_bytes()).unwrap();
            tell.send(head).unwrap();
        }
    });
    let target = target(address, &format!("method = \"POST\"\nbody = \"{}\"", "b".repeat(SIZE)));
    for number in 0..3 {
        let outcome = target.hit(number).await;
        assert_ok(&outcome);
        let head = told.recv().await.unwrap();
        assert!(head.contains("content-length: 1048576\r\n"), "{head}");
        assert_eq!(outcome.bytes_out, (head.len() + SIZE) as u64);
        assert_eq!(outcome.bytes_in, OK.len() as u64);
    }
}

#[tokio::test]
async fn bytes_of_hits_that_fail_are_counted() {
    let (address, _) = server(|_, mut stream| {
        read_head(&stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").unwrap();
        wait_for_end(stream);
    });
    let outcome = target(address, "timeout = \"50ms\"").hit(0).await;
    assert_failed(&outcome, Reason::Timeout);
    assert_eq!(outcome.bytes_in, 42);
    assert!(outcome.bytes_out > 50);
}

#[tokio::test]
async fn a_new_connection_has_phases_whatever_becomes_of_the_hit() {
    async fn check(answer: &'static str, expect: Option<Reason>, hears: bool) {
        let (address, _) = server(move |_, mut stream| {
            while read_head(&stream).is_some() {
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let target = target(address, "timeout = \"50ms\"");
        let outcome = target.hit(0).await;
        assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), expect, "{outcome:?}");
        let phases = outcome.phases.unwrap();
        assert!(phases.dns.is_none() && phases.connect.is_some() && phases.tls.is_none(), "{phases:?}");
        assert_eq!(phases.first_byte.is_some(), hears, "{phases:?}");
        match expect {
            None => assert!(target.hit(1).await.phases.is_none(), "the same connection"),
            Some(_) => assert!(outcome.failure.unwrap().detail.ends_with("in the request or its answer")),
        }
    }
    check(OK, None, true).await;
    check("", Some(Reason::Timeout), false).await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Some(Reason::Timeout), true).await;

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let phases = target(nobody, "").hit(0).await.phases.unwrap();
    assert_eq!(*phases, crate::target::Phases::default(), "one that came to nothing");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_fails_no_hit() {
    for method in ["GET", "POST"] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (address, accepted) = server(move |_, mut stream| {
            read_head(&stream).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
            drop(stream);
            tell.send(()).unwrap();
        });
        let target = target(address, &format!("method = \"{method}\""));
        for number in 0..100 {
            assert_ok(&target.hit(number).await);
            told.recv().await.unwrap();
            // Lets the runtime see what happened to its sockets, as any wait for a due would.
            tokio::task::yield_now().await;
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 100, "{method}");
    }
}

/// Answers the first request of each connection and closes when it has read the second.
fn closing_on_the_second() -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (address, _) = server(move |_, mut stream| {
        read_head(&stream).unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        stream.write_all(OK.as_bytes()).unwrap();
        count.fetch_add(usize::from(read_head(&stream).is_some()), Ordering::SeqCst);
    });
    (address, asked)
}

#[tokio::test]
async fn only_what_is_idempotent_is_asked_again() {
    let (address, asked) = closing_on_the_second();
    let get = target(address, "");
    assert_ok(&get.hit(0).await);
    assert_ok(&get.hit(1).await);
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    let (address, asked) = closing_on_the_second();
    let post = target(address, "method = \"POST\"");
    assert_ok(&post.hit(0).await);
    assert_failed(&post.hit(1).await, Reason::Other);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let (address, accepted) = server(|_, mut stream| {
        read_head(&stream).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        if read_head(&stream).is_some() {
            stream.write_all(b"HTTP/1.1 2").unwrap();
        }
    });
    let target = target(address, "");
    assert_ok(&target.hit(0).await);
    assert_failed(&target.hit(1).await, Reason::Other);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_hit_that_is_dropped_takes_its_connection_with_it() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (address, accepted) = server(move |number, mut stream| {
            read_head(&stream).unwrap();
            if number > 0 {
                return stream.write_all(OK.as_bytes()).unwrap();
            }
            stream.write_all(answer.as_bytes()).unwrap();
            tell.send("asked").unwrap();
            wait_for_end(stream);
            tell.send("ended").unwrap();
        });
        let target = target(address, "");
        tokio::select! {
            outcome = target.hit(0) => panic!("{outcome:?}"),
            asked = told.recv() => assert_eq!(asked, Some("asked")),
        }
        assert_eq!(told.recv().await, Some("ended"), "{answer}");
        assert_ok(&target.hit(1).await);
        assert_eq!(accepted.load(Ordering::SeqCst), 2, "{answer}");
    }
}

#[tokio::test]
async fn hits_at_the_same_time_have_a_connection_each() {
    let (address, accepted, _told) = {
        let (tell, told) = mpsc::unbounded_channel();
        let (address, accepted) = server(move |_, mut stream| {
            let tell = tell.clone();
            thread::spawn(move || {
                while read_head(&stream).is_some() {
                    tell.send(()).unwrap();
                    stream.write_all(OK.as_bytes()).unwrap();
                }
            });
        });
        (address, accepted, told)
    };
    let target = target(address, "");
    for _ in 0..10 {
        let outcomes = futures_util::future::join_all((0..20).map(|number| target.hit(number))).await;
        outcomes.iter().for_each(assert_ok);
    }
    assert!(accepted.load(Ordering::SeqCst) <= 20);
}

#[tokio::test]
async fn an_answer_before_the_request_is_out_counts_and_ends_the_connection() {
    let (tell, told) = std::sync::mpsc::channel();
    let (address, accepted) = server(move |_, mut stream| {
        read_head(&stream).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
        // The body, larger than all buffers, is not read.
        told.recv().unwrap();
    });
    let mut settings = Settings::get(address, Duration::from_secs(10));
    settings.asks[0].method = hyper::Method::POST;
    settings.asks[0].body = Template::same(vec![b'x'; 32 << 20]);
    let target = HttpTarget::new(&settings).unwrap();
    for number in 0..2 {
        assert_failed(&target.hit(number).await, Reason::Status);
        tell.send(()).unwrap();
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

/// Speaks TLS with the certificate in tests/data/tls, and answers every request; roots that trust it.
fn tls_server(asks_for_clients: bool) -> (SocketAddr, Arc<AtomicUsize>, RootCertStore) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../../tests/data/tls/localhost.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../tests/data/tls/localhost.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&ring));
    let clients = if asks_for_clients { clients.build().unwrap() } else { WebPkiClientVerifier::no_client_auth() };
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(clients).with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    let (address, accepted) = server(move |_, stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        while read_head(&mut stream).is_some() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    (address, accepted, roots)
}

#[tokio::test]
async fn tls_with_a_certificate_that_is_trusted() {
    let (address, accepted, roots) = tls_server(false);
    for host in ["127.0.0.1", "localhost"] {
        let target = target_of(&format!("https://{host}:{}/", address.port()), "", roots.clone());
        let first = target.hit(0).await;
        assert_ok(&first);
        assert!(first.bytes_in > 600 && first.bytes_out > 200, "no handshake in {first:?}");
        let second = target.hit(1).await;
        assert_ok(&second);
        let plain = OK.len() as u64;
        assert!((plain + 1..plain + 100).contains(&second.bytes_in), "{second:?}");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn tls_that_is_refused_by_either_side() {
    let (address, _, _) = tls_server(false);
    let unknown = target_of(&format!("https://{address}/"), "", RootCertStore::empty());
    assert_failed(&unknown.hit(0).await, Reason::Tls);

    let (address, _, roots) = tls_server(true);
    let no_certificate = target_of(&format!("https://{address}/"), "", roots);
    assert_failed(&no_certificate.hit(0).await, Reason::Tls);
}

/// What `hits` in `window` come to when they share the thread's wake-ups, and how many of those there were.
fn share_wakeups(target: HttpTarget, hits: u64, window: Duration) -> (summary::Tally, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let wakeups = Wakeups::new(Duration::ZERO).unwrap();
        let kept = Rc::clone(&wakeups);
        spawn_local(async move { kept.keep().await });
        let target = Rc::new(target.sharing(&wakeups));
        let now = Instant::now();
        let pace = Pace { frequency: hits, phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 1000 };
        let pacer = Pacer::new(pace, now, now + window, 1);
        let terms = Terms { overtime: 100, when_busy: WhenBusy::Wait, grace: Duration::from_secs(5) };
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        let shift = Shift::new(target, terms, pacer, now + window, Rc::clone(&recorder), wakeups.sleeper());
        let (_orders, receiver) = mpsc::unbounded_channel();
        shift.work(receiver).await.unwrap();
        let tally = recorder.borrow_mut().close(Instant::now());
        (tally, wakeups.round())
    })
}

/// Expects so many hits to be accounted for, and all of them that were not missed to be ok but those `failed`: a machine
/// that stalls in the last moment leaves no time for the last.
#[track_caller]
fn expect_hits(tally: &summary::Tally, hits: u64, failed: u64) {
    assert_eq!((tally.ok + tally.missed, tally.failed), (hits - failed, failed), "{:?}", tally.failures);
    assert!(tally.missed <= hits / 10, "{} missed", tally.missed);
}

/// Answers every request of every connection `after` so long, with `body`.
fn answering_after(after: impl Fn(u64) -> Duration + Send + Sync + 'static, body: &str) -> SocketAddr {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let shared = Arc::new((after, answer, AtomicU64::new(0)));
    let (address, _) = server(move |_, mut stream| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (after, answer, asked) = &*shared;
            while read_head(&stream).is_some() {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                let until = Instant::now() + after(number);
                thread::sleep(until.saturating_duration_since(Instant::now()));
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        });
    });
    address
}

#[test]
fn answers_that_are_left_until_the_next_wake_up_are_timed_as_those_that_are_not() {
    let address = answering_after(|_| Duration::ZERO, "ok");
    // At 200 a second the next wake-up is too far off, at 1,000 it is near: one wake-up a hit is all there are then.
    let (watched, _) = share_wakeups(target(address, ""), 200, Duration::from_secs(1));
    let (left, wakeups) = share_wakeups(target(address, ""), 1000, Duration::from_secs(1));
    expect_hits(&watched, 200, 0);
    expect_hits(&left, 1000, 0);
    assert!(wakeups < 1100, "{wakeups}");
    let [watched, left] = [&watched, &left].map(|tally| tally.service.quantile(0.5));
    // A wake-up is what lies between them, where the next one is a millisecond off; and both are a server's.
    assert!(watched.abs_diff(left) < Duration::from_micros(250), "{watched:?} and {left:?}");
}

#[test]
fn answers_that_are_not_there_with_the_next_wake_up_are_waited_for() {
    #[track_caller]
    fn check(after: impl Fn(u64) -> Duration + Send + Sync + 'static, body: &str, p50: Range<u64>) {
        let (tally, _) = share_wakeups(target(answering_after(after, body), ""), 500, Duration::from_millis(500));
        expect_hits(&tally, 500, 0);
        assert_eq!(tally.bytes_in, tally.ok * (body.len() as u64 + 37 + body.len().to_string().len() as u64));
        let seen = tally.service.quantile(0.5);
        let p50 = Duration::from_millis(p50.start)..Duration::from_millis(p50.end);
        assert!(p50.contains(&seen), "{seen:?} is not in {p50:?}");
    }
    // First quick, then slower than the wake-ups are apart, then quick again.
    check(|number| Duration::from_millis(if (100..400).contains(&number) { 7 } else { 0 }), "ok", 7..14);
    // Now and then.
    check(|number| Duration::from_millis(if number % 10 == 9 { 5 } else { 0 }), "ok", 0..4);
    // In many parts.
    check(|_| Duration::ZERO, &"x".repeat(300_000), 0..50);
}

#[test]
fn a_hit_whose_answer_was_left_is_ended_by_its_time_out() {
    let address = answering_after(|number| Duration::from_millis(if number == 300 { 2000 } else { 0 }), "ok");
    let (tally, _) = share_wakeups(target(address, "timeout = \"600ms\""), 500, Duration::from_millis(500));
    expect_hits(&tally, 500, 1);
    assert_eq!(tally.failures.get(&Reason::Timeout), Some(&1));
}

#[test]
fn a_server_that_closes_connections_whose_answers_were_left_fails_no_hit() {
    // Closes after every twentieth answer: those before it were quick enough to be left.
    let (address, accepted) = server(move |_, stream| {
        thread::spawn(move || {
            let mut stream = stream;
            for _ in 0..20 {
                if read_head(&stream).is_none() {
                    return;
                }
                stream.write_all(OK.as_bytes()).unwrap();
            }
        });
    });
    let (tally, _) = share_wakeups(target(address, ""), 1000, Duration::from_secs(1));
    expect_hits(&tally, 1000, 0);
    assert!(accepted.load(Ordering::SeqCst) as u64 >= tally.ok / 20);
}

#[test]
fn what_a_server_says_to_an_idle_connection_is_no_answer() {
    let (tell, mut told) = mpsc::unbounded_channel();
    // Has enough of a connection on which nothing is asked for 50 ms, says so, and closes it.
    let (address, accepted) = server(move |_, stream| {
        let tell = tell.clone();
        thread::spawn(move || {
            let mut stream = stream;
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            while read_head(&stream).is_some() {
                stream.write_all(OK.as_bytes()).unwrap();
            }
            let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
            drop(stream);
            let _ = tell.send(());
        });
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let wakeups = Wakeups::new(Duration::ZERO).unwrap();
        let kept = Rc::clone(&wakeups);
        spawn_local(async move { kept.keep().await });
        let target = target(address, "").sharing(&wakeups);
        let mut sleeper = wakeups.sleeper();
        // A wake-up each millisecond: a connection that is used is soon one that is left.
        spawn_local(async move {
            let begin = Instant::now();
            let tick = |number| begin + Duration::from_millis(1) * number;
            for number in 1..10_000 {
                sleeper.ring(Wake { then: Some(tick(number + 1)), ..Wake::at(tick(number)) }).await.unwrap();
            }
        });
        // In a task of its own, as a thread's are: what it blocks on is polled before all others.
        let hits = spawn_local(async move {
            for number in 0..50 {
                assert_ok(&target.hit(number).await);
            }
            while told.try_recv().is_ok() {}
            told.recv().await.unwrap();
            assert_ok(&target.hit(50).await);
        });
        hits.await.unwrap();
    });
    assert!(accepted.load(Ordering::SeqCst) >= 2);
}
