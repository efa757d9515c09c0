//! nginx as a target that has a processor's price: one worker, no log, connections that stay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::cores;

/// How long it may take to accept, and to answer when it is asked for its count.
const BOUND: Duration = Duration::from_secs(5);

/// A running nginx, which ends with the bench.
pub struct Nginx {
    process: Child,
    port: u16,
    /// How often it was asked for its count, which it counts, too.
    asked: u64,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it on the servers' core, on a free port of loopback.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let (here, config) = (folder.path().display(), folder.path().join("nginx.conf"));
        std::fs::write(
            &config,
            format!(
                "daemon off; master_process off; worker_processes 1; pid {here}/pid; error_log {here}/error.log;
                 worker_rlimit_nofile 8192;
                 events {{ worker_connections 4096; }}
                 http {{
                   client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
                   fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
                   access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
                   server {{
                     listen 127.0.0.1:{port};
                     location / {{ return 200 \"ok\\n\"; }}
                     location = /count {{ stub_status; }}
                   }}
                 }}\n"
            ),
        )?;
        let process = Command::new("taskset")
            .args(["-c", cores::SERVER, "setpriv", "--pdeathsig", "KILL", &program(), "-p"])
            .arg(folder.path())
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .arg("-c")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .context("taskset does not start")?;
        let mut nginx = Self { process, port, asked: 0, _folder: folder };
        let begin = Instant::now();
        while nginx.count().is_err() {
            if nginx.process.try_wait()?.is_some() || begin.elapsed() > BOUND {
                bail!("nginx does not start, or has no stub_status");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(nginx)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// How many requests it has had so far, without these.
    pub fn count(&mut self) -> Result<u64> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(BOUND))?;
        write!(stream, "GET /count HTTP/1.1\r\nHost: nginx\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        self.asked += 1;
        let mut lines = answer.lines().skip_while(|line| !line.starts_with("server accepts handled requests"));
        let count = lines.nth(1).and_then(|line| line.split_whitespace().nth(2)).context("nginx tells no count")?;
        Ok(count.parse::<u64>()?.saturating_sub(self.asked))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian keeps daemons in a folder that isn't in everybody's PATH.
pub fn program() -> String {
    let debian = "/usr/sbin/nginx";
    String::from(if std::path::Path::new(debian).exists() { debian } else { "nginx" })
}
