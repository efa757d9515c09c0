//! Where redirects lead, what compressed bodies are checked for, and who gets which cookie: as nginx counts it.

use crate::parts::clock::Clock;
use crate::parts::nginx::Nginx;
use crate::parts::results::Results;
use crate::parts::sandbox::sandbox;

/// An nginx with redirects: without an end, of so many steps, after a form, and to where nobody should go.
fn redirecting() -> Nginx {
    Nginx::with(
        "location = /loop { return 302 /loop; }
         location = /1 { return 301 /2; }
         location = /2 { return 307 three; }
         location = /three { return 303 /ok?four#part; }
         location = /form { return 303 /ok; }
         location = /away { return 302 http://localhost:$server_port/ok; }",
    )
}

/// Runs a minute's last three seconds of ten hits a second that ask nginx for `path`, with more in their type.
#[track_caller]
fn run(nginx: &Nginx, path: &str, more: &str) -> Results {
    let sandbox = sandbox(&nginx.url(path), "a|front|600|out");
    sandbox.http("front", &nginx.url(path), more);
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    results
}

/// How often nginx was asked for each of these.
#[track_caller]
fn counts<const N: usize>(nginx: &Nginx, uris: [&str; N]) -> [u64; N] {
    let hits = nginx.hits();
    let counts = uris.map(|uri| hits.iter().filter(|hit| hit.uri == uri).count() as u64);
    assert_eq!(counts.iter().sum::<u64>(), hits.len() as u64, "nothing else was asked for: {hits:?}");
    counts
}

#[test]
fn a_redirect_loop() {
    let nginx = redirecting();
    let results = run(&nginx, "/loop", "redirects = 4\n");
    let failed = results.total("a", "failed");
    assert!(failed > 50 && results.total("a", "ok") == 0, "{results}");
    assert_eq!(results.failures("a", "status"), failed, "{results}");
    // Once, and four times more.
    assert_eq!(nginx.hits().len() as u64, failed * 5, "{results}");
}

#[test]
fn a_redirect_is_not_followed_unless_the_type_says_so() {
    let nginx = redirecting();
    let results = run(&nginx, "/loop", "");
    assert_eq!(counts(&nginx, ["/loop"]), [results.total("a", "ok")], "{results}");
}

#[test]
fn redirects_are_part_of_the_hit_that_they_belong_to() {
    let nginx = redirecting();
    let results = run(&nginx, "/1", "redirects = 3\n[expect]\nstatus = [200]\nbody = \"ok\"\n");
    let ok = results.total("a", "ok");
    assert!(ok > 50 && results.total("a", "failed") == 0, "{results}");
    assert_eq!(counts(&nginx, ["/1", "/2", "/three", "/ok?four"]), [ok; 4], "{results}");
    let mut connections: Vec<_> = nginx.hits().iter().map(|hit| hit.connection().to_owned()).collect();
    connections.dedup();
    assert_eq!(connections.len(), 1, "the connection is kept");
}

#[test]
fn a_form_is_sent_once() {
    let nginx = redirecting();
    let results = run(&nginx, "/form", "redirects = 1\nmethod = \"POST\"\nbody = \"a=b\"\n");
    let ok = results.total("a", "ok");
    assert_eq!(counts(&nginx, ["/form", "/ok"]), [ok; 2], "{results}");
    assert_eq!(nginx.hits().iter().filter(|hit| hit.line.contains(" GET /ok ")).count() as u64, ok);
}

#[test]
fn nobody_is_asked_whom_the_type_does_not_name() {
    let nginx = redirecting();
    let results = run(&nginx, "/away", "redirects = 5\n");
    let failed = results.failures("a", "status");
    assert_eq!(counts(&nginx, ["/away", "/ok"]), [failed, 0], "{results}");

    let nginx = redirecting();
    let results = run(&nginx, "/away", "redirects = 5\nredirects_to = [\"localhost\"]\n");
    let ok = results.total("a", "ok");
    assert!(ok > 50, "{results}");
    assert_eq!(counts(&nginx, ["/away", "/ok"]), [ok; 2], "{results}");
}

#[test]
fn a_compressed_body_is_counted_as_it_comes_and_checked_as_it_is() {
    let line = "hay ".repeat(500);
    let nginx = Nginx::with(&format!(
        "gzip on; gzip_types text/plain; gzip_min_length 1; default_type text/plain;
         location = /hay {{ return 200 \"{line}needle {line}\"; }}"
    ));
    let results = run(&nginx, "/hay", "compressed = true\n[expect]\nbody = \"hay needle hay\"\n");
    let ok = results.total("a", "ok");
    assert!(ok > 50 && results.total("a", "failed") == 0, "{results}");
    assert!(results.total("a", "bytes_in") < ok * 1000, "{results}");

    let results = run(&nginx, "/hay", "compressed = true\n[expect]\nbody = \"needles\"\n");
    assert_eq!(results.failures("a", "body"), results.total("a", "failed"), "{results}");
    assert_eq!(results.total("a", "ok"), 0, "{results}");
}

#[test]
fn a_user_is_a_connection() {
    // Each connection is given its number, and has to show it from then on.
    let nginx = Nginx::with(
        "keepalive_requests 7;
         add_header Set-Cookie \"user=$connection; Path=/\";
         location = /in {
           if ($connection_requests = 1) { return 200 new; }
           if ($http_cookie = \"user=$connection\") { return 200 known; }
           return 403;
         }",
    );
    let results = run(&nginx, "/in", "cookies = true\n");
    let ok = results.total("a", "ok");
    assert!(ok > 50 && results.total("a", "failed") == 0, "{results}");
    assert_eq!(counts(&nginx, ["/in"]), [ok], "{results}");

    let results = run(&nginx, "/in", "");
    assert!(results.failures("a", "status") > 40, "{results}");
}
