//! The ways to a server, as counted on the other side.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::parts::certificates::{Authority, Certificate};
use crate::parts::clock::Clock;
use crate::parts::nginx::Nginx;
use crate::parts::odd::{read_request, wait_for_end};
use crate::parts::preload::preload;
use crate::parts::results::Results;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::server::free_tcp_port;
use crate::parts::sink::Hanging;
use crate::parts::target::{Answer, Target};

/// Runs the test `a` of a type with `url` and `more` in a minute's last three seconds.
#[track_caller]
fn run(url: &str, more: &str) -> Results {
    let sandbox = sandbox(url, "a|front|600|out");
    sandbox.http("front", url, more);
    run_in(&sandbox)
}

#[track_caller]
fn run_in(sandbox: &Sandbox) -> Results {
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    sandbox.results()
}

/// Expects that all hits of `a` that were made were ok, and that nginx has answered as many.
#[track_caller]
fn expect_all(results: &Results, nginx: &Nginx) {
    results.expect_planned("a", 600);
    let ok = results.total("a", "ok");
    assert!(ok > 50, "{results}");
    assert_eq!((ok, results.total("a", "failed")), (nginx.hits().len() as u64, 0), "{results}");
}

/// Expects that all hits of `test` that were made failed for `reason`, and that nginx has heard of none.
#[track_caller]
fn expect_none(results: &Results, test: &str, reason: &str, nginx: &Nginx) {
    results.expect_planned(test, 600);
    let failed = results.total(test, "failed");
    assert!(failed > 0, "{results}");
    assert_eq!((results.failures(test, reason), results.total(test, "ok")), (failed, 0), "{results}");
    assert_eq!(nginx.hits().len(), 0);
}

/// An nginx that speaks TLS too, with `more` in its `server` block; and its port for that.
#[track_caller]
fn nginx_with(certificate: &Certificate, more: &str) -> (Nginx, u16) {
    let port = free_tcp_port();
    let Certificate { certificate, key } = certificate;
    let nginx = Nginx::with(&format!(
        "listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {}; {more}",
        certificate.display(),
        key.display()
    ));
    (nginx, port)
}

fn ca_file(authority: &Authority) -> String {
    format!("ca_file = \"{}\"\n", authority.file().display())
}

#[test]
fn a_private_authority() {
    let authority = Authority::new();
    let (nginx, port) = nginx_with(&authority.certify("shop.test", 3000), "");
    // The name is nobody's: it stands in the request and the certificate alone.
    let url = format!("https://shop.test:{port}/a");
    let results = run(&url, &format!("{}resolve = \"127.0.0.1\"\n", ca_file(&authority)));
    expect_all(&results, &nginx);
    let phases = &results.of("a")[0]["phases"];
    assert!(phases["tls"].is_object() && phases["first_byte"].is_object() && phases["dns"].is_null(), "{phases}");
}

#[test]
fn a_certificate_that_does_not_hold() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, own) = (authority.certify("shop.test", 3000), ca_file(&authority));
    let rows = [
        ("strangers", &good, ca_file(&stranger)),
        ("not-asked-for", &good, format!("{own}server_name = \"other.test\"\n")),
        ("others", &authority.certify("other.test", 3000), own.clone()),
        // Wherever the test's clock stands, that is over.
        ("expired", &authority.certify("shop.test", 2000), own.clone()),
        ("alone", &authority.self_signed("shop.test"), own),
    ];
    let sandbox = Sandbox::new();
    sandbox.out();
    let servers = rows.map(|(name, certificate, more)| {
        let (nginx, port) = nginx_with(certificate, "");
        sandbox.http(name, &format!("https://shop.test:{port}/a"), &format!("{more}resolve = \"127.0.0.1\"\n"));
        sandbox.test(&format!("{name}|{name}|600|out"));
        (name, nginx)
    });
    let results = run_in(&sandbox);
    for (name, nginx) in servers {
        expect_none(&results, name, "tls", &nginx);
    }
}

#[test]
fn insecure_takes_any_certificate_and_says_so_in_every_line() {
    let authority = Authority::new();
    let (nginx, port) = nginx_with(&authority.self_signed("other.test"), "");
    let url = format!("https://127.0.0.1:{port}/a");
    let sandbox = sandbox(&url, "a|front|600|out,log");
    sandbox.http("front", &url, "insecure = true\n");
    let ended = sandbox.start(&Clock::at(47.0)).succeed(22.0);
    expect_all(&sandbox.results(), &nginx);
    let lines: Vec<_> =
        ended.stdout.lines().filter(|line| line.contains(":50  a ") || line.contains(":00  a ")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with("insecure")), "{}", ended.stdout);
}

#[test]
fn a_client_certificate() {
    let authority = Authority::new();
    let wants = format!("ssl_client_certificate {}; ssl_verify_client on;", authority.file().display());
    let (nginx, port) = nginx_with(&authority.certify("127.0.0.1", 3000), &wants);
    let url = format!("https://127.0.0.1:{port}/a");
    let Certificate { certificate, key } = authority.certify("client.test", 3000);
    let shown = format!("certificate_file = \"{}\"\nkey_file = \"{}\"\n", certificate.display(), key.display());
    expect_all(&run(&url, &(ca_file(&authority) + &shown)), &nginx);

    // Without one nginx goes through with the handshake, and answers 400.
    let (nginx, port) = nginx_with(&authority.certify("127.0.0.1", 3000), &wants);
    let results = run(&format!("https://127.0.0.1:{port}/a"), &ca_file(&authority));
    let failed = results.total("a", "failed");
    assert_eq!((results.failures("a", "status"), results.total("a", "ok")), (failed, 0), "{results}");
    let hits = nginx.hits();
    assert!(failed == hits.len() as u64 && hits.iter().all(|hit| hit.line.contains(" 400 ")), "{:?}", hits[0]);
}

#[test]
fn ipv6() {
    let port = free_tcp_port();
    let nginx = Nginx::with(&format!("listen [::1]:{port};"));
    expect_all(&run(&format!("http://[::1]:{port}/a"), ""), &nginx);
}

#[test]
fn a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let nginx = Nginx::with(&format!("listen unix:{};", path.display()));
    expect_all(&run("http://app/a", &format!("resolve = \"unix:{}\"\n", path.display())), &nginx);
}

#[test]
fn a_unix_socket_with_a_connection_a_hit_and_tls() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let path = folder.path().join("app.sock");
    let (nginx, _) = nginx_with(&authority.certify("app", 3000), &format!("listen unix:{} ssl;", path.display()));
    let more = format!("resolve = \"unix:{}\"\nkeep_alive = false\n{}", path.display(), ca_file(&authority));
    expect_all(&run("https://app/a", &more), &nginx);
}

#[test]
fn an_address_in_place_of_dns_leaves_the_request_as_it_is() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let address = target.url("").replace("http://", "");
    let results = run("http://shop.test/a", &format!("resolve = [\"{address}\"]\n"));
    let requests = target.requests();
    assert_eq!(results.total("a", "ok"), requests.len() as u64, "{results}");
    assert!(requests.iter().all(|request| request.head.iter().any(|line| line == "host: shop.test")), "{requests:?}");
}

#[test]
fn all_addresses_of_a_name_are_used_in_turn() {
    let port = free_tcp_port();
    // What came over IPv6 is answered otherwise, and so told apart.
    let nginx = Nginx::with(&format!(
        "listen 127.0.0.1:{port}; listen [::1]:{port}; if ($server_addr = \"::1\") {{ return 500; }}"
    ));
    let url = format!("http://two.test:{port}/a");
    let sandbox = sandbox(&url, "a|front|600|out");
    sandbox.http("front", &url, "keep_alive = false\ndns_ttl = \"0s\"\n");
    let mut runner = sandbox.runner();
    preload(&mut runner, "names");
    sandbox.start_command(runner, &Clock::at(57.0)).succeed(12.0);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    let (ok, failed) = (results.total("a", "ok"), results.total("a", "failed"));
    assert!(ok > 10 && ok.abs_diff(failed) <= 1, "{ok} and {failed}: {results}");
    assert_eq!(nginx.hits().len() as u64, ok + failed);
    let phases = &results.of("a")[0]["phases"];
    assert!(phases["dns"].is_object() && phases["connect"].is_object() && phases["tls"].is_null(), "{phases}");
}

#[test]
fn a_name_that_takes_for_ever_takes_one_thread() {
    let sandbox = sandbox("http://hangs.test/", "a|front|3000|out");
    sandbox.http("front", "http://hangs.test/", "timeout = \"50ms\"\novertime = 20\n");
    let mut runner = sandbox.runner();
    preload(&mut runner, "names");
    let clock = Clock::at(54.0);
    let run = sandbox.start_command(runner, &clock);
    clock.wait_for(59.0);
    let names = std::fs::read_dir(format!("/proc/{}/task", run.id()))
        .unwrap()
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    let names: Vec<_> = names.collect();
    run.succeed(10.0);
    let results = sandbox.results();
    let failed = results.total("a", "failed");
    assert!(failed > 200 && failed == results.failures("a", "timeout"), "{results}");
    let looking_up = names.iter().filter(|name| name.starts_with("tokio-rt-worker")).count();
    assert_eq!(looking_up, 1, "{names:?}");
}

#[test]
fn connecting_has_a_timeout_of_its_own() {
    let hanging = Hanging::start();
    let results =
        run(&format!("https://127.0.0.1:{}/", hanging.port), "connect_timeout = \"100ms\"\ninsecure = true\n");
    let failed = results.total("a", "failed");
    assert!(failed > 10, "{results}");
    assert_eq!(results.failures("a", "timeout"), failed, "{results}");
}

#[test]
fn a_proxy_is_asked_for_urls_in_the_clear() {
    let nginx = Nginx::start();
    let (proxy, folder) = (Proxy::start(200), password());
    let results = run(&nginx.url("/a?b"), &proxy.keys(folder.path()));
    expect_all(&results, &nginx);
    let heads = proxy.heads();
    assert_eq!(heads.len() as u64, results.total("a", "ok"));
    let url = nginx.url("/a?b");
    assert!(heads[0].starts_with(&format!("GET {url} HTTP/1.1\r\n")), "{}", heads[0]);
    let authorized =
        |head: &String| head.to_ascii_lowercase().contains("\r\nproxy-authorization: basic bwu6c2vzyw1l\r\n");
    assert!(heads.iter().all(authorized), "{}", heads[0]);
}

#[test]
fn a_proxy_is_asked_for_tunnels_for_tls() {
    let authority = Authority::new();
    // What the proxy is told is none of the server's business.
    let (nginx, port) =
        nginx_with(&authority.certify("127.0.0.1", 3000), "if ($http_proxy_authorization) { return 500; }");
    let (proxy, folder) = (Proxy::start(200), password());
    let url = format!("https://127.0.0.1:{port}/a");
    let results = run(&url, &format!("{}{}", proxy.keys(folder.path()), ca_file(&authority)));
    expect_all(&results, &nginx);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "one connection is enough");
    assert!(heads[0].starts_with(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n")), "{}", heads[0]);
    assert!(heads[0].contains("\r\nProxy-Authorization: Basic bWU6c2VzYW1l\r\n"), "{}", heads[0]);
}

#[test]
fn a_proxy_that_refuses_is_no_connection() {
    for status in [407, 502] {
        let authority = Authority::new();
        let (nginx, port) = nginx_with(&authority.certify("127.0.0.1", 3000), "");
        let (proxy, folder) = (Proxy::start(status), password());
        let results = run(&format!("https://127.0.0.1:{port}/a"), &proxy.keys(folder.path()));
        expect_none(&results, "a", "connect", &nginx);
        assert!(results.total("a", "bytes_in") > 0, "{results}");
    }
}

#[test]
fn the_environments_proxy_is_not_asked() {
    let nginx = Nginx::start();
    let proxy = Proxy::start(502);
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let mut runner = sandbox.runner();
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        runner.env(name, format!("http://127.0.0.1:{}", proxy.port));
    }
    sandbox.start_command(runner, &Clock::at(57.0)).succeed(12.0);
    expect_all(&sandbox.results(), &nginx);
    assert_eq!(proxy.heads(), Vec::<String>::new());
}

#[test]
fn a_certificate_that_is_renewed_in_the_minute_is_a_change_of_the_type() {
    let (authority, later) = (Authority::new(), Authority::new());
    let (nginx, port) = nginx_with(&later.certify("127.0.0.1", 3000), "");
    let url = format!("https://127.0.0.1:{port}/a");
    let sandbox = sandbox(&url, "a|front|1200|out");
    let pem = |authority: &Authority| std::fs::read(authority.file()).unwrap();
    sandbox.write("types.d/ca.pem", pem(&authority));
    sandbox.http("front", &url, "ca_file = \"ca.pem\"\n");
    let clock = Clock::at(52.0);
    let run = sandbox.start(&clock);
    clock.wait_for(55.0);
    assert_eq!(nginx.hits().len(), 0);
    sandbox.write("types.d/ca.pem", pem(&later));
    run.succeed(20.0);
    let results = sandbox.results();
    results.expect_planned("a", 1200);
    assert!(results.total("a", "ok") > 20 && results.failures("a", "tls") > 20, "{results}");
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64, "{results}");
}

/// A folder with the file `password`.
fn password() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "sesame\n").unwrap();
    folder
}

/// An HTTP proxy that remembers what it is asked.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one that does as it is told, or, with another status than 200, answers that.
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), heads: Arc::default() };
        let heads = Arc::clone(&proxy.heads);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, heads) = (client.unwrap(), Arc::clone(&heads));
                // Ends with the connection.
                thread::spawn(move || serve(client, status, &heads));
            }
        });
        proxy
    }

    /// The keys of a type that goes through it.
    fn keys(&self, folder: &Path) -> String {
        let password = folder.join("password");
        let basic = format!("{{ user = \"me\", password_file = \"{}\" }}", password.display());
        format!("proxy = \"http://127.0.0.1:{}\"\nproxy_basic = {basic}\n", self.port)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, status: u16, heads: &Mutex<Vec<String>>) -> Option<()> {
    let mut server: Option<TcpStream> = None;
    loop {
        let head = String::from_utf8(read_request(&mut client)?).ok()?;
        heads.lock().unwrap().push(head.clone());
        if status != 200 {
            write!(client, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").ok()?;
            return wait_for_end(&mut client);
        }
        let (method, rest) = head.split_once(' ')?;
        if method == "CONNECT" {
            let server = TcpStream::connect(rest.split(' ').next()?).ok()?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            return tunnel(&client, &server);
        }
        let rest = rest.strip_prefix("http://")?;
        let (host, path) = rest.split_at(rest.find('/')?);
        if server.is_none() {
            server = Some(TcpStream::connect(host).ok()?);
        }
        let server = server.as_mut()?;
        write!(server, "{method} {path}").ok()?;
        // Answers of nginx's here come whole.
        let mut answer = [0; 4096];
        let length = server.read(&mut answer).ok()?;
        client.write_all(&answer[..length]).ok()?;
    }
}

/// Moves bytes both ways until one side ends.
fn tunnel(client: &TcpStream, server: &TcpStream) -> Option<()> {
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = client.shutdown(std::net::Shutdown::Both);
    Some(())
}
