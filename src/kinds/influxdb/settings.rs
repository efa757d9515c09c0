//! What a type of this kind says: a `stress.toml`, and what goes beyond it.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::kinds::dial::{self, Host};

/// A type; two that are equal do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The type's name.
    pub name: String,
    /// What sees to the database first.
    pub provisioning: Option<Provisioning>,
    /// What is written.
    pub writing: Option<Writing>,
    /// What is read.
    pub reading: Option<Reading>,
    /// What all of them share.
    pub server: Server,
}

/// How servers are spoken to, whichever it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The header `Authorization`, where there are credentials.
    pub authorization: Option<HeaderValue>,
    /// How long a hit, or a statement of the provisioner, may take.
    pub timeout: Duration,
    /// How connections are got.
    pub dial: dial::Settings,
}

/// A server's host and port, as in `localhost:8086`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// `[provision.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct Provisioning {
    /// The server that it is done to.
    pub address: Address,
    /// Whether that is over TLS.
    pub ssl: bool,
    /// The database that is to be there.
    pub database: String,
    /// Whether it is to be dropped first.
    pub reset: Reset,
    /// What it keeps for how long.
    pub retention_policies: Vec<RetentionPolicy>,
    /// What it computes on its own.
    pub continuous_queries: Vec<ContinuousQuery>,
}

/// Whether a database is dropped before the first point: once a type, not once a run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Reset {
    /// No.
    #[default]
    Never,
    /// By the server of this name alone (`reset_host`), as each of a fleet would drop it.
    By(String),
    /// It is asked for, and nobody is named who would do it: reported and passed over.
    Nobody,
}

/// `[[provision.basic.retention_policy]]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetentionPolicy {
    /// Its name.
    pub name: String,
    /// How long points are kept, as InfluxDB writes it (`7d`, `INF`).
    pub duration: String,
    /// How many copies there are.
    pub replication: u64,
    /// How much time a shard has, as InfluxDB writes it.
    pub shard_duration: Option<String>,
    /// Whether it is the database's default.
    pub default: bool,
}

/// `[[provision.basic.continuous_query]]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContinuousQuery {
    /// Its name.
    pub name: String,
    /// `SELECT … INTO … GROUP BY time(…)`.
    pub query: String,
    /// What comes after `RESAMPLE`, as in `EVERY 30s FOR 2m`.
    pub resample: Option<String>,
}

/// The writer.
#[derive(Clone, Debug, PartialEq)]
pub struct Writing {
    /// What the points are.
    pub points: PointSettings,
    /// Where they go, and how.
    pub client: Client,
}

/// `[write.point_generator.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct PointSettings {
    /// How many points each series gets; `None`: no end.
    pub point_count: Option<NonZeroU64>,
    /// How many series there are.
    pub series_count: NonZeroU64,
    /// From one point of a series to the next, in time stamps; at least one unit of the precision.
    pub tick: Duration,
    /// Whether each point is moved by less than a tick.
    pub jitter: bool,
    /// The measurement.
    pub measurement: String,
    /// One tick before the first time stamp, in nanoseconds since 1970; `None`: points are stamped with the present.
    pub start: Option<i64>,
    /// The tags, in order; the first one's value is numbered by series.
    pub tags: Vec<Tag>,
    /// The fields, in order; at least one.
    pub fields: Vec<Field>,
}

/// `[[write.point_generator.basic.tag]]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value; `%host%` in it stands for the name of the server that canihaz runs on.
    pub value: String,
}

/// `[[write.point_generator.basic.field]]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its key.
    pub key: String,
    /// What its values are.
    pub value: FieldType,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldType {
    /// A number from 0 to 999.
    Float64,
    /// A whole number from 0 to 999.
    Int,
    /// True or false.
    Bool,
    /// A short text.
    String,
}

/// `[write.influx_client.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The servers, which take turns; at least one.
    pub addresses: Vec<Address>,
    /// Whether they are spoken to over TLS.
    pub ssl: bool,
    /// What they are asked, and where points go there.
    pub api: Api,
    /// The unit of time stamps.
    pub precision: Precision,
    /// How many points a batch has.
    pub batch_size: NonZeroU64,
    /// How long a connection rests after a batch, at least.
    pub batch_interval: Duration,
    /// The most batches on their way.
    pub concurrency: u32,
    /// What is spoken.
    pub format: Format,
    /// Whether bodies are compressed.
    pub gzip: bool,
}

/// Which of InfluxDB's ways to write, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Api {
    /// `/write`
    V1 {
        /// The database.
        database: String,
        /// The retention policy; `None`: the database's default.
        retention_policy: Option<String>,
        /// How many servers of a cluster have to agree.
        consistency: Option<Consistency>,
    },
    /// `/api/v2/write`
    V2 {
        /// The organization.
        org: String,
        /// The bucket.
        bucket: String,
    },
}

/// How many servers of a cluster have to have a point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consistency {
    /// Any.
    Any,
    /// One.
    One,
    /// Most.
    Quorum,
    /// All.
    All,
}

/// The unit of time stamps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Precision {
    /// Nanoseconds.
    #[default]
    N,
    /// Microseconds.
    U,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

/// What is spoken to the database.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// Line protocol, in a request.
    #[default]
    LineHttp,
    /// Line protocol, in datagrams.
    LineUdp,
    /// Graphite's plain text, over a connection.
    GraphiteTcp,
    /// Graphite's plain text, in datagrams.
    GraphiteUdp,
}

/// The reader: `[read.query_generator.basic]` and `[read.query_client.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The query, with its variables as they are written.
    pub template: String,
    /// How many different queries there are: `%v` is a number from 0 to less than this, in turn.
    pub query_count: NonZeroU64,
    /// The servers, which take turns; at least one.
    pub addresses: Vec<Address>,
    /// Whether they are spoken to over TLS.
    pub ssl: bool,
    /// The database.
    pub database: String,
    /// From one query to the next; more than none.
    pub query_interval: Duration,
    /// The most queries on their way.
    pub concurrency: u32,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host.with_port(self.port))
    }
}

impl Consistency {
    /// As requests spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }
}

impl Precision {
    /// As `/write` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::N => "n",
            Self::U => "u",
            Self::Ms => "ms",
            Self::S => "s",
        }
    }

    /// As `/api/v2/write` spells it.
    pub const fn name_in_v2(self) -> &'static str {
        match self {
            Self::N => "ns",
            Self::U => "us",
            Self::Ms => "ms",
            Self::S => "s",
        }
    }

    /// The unit, in nanoseconds.
    pub const fn unit(self) -> u64 {
        match self {
            Self::N => 1,
            Self::U => 1_000,
            Self::Ms => 1_000_000,
            Self::S => 1_000_000_000,
        }
    }
}

impl Reading {
    /// Queries a minute: as many as their interval gives, at least one.
    pub fn frequency(&self) -> u64 {
        let minute = Duration::from_secs(60).as_nanos();
        u64::try_from(minute / self.query_interval.as_nanos().max(1)).unwrap_or(u64::MAX).max(1)
    }
}
