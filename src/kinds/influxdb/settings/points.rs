//! What the points are.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use super::writing::Precision;
use super::{MAX_NAME, Part, date, duration, needed};
use crate::fault::nearest;
use crate::keys::Keys;
use crate::page::Key;

/// The most points of a series: with as many series as there can be, they can still be counted.
const MAX_POINTS: u64 = 10_000_000_000;
/// The most series. They are not kept in memory, but the database has each in its index.
const MAX_SERIES: u64 = 100_000_000;
/// The most tags, and the most fields, of a point.
const MAX_KEYS: usize = 100;
/// From one point of a series to the next.
const TICK: Duration = Duration::from_secs(10);
/// What a part of a point takes.
const PART: &str = "a text of 1 to 256 bytes, without control characters, that doesn't end in a backslash";

/// What [`Said::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "write.point_generator.basic.enabled", meaning: "`false`: nothing is written", default: "`true`" },
    Key {
        name: "write.point_generator.basic.point_count",
        meaning: "how many points each series gets; then the writer is done",
        default: "no end; with a `start_date`, as many as have a time stamp",
    },
    Key { name: "write.point_generator.basic.series_count", meaning: "how many series there are", default: "`1`" },
    Key {
        name: "write.point_generator.basic.tick",
        meaning: "from one point of a series to the next, in time stamps; at least a unit of `precision`",
        default: "`\"10s\"`",
    },
    Key {
        name: "write.point_generator.basic.jitter",
        meaning: "`true`: each point is later by less than a tick",
        default: "`false`",
    },
    Key { name: "write.point_generator.basic.measurement", meaning: "the measurement", default: "needed" },
    Key {
        name: "write.point_generator.basic.start_date",
        meaning: "one tick before the first time stamp, in UTC; `\"now\"`: points are stamped with the present",
        default: "`\"now\"`",
    },
    Key {
        name: "write.point_generator.basic.precision",
        meaning: "the client's, where that doesn't say it",
        default: "the client's",
    },
    Key {
        name: "write.point_generator.basic.tag",
        meaning: "a tag; the first one's value is numbered by series, as in `server-17`",
        default: "none",
    },
    Key { name: "write.point_generator.basic.tag.key", meaning: "its key", default: "needed" },
    Key {
        name: "write.point_generator.basic.tag.value",
        meaning: "its value, in which `%host%` is this server's name",
        default: "needed",
    },
    Key { name: "write.point_generator.basic.field", meaning: "a field; there has to be one", default: "needed" },
    Key { name: "write.point_generator.basic.field.key", meaning: "its key", default: "needed" },
    Key { name: "write.point_generator.basic.field.value", meaning: "what its values are", default: "needed" },
    Key { name: "write.point_generator.basic.field.type", meaning: "the same by another name", default: "none" },
];

/// `[write.point_generator.basic]`
#[derive(Clone, Debug, PartialEq)]
pub struct PointSettings {
    /// How many points each series gets; `None`: no end, or with a start, as many as have a time stamp.
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
    /// The tags, in order; the first one's value is numbered by series. More than one series have at least one.
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

/// What the client says that points have to go with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// Its unit of time stamps, where it names one.
    pub precision: Option<Precision>,
    /// Whether it speaks Graphite's protocol.
    pub is_graphite: bool,
}

/// What the table says.
#[derive(Debug)]
pub struct Said {
    /// What the points are.
    pub points: PointSettings,
    /// Their unit of time stamps, if the client names none.
    pub precision: Option<Precision>,
}

impl Said {
    /// Reads the table `basic`, for points that `client` sends.
    pub fn read(keys: &mut Keys<'_>, client: Client) -> Part<Self> {
        let enabled = keys.boolean("enabled").unwrap_or(true);
        let point_count = keys.integer("point_count", 1, MAX_POINTS).and_then(NonZeroU64::new);
        let series_count = keys.integer("series_count", 1, MAX_SERIES).and_then(NonZeroU64::new);
        let series_count = series_count.unwrap_or(NonZeroU64::MIN);
        let precision = precision(keys, client);
        let tick = tick(keys, client.precision.or(precision).unwrap_or(Precision::default_for(client.is_graphite)));
        let jitter = keys.boolean("jitter").unwrap_or(false);
        let measurement = keys.explained("measurement", PART, |text| {
            part(text, |text| !text.starts_with('#'), "no # first, as that line would be a comment")
        });
        let measurement = needed(keys, enabled, "measurement", measurement);
        let start = keys.parsed("start_date", date::DATE, date::parse).flatten();
        check_end(keys, start, tick, point_count, client);
        let tags = tags(keys);
        if series_count.get() > 1 && tags.as_ref().is_some_and(Vec::is_empty) {
            let right = "a [[write.point_generator.basic.tag]], whose value is numbered by series; or one series";
            keys.refuse_key("series_count", "several series and no tag that tells them apart", right);
        }
        let has_fields = keys.has("field");
        let fields = fields(keys, client.is_graphite);
        // Of one that is wrong, that was said.
        let fields = needed(keys, enabled && !has_fields, "field", fields);
        let points = || {
            let (measurement, tags, fields) = (measurement?, tags?, fields?);
            let points = PointSettings { point_count, series_count, tick, jitter, measurement, start, tags, fields };
            Some(Self { points, precision })
        };
        Part::new(enabled, points())
    }
}

impl PointSettings {
    /// How many points of a series have a time stamp, a tick after `start` and from there on, with whatever jitter:
    /// InfluxDB has none beyond the year 2262, and not the last that an `i64` has.
    pub(in crate::kinds::influxdb) fn room(start: i64, tick: Duration) -> u64 {
        let room = u128::from(i64::MAX.abs_diff(start)) / tick.as_nanos().max(1);
        u64::try_from(room).unwrap_or(u64::MAX).saturating_sub(1)
    }
}

/// The key `precision`, which says what the client's says.
fn precision(keys: &mut Keys<'_>, client: Client) -> Option<Precision> {
    let precision = Precision::read(keys, client.is_graphite)?;
    if client.precision.is_some_and(|other| other != precision) {
        let seen = "a precision other than that of [write.influx_client.basic]";
        keys.refuse_key("precision", seen, "the same in both, or that one alone");
    }
    Some(precision)
}

/// The key `tick`.
fn tick(keys: &mut Keys<'_>, precision: Precision) -> Duration {
    let Some(tick) = duration::read(keys, "tick", "1ns", "8760h") else { return TICK };
    if tick < Duration::from_nanos(precision.unit()) {
        let right = format!("at least \"1{}\", or a finer \"precision\"", precision.name_in_v2());
        keys.refuse_key("tick", "a tick of less than a unit of the precision", right);
    }
    tick
}

/// Refuses time stamps that nobody can have.
fn check_end(keys: &mut Keys<'_>, start: Option<i64>, tick: Duration, points: Option<NonZeroU64>, client: Client) {
    let Some(start) = start else { return };
    if points.map_or(1, NonZeroU64::get) > PointSettings::room(start, tick) {
        let seen = "time stamps that end beyond the year 2262";
        keys.refuse_key("start_date", seen, "an earlier date, a shorter \"tick\", or a lower \"point_count\"");
    }
    if start < 0 && client.is_graphite {
        keys.refuse_key("start_date", "a date before 1970 for Graphite", "1970, or later");
    }
}

/// The list `tag`; `None` where something in it is wrong.
fn tags(keys: &mut Keys<'_>) -> Option<Vec<Tag>> {
    let has_tags = keys.has("tag");
    let mut others = BTreeSet::new();
    let tags = keys.tables("tag", MAX_KEYS, |keys| {
        let key = own_key(keys, &mut others);
        let value = keys.explained("value", PART, |text| part(text, |_| true, "").and_then(host));
        let value = keys.required("value", value);
        Some(Tag { key: key?, value: value? })
    });
    if has_tags { tags?.into_iter().collect() } else { Some(Vec::new()) }
}

/// The list `field`.
fn fields(keys: &mut Keys<'_>, is_graphite: bool) -> Option<Vec<Field>> {
    let mut others = BTreeSet::new();
    let fields = keys.tables("field", MAX_KEYS, |keys| {
        let key = own_key(keys, &mut others);
        let [has_value, has_type] = ["value", "type"].map(|key| keys.has(key));
        let [value, named] = ["value", "type"].map(|key| keys.choice(key, FieldType::NAMES));
        if has_value && has_type {
            keys.refuse_key("type", "\"value\" and \"type\", which are the same", "one of them");
        }
        let of = if has_type { "type" } else { "value" };
        let value = keys.required(of, value.or(named));
        if is_graphite && value == Some(FieldType::String) {
            keys.refuse_key(
                of,
                "a field of text for Graphite, which has numbers alone",
                "another type, or a \"format\" of lines",
            );
        }
        Some(Field { key: key?, value: value? })
    });
    fields?.into_iter().collect()
}

impl FieldType {
    /// The values of the key `value` of a field.
    const NAMES: &[(&str, Self)] =
        &[("float64", Self::Float64), ("int", Self::Int), ("bool", Self::Bool), ("string", Self::String)];
}

/// The key `key` of a tag or field, which no other one has.
fn own_key(keys: &mut Keys<'_>, others: &mut BTreeSet<String>) -> Option<String> {
    let right = "another name, as \"time\" is the time stamp's";
    let key = keys.explained("key", PART, |text| part(text, |text| text != "time", right));
    let key = keys.required("key", key)?;
    if !others.insert(key.clone()) {
        keys.refuse_key("key", format!("{} is another one's", keys.name("key")), "a key of its own");
    }
    Some(key)
}

/// A text that can be a part of a point, and is `sound` besides; else what would be right.
fn part(text: &str, sound: impl FnOnce(&str) -> bool, right: &str) -> Result<String, String> {
    // A backslash at the end would escape what comes behind it, and can't be escaped itself.
    let is_part = (1..=MAX_NAME).contains(&text.len()) && !text.contains(char::is_control) && !text.ends_with('\\');
    match is_part {
        true if sound(text) => Ok(text.to_owned()),
        true => Err(right.to_owned()),
        false => Err(PART.to_owned()),
    }
}

/// The value of a tag, unless it has what looks like `%host%` and isn't.
fn host(value: String) -> Result<String, String> {
    let pieces: Vec<_> = value.split('%').collect();
    let between = pieces.get(1..pieces.len() - 1).unwrap_or_default();
    match between.iter().any(|word| *word != "host" && nearest(word, ["host"]).is_some()) {
        true => Err(String::from("%host% for this server's name")),
        false => Ok(value),
    }
}
