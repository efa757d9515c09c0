//! Statements, put to servers of the tests' own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use nix::sys::socket::{Backlog, listen};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::keys::Source;
use crate::kinds::dial::served::server;

const LONG: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"results\":[{\"statement_id\":0}]}";

/// Statements for a host, as the keys of a type have it.
fn to(scheme: &str, host: &str, port: u16, keys: &str, timeout: Duration) -> anyhow::Result<Statements> {
    let source = Source { file: Path::new("/x.toml"), text: keys, quotes_values: false, now: "", now_unknown: "" };
    let (dial, faults) = source.read(dial::Settings::read_with_proxy);
    assert_eq!(faults, []);
    let mut authorization = HeaderValue::from_static("Basic bWU6c2VjcmV0");
    authorization.set_sensitive(true);
    let server = Server { authorization: Some(authorization), timeout, dial: dial.unwrap() };
    Statements::to(&Address { host: Host::parse(host).unwrap(), port }, scheme == "https", &server)
}

/// The next request on a connection, whole; `None` when that is over.
fn request(stream: &mut impl BufRead) -> Option<String> {
    let (mut request, mut length) = (String::new(), 0);
    while !request.ends_with("\r\n\r\n") {
        let begun = request.len();
        if stream.read_line(&mut request).ok()? == 0 {
            return None;
        }
        if let Some(number) = request[begun..].to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(request + std::str::from_utf8(&body).unwrap())
}

/// Answers every request on a connection, and tells of it.
fn answer(stream: impl Read + Write, answer: &str, tell: impl Fn(String)) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = request(&mut stream) {
        tell(request);
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A server with one answer: its port, and what it is asked.
fn answering(with: impl Into<String>) -> (u16, Receiver<String>) {
    let (tell, told) = channel();
    let with = with.into();
    let (address, _) = server(move |_, stream| answer(stream, &with, |request| _ = tell.send(request)));
    (address.port(), told)
}

fn answered(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_statement_is_a_form_that_is_posted_for_the_type_s_user() {
    let (port, told) = answering(OK);
    let statements = to("http", "127.0.0.1", port, "", LONG).unwrap();
    assert_eq!(statements.server(), format!("http://127.0.0.1:{port}"));
    statements.execute("CREATE DATABASE \"a&b+c d%\"").unwrap();
    statements.execute("x").unwrap();
    let request = told.recv().unwrap().to_lowercase();
    assert!(request.starts_with("post /query http/1.1\r\n"), "{request}");
    for header in [
        "authorization: basic bwu6c2vjcmv0".to_owned(),
        format!("host: 127.0.0.1:{port}"),
        "content-type: application/x-www-form-urlencoded".to_owned(),
        format!("user-agent: {AGENT}"),
    ] {
        assert!(request.lines().any(|line| line == header), "{header} in {request}");
    }
    assert!(request.ends_with("\r\n\r\nq=create+database+%22a%26b%2bc+d%25%22"), "{request}");
    assert!(!format!("{statements:?}").contains("bWU6"), "{statements:?}");
}

#[test]
fn connections_lead_where_the_type_says() {
    let (port, told) = answering(OK);
    let check = |host: &str, host_port: u16, keys: &str, expect: &str| {
        to("http", host, host_port, keys, LONG).unwrap().execute("x").unwrap();
        let request = told.recv().unwrap();
        assert!(request.lines().any(|line| line == format!("host: {expect}")), "{expect} in {request}");
        assert!(told.try_recv().is_err(), "{keys}");
    };
    check("localhost", port, "", &format!("localhost:{port}"));
    check("nowhere.invalid", port, "resolve = \"127.0.0.1\"", &format!("nowhere.invalid:{port}"));
    check("nowhere.invalid", 1, &format!("resolve = \"127.0.0.1:{port}\""), "nowhere.invalid:1");
    check("192.0.2.1", 80, &format!("resolve = \"127.0.0.1:{port}\""), "192.0.2.1:80");
    check("::1", 1, &format!("resolve = \"127.0.0.1:{port}\""), "[::1]:1");
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check("a_b.invalid", 1, &format!("resolve = [\"{dead}\", \"127.0.0.1:{port}\"]"), "a_b.invalid:1");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), OK, |_| {})));
    let keys = format!("resolve = \"unix:{}\"", path.display());
    to("http", "nowhere.invalid", 1, &keys, LONG).unwrap().execute("x").unwrap();
}

#[test]
fn a_proxy_is_told_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    let (port, told) = answering(OK);
    let password = folder.path().join("password");
    let keys = format!(
        "proxy = \"http://localhost:{port}\"\nproxy_basic = {{ user = \"me\", password_file = \"{}\" }}",
        password.display()
    );
    to("http", "nowhere.invalid", 8086, &keys, LONG).unwrap().execute("x").unwrap();
    let request = told.recv().unwrap();
    assert!(request.starts_with("POST http://nowhere.invalid:8086/query HTTP/1.1\r\n"), "{request}");
    for line in ["proxy-authorization: Basic bWU6czNjcmV0", "host: nowhere.invalid:8086"] {
        assert!(request.lines().any(|other| other == line), "{line} in {request}");
    }
    let (port, told) = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let keys = format!("insecure = true\nproxy = \"http://localhost:{port}\"");
    let refusal = to("https", "nowhere.invalid", 8086, &keys, LONG).unwrap().execute("x").unwrap_err();
    assert!(matches!(refusal, Refusal::Unanswered(_)), "{refusal}");
    let request = told.recv().unwrap();
    assert!(request.starts_with("CONNECT nowhere.invalid:8086 HTTP/1.1\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("\nauthorization"), "{request}");
}

/// A server over TLS, its certificate for `name`, which wants one of ours; and an authority's, ours and its key, in a
/// folder. What name it was asked for is told.
fn tls(name: &str) -> (u16, tempfile::TempDir, Receiver<Option<String>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let certify = |name: &str| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    };
    let (ours, our_key) = certify("me");
    for (file, text) in [("ca.pem", authority.pem()), ("me.pem", ours), ("me.key", our_key)] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }

    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let asking = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&ring)).build().unwrap();
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let (certificate, key) = certify(name);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = Arc::new(config.with_client_cert_verifier(asking).with_single_cert(chain, key).unwrap());
    let (tell, told) = channel();
    let (address, _) = server(move |_, stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        _ = tell.send(stream.conn.server_name().map(str::to_owned));
        answer(&mut stream, OK, |_| {});
    });
    (address.port(), folder, told)
}

#[test]
fn tls_is_spoken_as_the_type_says() {
    let ours = |folder: &tempfile::TempDir| {
        let file = |name: &str| folder.path().join(name).display().to_string();
        format!("certificate_file = \"{}\"\nkey_file = \"{}\"", file("me.pem"), file("me.key"))
    };
    let trusting = |folder: &tempfile::TempDir| {
        format!("{}\nca_file = \"{}\"", ours(folder), folder.path().join("ca.pem").display())
    };
    let (port, folder, asked) = tls("influx.invalid");
    let check = |host: &str, keys: &str, expect: Result<Option<&str>, &str>| {
        let executed = to("https", host, port, keys, LONG).unwrap().execute("x");
        match (executed, expect) {
            (Ok(()), Ok(name)) => assert_eq!(asked.recv().unwrap().as_deref(), name, "{host} {keys}"),
            (Err(refusal), Err(words)) => assert!(refusal.to_string().contains(words), "{host} {keys}: {refusal}"),
            (executed, expect) => panic!("{host} {keys}: {executed:?} instead of {expect:?}"),
        }
    };
    let here = "resolve = \"127.0.0.1\"\n";
    let all = trusting(&folder);
    check("influx.invalid", &format!("{here}{all}"), Ok(Some("influx.invalid")));
    check("127.0.0.1", &format!("server_name = \"influx.invalid\"\n{all}"), Ok(Some("influx.invalid")));
    check("localhost", &format!("server_name = \"influx.invalid\"\n{all}"), Ok(Some("influx.invalid")));
    check("localhost", &all, Err("bears another name"));
    check("127.0.0.1", &all, Err("bears another name"));
    check("localhost", &format!("insecure = true\n{}", ours(&folder)), Ok(Some("localhost")));
    check("127.0.0.1", &format!("insecure = true\n{}", ours(&folder)), Ok(None));
    check("influx.invalid", &format!("{here}{}", ours(&folder)), Err("from an authority that is not trusted"));
    check(
        "influx.invalid",
        &format!("{here}ca_file = \"{}\"", folder.path().join("ca.pem").display()),
        Err("certificate"),
    );

    let (port, folder, asked) = tls("127.0.0.1");
    let keys = trusting(&folder);
    to("https", "127.0.0.1", port, &keys, LONG).unwrap().execute("x").unwrap();
    assert_eq!(asked.recv().unwrap(), None, "an address is no name to ask for");
    let keys = format!("server_name = \"127.0.0.1\"\n{keys}");
    to("https", "localhost", port, &keys, LONG).unwrap().execute("x").unwrap();

    // One of them speaks TLS, the other doesn't.
    let refusal = to("http", "127.0.0.1", port, "", LONG).unwrap().execute("x").unwrap_err();
    assert!(matches!(refusal, Refusal::Unanswered(_)), "{refusal}");
    let (port, _) = answering(OK);
    let refusal = to("https", "127.0.0.1", port, "", Duration::from_millis(500)).unwrap().execute("x").unwrap_err();
    assert!(matches!(refusal, Refusal::Unanswered(_)), "{refusal}");
}

#[test]
fn a_refusal_says_what_the_server_said_and_what_would_be_right() {
    let check = |answer: String, expect: &str| {
        let (port, told) = answering(answer);
        let refusal = to("http", "127.0.0.1", port, "", LONG).unwrap().execute("x").unwrap_err();
        let words = refusal.to_string();
        assert!(words.contains(expect) && words.len() < 1500 && !words.contains(['\n', '\u{1b}']), "{words}");
        told.recv().unwrap();
        assert!(told.try_recv().is_err(), "it is asked once");
    };
    let said = |words: &str| format!("{{\"results\":[{{\"statement_id\":0,\"error\":\"{words}\"}}]}}");
    check(answered("200 OK", &said("database not found: x")), "it says \"database not found: x\"");
    check(answered("200 OK", &said("\\u001b[31m\\nred")), "it says \"\\u{1b}[31m\\nred\"");
    check(answered("200 OK", &said(&"x".repeat(10_000))), &format!("it says \"{}\"", "x".repeat(300)));
    check(answered("200 OK", &said(&"x".repeat(1 << 20))), "cut off after 65536 bytes");
    check(answered("200 OK", "<html>"), "it answered with what is not JSON");
    check(answered("200 OK", ""), "an empty answer to a query");
    check(answered("204 No Content", ""), "it answered 204 No Content");
    check(
        answered("400 Bad Request", "{\"error\":\"error parsing query: found x\"}"),
        "400 Bad Request: it says \"error parsing query: found x\"",
    );
    check(answered("401 Unauthorized", "{\"error\":\"authorization failed\"}"), "password, or the token, have to be");
    check(answered("403 Forbidden", ""), "the user has to be an administrator");
    check(
        answered("404 Not Found", "404 page not found\n"),
        "404 Not Found; the address has to be that of an InfluxDB",
    );
    check(answered("503 Service Unavailable", "\0"), "it answered 503 Service Unavailable; the next run tries again");
    check("HTTP/1.1 307 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".into(), "redirects are not followed");
    check("nonsense\r\n\r\n".into(), "the server has to run, and the address");
}

#[test]
fn what_takes_too_long_is_told() {
    let timeout = Duration::from_millis(300);
    let check = |port: u16, keys: &str, expect: &str| {
        let begun = Instant::now();
        let refusal = to("http", "127.0.0.1", port, keys, timeout).unwrap().execute("x").unwrap_err();
        assert!(refusal.to_string().starts_with(expect), "{refusal}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    check(silent.local_addr().unwrap().port(), "", "no answer after 300ms");
    // Each byte comes in time.
    let (address, _) = server(|_, mut stream: TcpStream| {
        request(&mut BufReader::new(stream.try_clone().unwrap()));
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"results\":[";
        let mut rest = head.iter().chain(std::iter::repeat(&b' '));
        while stream.write_all(&[*rest.next().unwrap()]).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    check(address.port(), "", "no answer after 300ms");
    // Nobody gets in who isn't in.
    listen(&silent, Backlog::new(0).unwrap()).unwrap();
    let address = silent.local_addr().unwrap();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let _waiting: Vec<_> = (0..4).filter_map(connect).collect();
    check(address.port(), "connect_timeout = \"50ms\"", "no connection after 50ms");
    check(address.port(), "", "no answer after 300ms");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(gone.port(), "", "Connection refused (os error 111); the server has to run");
    // A name that no server of names is asked for.
    let name = "x".repeat(64);
    let refusal = to("http", &name, 1, "", LONG).unwrap().execute("x").unwrap_err();
    assert!(refusal.to_string().starts_with(&format!("{name}: ")), "{refusal}");
}

#[test]
fn nothing_in_an_identifier_ends_it() {
    #[track_caller]
    fn check(name: &str, expect: &str) {
        assert_eq!(identifier(name), expect);
    }
    check("lab", "\"lab\"");
    check("my \"lab\"", r#""my \"lab\"""#);
    check(r"a\", r#""a\\""#);
    check("x\"; DROP DATABASE \"y", r#""x\"; DROP DATABASE \"y""#);
    check("a\nb", r#""a\nb""#);
    check("", "\"\"");
    check("é🦀", "\"é🦀\"");
}
