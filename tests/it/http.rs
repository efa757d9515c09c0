//! What the kind `http` sends, and what it makes of the answers, as counted on the other side.

use crate::parts::clock::{BEFORE, Clock};
use crate::parts::nginx::Nginx;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::server::free_tcp_port;
use crate::parts::sink::Hanging;
use crate::parts::target::{Answer, Target};

/// Runs a minute's last three seconds.
#[track_caller]
fn run(sandbox: &Sandbox) {
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
}

/// Expects that all hits of `a` that were made failed for `reason`.
#[track_caller]
fn expect_failures(sandbox: &Sandbox, reason: &str) {
    let results = sandbox.results();
    let failed = results.total("a", "failed");
    assert!(failed > 0, "{results}");
    assert_eq!(results.failures("a", reason), failed, "{results}");
    assert_eq!(results.total("a", "ok"), 0, "{results}");
}

#[test]
fn says_who_it_is() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a?b=c%20d"), "a|front|60|out");
    run(&sandbox);
    let hits = nginx.hits();
    assert!(!hits.is_empty());
    let end =
        format!("200 {} GET /a?b=c%20d canihaz/{}", hits[0].line.split(' ').nth(2).unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(hits.iter().all(|hit| hit.line.ends_with(&end)), "{:?}", hits[0]);
}

#[test]
fn sends_what_its_file_says() {
    let target = Target::start(Answer::ok(std::time::Duration::ZERO));
    let sandbox = sandbox(&target.url("/checkout?x=1"), "a|front|60|out");
    sandbox.write("types.d/order.json", "{\"item\": \"é\"}");
    sandbox.http(
        "front",
        &target.url("/checkout?x=1"),
        "method = \"POST\"\nheaders = { Accept = \"application/json\", X-Tenant = \"cats\" }\nbody_file = \"order.json\"\n",
    );
    run(&sandbox);
    let requests = target.requests();
    let head = &requests[0].head;
    assert_eq!(head[0], "POST /checkout?x=1 HTTP/1.1");
    let lower: Vec<String> = head.iter().map(|line| line.to_ascii_lowercase()).collect();
    for header in ["accept: application/json", "x-tenant: cats", "content-length: 14"] {
        assert!(lower.iter().any(|line| line == header), "no {header} in {head:?}");
    }
    assert_eq!(lower.iter().filter(|line| line.starts_with("host: 127.0.0.1:")).count(), 1, "{head:?}");
    assert_eq!(requests[0].body, "{\"item\": \"é\"}");
    assert_eq!(sandbox.results().total("a", "ok"), requests.len() as u64);
}

#[test]
fn reads_secrets_from_files_alone() {
    let target = Target::start(Answer::ok(std::time::Duration::ZERO));
    let sandbox = sandbox(&target.url("/"), "a|front|60|out");
    sandbox.write("types.d/token", "s3cret\n");
    sandbox.http("front", &target.url("/"), "bearer_file = \"token\"\n");
    run(&sandbox);
    let head = target.requests().remove(0).head;
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: bearer s3cret")), "{head:?}");
}

#[test]
fn keeps_one_connection_alive() {
    let target = Target::start(Answer::ok(std::time::Duration::ZERO));
    let sandbox = sandbox(&target.url("/"), "a|front|600|out");
    run(&sandbox);
    let requests = target.requests();
    assert!(requests.len() > 50, "{}", requests.len());
    assert!(requests.iter().all(|request| request.connection == requests[0].connection));
}

#[test]
fn opens_a_connection_a_hit_where_asked() {
    let target = Target::start(Answer::ok(std::time::Duration::ZERO));
    let sandbox = sandbox(&target.url("/"), "a|front|600|out");
    sandbox.http("front", &target.url("/"), "keep_alive = false\n");
    run(&sandbox);
    let requests = target.requests();
    let mut connections: Vec<usize> = requests.iter().map(|request| request.connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), requests.len());
    assert_eq!(sandbox.results().total("a", "ok"), requests.len() as u64);
}

#[test]
fn a_server_that_closes_kept_connections_costs_no_hit() {
    let nginx = Nginx::with("keepalive_requests 7;");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    sandbox.start(&Clock::at(50.0)).succeed(20.0);
    let results = sandbox.results();
    assert_eq!(nginx.hits().len(), 600);
    assert_eq!(results.total("a", "ok"), 600, "{results}");
}

#[test]
fn an_unexpected_status_fails() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/500"), "a|front|600|out");
    run(&sandbox);
    expect_failures(&sandbox, "status");
    assert_eq!(sandbox.results().total("a", "failed"), nginx.hits().len() as u64);
}

#[test]
fn an_expected_status_is_ok_whatever_it_is() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/500"), "a|front|600|out");
    sandbox.http("front", &nginx.url("/500"), "[expect]\nstatus = [418, 500]\nbody = \"no\"\n");
    run(&sandbox);
    assert_eq!(sandbox.results().total("a", "ok"), nginx.hits().len() as u64);
    assert_eq!(sandbox.results().total("a", "failed"), 0);
}

#[test]
fn an_unexpected_body_fails() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    sandbox.http("front", &nginx.url("/a"), "[expect]\nbody = \"yes\"\n");
    run(&sandbox);
    expect_failures(&sandbox, "body");
}

#[test]
fn a_body_over_its_bound_fails() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    sandbox.http("front", &nginx.url("/a"), "[expect]\nbody_max = 2\n");
    run(&sandbox);
    expect_failures(&sandbox, "body");
}

#[test]
fn a_body_that_is_cut_off_fails() {
    let target = Target::start(Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").closing());
    let sandbox = sandbox(&target.url("/"), "a|front|600|out");
    run(&sandbox);
    expect_failures(&sandbox, "body");
}

#[test]
fn a_refused_connection_fails() {
    let sandbox = sandbox(&format!("http://127.0.0.1:{}/", free_tcp_port()), "a|front|600|out");
    run(&sandbox);
    expect_failures(&sandbox, "connect");
}

#[test]
fn a_name_that_is_none_fails() {
    let sandbox = sandbox("http://no-such-name.invalid/", "a|front|60|out");
    sandbox.http("front", "http://no-such-name.invalid/", "overtime = 10\n");
    run(&sandbox);
    expect_failures(&sandbox, "dns");
}

#[test]
fn what_is_no_http_fails() {
    let target = Target::start(Answer::bytes("220 smtp.example.com ESMTP\r\n\r\n").closing());
    let sandbox = sandbox(&target.url("/"), "a|front|600|out");
    run(&sandbox);
    expect_failures(&sandbox, "protocol");
}

#[test]
fn a_server_that_never_answers_times_out() {
    let hanging = Hanging::start();
    let sandbox = sandbox(&format!("http://127.0.0.1:{}/", hanging.port), "a|front|600|out");
    sandbox.http("front", &format!("http://127.0.0.1:{}/", hanging.port), "timeout = \"500ms\"\n");
    run(&sandbox);
    expect_failures(&sandbox, "timeout");
}

#[test]
fn tls_by_the_systems_roots() {
    let nginx = Nginx::with_tls();
    let sandbox = sandbox(&nginx.tls_url("/a"), "a|front|600|out");
    let mut command = sandbox.runner();
    command.env("SSL_CERT_FILE", nginx.certificate());
    // A minute in which the certificate, which was made now, holds.
    sandbox.start_command(command, &Clock::in_minute(BEFORE + 60, 57.0)).succeed(12.0);
    let results = sandbox.results();
    assert!(results.total("a", "ok") > 50, "{results}");
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64, "{results}");
}

#[test]
fn tls_with_somebody_elses_certificate_fails() {
    let nginx = Nginx::with_tls();
    let sandbox = sandbox(&nginx.tls_url("/a"), "a|front|600|out");
    run(&sandbox);
    expect_failures(&sandbox, "tls");
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn a_test_that_cannot_be_set_up_is_told_and_its_hits_are_missed() {
    let nginx = Nginx::with_tls();
    let sandbox = sandbox(&nginx.tls_url("/a"), "a|front|600|out");
    sandbox.test("b|loopback|600|out");
    let mut command = sandbox.runner();
    // A system without root certificates.
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", sandbox.path("state"));
    let ended = sandbox.start_command(command, &Clock::at(57.0)).wait(std::time::Duration::from_secs(12));
    ended.expect_code(0);
    let told: Vec<_> = ended.stderr.lines().collect();
    assert!(told.len() == 1 && told[0].contains("test a cannot run: type front: the system has no root"), "{told:?}");
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.total("a", "missed"), 600, "{results}");
    assert!(results.total("b", "ok") > 200, "the other goes on: {results}");
}

#[test]
fn what_a_type_holds_is_in_no_output() {
    let target = Target::start(Answer::ok(std::time::Duration::ZERO));
    let sandbox = sandbox(&target.url("/"), "a|front|60|out,log");
    sandbox.http("front", &target.url("/s3cret"), "tiemout = \"5s\"\nheaders = { X-Key = \"s3cret\" }\n");
    let ended = sandbox.start(&Clock::at(57.0)).wait(std::time::Duration::from_secs(10));
    assert!(!ended.stderr.is_empty());
    for output in [&ended.stderr, &ended.stdout] {
        assert!(!output.contains("s3cret"), "{output}");
    }
}
