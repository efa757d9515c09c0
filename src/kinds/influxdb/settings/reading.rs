//! The reader: what is asked, whom, and how often.

use std::num::NonZeroU64;
use std::time::Duration;

use super::template::{self, Variable};
use super::{Address, Part, Server, address, concurrency, duration, name, needed};
use crate::keys::Keys;
use crate::page::Key;

/// The most different queries.
const MAX_QUERIES: u64 = 1_000_000_000;
/// From one query to the next, unless the type says.
const INTERVAL: Duration = Duration::from_millis(100);
/// What `query_interval` takes: as often as a test can hit, or once a minute.
const INTERVALS: &str = "a time with its unit, as in \"100ms\" or \"1m30s\", from 1us to 1m";

/// What [`Said::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "read.query_generator.basic.enabled", meaning: "`false`: nothing is read", default: "`true`" },
    Key {
        name: "read.query_generator.basic.template",
        meaning: "the query, in which `%v`, `%now%` and `%time%` change",
        default: "needed",
    },
    Key {
        name: "read.query_generator.basic.query_count",
        meaning: "how many different queries there are: `%v` is a number from 0 to less than this, in turn",
        default: "needed with `%v`",
    },
    Key { name: "read.query_client.basic.enabled", meaning: "`false`: nothing is read", default: "`true`" },
    Key {
        name: "read.query_client.basic.addresses",
        meaning: "the servers, which queries go to in turn",
        default: "needed",
    },
    Key {
        name: "read.query_client.basic.address",
        meaning: "the same for a single one, as older files of influx_stress have it",
        default: "none",
    },
    Key { name: "read.query_client.basic.ssl", meaning: "`true`: over TLS", default: "the writer's" },
    Key { name: "read.query_client.basic.database", meaning: "the database that is asked", default: "needed" },
    Key {
        name: "read.query_client.basic.query_interval",
        meaning: "from one query to the next: 60 s divided by this are the hits a minute of `NAME.read`",
        default: "`\"100ms\"`",
    },
    Key {
        name: "read.query_client.basic.concurrency",
        meaning: "the most queries on their way, which is the `overtime` of `NAME.read`",
        default: "`1`",
    },
];

/// The reader: `[read.query_generator.basic]` and `[read.query_client.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The query, with its variables as they are written; all of them are known.
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

/// What the table `read` says.
#[derive(Debug, Default)]
pub struct Said {
    /// All of it; `None` where it is switched off, or something is wrong.
    pub reading: Option<Reading>,
    /// Whether something is read.
    pub reads: bool,
    /// Whether that is over TLS.
    pub ssl: bool,
}

struct Generator {
    template: String,
    query_count: NonZeroU64,
}

struct Client {
    addresses: Vec<Address>,
    database: String,
    query_interval: Duration,
    concurrency: u32,
}

impl Said {
    /// Reads the table `read`, for servers that are spoken to like this, over TLS unless it says otherwise if `ssl`;
    /// `writes`: something is written, too.
    pub fn read(keys: &mut Keys<'_>, server: &Server, mut ssl: bool, writes: bool) -> Self {
        let generator = keys.table("query_generator", |keys| keys.table("basic", |keys| Generator::read(keys, writes)));
        let client =
            keys.table("query_client", |keys| keys.table("basic", |keys| Client::read(keys, server, &mut ssl)));
        let (generator, client) = (Part::from(generator), Part::from(client));
        let (both, reads) = generator.with(client, keys, ["query_generator", "query_client"]);
        let reading = both.map(|(generator, client)| {
            let Generator { template, query_count } = generator;
            let Client { addresses, database, query_interval, concurrency } = client;
            Reading { template, query_count, addresses, ssl, database, query_interval, concurrency }
        });
        Self { reading, reads, ssl }
    }
}

impl Generator {
    fn read(keys: &mut Keys<'_>, writes: bool) -> Part<Self> {
        let enabled = keys.boolean("enabled").unwrap_or(true);
        let right = "a query, in which %v is a number, %now% the present and %time% the writer's newest time stamp";
        let mut variables = Vec::new();
        let template = keys.explained("template", right, |text| {
            variables = template::variables(text)?;
            if text.trim().is_empty() { Err(right.to_owned()) } else { Ok(text.to_owned()) }
        });
        let template = needed(keys, enabled, "template", template);
        if enabled && !writes && variables.contains(&Variable::Time) {
            let right = "a writer, whose newest time stamp that is, or %now%, the present";
            keys.refuse_key("template", "%time% in a query, and nothing is written", right);
        }
        let query_count = keys.integer("query_count", 1, MAX_QUERIES).and_then(NonZeroU64::new);
        // What has no number is always the same.
        let query_count = match variables.contains(&Variable::Number) {
            true => needed(keys, enabled, "query_count", query_count),
            false => Some(query_count.unwrap_or(NonZeroU64::MIN)),
        };
        let read = || Some(Self { template: template?, query_count: query_count? });
        Part::new(enabled, read())
    }
}

impl Client {
    fn read(keys: &mut Keys<'_>, server: &Server, ssl: &mut bool) -> Part<Self> {
        let enabled = keys.boolean("enabled").unwrap_or(true);
        let [has_list, has_one] = ["addresses", "address"].map(|key| keys.has(key));
        let list = Address::list(keys, "addresses");
        let one = keys.parsed("address", address::ADDRESS, Address::parse);
        if has_list && has_one {
            keys.refuse_key("address", "\"address\" beside \"addresses\"", "one of them");
        }
        let addresses = list.or(one.map(|one| vec![one]));
        let addresses = needed(keys, enabled && !has_one, "addresses", addresses);
        *ssl = keys.boolean("ssl").unwrap_or(*ssl);
        if *ssl && addresses.iter().flatten().any(|address| !server.can_have_certificate(address)) {
            let key = if has_one { "address" } else { "addresses" };
            keys.refuse_key(key, address::UNCERTAIN[0], address::UNCERTAIN[1]);
        }
        let database = name(keys, "database");
        let database = needed(keys, enabled, "database", database);
        let query_interval = query_interval(keys);
        let concurrency = concurrency(keys);
        let read = || Some(Self { addresses: addresses?, database: database?, query_interval, concurrency });
        Part::new(enabled, read())
    }
}

/// The key `query_interval`.
fn query_interval(keys: &mut Keys<'_>) -> Duration {
    let interval = keys.explained("query_interval", INTERVALS, |text| match duration::parse(text) {
        Some(interval) if interval.is_zero() => {
            Err(String::from("more than none: it says how often is asked, as nothing else does; 1us is the least"))
        }
        Some(interval) if (Duration::from_micros(1)..=Duration::from_secs(60)).contains(&interval) => Ok(interval),
        _ => Err(INTERVALS.to_owned()),
    });
    interval.unwrap_or(INTERVAL)
}

impl Reading {
    /// Queries a minute: as many as their interval gives, at least one.
    pub fn frequency(&self) -> u64 {
        let minute = Duration::from_secs(60).as_nanos();
        u64::try_from(minute / self.query_interval.as_nanos().max(1)).unwrap_or(u64::MAX).max(1)
    }
}
