//! statsd, the reference daemon, as a destination: what it counted, flush by flush.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::server::{self, Server};

/// A running statsd; stopped when dropped.
pub struct Statsd {
    _server: Server,
    folder: TempDir,
    /// Where it listens for datagrams.
    pub port: u16,
}

impl Statsd {
    /// Starts one that flushes five times a second.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().to_owned();
        let port = server::free_udp_port();
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests-tools");
        // Its console for people listens on TCP, which tells when it is ready.
        let (server, _) = Server::start("statsd", &path.join("statsd.log"), |console| {
            let backend = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/parts/statsd-backend.js");
            let config = server::write(
                &path,
                "config.js",
                &format!(
                    "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {console},
                        flushInterval: 200, deleteCounters: true, title: false,
                        backends: ['{backend}'], flushFile: '{}/flushes' }}\n",
                    path.display()
                ),
            );
            let mut command = Command::new("node");
            command.arg(installed.join("node_modules/statsd/stats.js")).arg(config);
            (command, console)
        });
        Self { _server: server, folder, port }
    }

    /// The sum of a counter over all flushes so far.
    pub fn counter(&self, name: &str) -> f64 {
        self.flushes().iter().filter_map(|flush| flush["counters"][name].as_f64()).sum()
    }

    /// The last value of a gauge; `None` before the first.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.flushes().iter().rev().find_map(|flush| flush["gauges"][name].as_f64())
    }

    /// The size of the largest datagram so far, in bytes.
    pub fn largest_datagram(&self) -> u64 {
        self.flushes().iter().filter_map(|flush| flush["largest"].as_u64()).max().unwrap_or(0)
    }

    fn flushes(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("flushes")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[test]
fn counts_what_it_was_sent() {
    use super::deadline::{eventually, seconds};
    let statsd = Statsd::start();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..2 {
        socket
            .send_to(b"canihaz.box.a.hits.ok:300|c\ncanihaz.box.a.lag.p50:1.5|g", ("127.0.0.1", statsd.port))
            .unwrap();
    }
    eventually("both datagrams", seconds(5.0), || (statsd.counter("canihaz.box.a.hits.ok") == 600.0).then_some(()));
    assert_eq!(statsd.gauge("canihaz.box.a.lag.p50"), Some(1.5));
    assert_eq!(statsd.largest_datagram(), 55);
}

#[test]
fn a_sign_is_relative_unless_zero_came_first() {
    use super::deadline::{eventually, seconds};
    let statsd = Statsd::start();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (datagram, expect) in [("a:5|g", 5.0), ("a:-3|g", 2.0), ("a:0|g\na:-3|g", -3.0), ("a:0|g\na:-3|g\nb:1|c", -3.0)]
    {
        socket.send_to(datagram.as_bytes(), ("127.0.0.1", statsd.port)).unwrap();
        eventually(datagram, seconds(5.0), || (statsd.gauge("a") == Some(expect)).then_some(()));
    }
    eventually("the last datagram", seconds(5.0), || (statsd.counter("b") == 1.0).then_some(()));
    assert_eq!(statsd.gauge("a"), Some(-3.0));
}
