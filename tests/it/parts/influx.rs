//! InfluxDB 1.x and VictoriaMetrics, which speaks the write API of InfluxDB 2: asked over HTTP what they hold.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use url::form_urlencoded::Serializer;

use super::namespace;
use super::server::{self, Server};

/// How long a server may take to be ready once it accepts, or to answer.
const ANSWERS: Duration = Duration::from_secs(30);
/// How long it may take to say whether it is ready, before it is asked again.
const PROBE: Duration = Duration::from_secs(2);
/// How long a server may take to end when asked to.
const ENDS: Duration = Duration::from_secs(20);

/// How many tests have an InfluxDB at once: two processors have no more for those that write as fast as it can.
const AT_ONCE: usize = 4;

/// InfluxDB 1.x in a folder of its own; killed when dropped.
pub struct Influx {
    server: Option<Server>,
    _place: Place,
    folder: TempDir,
    options: Options,
    /// Where it listens for HTTP.
    pub port: u16,
    /// Where it listens for lines in datagrams, with [`Options::udp`].
    pub udp_port: u16,
    /// Where it listens for Graphite's lines over TCP, with [`Options::graphite`].
    pub graphite_tcp_port: u16,
    /// Where it listens for Graphite's lines in datagrams, with [`Options::graphite`].
    pub graphite_udp_port: u16,
}

/// What an [`Influx`] has beyond HTTP for everybody.
#[derive(Clone, Default)]
pub struct Options {
    /// The name and password of an administrator, who exists from the start: nobody else is answered.
    pub admin: Option<(&'static str, &'static str)>,
    /// The database that datagrams of lines are for.
    pub udp: Option<&'static str>,
    /// The database that Graphite's lines are for, and the templates that they are read by.
    pub graphite: Option<(&'static str, &'static [&'static str])>,
    /// The size, in bytes, of a disk that it has to itself. What is on it is gone when it ends.
    pub disk: Option<u64>,
    /// Where its data is, if not in a folder of its own.
    pub folder: Option<PathBuf>,
    /// More lines of its `[http]` settings, such as `max-body-size = 1000`.
    pub http: &'static str,
    /// More lines of its `[data]` settings.
    pub data: &'static str,
}

/// A test's place among those that have an InfluxDB. One that has several needs no more than one place.
struct Place;

/// How many places are taken.
static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

thread_local! {
    /// How many this test has, which is a thread.
    static MINE: Cell<usize> = const { Cell::new(0) };
}

impl Place {
    /// Waits until there is one.
    fn take() -> Self {
        if MINE.replace(MINE.get() + 1) == 0 {
            let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut taken =
                TAKEN.1.wait_while(taken, |taken| *taken >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
            *taken += 1;
        }
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if MINE.replace(MINE.get() - 1) == 1 {
            *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            TAKEN.1.notify_one();
        }
    }
}

impl Influx {
    /// Starts one that answers everybody.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts one with more than that.
    #[track_caller]
    pub fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut influx = Self {
            server: None,
            _place: Place::take(),
            folder,
            options,
            port: 0,
            udp_port: server::free_udp_port(),
            graphite_tcp_port: server::free_tcp_port(),
            graphite_udp_port: server::free_udp_port(),
        };
        influx.start_on(None);
        if let Some((name, password)) = influx.options.admin {
            influx.query("", &format!("CREATE USER \"{name}\" WITH PASSWORD '{password}' WITH ALL PRIVILEGES"));
        }
        // The listeners would make them with their first points, which nobody could wait for.
        for database in influx.options.udp.into_iter().chain(influx.options.graphite.map(|graphite| graphite.0)) {
            influx.create(database);
        }
        influx
    }

    /// Starts it again, on the ports and with the data of before.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "it is stopped or killed first");
        self.start_on(Some(self.port));
    }

    /// Has it end properly, and waits for that.
    #[track_caller]
    pub fn stop(&mut self) {
        self.server.take().expect("it runs").stop(ENDS);
    }

    /// Ends it at once, as `kill -9` does.
    #[track_caller]
    pub fn kill(&mut self) {
        drop(self.server.take().expect("it runs"));
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// Its address, as in `http://127.0.0.1:8086`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a database.
    #[track_caller]
    pub fn create(&self, database: &str) {
        self.query("", &format!("CREATE DATABASE \"{database}\""));
    }

    /// The whole answer to an InfluxQL query, times in nanoseconds; a statement that fails is told of in it.
    #[track_caller]
    pub fn query(&self, database: &str, query: &str) -> Value {
        let form = [("db", database), ("epoch", "ns"), ("q", query)];
        let (status, text) = self.post("/query", &form, "");
        assert_eq!(status, 200, "{query}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    /// The rows of the first series of an answer: the time in nanoseconds, and the columns asked for.
    #[track_caller]
    pub fn rows(&self, database: &str, query: &str) -> Vec<Vec<Value>> {
        let answer = self.query(database, query);
        let result = &answer["results"][0];
        assert_eq!(result.get("error"), None, "{query}");
        let rows = result["series"][0]["values"].as_array().into_iter().flatten();
        rows.map(|row| row.as_array().unwrap_or_else(|| panic!("{row} is no row")).clone()).collect()
    }

    /// How many points of `measurement` have `field`.
    #[track_caller]
    pub fn count(&self, database: &str, measurement: &str, field: &str) -> u64 {
        self.number(database, &format!("SELECT count(\"{field}\") FROM \"{measurement}\"")) as u64
    }

    /// The one number that a query is answered with; 0 when there is nothing.
    #[track_caller]
    pub fn number(&self, database: &str, query: &str) -> f64 {
        let rows = self.rows(database, query);
        rows.first().map_or(0.0, |row| row[1].as_f64().unwrap_or_else(|| panic!("{query}: {row:?}")))
    }

    /// Waits until `measurement` has `expect` points with `field`; a panic says how many there were instead.
    #[track_caller]
    pub fn expect_count(&self, database: &str, measurement: &str, field: &str, expect: u64) {
        let mut seen = 0;
        let until = std::time::Instant::now() + ANSWERS;
        while std::time::Instant::now() < until && seen < expect {
            seen = self.count(database, measurement, field);
        }
        assert_eq!(seen, expect, "points of {measurement} with {field}");
    }

    /// Writes lines with times in nanoseconds; the answer's status and text.
    #[track_caller]
    pub fn write(&self, database: &str, lines: &str) -> (u16, String) {
        self.post("/write", &[("db", database)], lines)
    }

    /// Leaves no room on its own disk. What fits into pages that it has already, some KiB, is still taken; once it
    /// has met an error, this version takes nothing more until it is started again.
    #[track_caller]
    pub fn fill_disk(&self) {
        let mut ballast = fs::File::create(self.ballast()).expect("its disk is there");
        let block = [0; 4096];
        while ballast.write_all(&block).is_ok() {}
    }

    /// A file on the disk that it alone sees.
    fn ballast(&self) -> PathBuf {
        assert!(self.options.disk.is_some(), "it has a disk of its own");
        let id = self.id();
        let inside = self.data().strip_prefix("/").expect("it is absolute").join("ballast");
        Path::new(&format!("/proc/{id}/root")).join(inside)
    }

    fn post(&self, path: &str, parameters: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(parameters);
        if let Some((name, password)) = self.options.admin {
            query.append_pair("u", name).append_pair("p", password);
        }
        ask(self.port, "POST", &format!("{path}?{}", query.finish()), body)
    }

    #[track_caller]
    fn start_on(&mut self, fixed: Option<u16>) {
        let log = self.log_path();
        let command = |free| {
            if fixed.is_none() {
                self.udp_port = server::free_udp_port();
                self.graphite_tcp_port = server::free_tcp_port();
                self.graphite_udp_port = server::free_udp_port();
            }
            let port = fixed.unwrap_or(free);
            let config = server::write(self.folder.path(), "influxdb.conf", &self.config(port));
            (self.command(&config), port)
        };
        let (server, port) = Server::start_until("influxd", &log, command, |port| answers(port, "/ping", 204));
        (self.server, self.port) = (Some(server), port);
    }

    fn command(&self, config: &Path) -> Command {
        let Some(bytes) = self.options.disk else {
            let mut command = Command::new(program());
            command.arg("-config").arg(config);
            return command;
        };
        let data = self.data();
        fs::create_dir_all(&data).expect("its folder can be made");
        namespace::shell(&format!(
            "mount -t tmpfs -o size={bytes} tmpfs {}; exec {} -config {}",
            data.display(),
            program(),
            config.display()
        ))
    }

    fn config(&self, port: u16) -> String {
        let Options { admin, udp, graphite, http, data, .. } = &self.options;
        let auth = admin.is_some();
        let folder = self.data();
        let [here, meta] = [folder.display(), self.folder.path().display()];
        let mut config = format!(
            "reporting-disabled = true
             bind-address = \"127.0.0.1:0\"
             [meta]
             dir = \"{meta}/meta\"
             [data]
             dir = \"{here}/data\"
             wal-dir = \"{here}/wal\"
             query-log-enabled = false
             {data}
             [monitor]
             store-enabled = false
             [subscriber]
             enabled = false
             [logging]
             level = \"warn\"
             suppress-logo = true
             [continuous_queries]
             log-enabled = false
             [http]
             bind-address = \"127.0.0.1:{port}\"
             auth-enabled = {auth}
             log-enabled = false
             pprof-enabled = false
             {http}\n"
        );
        if let Some(database) = udp {
            config.push_str(&format!(
                "[[udp]]
                 enabled = true
                 bind-address = \"127.0.0.1:{}\"
                 database = \"{database}\"
                 batch-timeout = \"20ms\"
                 read-buffer = 4194304\n",
                self.udp_port
            ));
        }
        if let Some((database, templates)) = graphite {
            for (protocol, port) in [("tcp", self.graphite_tcp_port), ("udp", self.graphite_udp_port)] {
                config.push_str(&format!(
                    "[[graphite]]
                     enabled = true
                     bind-address = \"127.0.0.1:{port}\"
                     protocol = \"{protocol}\"
                     database = \"{database}\"
                     templates = {templates:?}
                     batch-timeout = \"20ms\"\n"
                ));
            }
        }
        config
    }

    /// The folder of its data.
    fn data(&self) -> PathBuf {
        self.options.folder.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("influxd.log")
    }
}

/// VictoriaMetrics in a folder of its own; killed when dropped.
pub struct VictoriaMetrics {
    _server: Server,
    _folder: TempDir,
    /// Where it listens.
    pub port: u16,
}

impl VictoriaMetrics {
    /// Starts one.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with more on its command line.
    #[track_caller]
    pub fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().to_owned();
        let command = |port| {
            let mut command = Command::new("victoria-metrics");
            command
                .arg(format!("-storageDataPath={}", path.join("data").display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .args(["-loggerLevel=WARN", "-memory.allowedBytes=64MiB", "-search.disableCache"])
                .args(more);
            (command, port)
        };
        let log = path.join("victoria-metrics.log");
        let (server, port) =
            Server::start_until("victoria-metrics", &log, command, |port| answers(port, "/health", 200));
        Self { _server: server, _folder: folder, port }
    }

    /// Its address, as in `http://127.0.0.1:8428`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All series of the metric `name`, which is a measurement, `_`, and a field: labels under `metric`, and their
    /// `values` and `timestamps` (in milliseconds).
    #[track_caller]
    pub fn series(&self, name: &str) -> Vec<Value> {
        let (status, text) = ask(self.port, "GET", "/internal/force_flush", "");
        assert_eq!(status, 200, "{text}");
        let query = Serializer::new(String::new()).append_pair("match[]", name).finish();
        let (status, text) = ask(self.port, "GET", &format!("/api/v1/export?{query}"), "");
        assert_eq!(status, 200, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))).collect()
    }

    /// The sum of all values of the metric `name`.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let series = self.series(name);
        series.iter().flat_map(|one| one["values"].as_array()).flatten().filter_map(Value::as_f64).sum()
    }
}

/// Whether `path` is answered with `expect`: a port is open before what is behind it is ready.
fn answers(port: u16, path: &str, expect: u16) -> bool {
    try_to_ask(port, "GET", path, "", PROBE).is_ok_and(|(status, _)| status == expect)
}

/// The status and the text of an answer.
#[track_caller]
fn ask(port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
    try_to_ask(port, method, path, body, ANSWERS).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn try_to_ask(port: u16, method: &str, path: &str, body: &str, timeout: Duration) -> std::io::Result<(u16, String)> {
    let mut stream = server::connect(port, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    // By HTTP/1.0, whose answers are never in chunks.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: tests\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::UnexpectedEof)?, text.to_owned()))
}

/// Debian keeps it where everybody finds it; others in a folder for daemons.
fn program() -> &'static str {
    if Path::new("/usr/sbin/influxd").exists() { "/usr/sbin/influxd" } else { "influxd" }
}

#[test]
fn holds_what_was_written_also_after_a_kill() {
    let mut influx = Influx::start();
    influx.create("lab");
    assert_eq!(influx.write("lab", "m,host=a v=1.5 1000\nm,host=b v=2 1000\nm,host=a v=4 2000").0, 204);
    assert_eq!((influx.count("lab", "m", "v"), influx.count("lab", "none", "v")), (3, 0));
    assert_eq!(influx.number("lab", "SELECT sum(v) FROM m"), 7.5);
    assert_eq!(influx.rows("lab", "SELECT v FROM m WHERE host = 'a'")[1], [2000.into(), Value::from(4)]);
    assert_eq!(influx.write("none", "m v=1 1").0, 404);
    assert_eq!(influx.url(), format!("http://127.0.0.1:{}", influx.port));
    influx.kill();
    influx.start_again();
    influx.expect_count("lab", "m", "v", 3);
    influx.stop();
    influx.start_again();
    influx.expect_count("lab", "m", "v", 3);
}

#[test]
fn an_administrator_keeps_the_others_out() {
    let influx = Influx::with(Options { admin: Some(("root", "s3cret")), ..Options::default() });
    influx.create("lab");
    assert_eq!(influx.write("lab", "m v=1 1").0, 204);
    assert_eq!(influx.count("lab", "m", "v"), 1);
    let (status, text) = ask(influx.port, "POST", "/write?db=lab", "m v=1 1");
    assert_eq!(status, 401, "{text}");
}

#[test]
fn listens_for_datagrams_and_for_graphite() {
    let options = Options { udp: Some("u"), graphite: Some(("g", &["measurement.host.field"])), ..Options::default() };
    let influx = Influx::with(options);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"m v=1 1000\nm v=2 2000\n", ("127.0.0.1", influx.udp_port)).unwrap();
    socket.send_to(b"m.a.v 1 1700000000\n", ("127.0.0.1", influx.graphite_udp_port)).unwrap();
    let mut stream = server::connect(influx.graphite_tcp_port, ANSWERS).unwrap();
    stream.write_all(b"m.b.v 2 1700000000\nm.b.v 3 1700000001\n").unwrap();
    drop(stream);
    influx.expect_count("u", "m", "v", 2);
    influx.expect_count("g", "m", "v", 3);
}

#[test]
fn a_full_disk_is_told_of() {
    let influx = Influx::with(Options { disk: Some(16 << 20), ..Options::default() });
    influx.create("lab");
    assert_eq!(influx.write("lab", "m v=1 1").0, 204);
    influx.fill_disk();
    // Of a series that it has: a new one would be refused as its fault, with 400.
    let points: String = (1000..3000).map(|i| format!("m v={}.7 {i}\n", i * i)).collect();
    let (status, text) = influx.write("lab", &points);
    assert!(status == 500 && text.contains("no space left"), "{status} {text}");
    // What it has can still be asked for.
    assert_eq!(influx.query("lab", "SHOW MEASUREMENTS")["results"][0]["series"][0]["values"][0][0], "m");
}

#[test]
fn victoria_metrics_takes_the_second_write_api() {
    let victoria = VictoriaMetrics::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let path = "/api/v2/write?org=o&bucket=b&precision=ns";
    assert_eq!(ask(victoria.port, "POST", path, &format!("m,host=a v=1.5,w=2i {now}000000000\n")).0, 204);
    assert_eq!((victoria.sum("m_v"), victoria.sum("m_w"), victoria.sum("m_x")), (1.5, 2.0, 0.0));
    let series = victoria.series("m_v");
    assert_eq!(victoria.url(), format!("http://127.0.0.1:{}", victoria.port));
    assert_eq!((&series[0]["metric"]["host"], &series[0]["timestamps"][0]), (&"a".into(), &(now * 1000).into()));
}
