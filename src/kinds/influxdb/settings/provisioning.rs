//! What sees to the database before anything is written.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Address, Part, Server, address, duration, name, needed};
use crate::keys::Keys;
use crate::page::Key;

/// The most retention policies, and the most continuous queries.
const MAX_LISTED: usize = 100;
/// The most copies of a point.
const MAX_REPLICATION: u64 = 100;
/// The shortest time that InfluxDB keeps points.
const LEAST_KEPT: Duration = Duration::from_secs(3600);
/// What `shard_duration` takes.
const SHARD: &str = "a time as InfluxDB writes it, at least an hour, as in \"7d\" or \"1h30m\"";
/// What `duration` takes.
const KEPT: &str = "a time as InfluxDB writes it, at least an hour, as in \"7d\" or \"1h30m\"; or \"INF\"";

/// What [`Provisioning::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "provision.basic.enabled", meaning: "`false`: nobody sees to the database", default: "`true`" },
    Key { name: "provision.basic.address", meaning: "the server that it is done to", default: "needed" },
    Key { name: "provision.basic.ssl", meaning: "`true`: over TLS", default: "the writer's" },
    Key { name: "provision.basic.database", meaning: "the database that is to be there", default: "needed" },
    Key {
        name: "provision.basic.reset_database",
        meaning: "`true`: it is dropped first, once, by the server that `reset_host` names, and else by nobody",
        default: "`false`",
    },
    Key {
        name: "provision.basic.reset_host",
        meaning: "the server that drops it, by its name in metrics (`host`)",
        default: "none",
    },
    Key { name: "provision.basic.retention_policy", meaning: "what it keeps for how long", default: "none" },
    Key { name: "provision.basic.retention_policy.name", meaning: "the policy's name", default: "needed" },
    Key { name: "provision.basic.retention_policy.duration", meaning: "how long points are kept", default: "needed" },
    Key { name: "provision.basic.retention_policy.replication", meaning: "how many copies there are", default: "1" },
    Key {
        name: "provision.basic.retention_policy.shard_duration",
        meaning: "how much time a shard has, at most `duration`",
        default: "the server's",
    },
    Key {
        name: "provision.basic.retention_policy.default",
        meaning: "`true`: points go there that name no policy; one alone can be that",
        default: "false",
    },
    Key { name: "provision.basic.continuous_query", meaning: "what it computes on its own", default: "none" },
    Key { name: "provision.basic.continuous_query.name", meaning: "the query's name", default: "needed" },
    Key { name: "provision.basic.continuous_query.query", meaning: "the query itself", default: "needed" },
    Key {
        name: "provision.basic.continuous_query.resample",
        meaning: "how often it is computed, and for how far back",
        default: "none",
    },
];

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

/// What the table says.
#[derive(Debug, Default)]
pub struct Said {
    /// All of it; `None` where it is switched off, or something is wrong.
    pub provisioning: Option<Provisioning>,
    /// Whether something is over TLS.
    pub ssl: bool,
}

impl Provisioning {
    /// Reads the table `basic`; over TLS unless it says otherwise if `ssl`.
    pub fn read(keys: &mut Keys<'_>, server: &Server, ssl: bool) -> Said {
        let enabled = keys.boolean("enabled").unwrap_or(true);
        let address = keys.parsed("address", address::ADDRESS, Address::parse);
        let address = needed(keys, enabled, "address", address);
        let ssl = keys.boolean("ssl").unwrap_or(ssl);
        if ssl && address.as_ref().is_some_and(|address| !server.can_have_certificate(address)) {
            keys.refuse_key("address", address::UNCERTAIN[0], address::UNCERTAIN[1]);
        }
        let database = name(keys, "database");
        let database = needed(keys, enabled, "database", database);
        let reset = reset(keys);
        let retention_policies = retention_policies(keys);
        let continuous_queries = continuous_queries(keys);
        let read = || {
            Some(Self { address: address?, ssl, database: database?, reset, retention_policies, continuous_queries })
        };
        match Part::new(enabled, read()) {
            Part::On(provisioning) => Said { provisioning, ssl },
            Part::Off | Part::Missing => Said { provisioning: None, ssl },
        }
    }
}

/// The keys `reset_database` and `reset_host`.
fn reset(keys: &mut Keys<'_>) -> Reset {
    let is_asked_for = keys.boolean("reset_database").unwrap_or(false);
    let right = "a server's name of 1 to 255 characters without spaces or slashes";
    let host = keys.parsed("reset_host", right, |text| {
        let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '/';
        ((1..=255).contains(&text.chars().count()) && !text.contains(wrong)).then(|| text.to_owned())
    });
    match (is_asked_for, host) {
        (false, _) => Reset::Never,
        (true, Some(host)) => Reset::By(host),
        (true, None) => Reset::Nobody,
    }
}

fn retention_policies(keys: &mut Keys<'_>) -> Vec<RetentionPolicy> {
    let mut names = BTreeSet::new();
    let mut has_default = false;
    let policies = keys.tables("retention_policy", MAX_LISTED, |keys| {
        let name = own_name(keys, &mut names);
        let duration = keys.parsed("duration", KEPT, kept);
        let duration = keys.required("duration", duration);
        let replication = keys.integer("replication", 1, MAX_REPLICATION).unwrap_or(1);
        let shard_duration = keys.parsed("shard_duration", SHARD, length);
        // Nothing is as long as for ever.
        let length = |text: &Option<String>| {
            text.as_deref().map(|text| duration::parse_of_statement(text).unwrap_or(Duration::MAX))
        };
        if length(&shard_duration) > length(&duration) && duration.is_some() {
            keys.refuse_key("shard_duration", "a shard that has more time than is kept", "at most \"duration\"");
        }
        let default = keys.boolean("default").unwrap_or(false);
        if default && std::mem::replace(&mut has_default, true) {
            keys.refuse_key("default", "a second policy with \"default\"", "one of them");
        }
        Some(RetentionPolicy { name: name?, duration: duration?, replication, shard_duration, default })
    });
    policies.into_iter().flatten().flatten().collect()
}

fn continuous_queries(keys: &mut Keys<'_>) -> Vec<ContinuousQuery> {
    let mut names = BTreeSet::new();
    let queries = keys.tables("continuous_query", MAX_LISTED, |keys| {
        let name = own_name(keys, &mut names);
        let right = "a query as in \"SELECT mean(value) INTO cpu_1m FROM cpu GROUP BY time(1m)\"";
        let query = keys.parsed("query", right, |text| is_continuous(text).then(|| text.trim().to_owned()));
        let query = keys.required("query", query);
        let right = "\"EVERY 30s\", \"FOR 2m\" or \"EVERY 30s FOR 2m\"";
        let resample = keys.parsed("resample", right, resample);
        Some(ContinuousQuery { name: name?, query: query?, resample })
    });
    queries.into_iter().flatten().flatten().collect()
}

/// The key `name` of a table in a list, which no other has.
fn own_name(keys: &mut Keys<'_>, names: &mut BTreeSet<String>) -> Option<String> {
    let name = name(keys, "name");
    let name = keys.required("name", name)?;
    if !names.insert(name.clone()) {
        keys.refuse_key("name", format!("{} is another one's", keys.name("name")), "a name of its own");
    }
    Some(name)
}

/// How long points are kept, which stands in a statement as it is.
fn kept(text: &str) -> Option<String> {
    if text.eq_ignore_ascii_case("INF") { Some(text.to_owned()) } else { length(text) }
}

/// A length of time that is not too short for InfluxDB, which stands in a statement as it is.
fn length(text: &str) -> Option<String> {
    duration::parse_of_statement(text).filter(|length| *length >= LEAST_KEPT).map(|_| text.to_owned())
}

/// Whether a query has what those have that a server computes on its own.
fn is_continuous(text: &str) -> bool {
    let words: Vec<_> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
    let has_group = words.windows(3).any(|words| words[..2] == ["GROUP", "BY"]);
    words.first().is_some_and(|first| first == "SELECT") && words.iter().any(|word| word == "INTO") && has_group
}

/// `EVERY …`, `FOR …`, or both, which stand in a statement as they are.
fn resample(text: &str) -> Option<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let pairs: Vec<_> = words.chunks(2).collect();
    let is = |pair: &[&str], word: &str| {
        matches!(pair, [first, length] if first.eq_ignore_ascii_case(word)
            && duration::parse_of_statement(length).is_some_and(|length| !length.is_zero()))
    };
    let sound = match pairs.as_slice() {
        [one] => is(one, "EVERY") || is(one, "FOR"),
        [one, other] => is(one, "EVERY") && is(other, "FOR"),
        _ => false,
    };
    sound.then(|| words.join(" "))
}
