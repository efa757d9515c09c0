//! HTTP/2 as real servers speak it: what was sent, counted on the other side, and over how many connections.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use hyper::Response;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use crate::parts::clock::{BEFORE, Clock};
use crate::parts::nginx::{Hit, Nginx};
use crate::parts::sandbox::{Sandbox, sandbox};

/// What nginx says to whoever speaks anything else.
const ONLY_HTTP_2: &str = "if ($server_protocol != HTTP/2.0) { return 505; }";
const PRIOR: &str = "http2 = \"prior-knowledge\"\novertime = 10\n";

/// Runs a minute's last ten seconds, in which the test `a` has all of its hits.
#[track_caller]
fn run(sandbox: &Sandbox, nginx: &Nginx) {
    let mut command = sandbox.runner();
    command.env("SSL_CERT_FILE", nginx.certificate());
    // A minute in which the certificate, which was made now, holds.
    sandbox.start_command(command, &Clock::in_minute(BEFORE + 60, 50.0)).succeed(20.0);
}

/// Expects all of 600 hits to be ok, and nginx to have had so many, over how many connections.
#[track_caller]
fn expect_all(sandbox: &Sandbox, nginx: &Nginx) -> usize {
    let (results, hits) = (sandbox.results(), nginx.hits());
    assert_eq!(results.total("a", "ok"), 600, "{results}");
    assert_eq!(hits.len(), 600);
    hits.iter().map(Hit::connection).collect::<BTreeSet<_>>().len()
}

#[test]
fn over_tls_nginx_is_hit_to_the_hit() {
    let nginx = Nginx::with_http2(ONLY_HTTP_2);
    let sandbox = sandbox(&nginx.tls_url("/a"), "a|front|600|out");
    run(&sandbox, &nginx);
    assert_eq!(expect_all(&sandbox, &nginx), 1);
}

#[test]
fn in_the_clear_nginx_is_hit_to_the_hit() {
    let nginx = Nginx::with_http2(ONLY_HTTP_2);
    let sandbox = sandbox(&nginx.http2_url("/a"), "a|front|600|out");
    sandbox.http("front", &nginx.http2_url("/a"), PRIOR);
    run(&sandbox, &nginx);
    assert_eq!(expect_all(&sandbox, &nginx), 1);
}

#[test]
fn connections_that_nginx_leaves_cost_no_hit() {
    // GOAWAY after each seventh request.
    let nginx = Nginx::with_http2("keepalive_requests 7;");
    let sandbox = sandbox(&nginx.tls_url("/a"), "a|front|600|out");
    sandbox.http("front", &nginx.tls_url("/a"), "overtime = 20\nmethod = \"DELETE\"\n");
    run(&sandbox, &nginx);
    assert!(expect_all(&sandbox, &nginx) >= 600 / 8);
}

#[test]
fn a_server_that_speaks_http_1_1_alone_is_hit_so() {
    let nginx = Nginx::with_tls();
    let sandbox = sandbox(&nginx.tls_url("/a"), "a|front|600|out");
    sandbox.http("front", &nginx.tls_url("/a"), "overtime = 5\n");
    run(&sandbox, &nginx);
    assert!(expect_all(&sandbox, &nginx) <= 5);
}

/// A server by h2's own, and what it has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// Answers no request before so many are open; takes 128 a connection.
fn answering_together(together: usize) -> (u16, Arc<Seen>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::<Seen>::default();
    let count = Arc::clone(&seen);
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let open = Rc::new(watch::Sender::new(0));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.connections.fetch_add(1, Ordering::SeqCst);
                let (open, count) = (Rc::clone(&open), Arc::clone(&count));
                spawn_local(async move {
                    let greeted = server::Builder::new().max_concurrent_streams(128).handshake(stream).await;
                    let Ok(mut connection) = greeted else { return };
                    while let Some(Ok((_, respond))) = connection.accept().await {
                        count.requests.fetch_add(1, Ordering::SeqCst);
                        open.send_modify(|open| *open += 1);
                        spawn_local(answer(respond, open.subscribe(), together));
                    }
                });
            }
        });
    });
    (port, seen)
}

async fn answer(mut respond: SendResponse<Bytes>, mut open: watch::Receiver<usize>, together: usize) {
    open.wait_for(|open| *open >= together).await.unwrap();
    let _ = respond.send_response(Response::new(()), true);
}

#[test]
fn a_thousand_hits_in_flight_take_a_few_connections() {
    let (port, seen) = answering_together(1000);
    let url = format!("http://127.0.0.1:{port}/");
    let sandbox = sandbox(&url, "a|front|12000|out");
    sandbox.http("front", &url, "http2 = \"prior-knowledge\"\novertime = 1000\ntimeout = \"30s\"\n");
    sandbox.start(&Clock::at(50.0)).succeed(45.0);
    let results = sandbox.results();
    let (ok, requests) = (results.total("a", "ok"), seen.requests.load(Ordering::SeqCst) as u64);
    // What a busy machine leaves no time for is missed, and nothing else.
    assert_eq!((ok + results.total("a", "missed"), requests), (12000, ok), "{results}");
    assert!(ok >= 1000, "{results}");
    let connections = seen.connections.load(Ordering::SeqCst);
    assert!((8..=12).contains(&connections), "{connections}");
}
