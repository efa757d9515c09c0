//! graphite-carbon as a destination: a `carbon-cache` in a temporary folder, read back with `whisper-fetch`.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::clock::Clock;
use super::deadline::eventually;
use super::server::{self, Server};

/// How long carbon may take to write what it was sent.
const WRITTEN: Duration = Duration::from_secs(20);

/// A running carbon-cache; stopped when dropped.
pub struct Carbon {
    _server: Server,
    folder: TempDir,
    /// Where it listens for lines.
    pub port: u16,
}

impl Carbon {
    /// Starts one that keeps a point for each `step`, such as `60s`.
    #[track_caller]
    pub fn start(step: &str) -> Self {
        Self::on(None, step)
    }

    /// Starts one on a port that was somebody's before.
    #[track_caller]
    pub fn start_on(port: u16, step: &str) -> Self {
        Self::on(Some(port), step)
    }

    #[track_caller]
    fn on(fixed: Option<u16>, step: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().to_owned();
        server::write(&path, "storage-schemas.conf", &format!("[all]\npattern = .*\nretentions = {step}:1d\n"));
        let (server, port) = Server::start("carbon-cache", &path.join("carbon.log"), |free| {
            let port = fixed.unwrap_or(free);
            let here = path.display();
            let config = server::write(
                &path,
                "carbon.conf",
                &format!(
                    "[cache]\nUSER =\nSTORAGE_DIR = {here}\nLOCAL_DATA_DIR = {here}/whisper\nCONF_DIR = {here}\n\
                     LOG_DIR = {here}\nPID_DIR = {here}\nENABLE_UDP_LISTENER = False\n\
                     MAX_CREATES_PER_MINUTE = inf\nMAX_UPDATES_PER_SECOND = inf\nMAX_CACHE_SIZE = inf\n\
                     LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {port}\nPICKLE_RECEIVER_PORT = 0\n\
                     CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = 0\nWHISPER_AUTOFLUSH = True\n\
                     CARBON_METRIC_INTERVAL = 0\n"
                ),
            );
            let mut command = Command::new("carbon-cache");
            command.arg(format!("--config={}", config.display())).args(["--nodaemon", "start"]);
            (command, port)
        });
        Self { _server: server, folder, port }
    }

    /// The points of `metric`, such as `canihaz.box.a.hits.ok`, since minute 0 of `clock` began: seconds since 1970
    /// by that clock, and the value.
    pub fn points(&self, metric: &str, clock: &Clock) -> Vec<(i64, f64)> {
        let path = self.folder.path().join("whisper").join(metric.replace('.', "/")).with_extension("wsp");
        if !path.exists() {
            return Vec::new();
        }
        let mut fetch = Command::new(program());
        // whisper leaves out the slot that its `from` lies in.
        let fetched = fetch.arg(format!("--from={}", clock.epoch() - 1)).arg(&path).output().expect("it starts");
        let text = String::from_utf8_lossy(&fetched.stdout);
        text.lines()
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(time, value)| Some((time.trim().parse().ok()?, value.trim().parse().ok()?)))
            .collect()
    }

    /// Waits until `metric` has as many points as `expect`, and compares them; times are seconds from the clock's
    /// minute.
    #[track_caller]
    pub fn expect_points(&self, metric: &str, clock: &Clock, expect: &[(i64, f64)]) {
        let from_minute = || -> Vec<(i64, f64)> {
            self.points(metric, clock).into_iter().map(|(time, value)| (time - clock.epoch(), value)).collect()
        };
        eventually(&format!("{} points of {metric}", expect.len()), WRITTEN, || {
            (from_minute().len() >= expect.len()).then_some(())
        });
        assert_eq!(from_minute(), expect, "{metric}");
    }

    /// Waits until the points of `metric` in the minute of `clock` add up to `sum` or more, and expects no more.
    #[track_caller]
    pub fn expect_sum(&self, metric: &str, clock: &Clock, sum: f64) {
        let minute = clock.epoch()..clock.epoch() + 60;
        let added = || -> f64 {
            let points = self.points(metric, clock);
            points.iter().filter(|(time, _)| minute.contains(time)).map(|(_, value)| value).sum()
        };
        eventually(&format!("{metric} to add up to {sum}"), WRITTEN, || (added() >= sum).then_some(()));
        assert_eq!(added(), sum, "{metric}");
    }
}

/// Debian dropped the ending that whisper's own installer gives it.
fn program() -> &'static str {
    if std::path::Path::new("/usr/bin/whisper-fetch").exists() { "whisper-fetch" } else { "whisper-fetch.py" }
}

#[test]
fn keeps_what_it_was_sent() {
    use std::io::Write;
    let carbon = Carbon::start("10s");
    let clock = Clock::at(0.0);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", carbon.port)).unwrap();
    for (second, value) in [(0, 1.5), (10, 600.0), (50, 3.0)] {
        writeln!(stream, "canihaz.box.a.hits.ok {value} {}", clock.epoch() + second).unwrap();
    }
    drop(stream);
    carbon.expect_points("canihaz.box.a.hits.ok", &clock, &[(0, 1.5), (10, 600.0), (50, 3.0)]);
    assert_eq!(carbon.points("canihaz.box.b.hits.ok", &clock), []);
}
