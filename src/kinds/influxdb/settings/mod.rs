//! What a type of this kind says: a `stress.toml`, and what goes beyond it.
//!
//! A table that isn't there, or says `enabled = false`, leaves its part out;
//! its keys are looked at all the same, so that a part that is switched on
//! again is as sound as it was. Points and the client that sends them belong
//! together, as do queries and theirs.

mod address;
mod date;
mod duration;
mod points;
mod provisioning;
mod reading;
mod template;
#[cfg(test)]
mod tests;
mod writing;

use std::time::Duration;

use hyper::header::HeaderValue;

pub use address::Address;
pub use points::{Field, FieldType, PointSettings, Tag};
pub use provisioning::{ContinuousQuery, Provisioning, Reset, RetentionPolicy};
pub use reading::Reading;
pub use template::{Piece, Variable, pieces};
pub use writing::{Api, Client, Consistency, Format, Precision, Writing};

use crate::credentials;
use crate::keys::Keys;
use crate::kinds::{dial, timeout};
use crate::page::Key;

/// The most bytes of a name, or of a tag's value.
const MAX_NAME: usize = 256;
/// What a name takes.
const NAME: &str = "a name of 1 to 256 bytes, without control characters";
/// The most hits in flight that can be asked for.
const MAX_CONCURRENCY: u64 = 10_000;

/// The least that a type of this kind says, a key a line.
pub const LEAST: &str = "kind = \"influxdb\"
write.point_generator.basic.measurement = \"cpu\"
write.point_generator.basic.field = [{ key = \"value\", value = \"float64\" }]
write.influx_client.basic.addresses = [\"host:1\"]
write.influx_client.basic.database = \"lab\"";

/// What a type of this kind can say.
pub const KEYS: &[&[Key]] =
    &[provisioning::KEYS, points::KEYS, writing::KEYS, reading::KEYS, CREDENTIALS_KEYS, dial::KEYS];

/// What says who asks.
const CREDENTIALS_KEYS: &[Key] = &[
    Key { name: "user", meaning: "who writes, reads and provisions; needs `password_file`", default: "none" },
    Key { name: "password_file", meaning: "the file that has the password, in one line", default: "none" },
    Key {
        name: "token_file",
        meaning: "the file that has a token, in one line, in place of user and password",
        default: "none",
    },
];

/// A type; two that are equal do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
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
    /// The header `Authorization`, where there are credentials. It is in no debug output.
    pub authorization: Option<HeaderValue>,
    /// How long a hit, or a statement of the provisioner, may take.
    pub timeout: Duration,
    /// How connections are got.
    pub dial: dial::Settings,
}

/// A table of the file: what it says, if it is there and isn't switched off.
#[derive(Debug)]
enum Part<T> {
    Missing,
    Off,
    /// `None`: something in it is wrong, which was said.
    On(Option<T>),
}

impl Settings {
    /// Reads the kind's own keys, and the files that they name; `None` when anything is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        if keys.was_read("overtime") {
            let right = "\"concurrency\" in [write.influx_client.basic] and [read.query_client.basic], which is the same \
                         for this kind";
            keys.refuse_key("overtime", "\"overtime\" in a type of the kind \"influxdb\"", right);
        }
        let has_token = keys.has("token_file");
        let server = Server::read(keys);
        let write = keys.table("write", |keys| writing::Said::read(keys, &server, has_token)).unwrap_or_default();
        let (ssl, writes) = (write.ssl, write.writes);
        let read = keys.table("read", |keys| reading::Said::read(keys, &server, ssl, writes)).unwrap_or_default();
        let provisioning = keys.table("provision", |keys| {
            keys.table("basic", |keys| Provisioning::read(keys, &server, ssl)).unwrap_or_default()
        });
        let (reads, provision) = (read.reads, provisioning.unwrap_or_default());
        if !ssl && !read.ssl && !provision.ssl {
            refuse_tls_keys(keys, &server.dial);
        }
        if keys.is_sound() && !writes && !reads {
            let right = "[write.point_generator.basic] with [write.influx_client.basic], or [read.query_generator.basic] \
                         with [read.query_client.basic], without \"enabled = false\"";
            keys.refuse("nothing to write, and nothing to read", right);
        }
        let (writing, reading, provisioning) = (write.writing, read.reading, provision.provisioning);
        keys.is_sound().then_some(Self { provisioning, writing, reading, server })
    }
}

impl Server {
    fn read(keys: &mut Keys<'_>) -> Self {
        Self {
            authorization: credentials::user_or_token(keys),
            timeout: timeout(keys),
            dial: dial::Settings::read(keys),
        }
    }

    /// Whether a certificate can be of the server at `address`.
    fn can_have_certificate(&self, address: &Address) -> bool {
        self.dial.server_name.is_some() || address.host.server_name().is_ok()
    }
}

/// Refuses what speaks of TLS where nothing is over TLS: who believes that it is encrypted would be wrong.
fn refuse_tls_keys(keys: &mut Keys<'_>, dial: &dial::Settings) {
    let said = [
        ("insecure", dial.insecure),
        ("ca_file", dial.authorities.is_some()),
        ("certificate_file", dial.identity.is_some()),
        ("server_name", dial.server_name.is_some()),
    ];
    if let Some((key, _)) = said.into_iter().find(|(_, is_said)| *is_said) {
        keys.refuse_key(key, format!("\"{key}\" without \"ssl\""), "\"ssl = true\", or none of the keys for TLS");
    }
}

impl<T> Part<T> {
    /// What `read` makes of a table.
    fn new(enabled: bool, read: Option<T>) -> Self {
        if enabled { Self::On(read) } else { Self::Off }
    }

    /// Both of two tables that do nothing alone: `None` where one of them is off, or something is wrong; and whether
    /// both are on. `names` are theirs in the table that is being read, as in `influx_client`.
    fn with<U>(self, other: Part<U>, keys: &mut Keys<'_>, names: [&str; 2]) -> (Option<(T, U)>, bool) {
        let mut refuse = |missing: &str, there: &str| {
            let [missing, there] = [missing, there].map(|name| format!("[{}.basic]", keys.name(name).replace('"', "")));
            keys.refuse(format!("{there} without {missing}"), "both of them, or \"enabled = false\" in the one");
            (None, false)
        };
        match (self, other) {
            (Self::On(one), Part::On(other)) => (one.zip(other), true),
            (Self::On(_), Part::Missing) => refuse(names[1], names[0]),
            (Self::Missing, Part::On(_)) => refuse(names[0], names[1]),
            _ => (None, false),
        }
    }
}

impl<T> From<Option<Option<Part<T>>>> for Part<T> {
    /// The table within a table, as far as there is one.
    fn from(table: Option<Option<Self>>) -> Self {
        table.flatten().unwrap_or(Self::Missing)
    }
}

/// Whether that can be a name.
fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.contains(char::is_control)
}

/// A name.
fn name(keys: &mut Keys<'_>, key: &'static str) -> Option<String> {
    keys.parsed(key, NAME, |text| is_name(text).then(|| text.to_owned()))
}

/// The key `concurrency`: the most hits in flight.
fn concurrency(keys: &mut Keys<'_>) -> u32 {
    keys.integer("concurrency", 1, MAX_CONCURRENCY).and_then(|most| u32::try_from(most).ok()).unwrap_or(1)
}

/// Says that a key can't be left out, unless its table is switched off.
fn needed<T>(keys: &mut Keys<'_>, enabled: bool, key: &'static str, value: Option<T>) -> Option<T> {
    if enabled { keys.required(key, value) } else { value }
}
