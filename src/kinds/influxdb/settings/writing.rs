//! The writer: what is written, and how that gets to the database.

use std::num::NonZeroU64;
use std::time::Duration;

use super::points::{self, PointSettings};
use super::{Address, Part, Server, address, concurrency, duration, name, needed};
use crate::keys::Keys;
use crate::kinds::dial::Way;
use crate::page::Key;

/// The most points of a batch, which is made in memory.
const MAX_BATCH: u64 = 1_000_000;
/// The most points on their way, which is some gigabyte of lines.
const MAX_POINTS: u64 = 10_000_000;
/// The points of a batch, unless the type says.
const BATCH: u64 = 5_000;

/// What [`Said::read`] reads beside the points.
pub const KEYS: &[Key] = &[
    Key { name: "write.influx_client.basic.enabled", meaning: "`false`: nothing is written", default: "`true`" },
    Key {
        name: "write.influx_client.basic.addresses",
        meaning: "the servers, which batches go to in turn",
        default: "needed",
    },
    Key {
        name: "write.influx_client.basic.database",
        meaning: "the database, for the v1 API (`/write`)",
        default: "needed, unless `org` is there",
    },
    Key {
        name: "write.influx_client.basic.retention_policy",
        meaning: "the retention policy; v1 alone",
        default: "the database's own",
    },
    Key {
        name: "write.influx_client.basic.retention-policy",
        meaning: "the same, as influx_stress wrote it",
        default: "none",
    },
    Key {
        name: "write.influx_client.basic.consistency",
        meaning: "how many servers of a cluster have to have a point; v1 alone",
        default: "the server's",
    },
    Key {
        name: "write.influx_client.basic.org",
        meaning: "the organization, for the v2 API (`/api/v2/write`); needs `bucket` and `token_file`",
        default: "none",
    },
    Key { name: "write.influx_client.basic.bucket", meaning: "the bucket, likewise", default: "none" },
    Key {
        name: "write.influx_client.basic.precision",
        meaning: "the unit of time stamps: nano-, micro-, milliseconds, seconds",
        default: "`\"n\"`; `\"s\"` for Graphite",
    },
    Key { name: "write.influx_client.basic.batch_size", meaning: "how many points a batch has", default: "`5000`" },
    Key {
        name: "write.influx_client.basic.batch_interval",
        meaning: "how long each of `concurrency` rests after a batch",
        default: "`\"0s\"`",
    },
    Key {
        name: "write.influx_client.basic.concurrency",
        meaning: "the most batches on their way, which is the `overtime` of `NAME.write`",
        default: "`1`",
    },
    Key { name: "write.influx_client.basic.ssl", meaning: "`true`: over TLS", default: "`false`" },
    Key {
        name: "write.influx_client.basic.format",
        meaning: "what is spoken: line protocol or Graphite's, in requests, over connections, in datagrams",
        default: "`\"line_http\"`",
    },
    Key { name: "write.influx_client.basic.gzip", meaning: "`true`: bodies are compressed", default: "`false`" },
];

/// The writer.
#[derive(Clone, Debug, PartialEq)]
pub struct Writing {
    /// What the points are.
    pub points: PointSettings,
    /// Where they go, and how.
    pub client: Client,
}

/// `[write.influx_client.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The servers, which take turns; at least one.
    pub addresses: Vec<Address>,
    /// Whether they are spoken to over TLS; with [`Format::LineHttp`] alone.
    pub ssl: bool,
    /// What they are asked, and where points go there.
    pub api: Api,
    /// The unit of time stamps; seconds for Graphite.
    pub precision: Precision,
    /// How many points a batch has.
    pub batch_size: NonZeroU64,
    /// How long a connection rests after a batch, at least.
    pub batch_interval: Duration,
    /// The most batches on their way.
    pub concurrency: u32,
    /// What is spoken.
    pub format: Format,
    /// Whether bodies are compressed; with [`Format::LineHttp`] alone.
    pub gzip: bool,
}

/// Which of InfluxDB's ways to write, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Api {
    /// `/write`
    V1 {
        /// The database. What isn't a request goes to the one that its listener has.
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

/// What the table `write` says.
#[derive(Debug, Default)]
pub struct Said {
    /// All of it; `None` where it is switched off, or something is wrong.
    pub writing: Option<Writing>,
    /// Whether something is written.
    pub writes: bool,
    /// Whether that is over TLS.
    pub ssl: bool,
}

/// What the client's table says, in which its unit of time stamps may be left to the points.
struct Draft {
    client: Client,
    precision: Option<Precision>,
}

impl Said {
    /// Reads the table `write`, for servers that are spoken to like this; `has_token`: with a token.
    pub fn read(keys: &mut Keys<'_>, server: &Server, has_token: bool) -> Self {
        let mut ssl = false;
        let mut told = points::Client::default();
        let client = keys.table("influx_client", |keys| {
            keys.table("basic", |keys| Draft::read(keys, server, has_token, &mut ssl, &mut told))
        });
        let points = keys.table("point_generator", |keys| keys.table("basic", |keys| points::Said::read(keys, told)));
        let (points, client) = (Part::from(points), Part::from(client));
        let (both, writes) = points.with(client, keys, ["point_generator", "influx_client"]);
        let writing = both.map(|(said, Draft { client, precision })| {
            let precision = precision.or(said.precision).unwrap_or(client.precision);
            Writing { points: said.points, client: Client { precision, ..client } }
        });
        Self { writing, writes, ssl }
    }
}

impl Draft {
    /// Reads the table `basic`; whether that is over TLS, and what points have to go with, is told whatever is wrong.
    fn read(
        keys: &mut Keys<'_>,
        server: &Server,
        has_token: bool,
        ssl: &mut bool,
        told: &mut points::Client,
    ) -> Part<Self> {
        let enabled = keys.boolean("enabled").unwrap_or(true);
        let addresses = Address::list(keys, "addresses");
        let addresses = needed(keys, enabled, "addresses", addresses);
        let api = api(keys, enabled, has_token);
        let batch_size = keys.integer("batch_size", 1, MAX_BATCH).unwrap_or(BATCH);
        let batch_interval = duration::read(keys, "batch_interval", "0s", "1m").unwrap_or_default();
        let concurrency = concurrency(keys);
        if batch_size.saturating_mul(u64::from(concurrency)) > MAX_POINTS {
            let seen = format!("more than {MAX_POINTS} points on their way, in memory");
            keys.refuse_key("concurrency", seen, "less, \"batch_size\" times \"concurrency\"");
        }
        *ssl = keys.boolean("ssl").unwrap_or(false);
        let format = keys.choice("format", Format::NAMES).unwrap_or_default();
        let gzip = keys.boolean("gzip").unwrap_or(false);
        let precision = Precision::read(keys, format.is_graphite());
        *told = points::Client { precision, is_graphite: format.is_graphite() };
        check_format(keys, format, *ssl, gzip, api.as_ref(), server);
        if *ssl && addresses.iter().flatten().any(|address| !server.can_have_certificate(address)) {
            keys.refuse_key("addresses", address::UNCERTAIN[0], address::UNCERTAIN[1]);
        }
        let read = || {
            let client = Client {
                addresses: addresses?,
                ssl: *ssl,
                api: api?,
                precision: Precision::default_for(format.is_graphite()),
                batch_size: NonZeroU64::new(batch_size)?,
                batch_interval,
                concurrency,
                format,
                gzip,
            };
            Some(Self { client, precision })
        };
        Part::new(enabled, read())
    }
}

/// The keys that say which way points go, and where to.
fn api(keys: &mut Keys<'_>, enabled: bool, has_token: bool) -> Option<Api> {
    let has_database = keys.has("database");
    let v2 = ["org", "bucket"].into_iter().find(|key| keys.has(key));
    let has_both_names = keys.has("retention_policy") && keys.has("retention-policy");
    let [database, org, bucket, policy, other_policy] =
        ["database", "org", "bucket", "retention_policy", "retention-policy"].map(|key| name(keys, key));
    let consistency = keys.choice("consistency", Consistency::NAMES);
    if has_both_names {
        let seen = "\"retention_policy\" and \"retention-policy\", which are the same";
        keys.refuse_key("retention-policy", seen, "one of them");
    }
    let Some(v2) = v2 else {
        let database = needed(keys, enabled, "database", database);
        return Some(Api::V1 { database: database?, retention_policy: policy.or(other_policy), consistency });
    };
    if has_database {
        let right = "\"database\" for the v1 API, or \"org\" and \"bucket\" for v2";
        keys.refuse_key(v2, format!("\"{v2}\" beside \"database\""), right);
    }
    if !has_token {
        let right = "the file that has the token, at the top: the v2 API asks for one";
        keys.refuse_key(v2, format!("\"{v2}\" without \"token_file\""), right);
    }
    let of_v1 = [
        ("retention_policy", policy.is_some()),
        ("retention-policy", other_policy.is_some()),
        ("consistency", consistency.is_some()),
    ];
    for (key, _) in of_v1.into_iter().filter(|(_, is_said)| *is_said) {
        let right = "\"database\" in place of \"org\" and \"bucket\", or neither: the v2 API doesn't know it";
        keys.refuse_key(key, format!("\"{key}\" beside \"{v2}\""), right);
    }
    let (org, bucket) = (keys.required("org", org), keys.required("bucket", bucket));
    Some(Api::V2 { org: org?, bucket: bucket? })
}

/// Refuses what only requests can have, where points go in another way.
fn check_format(keys: &mut Keys<'_>, format: Format, ssl: bool, gzip: bool, api: Option<&Api>, server: &Server) {
    if format == Format::LineHttp {
        return;
    }
    let (policy, consistency, org) = match api {
        Some(Api::V1 { retention_policy, consistency, .. }) => {
            (retention_policy.is_some(), consistency.is_some(), false)
        }
        Some(Api::V2 { .. }) => (false, false, true),
        None => (false, false, false),
    };
    let said = [("ssl", ssl), ("gzip", gzip), ("org", org), ("consistency", consistency), ("retention_policy", policy)];
    for (key, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
        let right = "\"line_http\", or without it: only requests have it";
        keys.refuse_key(key, format!("\"{key}\" with this \"format\""), right);
    }
    if format.is_datagrams() && matches!(server.dial.way, Way::Socket(_)) {
        let right = "\"line_http\" or \"graphite_tcp\", or \"resolve\" with an address";
        keys.refuse_key("format", "datagrams to a unix socket", right);
    }
}

impl Consistency {
    /// The values of the key `consistency`.
    const NAMES: &[(&str, Self)] =
        &[("any", Self::Any), ("one", Self::One), ("quorum", Self::Quorum), ("all", Self::All)];

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
    /// The values of the key `precision`.
    const NAMES: &[(&str, Self)] = &[("n", Self::N), ("u", Self::U), ("ms", Self::Ms), ("s", Self::S)];
    /// What it takes.
    const RIGHT: &str = "\"n\" or \"u\" or \"ms\" or \"s\"";

    /// As `/write` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::N => "n",
            Self::U => "u",
            Self::Ms => "ms",
            Self::S => "s",
        }
    }

    /// As `/api/v2/write` spells it, and lengths of time.
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

    /// What holds where nothing is said.
    pub(super) const fn default_for(is_graphite: bool) -> Self {
        if is_graphite { Self::S } else { Self::N }
    }

    /// The key `precision`, which Graphite leaves no choice about.
    pub(super) fn read(keys: &mut Keys<'_>, is_graphite: bool) -> Option<Self> {
        let precision = keys.explained("precision", Self::RIGHT, |text| {
            let known = Self::NAMES.iter().find(|(name, _)| *name == text);
            known.map(|(_, precision)| *precision).ok_or_else(|| match text {
                // The same file serves both APIs.
                "ns" => String::from("\"n\", for the v2 API as well, which calls it \"ns\""),
                "us" => String::from("\"u\", for the v2 API as well, which calls it \"us\""),
                _ => String::from(Self::RIGHT),
            })
        })?;
        if is_graphite && precision != Self::S {
            let right = "\"s\": Graphite's time stamps are seconds";
            keys.refuse_key("precision", "a precision that Graphite doesn't have", right);
        }
        Some(precision)
    }
}

impl Format {
    /// The values of the key `format`.
    const NAMES: &[(&str, Self)] = &[
        ("line_http", Self::LineHttp),
        ("line_udp", Self::LineUdp),
        ("graphite_tcp", Self::GraphiteTcp),
        ("graphite_udp", Self::GraphiteUdp),
    ];

    /// Whether it is Graphite's.
    const fn is_graphite(self) -> bool {
        matches!(self, Self::GraphiteTcp | Self::GraphiteUdp)
    }

    /// Whether it goes in datagrams.
    const fn is_datagrams(self) -> bool {
        matches!(self, Self::LineUdp | Self::GraphiteUdp)
    }
}
