//! nginx as a target: counts what arrived, and when, in its access log.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::clock::Clock;
use super::deadline::eventually;
use super::server::{self, Server};

/// How long nginx may take to log what it has answered.
const LOGGED: Duration = Duration::from_secs(5);
/// The path whose line in the log says that all before it are there.
const MARK: &str = "/mark-of-the-tests";

/// A running nginx with one worker; stopped when dropped.
pub struct Nginx {
    _server: Server,
    folder: TempDir,
    port: u16,
    tls_port: Option<u16>,
    http2_port: Option<u16>,
}

/// A line of the access log.
#[derive(Clone, Debug)]
pub struct Hit {
    /// When nginx had answered, in seconds since 1970 by the real clock.
    pub at: f64,
    /// What was asked for, query included.
    pub uri: String,
    /// The whole line: time, status, number of the connection, method, path, user agent.
    pub line: String,
}

impl Nginx {
    /// Starts it in the clear.
    #[track_caller]
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts it with more lines in its `server` block.
    #[track_caller]
    pub fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::in_folder(folder, more, None)
    }

    /// Starts it so that it speaks TLS too, with a certificate for 127.0.0.1 that is its own authority.
    #[track_caller]
    pub fn with_tls() -> Self {
        Self::with_tls_and("", None)
    }

    /// The same, but HTTP/2 over TLS, and in the clear on a port of its own, with more lines in its `server` block.
    #[track_caller]
    pub fn with_http2(more: &str) -> Self {
        Self::with_tls_and(more, Some(server::free_tcp_port()))
    }

    /// Starts it so that it speaks TLS, and HTTP/2 where there is a port for that in the clear, with more lines in its
    /// `server` block.
    #[track_caller]
    pub fn with_tls_and(more: &str, http2_port: Option<u16>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=canihaz-tests"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(folder.path())
            .output()
            .expect("openssl starts");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let tls_port = server::free_tcp_port();
        let http2 = http2_port.map_or("", |_| "http2");
        let clear = http2_port.map_or(String::new(), |port| format!("listen 127.0.0.1:{port} http2;"));
        let more = format!(
            "{more} {clear} listen 127.0.0.1:{tls_port} ssl {http2}; ssl_certificate {0}/certificate.pem; ssl_certificate_key {0}/key.pem;",
            folder.path().display()
        );
        Self { http2_port, ..Self::in_folder(folder, &more, Some(tls_port)) }
    }

    #[track_caller]
    fn in_folder(folder: TempDir, more: &str, tls_port: Option<u16>) -> Self {
        let path = folder.path().to_owned();
        let (server, port) = Server::start("nginx", &path.join("nginx.log"), |port| {
            let here = path.display();
            let config = server::write(
                &path,
                "nginx.conf",
                &format!(
                    "daemon off; master_process off; worker_processes 1; pid {here}/nginx.pid;
                     error_log {here}/error.log notice;
                     events {{ worker_connections 500; }}
                     http {{
                       client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
                       fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
                       log_format hits '$msec $status $connection $request_method $request_uri $http_user_agent';
                       access_log {here}/access.log hits;
                       keepalive_requests 1000000;
                       server {{
                         listen 127.0.0.1:{port};
                         location / {{ return 200 \"ok\\n\"; }}
                         location = /500 {{ return 500 \"no\\n\"; }}
                         {more}
                       }}
                     }}\n"
                ),
            );
            let mut command = Command::new(program());
            command.arg("-p").arg(&path).arg("-e").arg(path.join("error.log")).arg("-c").arg(config);
            (command, port)
        });
        Self { _server: server, folder, port, tls_port, http2_port: None }
    }

    /// The address of `path` here.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The address of `path` here over TLS.
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.tls_port.expect("started with_tls"))
    }

    /// The address of `path` here by HTTP/2 in the clear.
    pub fn http2_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http2_port.expect("started with_http2"))
    }

    /// The certificate that it shows, which is also its authority.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Every request so far, in the order of their ends.
    #[track_caller]
    pub fn hits(&self) -> Vec<Hit> {
        self.mark();
        self.log().lines().filter(|line| !line.contains(MARK)).map(Hit::read).collect()
    }

    /// The requests so far for `uri`, as seconds of the minute of `clock`.
    #[track_caller]
    pub fn seconds(&self, uri: &str, clock: &Clock) -> Vec<f64> {
        self.hits().iter().filter(|hit| hit.uri == uri).map(|hit| clock.second(hit.at)).collect()
    }

    /// How many requests there were so far for `uri`, without waiting for nginx to have logged the last of them.
    pub fn count_now(&self, uri: &str) -> usize {
        self.log().lines().filter(|line| line.split(' ').nth(4) == Some(uri)).count()
    }

    /// Waits until nginx has logged all that it has answered: one worker does things in order.
    fn mark(&self) {
        let before = self.marks();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("nginx accepts");
        write!(stream, "GET {MARK} HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n").expect("nginx reads");
        stream.read_to_end(&mut Vec::new()).expect("nginx answers");
        eventually("nginx to log", LOGGED, || (self.marks() > before).then_some(()));
    }

    fn marks(&self) -> usize {
        self.log().matches(MARK).count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }
}

impl Hit {
    /// The number of the connection that it came over.
    pub fn connection(&self) -> &str {
        self.line.split(' ').nth(2).unwrap_or_else(|| panic!("no connection in {:?}", self.line))
    }

    fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let at = words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no time in {line:?}"));
        let uri = words.nth(3).unwrap_or_else(|| panic!("no path in {line:?}")).to_owned();
        Self { at, uri, line: line.to_owned() }
    }
}

/// Debian keeps daemons in a folder that isn't in everybody's PATH.
fn program() -> &'static str {
    if std::path::Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

#[test]
fn counts_every_request_once() {
    let nginx = Nginx::start();
    let clock = Clock::real();
    for _ in 0..20 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, nginx.port)).unwrap();
        write!(stream, "GET /a?b=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: me\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
    let seconds = nginx.seconds("/a?b=1", &clock);
    assert_eq!(seconds.len(), 20);
    assert!(seconds.iter().all(|second| (0.0..=clock.now() + 0.01).contains(second)), "{seconds:?}");
    assert!(nginx.hits()[0].line.ends_with("GET /a?b=1 me"), "{}", nginx.hits()[0].line);
}
