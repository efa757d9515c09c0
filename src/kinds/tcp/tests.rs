//! Hits on little servers that do one thing each, right or wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer, TrustAnchor};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::fault::Fault;
use crate::keys::Source;
use crate::kinds::dial::served::{close_with, reset, server};
use crate::target::Reason;
use crate::wakeups::{Alarm, Wake};

const PING: &str = "send = \"PING\\r\\n\"\nexpect = { text = \"+PONG\\r\\n\" }\n";
const KEPT: &str = "keep_alive = true\nsend = \"PING\\r\\n\"\nexpect = { text = \"+PONG\\r\\n\" }\n";

/// Reads a line; `None` when the connection is closed.
fn read_line(mut stream: impl Read) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(line).unwrap())
}

/// Waits for the other side to close; tells whether it did so without a reset, and what it had said.
fn wait_for_end(mut stream: impl Read) -> (bool, Vec<u8>) {
    let mut read = Vec::new();
    (stream.read_to_end(&mut read).is_ok(), read)
}

/// Answers each line of each connection with what `answer` makes of it.
fn answering(answer: impl Fn(&str) -> &'static str + Send + Copy + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    server(move |_, mut stream| {
        thread::spawn(move || {
            while let Some(line) = read_line(&stream) {
                if stream.write_all(answer(&line).as_bytes()).is_err() {
                    break;
                }
            }
        });
    })
}

fn read(text: &str) -> (Option<Settings>, Vec<Fault>) {
    let source = Source { file: Path::new("x.toml"), text, quotes_values: false, now: "", now_unknown: "" };
    let (settings, faults) = source.read(Settings::read);
    (settings.flatten(), faults)
}

#[track_caller]
fn settings(address: &str, text: &str) -> Settings {
    let (settings, faults) = read(&format!("address = \"{address}\"\n{text}"));
    assert_eq!(faults, []);
    settings.unwrap()
}

#[track_caller]
fn target(address: SocketAddr, text: &str) -> TcpTarget {
    TcpTarget::new(&settings(&address.to_string(), text)).unwrap()
}

#[track_caller]
fn assert_ok(outcome: &Outcome) {
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
}

#[track_caller]
fn assert_failed(outcome: &Outcome, reason: Reason, detail: &str) {
    let failure = outcome.failure.as_ref().expect("it fails");
    assert_eq!((failure.reason, failure.detail.contains(detail)), (reason, true), "{failure}");
}

#[tokio::test]
async fn answers_and_what_they_are_counted_as() {
    /// The server says `answer` when a line has come, and closes.
    #[track_caller]
    fn check(answer: &'static str, expect: &str, reason: Option<(Reason, &str)>) -> impl Future<Output = ()> {
        let (address, accepted) = server(move |_, mut stream| {
            read_line(&stream).unwrap();
            let _ = stream.write_all(answer.as_bytes());
            stream.shutdown(Shutdown::Write).unwrap();
            wait_for_end(stream);
        });
        let target = target(address, &format!("send = \"PING\\r\\n\"\nexpect = {{ {expect} }}"));
        let (name, reason) =
            (format!("{answer:?} {expect}"), reason.map(|(reason, detail)| (reason, detail.to_owned())));
        async move {
            let outcome = target.hit(0).await;
            let seen = outcome.failure.as_ref().map(|failure| failure.reason);
            assert_eq!(seen, reason.as_ref().map(|(reason, _)| *reason), "{name}: {outcome:?}");
            if let Some((reason, detail)) = reason {
                assert_failed(&outcome, reason, &detail);
            }
            assert_eq!(accepted.load(Ordering::SeqCst), 1, "{name}: asked again");
            assert_eq!((outcome.bytes_in, outcome.bytes_out), (answer.len() as u64, 6), "{name}");
        }
    }
    let body = |detail| Some((Reason::Body, detail));
    check("+PONG\r\n", "text = \"+PONG\\r\\n\"", None).await;
    check("+PONG\r\n", "text = \"+P\"", None).await;
    check("+PONG\r\n", "hex = \"2b 50 4F 4e47\"", None).await;
    check("+PONG\r\n", "regex = '^\\+PONG\\r\\n'", None).await;
    check("+PONG\r\n", "regex = 'ONG'", None).await;
    check("+PONG\r\n", "until_close = true", None).await;
    check("", "until_close = true", None).await;
    check("+PONG", "regex = 'PONG$'\nuntil_close = true".replace('\n', ", ").leak(), None).await;

    check("-ERR no\r\n", "text = \"+PONG\\r\\n\"", body("not what was expected: \"-ERR no\\r\\n\"")).await;
    check("-ERR no\r\n", "regex = '^\\+'", body("does not match: \"-ERR no\\r\\n\"")).await;
    check("-ERR no\r\n", "regex = 'PONG'", body("ended after \"-ERR no\\r\\n\" of what was expected")).await;
    check("+PO", "text = \"+PONG\"", body("ended after \"+PO\"")).await;
    check("+PONG\r\n", "regex = 'x', max = 7", body("ended after")).await;
    check("+PONG\r\n", "regex = 'x', max = 6", body("6 bytes came without what was expected: \"+PONG\\r\"")).await;
    check("+PONG\r\n", "until_close = true, max = 6", body("more than 6 bytes came")).await;
    check("", "text = \"+PONG\"", Some((Reason::Other, "ended without an answer"))).await;
}

#[tokio::test]
async fn servers_that_do_not_get_as_far() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_failed(&target(nobody, "").hit(0).await, Reason::Connect, "refused");

    // A label of more than 63 letters is refused without asking anybody.
    let no_name = TcpTarget::new(&settings(&format!("{}:1", "x".repeat(64)), "")).unwrap();
    assert_failed(&no_name.hit(0).await, Reason::Dns, "");

    let greeting = "expect = { text = \"220 \" }";
    let (closes, _) = server(|_, stream| drop(stream));
    assert_failed(&target(closes, greeting).hit(0).await, Reason::Connect, "ended without an answer");
    let (resets, _) = server(|_, stream| reset(stream));
    assert_failed(&target(resets, greeting).hit(0).await, Reason::Connect, "reset");

    let (resets, _) = server(|_, stream| {
        read_line(&stream).unwrap();
        reset(stream);
    });
    assert_failed(&target(resets, PING).hit(0).await, Reason::Other, "reset");

    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (resets, _) = server(move |_, mut stream| {
        read_line(&stream).unwrap();
        stream.write_all(b"+PO").unwrap();
        told.recv().unwrap();
        reset(stream);
    });
    let reset_in_it = target(resets, PING);
    let later = async {
        // What was said has been read by then: a reset may take what is unread with it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        tell.send(()).unwrap();
    };
    assert_failed(&tokio::join!(reset_in_it.hit(0), later).0, Reason::Body, "reset");

    let (silent, _) = server(|_, stream| _ = wait_for_end(stream));
    assert_failed(&target(silent, &format!("timeout = \"20ms\"\n{PING}")).hit(0).await, Reason::Timeout, "20ms");
    let in_handshake = target_trusting(silent, "tls = true\ntimeout = \"20ms\"", RootCertStore::empty());
    assert_failed(&in_handshake.hit(0).await, Reason::Timeout, "20ms");

    let (plain, _) = server(|_, mut stream| {
        stream.write_all(b"220 mail ESMTP\r\n").unwrap();
        wait_for_end(stream);
    });
    assert_failed(&target_trusting(plain, "tls = true", RootCertStore::empty()).hit(0).await, Reason::Tls, "");
}

#[tokio::test]
async fn a_connection_alone_is_a_hit_and_is_closed_properly() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, _) = server(move |_, stream| tell.send(wait_for_end(stream)).unwrap());
    let outcome = target(address, "").hit(0).await;
    assert_ok(&outcome);
    assert_eq!((outcome.bytes_in, outcome.bytes_out), (0, 0));
    let phases = outcome.phases.unwrap();
    assert!(phases.connect.is_some() && phases.dns.is_none() && phases.tls.is_none() && phases.first_byte.is_none());
    assert_eq!(told.recv().await.unwrap(), (true, vec![]));
}

#[tokio::test]
async fn what_is_sent_arrives_also_where_nothing_is_expected() {
    const SIZE: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, vec![b'x'; SIZE]).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, _) = server(move |_, stream| tell.send(wait_for_end(stream)).unwrap());
    for (send, size) in [("send = \"a\\r\\n\"".to_owned(), 3), (format!("send_file = {file:?}"), SIZE)] {
        let outcome = target(address, &send).hit(0).await;
        assert_ok(&outcome);
        assert_eq!(outcome.bytes_out, size as u64);
        let (gently, read) = told.recv().await.unwrap();
        assert_eq!((gently, read.len()), (true, size));
    }
}

#[tokio::test]
async fn a_connection_on_which_more_has_come_is_closed_properly() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, _) = server(move |_, mut stream| {
        // Larger than what is read at once.
        stream.write_all(&[b'x'; 3000]).unwrap();
        tell.send(wait_for_end(stream)).unwrap();
    });
    let steps = "[[step]]\nexpect = { text = \"x\" }\n[[step]]\nsend = \"bye\"\n";
    let outcome = target(address, steps).hit(0).await;
    assert_ok(&outcome);
    assert_eq!(outcome.bytes_in, 3000);
    assert_eq!(told.recv().await.unwrap(), (true, b"bye".to_vec()));
}

#[tokio::test]
async fn an_answer_is_heard_however_it_comes() {
    for gap in 0..=7 {
        let (address, _) = server(move |_, mut stream| {
            read_line(&stream).unwrap();
            stream.set_nodelay(true).unwrap();
            let (one, two) = "+PONG\r\n".split_at(gap);
            stream.write_all(one.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(2));
            stream.write_all(two.as_bytes()).unwrap();
            wait_for_end(stream);
        });
        assert_ok(&target(address, PING).hit(0).await);
    }
    let (drips, _) = server(move |_, mut stream| {
        read_line(&stream).unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in "250-A\r\n250-B\r\n250 C\r\n".bytes() {
            stream.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        wait_for_end(stream);
    });
    let pattern = "send = \"EHLO me\\r\\n\"\nexpect = { regex = '^(250-.*\\r\\n)*250 .*\\r\\n' }";
    let outcome = target(drips, pattern).hit(0).await;
    assert_ok(&outcome);
    assert_eq!(outcome.bytes_in, 21);
    // The first byte was not the last one.
    assert!(outcome.phases.unwrap().first_byte.is_some());
}

#[tokio::test]
async fn answers_without_end_are_bounded() {
    let (address, _) = server(|_, mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    let outcome = target(address, "expect = { regex = 'y', max = \"1MiB\" }").hit(0).await;
    assert_failed(&outcome, Reason::Body, "1048576 bytes came without what was expected: \"xxxx");
    assert!((1 << 20..2 << 20).contains(&outcome.bytes_in), "{}", outcome.bytes_in);
    let outcome = target(address, "expect = { regex = 'y' }").hit(0).await;
    assert_failed(&outcome, Reason::Body, "65536 bytes came");
    let outcome =
        target(address, "timeout = \"50ms\"\nexpect = { until_close = true, max = \"1024GiB\" }").hit(0).await;
    assert_failed(&outcome, Reason::Timeout, "50ms");
}

#[tokio::test]
async fn a_server_that_has_heard_enough_is_heard_before_all_is_sent() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (address, _) = server(move |_, mut stream| {
        stream.write_all(b"-ERR too much\r\n").unwrap();
        // What is sent, larger than all buffers, is not read.
        told.recv().unwrap();
    });
    let mut settings = settings(&address.to_string(), PING);
    settings.steps[0].send = vec![b'x'; 32 << 20].into();
    let outcome = TcpTarget::new(&settings).unwrap().hit(0).await;
    assert_failed(&outcome, Reason::Body, "-ERR too much");
    tell.send(()).unwrap();
}

#[tokio::test]
async fn what_comes_back_while_it_is_sent_is_read_meanwhile() {
    let (address, _) = server(move |_, stream| {
        let mut back = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut &stream, &mut back);
    });
    let size = 16 << 20;
    let mut settings =
        settings(&address.to_string(), &format!("send = \"x\"\nexpect = {{ regex = '^x+y', max = {size} }}"));
    let mut send = vec![b'x'; size - 1];
    send.push(b'y');
    settings.steps[0].send = send.into();
    let outcome = TcpTarget::new(&settings).unwrap().hit(0).await;
    assert_ok(&outcome);
    assert_eq!((outcome.bytes_in, outcome.bytes_out), (size as u64, size as u64));
}

/// Speaks as a mail server does.
fn mail(line: &str) -> &'static str {
    match line {
        "EHLO me\r\n" => "250-mail\r\n250-SIZE 1\r\n250 HELP\r\n",
        "NOOP\r\n" => "250 OK\r\n",
        "QUIT\r\n" => "221 Bye\r\n",
        _ => "500 What?\r\n",
    }
}

fn mail_server() -> (SocketAddr, Arc<AtomicUsize>, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let (address, accepted) = server(move |_, mut stream| {
        let tell = tell.clone();
        thread::spawn(move || {
            stream.write_all(b"220 mail ESMTP\r\n").unwrap();
            while let Some(line) = read_line(&stream) {
                if stream.write_all(mail(&line).as_bytes()).is_err() {
                    break;
                }
                let _ = tell.send(line);
            }
        });
    });
    (address, accepted, told)
}

const MAIL: &str = "[[step]]\nonce = true\nexpect = { regex = '^220 .*\\r\\n' }\n\
                    [[step]]\nonce = true\nsend = \"EHLO me\\r\\n\"\nexpect = { regex = '^(250-.*\\r\\n)*250 .*\\r\\n' }\n";

#[tokio::test]
async fn steps_are_gone_through_in_turn() {
    let (address, accepted, mut told) = mail_server();
    let quit = "[[step]]\nsend = \"QUIT\\r\\n\"\nexpect = { text = \"221 \" }\n";
    for number in 0..2 {
        assert_ok(&target(address, &format!("{MAIL}{quit}")).hit(number).await);
        assert_eq!(told.recv().await.unwrap(), "EHLO me\r\n");
        assert_eq!(told.recv().await.unwrap(), "QUIT\r\n");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 2);

    let wrong = "[[step]]\nsend = \"WHAT\\r\\n\"\nexpect = { text = \"250 \" }\n";
    let outcome = target(address, &format!("{MAIL}{wrong}{quit}")).hit(0).await;
    assert_failed(&outcome, Reason::Body, "step 3: what came is not what was expected: \"500 What?\\r\\n\"");
    assert_eq!((told.recv().await.unwrap(), told.recv().await.unwrap()), ("EHLO me\r\n".into(), "WHAT\r\n".into()));

    // What a step leaves is the next one's.
    let half =
        "[[step]]\nexpect = { text = \"220 \" }\n[[step]]\nsend = \"QUIT\\r\\n\"\nexpect = { text = \"221 \" }\n";
    let outcome = target(address, half).hit(0).await;
    assert_failed(&outcome, Reason::Body, "step 2: what came is not what was expected: \"mail ESMTP\\r\\n");
}

#[tokio::test]
async fn a_hundred_hits_take_one_connection_or_a_hundred() {
    async fn check(address: SocketAddr, accepted: &AtomicUsize, text: &str, connections: usize) {
        accepted.store(0, Ordering::SeqCst);
        let target = target(address, text);
        for number in 0..100 {
            let outcome = target.hit(number).await;
            assert_ok(&outcome);
            assert_eq!(outcome.phases.is_some(), number == 0 || connections > 1);
        }
        // A connection is there before it is accepted.
        while accepted.load(Ordering::SeqCst) < connections {
            thread::yield_now();
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "{text}");
    }
    let (address, accepted) = answering(|_| "+PONG\r\n");
    check(address, &accepted, PING, 100).await;
    check(address, &accepted, KEPT, 1).await;
    check(address, &accepted, "keep_alive = true\nsend = \"PING\\r\\n\"\nexpect = { regex = 'G\\r\\n' }", 1).await;
    check(address, &accepted, "", 100).await;
    // What nobody has expected makes a connection useless.
    check(address, &accepted, "keep_alive = true\nsend = \"PING\\r\\n\"\nexpect = { text = \"+PONG\" }", 100).await;
    // Nothing ever comes back.
    let (address, accepted) = answering(|_| "");
    check(address, &accepted, "keep_alive = true\nsend = \"a 1 2\\r\\n\"", 1).await;
    // The greeting comes once.
    let (address, accepted, _told) = mail_server();
    let noop =
        format!("keep_alive = true\n{MAIL}[[step]]\nsend = \"NOOP\\r\\n\"\nexpect = {{ text = \"250 OK\\r\\n\" }}");
    check(address, &accepted, &noop, 1).await;
}

#[tokio::test]
async fn hits_at_the_same_time_have_a_connection_each() {
    let (address, accepted) = answering(|_| "+PONG\r\n");
    let target = target(address, KEPT);
    for _ in 0..10 {
        let outcomes = futures_util::future::join_all((0..20).map(|number| target.hit(number))).await;
        outcomes.iter().for_each(assert_ok);
    }
    assert!(accepted.load(Ordering::SeqCst) <= 20);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_fails_no_hit() {
    for resets in [false, true] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (address, accepted) = server(move |_, mut stream| {
            read_line(&stream).unwrap();
            stream.write_all(b"+PONG\r\n").unwrap();
            if resets {
                reset(stream);
            } else {
                drop(stream);
            }
            tell.send(()).unwrap();
        });
        let target = target(address, KEPT);
        for number in 0..100 {
            assert_ok(&target.hit(number).await);
            told.recv().await.unwrap();
            // Lets the runtime see what happened to its sockets, as any wait for a due would.
            tokio::task::yield_now().await;
        }
        // A reset may come before the answer is read, and is found then.
        assert_eq!(accepted.load(Ordering::SeqCst), 100);
    }
}

#[tokio::test]
async fn what_a_server_says_unasked_is_no_answer() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (address, accepted) = server(move |_, mut stream| {
        let tell = tell.clone();
        thread::spawn(move || {
            while read_line(&stream).is_some() {
                stream.write_all(b"+PONG\r\n").unwrap();
                thread::sleep(Duration::from_millis(20));
                let _ = stream.write_all(b"+PONG\r\n");
                let _ = tell.send(());
            }
        });
    });
    let target = target(address, KEPT);
    for number in 0..3 {
        assert_ok(&target.hit(number).await);
        told.recv().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_kept_connection_that_ends_before_anything_is_said_is_no_failure() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (address, accepted) = server(move |number, mut stream| {
        stream.write_all(b"tick\n").unwrap();
        if number == 0 {
            told.recv().unwrap();
        } else {
            wait_for_end(stream);
        }
    });
    let target = target(address, "keep_alive = true\nexpect = { text = \"tick\\n\" }");
    assert_ok(&target.hit(0).await);
    // It is taken while it is open, and closed then.
    let (outcome, ()) = tokio::join!(target.hit(1), async { tell.send(()).unwrap() });
    assert_ok(&outcome);
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_was_sent_is_never_sent_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Answers the first line of each connection and closes when it has read the second.
    let (address, _) = server(move |_, mut stream| {
        read_line(&stream).unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        stream.write_all(b"+PONG\r\n").unwrap();
        count.fetch_add(usize::from(read_line(&stream).is_some()), Ordering::SeqCst);
    });
    let target = target(address, KEPT);
    assert_ok(&target.hit(0).await);
    assert_failed(&target.hit(1).await, Reason::Other, "without an answer");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_hit_that_is_dropped_takes_its_connection_with_it() {
    for answer in ["", "+PO"] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (address, accepted) = server(move |number, mut stream| {
            read_line(&stream).unwrap();
            if number > 0 {
                return stream.write_all(b"+PONG\r\n").unwrap();
            }
            stream.write_all(answer.as_bytes()).unwrap();
            tell.send("asked").unwrap();
            wait_for_end(stream);
            tell.send("ended").unwrap();
        });
        let target = target(address, KEPT);
        tokio::select! {
            outcome = target.hit(0) => panic!("{outcome:?}"),
            asked = told.recv() => assert_eq!(asked, Some("asked")),
        }
        assert_eq!(told.recv().await, Some("ended"), "{answer}");
        assert_ok(&target.hit(1).await);
        assert_eq!(accepted.load(Ordering::SeqCst), 2, "{answer}");
    }
}

/// Answers lines over TLS with the certificate in tests/data/tls, and tells how each connection ended; roots that
/// trust it.
fn tls_server(asks_for_clients: bool) -> (SocketAddr, Arc<AtomicUsize>, RootCertStore, mpsc::UnboundedReceiver<bool>) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../../tests/data/tls/localhost.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../tests/data/tls/localhost.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&ring));
    let clients = if asks_for_clients { clients.build().unwrap() } else { WebPkiClientVerifier::no_client_auth() };
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_client_cert_verifier(clients).with_single_cert(vec![certificate], key).unwrap();
    // A client that offers protocols by ALPN, and not this one, is refused.
    config.alpn_protocols = vec![b"none".to_vec()];
    let config = Arc::new(config);
    let (tell, told) = mpsc::unbounded_channel();
    let (address, accepted) = server(move |_, stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        while read_line(&mut stream).is_some() {
            stream.write_all(b"+PONG\r\n").unwrap();
        }
        // An end without a word is an error.
        let _ = tell.send(matches!(stream.read(&mut [0]), Ok(0)));
    });
    (address, accepted, roots, told)
}

#[track_caller]
fn target_trusting(address: SocketAddr, text: &str, mut roots: RootCertStore) -> TcpTarget {
    // Somebody whose certificates nobody has: no authorities at all would be the system's.
    let none = Der::from_slice(&[]);
    roots.roots.push(TrustAnchor { subject: none.clone(), subject_public_key_info: none, name_constraints: None });
    let mut settings = settings(&address.to_string(), text);
    settings.dial.authorities = Some(roots.into());
    TcpTarget::new(&settings).unwrap()
}

#[tokio::test]
async fn tls_is_agreed_on_and_taken_leave_of() {
    let (address, accepted, roots, mut told) = tls_server(false);
    for (text, connections) in [("", 3), (PING, 3), (KEPT, 1)] {
        accepted.store(0, Ordering::SeqCst);
        let target = target_trusting(address, &format!("tls = true\n{text}"), roots.clone());
        for number in 0..3 {
            let outcome = target.hit(number).await;
            assert_ok(&outcome);
            let is_new = outcome.phases.is_some_and(|phases| phases.tls.is_some());
            assert_eq!(is_new, number == 0 || connections > 1, "{text}");
            if connections > 1 {
                assert_eq!(told.recv().await, Some(true), "{text}");
            }
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "{text}");
    }
    let unknown = target_trusting(address, "tls = true", RootCertStore::empty());
    assert_failed(&unknown.hit(0).await, Reason::Tls, "");
    let (address, _, roots, _told) = tls_server(true);
    let without = target_trusting(address, &format!("tls = true\n{PING}"), roots);
    assert_failed(&without.hit(0).await, Reason::Tls, "client certificate");
}

#[tokio::test]
async fn unix_sockets_are_connected_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let address = format!("unix:{}", path.display());
    let nobody = TcpTarget::new(&settings(&address, PING)).unwrap();
    assert_failed(&nobody.hit(0).await, Reason::Connect, "app.sock");

    let listener = UnixListener::bind(&path).unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            while read_line(&stream).is_some() {
                stream.write_all(b"+PONG\r\n").unwrap();
            }
        }
    });
    for (text, connections) in [(PING, 3), (KEPT, 1)] {
        accepted.store(0, Ordering::SeqCst);
        let target = TcpTarget::new(&settings(&address, text)).unwrap();
        for number in 0..3 {
            let outcome = target.hit(number).await;
            assert_ok(&outcome);
            assert_eq!((outcome.bytes_in, outcome.bytes_out), (7, 6));
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections);
    }
}

/// Hits `target` with a wake-up each millisecond, and says how long after its end half of the hits were over, at least.
fn share_wakeups(target: TcpTarget, hits: u64) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let wakeups = Wakeups::new(Duration::ZERO).unwrap();
        let kept = Rc::clone(&wakeups);
        spawn_local(async move { kept.keep().await });
        let target = target.sharing(&wakeups);
        let (mut ticker, mut sleeper, begin) = (wakeups.sleeper(), wakeups.sleeper(), Instant::now());
        spawn_local(async move {
            for tick in 1.. {
                let (at, then) = (begin + Duration::from_millis(tick), Some(begin + Duration::from_millis(tick + 1)));
                ticker.ring(Wake { then, ..Wake::at(at) }).await.unwrap();
            }
        });
        // A task of its own, as in the engine: one that is polled before the wake-ups are would be ahead of them.
        let hitting = spawn_local(async move {
            let mut later = Vec::new();
            for number in 0..hits {
                sleeper.ring(Wake::at(begin + Duration::from_micros(3000 * number + 500))).await.unwrap();
                let outcome = target.hit(number).await;
                assert_ok(&outcome);
                later.push(Instant::now().checked_duration_since(outcome.ended.unwrap()).expect("it has ended"));
            }
            later.sort_unstable();
            later[later.len() / 2]
        });
        hitting.await.unwrap()
    })
}

#[test]
fn answers_are_left_until_the_next_wake_up_and_none_is_lost() {
    let (address, accepted) = answering(|_| "+PONG\r\n");
    // A busy machine wakes the hit and the next tick at once, and nothing is left: it isn't as busy each time.
    let later: Vec<_> = (0..3).map(|_| share_wakeups(target(address, KEPT), 200)).collect();
    assert!(later.iter().any(|later| *later > Duration::from_micros(300)), "nothing was left: {later:?}");
    assert_eq!(accepted.load(Ordering::SeqCst), 3);

    // Closes after every twentieth answer: those before it were left.
    let (address, accepted) = server(|_, mut stream| {
        thread::spawn(move || {
            for _ in 1..20 {
                read_line(&stream).unwrap();
                stream.write_all(b"+PONG\r\n").unwrap();
            }
            read_line(&stream).unwrap();
            close_with(stream, b"+PONG\r\n");
        });
    });
    share_wakeups(target(address, KEPT), 200);
    assert_eq!(accepted.load(Ordering::SeqCst), 10);

    // Now and then in two parts, and too late.
    let (address, accepted) = server(|_, mut stream| {
        thread::spawn(move || {
            let mut asked = 0;
            while read_line(&stream).is_some() {
                asked += 1;
                stream.write_all(b"+PO").unwrap();
                if asked % 20 == 0 {
                    thread::sleep(Duration::from_millis(5));
                }
                stream.write_all(b"NG\r\n").unwrap();
            }
        });
    });
    share_wakeups(target(address, KEPT), 100);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);

    // Who speaks unasked is heard over a connection that was left, too.
    let (address, accepted) = server(|_, mut stream| {
        thread::spawn(move || {
            while read_line(&stream).is_some() {
                stream.write_all(b"+PONG\r\n").unwrap();
                thread::sleep(Duration::from_millis(2));
                stream.write_all(b"+MORE\r\n").unwrap();
            }
        });
    });
    let two = "keep_alive = true\n[[step]]\nsend = \"PING\\r\\n\"\nexpect = { text = \"+PONG\\r\\n\" }\n\
               [[step]]\nexpect = { text = \"+MORE\\r\\n\" }";
    share_wakeups(target(address, two), 50);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[test]
fn what_a_type_says_is_understood_or_told() {
    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let (settings, faults) = read(text);
        let faults: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.seen, fault.right)).collect();
        assert_eq!(faults, expect, "{text}");
        assert_eq!(settings.is_none(), !expect.is_empty(), "{text}");
    }
    let with = |text: &str| format!("address = \"h:1\"\n{text}");
    let address = "\"address\" can't be this string: an address as \"host:port\", \"[::1]:port\" or \"unix:/path\"";
    for sound in ["h:1", "[::1]:65535", "10.0.0.1:25", "mail.example.com:25"] {
        check(&format!("address = \"{sound}\""), &[]);
    }
    check("address = \"unix:/run/app.sock\"", &[]);
    for unsound in [
        "unix:",
        "unix:app.sock",
        "h",
        "h:",
        ":1",
        "h:0",
        "h:65536",
        "h:+1",
        "::1:80",
        "[h]:1",
        "[::1:1",
        "a b:1",
        "http://h:1",
        "",
    ] {
        check(&format!("address = \"{unsound}\""), &[address]);
    }
    check("address = \"unix:/a\"\nresolve = \"::1\"", &["\"resolve\" beside a unix socket: one of them"]);
    for tls in ["insecure = true", "server_name = \"h\""] {
        check(&with(tls), &["keys for TLS without \"tls\": \"tls = true\", or none of them"]);
        check(&with(&format!("tls = true\n{tls}")), &[]);
    }
    let nameless = ["a host that no certificate can be of: a name that DNS knows"];
    check("address = \"h$:1\"\ntls = true", &nameless);
    check("address = \"h$:1\"\ntls = true\nserver_name = \"h\"", &[]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    check(&with(&format!("send_file = {:?}", empty.path())), &["an empty file: one that has something to send"]);
    check("", &["no key \"address\": it can't be left out"]);
    check(&with("send = \"\""), &["\"send\" can't be this string: a text, not an empty one"]);
    let hex = "\"send_hex\" can't be this string: bytes as pairs of hexadecimal digits, as in \"01 ff\"";
    for unsound in ["", "0", "0x01", "01 f", "gg", "é"] {
        check(&with(&format!("send_hex = \"{unsound}\"")), &[hex]);
    }
    check(
        &with("send = \"a\"\nsend_hex = \"00\""),
        &["more than one thing to send: one of \"send\", \"send_hex\" and \"send_file\""],
    );
    let one = "one of \"text\", \"hex\" and \"regex\"; or \"until_close\" alone";
    check(&with("expect = {}"), &[&format!("nothing to expect: {one}")]);
    check(&with("expect = { text = \"a\", hex = \"00\" }"), &[&format!("more than one thing to expect: {one}")]);
    check(&with("expect = { text = \"abc\", max = 2 }"), &["fewer bytes than are expected: at least 3"]);
    check(
        &with("expect = { regex = \"(\" }"),
        &["\"expect.regex\" can't be this string: a regular expression of bytes (unclosed group)"],
    );
    check(
        &with("[[step]]\nsend = \"a\"\n[[step]]\nonce = true"),
        &["a step in which nothing is said: \"send\" or \"expect\", or both"],
    );
    check(
        &with("send = \"a\"\n[[step]]\nsend = \"a\""),
        &["\"step\" beside \"send\" or \"expect\": one of them: \"step\" for several exchanges"],
    );
    check(
        &with("[[step]]\nsend = \"a\"\n[[step]]\nsend = \"b\"\nonce = true"),
        &["a step with \"once\" behind one without: those with \"once\" first"],
    );
    check(
        &with("[[step]]\nexpect = { until_close = true }\n[[step]]\nsend = \"b\""),
        &["a step behind one with \"until_close\": \"until_close\" in the last step alone"],
    );
    check(
        &with("keep_alive = true\nexpect = { until_close = true }"),
        &["\"keep_alive\" and \"until_close\": one of them"],
    );
    check(
        &with("keep_alive = true"),
        &["\"keep_alive\" alone: \"send\" or \"expect\", as there is nothing to say over a connection that is kept; \
           or leave it out"],
    );
}
