//! What a hit does: one file or folder a kind.
//!
//! A *type* is a named, configured kind: `types.d/NAME.toml`. What every kind
//! shares (overtime, when_busy, arrivals, grace) is read here, the rest by the
//! kind itself. A new kind is a module, a line in `KINDS`, one in `PAGES`, a
//! page in README, and what the compiler then asks for. Kinds don't know each
//! other, but `http`, which `influxdb` speaks as well; where one is made of two,
//! as `loopback` is, they are put together here.
//!
//! Most kinds do one thing. One that does several beside each other, as
//! `influxdb` writes and reads, is several types, each a part of the test.

mod backstage;
mod command;
mod dial;
pub mod exec;
pub mod http;
pub mod influxdb;
pub mod loadtest;
pub mod loopback;
pub mod tcp;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use backstage::{Backstage, Prepared};

use crate::fault::Fault;
use crate::guard::Guard;
use crate::keys::{Keys, Source};
use crate::pacer::Arrivals;
use crate::page::{Key, Page};
use crate::shift::WhenBusy;
use crate::target::{Outcome, Target};
use crate::wakeups::Wakeups;

/// What happens while a type's file is wrong.
pub const NOW: &str = "tests of this type do not run";
/// The most hits of a test in flight that can be asked for.
const MAX_OVERTIME: u64 = 1_000_000;
/// The longest that hits may go on after their minute, and the longest timeout of a hit: with what is to be
/// sent then, a run is over before the next one's minute is.
pub const MAX_GRACE: Duration = Duration::from_secs(50);
/// The shortest timeout of a hit: the timer's own precision.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
/// How long a hit may take where its type doesn't say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A type as its file describes it; of a kind that does several things beside each other, one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// Its name: the file's stem.
    pub name: String,
    /// What stands behind the name of its tests, after a dot, where it is one of several.
    pub part: Option<&'static str>,
    /// Hits a minute, where the type says so and not the test.
    pub frequency: Option<u64>,
    /// What a hit does.
    pub kind: Kind,
    /// The most hits in flight, at least 1.
    pub overtime: u32,
    /// What a due hit does when `overtime` is reached.
    pub when_busy: WhenBusy,
    /// How the dues lie in the minute.
    pub arrivals: Arrivals,
    /// How long hits in flight at the minute's end may go on: the kind's timeout unless given, at most 50 s.
    pub grace: Duration,
}

/// The kinds, each with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Commands.
    Exec(exec::Settings),
    /// Requests to an HTTP server.
    Http(http::Settings),
    /// Batches of points for a database.
    InfluxWrite(Arc<influxdb::Settings>),
    /// Queries.
    InfluxRead(Arc<influxdb::Settings>),
    /// Journeys of a compiled load test.
    Loadtest(Arc<loadtest::Settings>),
    /// Requests to a server of the runner's own.
    Loopback(loopback::Settings),
    /// Exchanges with a server over TCP.
    Tcp(tcp::Settings),
}

/// What the hits of a test hit.
#[derive(Debug)]
pub enum KindTarget {
    /// A command.
    Exec(exec::ExecTarget),
    /// An HTTP server.
    Http(http::HttpTarget),
    /// A database that takes points.
    InfluxWrite(influxdb::WriteTarget),
    /// A database that is asked.
    InfluxRead(influxdb::ReadTarget),
    /// A compiled load test.
    Loadtest(loadtest::LoadtestTarget),
    /// The runner's own server.
    Loopback {
        /// Hits it.
        target: http::HttpTarget,
        /// Runs as long as the target.
        server: loopback::Server,
    },
    /// A server over TCP.
    Tcp(tcp::TcpTarget),
}

/// What hits of a kind do, as its keys say it.
#[derive(Debug)]
struct Does {
    kind: Kind,
    part: Option<&'static str>,
    frequency: Option<u64>,
    /// The most hits in flight, where the kind has a key of its own for that.
    overtime: Option<u32>,
}

/// Reads the keys of one kind: what its hits do, in each part.
type Read = fn(&mut Keys<'_>) -> Option<Vec<Does>>;

/// The kinds by name.
const KINDS: &[(&str, Read)] = &[
    ("exec", |keys| exec::Settings::read(keys).map(Kind::Exec).map(Does::alone)),
    ("http", |keys| http::Settings::read(keys).map(Kind::Http).map(Does::alone)),
    ("influxdb", |keys| influxdb::Settings::read(keys).map(Does::write_and_read)),
    ("loadtest", |keys| loadtest::Settings::read(keys).map(|settings| Does::alone(Kind::Loadtest(settings.into())))),
    ("loopback", |keys| loopback::Settings::read(keys).map(Kind::Loopback).map(Does::alone)),
    ("tcp", |keys| tcp::Settings::read(keys).map(Kind::Tcp).map(Does::alone)),
];

/// What types can say: first what all kinds share, then what each has besides.
pub const PAGES: &[Page] = &[
    Page { name: "every kind", least: "kind = \"loopback\"", parts: &[KEYS], read: faults },
    Page { name: "exec", least: "kind = \"exec\"\ncommand = [\"true\"]", parts: &[exec::KEYS], read: faults },
    Page { name: "http", least: "kind = \"http\"\nurl = \"http://host/\"", parts: http::KEYS, read: faults },
    Page { name: "influxdb", least: influxdb::LEAST, parts: influxdb::KEYS, read: faults },
    Page { name: "loadtest", least: loadtest::LEAST, parts: loadtest::KEYS, read: faults },
    Page { name: "loopback", least: "kind = \"loopback\"", parts: &[loopback::KEYS], read: faults },
    Page { name: "tcp", least: "kind = \"tcp\"\naddress = \"host:1\"", parts: tcp::KEYS, read: faults },
];

/// What every kind reads.
const KEYS: &[Key] = &[
    Key { name: "kind", meaning: "what a hit does", default: "needed" },
    Key { name: "timeout", meaning: "how long a hit may take as a whole", default: "`\"10s\"`" },
    Key { name: "overtime", meaning: "the most hits of a test in flight", default: "`1`" },
    Key {
        name: "when_busy",
        meaning: "what a due hit does when that many are: wait, or be skipped and counted as canceled",
        default: "`\"wait\"`",
    },
    Key {
        name: "arrivals",
        meaning: "how hits lie in the minute: evenly, or as many of them at random moments",
        default: "`\"even\"`",
    },
    Key { name: "grace", meaning: "how long hits in flight at the minute's end may go on", default: "`timeout`" },
];

/// The types that need no file.
pub const BUILT_IN: &[(&str, &str)] = &[("loopback", "kind = \"loopback\"\n")];

/// Reads the type `name` from the text of its file, each part of it; `None` when anything in it is wrong.
///
/// Files that it names (bodies, secrets) are read here, too: a type that
/// compares equal to what it was hits the same.
pub fn read(name: &str, file: &Path, text: &str) -> (Option<Vec<Type>>, Vec<Fault>) {
    let source = Source { file, text, quotes_values: false, now: NOW, now_unknown: NOW };
    let (read, faults) = source.read(|keys| {
        let overtime = keys.integer("overtime", 1, MAX_OVERTIME).unwrap_or(1);
        let overtime = u32::try_from(overtime).unwrap_or(u32::MAX);
        let when_busy = keys.choice("when_busy", &[("wait", WhenBusy::Wait), ("cancel", WhenBusy::Cancel)]);
        let arrivals = keys.choice("arrivals", &[("even", Arrivals::Even), ("poisson", Arrivals::Poisson)]);
        let grace = keys.duration("grace", Duration::ZERO, MAX_GRACE);
        let read_kind = keys.choice("kind", KINDS);
        let Some(read_kind) = keys.required("kind", read_kind) else {
            keys.skip_rest();
            return None;
        };
        let of_type = |does: Does| Type {
            name: name.to_owned(),
            part: does.part,
            frequency: does.frequency,
            overtime: does.overtime.unwrap_or(overtime),
            when_busy: when_busy.unwrap_or_default(),
            arrivals: arrivals.unwrap_or_default(),
            grace: grace.unwrap_or_else(|| does.kind.timeout().min(MAX_GRACE)),
            kind: does.kind,
        };
        Some(read_kind(keys)?.into_iter().map(of_type).collect())
    });
    (read.flatten().filter(|_| faults.is_empty()), faults)
}

/// What is wrong with a type of this text.
fn faults(text: &str) -> Vec<Fault> {
    read("", Path::new(""), text).1
}

impl Does {
    /// What all hits of the type do.
    fn alone(kind: Kind) -> Vec<Self> {
        vec![Self { kind, part: None, frequency: None, overtime: None }]
    }

    /// Writing and reading, as far as there is either. Where nothing is written, the test's frequency is the reader's.
    fn write_and_read(settings: influxdb::Settings) -> Vec<Self> {
        let settings = Arc::new(settings);
        let write = settings.writing.as_ref().map(|writing| Self {
            kind: Kind::InfluxWrite(Arc::clone(&settings)),
            part: Some("write"),
            frequency: None,
            overtime: Some(writing.client.concurrency),
        });
        let read = settings.reading.as_ref().map(|reading| Self {
            kind: Kind::InfluxRead(Arc::clone(&settings)),
            part: Some("read"),
            frequency: settings.writing.is_some().then(|| reading.frequency()),
            overtime: Some(reading.concurrency),
        });
        write.into_iter().chain(read).collect()
    }
}

impl Type {
    /// The name under which a test of this type is hit and measured.
    pub fn name_of(&self, test: &str) -> String {
        self.part.map_or_else(|| test.to_owned(), |part| format!("{test}.{part}"))
    }
}

impl Kind {
    /// The longest that a hit takes.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Exec(settings) => settings.timeout,
            Self::Http(settings) => settings.timeout,
            Self::InfluxWrite(settings) | Self::InfluxRead(settings) => settings.server.timeout,
            Self::Loadtest(settings) => settings.timeout,
            Self::Loopback(settings) => settings.timeout,
            Self::Tcp(settings) => settings.timeout,
        }
    }

    /// Whether its hits don't check whom they are done to, which summaries say.
    pub fn insecure(&self) -> bool {
        match self {
            Self::Http(settings) => settings.dial.insecure,
            Self::InfluxWrite(settings) | Self::InfluxRead(settings) => settings.server.dial.insecure,
            Self::Exec(_) | Self::Loadtest(_) | Self::Loopback(_) => false,
            Self::Tcp(settings) => settings.dial.insecure,
        }
    }

    /// The port that a test of this kind has to have for itself.
    pub fn port(&self) -> Option<&loadtest::Address> {
        match self {
            Self::Loadtest(settings) => settings.rpc_addr.as_ref(),
            Self::Exec(_) | Self::Http(_) | Self::InfluxWrite(_) | Self::InfluxRead(_) => None,
            Self::Loopback(_) | Self::Tcp(_) => None,
        }
    }

    /// What hits of this kind hit. To be called, and hit, on the thread and in the tokio runtime of a worker; `prepared` is
    /// what was [got ready](Backstage::prepare) for the test.
    ///
    /// # Errors
    /// What a hit needs and the machine doesn't have: root certificates, a port for the loopback server, a process.
    pub fn target(&self, wakeups: &Rc<Wakeups>, prepared: &Prepared) -> anyhow::Result<KindTarget> {
        let unready = || anyhow::anyhow!("nothing was got ready for it");
        let database = || if let Prepared::Influxdb(session) = prepared { Ok(session) } else { Err(unready()) };
        let loadtest = || if let Prepared::Loadtest(session) = prepared { Ok(session) } else { Err(unready()) };
        Ok(match self {
            Self::Exec(settings) => KindTarget::Exec(exec::ExecTarget::new(settings, Guard::shared()?, wakeups)),
            Self::Http(settings) => KindTarget::Http(http::HttpTarget::new(settings)?.sharing(wakeups)),
            Self::InfluxWrite(_) => KindTarget::InfluxWrite(influxdb::WriteTarget::new(database()?, wakeups)?),
            Self::InfluxRead(_) => KindTarget::InfluxRead(influxdb::ReadTarget::new(database()?, wakeups)?),
            Self::Loadtest(_) => KindTarget::Loadtest(loadtest::LoadtestTarget::new(loadtest()?, wakeups)),
            Self::Loopback(settings) => {
                let server = loopback::Server::start(settings)?;
                let settings = http::Settings::get(server.address(), settings.timeout);
                KindTarget::Loopback { target: http::HttpTarget::new(&settings)?.sharing(wakeups), server }
            }
            Self::Tcp(settings) => KindTarget::Tcp(tcp::TcpTarget::new(settings)?.sharing(wakeups)),
        })
    }
}

impl Target for KindTarget {
    async fn hit(&self, number: u64) -> Outcome {
        match self {
            // Boxed, so that no other kind's hits become larger by it.
            Self::Exec(target) => Box::pin(target.hit(number)).await,
            Self::Http(target) | Self::Loopback { target, .. } => target.hit(number).await,
            Self::InfluxWrite(target) => Box::pin(target.hit(number)).await,
            Self::InfluxRead(target) => Box::pin(target.hit(number)).await,
            Self::Loadtest(target) => Box::pin(target.hit(number)).await,
            Self::Tcp(target) => target.hit(number).await,
        }
    }

    fn claim(&self) -> bool {
        match self {
            Self::InfluxWrite(target) => target.claim(),
            _ => true,
        }
    }

    fn rest(&self) -> Duration {
        match self {
            Self::InfluxWrite(target) => target.rest(),
            _ => Duration::ZERO,
        }
    }
}

/// The key `timeout`, which all kinds of hits over a network have: how long a hit may take as a whole.
fn timeout(keys: &mut Keys<'_>) -> Duration {
    keys.duration("timeout", MIN_TIMEOUT, MAX_GRACE).unwrap_or(DEFAULT_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wakeups::SLACK;

    #[track_caller]
    fn faults(text: &str) -> Vec<String> {
        let (read, faults) = read("x", Path::new("x.toml"), text);
        assert_eq!(read.is_none(), !faults.is_empty());
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn the_built_in_type_has_every_default() {
        let (read, faults) = read(BUILT_IN[0].0, Path::new("built in"), BUILT_IN[0].1);
        assert_eq!(faults, []);
        let [read] = read.unwrap().try_into().unwrap();
        assert_eq!((read.name.as_str(), read.overtime, read.grace), ("loopback", 1, DEFAULT_TIMEOUT));
        assert_eq!((read.when_busy, read.arrivals), (WhenBusy::Wait, Arrivals::Even));
        assert!(matches!(read.kind, Kind::Loopback(_)));
    }

    #[test]
    fn every_kind_has_its_keys_told() {
        let [kinds, pages] =
            [KINDS.iter().map(|kind| kind.0).collect(), PAGES[1..].iter().map(|page| page.name).collect::<Vec<_>>()];
        assert_eq!(kinds, pages, "a line in KINDS has one in PAGES");
    }

    #[test]
    fn grace_is_the_timeout_unless_given() {
        #[track_caller]
        fn check(text: &str, expect: u64) {
            let text = format!("kind = \"http\"\nurl = \"http://localhost/\"\n{text}");
            let (read, faults) = read("x", Path::new("x.toml"), &text);
            assert_eq!(faults, []);
            assert_eq!(read.unwrap()[0].grace, Duration::from_secs(expect));
        }
        check("", 10);
        check("timeout = \"50s\"", 50);
        check("timeout = \"5s\"", 5);
        check("timeout = \"5s\"\ngrace = \"0s\"", 0);
    }

    #[test]
    fn what_is_wrong_with_a_type_is_said_without_its_values() {
        #[track_caller]
        fn check(text: &str, expect: &[&str]) {
            assert_eq!(faults(text), expect);
        }
        check("", &["x.toml: no key \"kind\": it can't be left out; tests of this type do not run"]);
        check(
            "kind = \"htpt\"\nurl = \"http://h/\"",
            &[
                "x.toml:1:8: \"kind\" can't be this string: \"exec\" or \"http\" or \"influxdb\" or \"loadtest\" or \"loopback\" or \"tcp\"; \
                 tests of this type do not run",
            ],
        );
        check(
            "kind = \"loopback\"\novertime = 0\nlatensy = \"1s\"",
            &[
                "x.toml:2:12: \"overtime\" can't be this integer: a whole number from 1 to 1000000; \
                 tests of this type do not run",
                "x.toml:3:1: unknown key \"latensy\": the nearest known one is \"latency\"; \
                 tests of this type do not run",
            ],
        );
        check("kind = \"http\"", &["x.toml: no key \"url\": it can't be left out; tests of this type do not run"]);
    }

    #[tokio::test]
    async fn a_loopback_target_is_hit() {
        let (read, _) = read("loopback", Path::new("built in"), BUILT_IN[0].1);
        let target = read.unwrap()[0].kind.target(&Wakeups::new(SLACK).unwrap(), &Prepared::Nothing).unwrap();
        let outcome = target.hit(0).await;
        assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
        assert!(outcome.bytes_in > 0 && outcome.bytes_out > 0);
    }
}
