//! The values that change by hit, and where they come from.
//!
//! Whatever a hit's request has of one of them, in its URL, headers or body, is
//! the same, and none is worked out that is not asked for.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, Timelike, Utc};
use fastrand::Rng;

use super::rows::Rows;

/// Which row of a file is a hit's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RowOrder {
    /// That of its number, beginning again after the last.
    #[default]
    Turn,
    /// Any.
    Random,
}

/// The rows of a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What the file holds, once for all threads.
    pub rows: Arc<Rows>,
    /// Which of it is a hit's.
    pub order: RowOrder,
}

/// A value that changes by hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value {
    /// The hit's number.
    Number,
    /// A UUID that no other hit has.
    Uuid,
    /// The time, in seconds since 1970.
    Seconds,
    /// In milliseconds.
    Millis,
    /// In nanoseconds.
    Nanos,
    /// As RFC 3339 has it, in UTC, with milliseconds.
    Rfc3339,
    /// What the hit's row has in a column, in a form.
    Column(usize, Form),
    /// How long the body is.
    BodyLength,
}

/// What is done to a value that may be any text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Nothing.
    Plain,
    /// All but letters, digits and `-._~` is percent-encoded, as in a URL.
    Percent,
    /// Escaped as between the quotes of a JSON string.
    Json,
}

/// Where the values of a target's hits come from.
#[derive(Debug)]
pub struct Source {
    table: Option<Table>,
    random: RefCell<Random>,
}

/// Random numbers from two generators: one alone begins so few different series that, over many servers and days, two of
/// them would overlap.
#[derive(Debug)]
struct Random([Rng; 2]);

/// The values of one hit.
#[derive(Debug)]
pub struct Hit<'a> {
    source: &'a Source,
    number: u64,
    /// How long its body is, once that is known.
    pub body_length: usize,
    now: Option<Duration>,
    uuid: Option<[u8; 36]>,
    row: Option<usize>,
}

impl Source {
    /// Values with the rows of a file, where there is one, and random ones that nobody else has.
    pub fn new(table: Option<Table>) -> Self {
        // Its keys are the operating system's random numbers.
        let seed = || Rng::with_seed(RandomState::new().hash_one(0));
        Self { table, random: RefCell::new(Random([seed(), seed()])) }
    }

    /// The values of the hit of this number.
    pub const fn hit(&self, number: u64) -> Hit<'_> {
        Hit { source: self, number, body_length: 0, now: None, uuid: None, row: None }
    }
}

impl Hit<'_> {
    /// Writes a value.
    pub fn write(&mut self, value: Value, into: &mut Vec<u8>) {
        match value {
            Value::Number => decimal(self.number.into(), into),
            Value::BodyLength => decimal(self.body_length as u128, into),
            Value::Uuid => {
                let random = &self.source.random;
                into.extend_from_slice(self.uuid.get_or_insert_with(|| random.borrow_mut().uuid()));
            }
            Value::Seconds => decimal(self.now().as_secs().into(), into),
            Value::Millis => decimal(self.now().as_millis(), into),
            Value::Nanos => decimal(self.now().as_nanos(), into),
            Value::Rfc3339 => rfc3339(self.now(), into),
            Value::Column(column, form) => {
                let Some(table) = &self.source.table else { return };
                let random = &self.source.random;
                let number = self.number;
                let row = *self.row.get_or_insert_with(|| table.row(number, random));
                form.write(table.rows.value(row, column), into);
            }
        }
    }

    /// The time, of which a hit has but one. Before 1970 it is 0.
    fn now(&mut self) -> Duration {
        *self.now.get_or_insert_with(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl Table {
    fn row(&self, number: u64, random: &RefCell<Random>) -> usize {
        let rows = self.rows.count().max(1);
        match self.order {
            RowOrder::Turn => (number % rows as u64) as usize,
            RowOrder::Random => random.borrow_mut().0[0].usize(0..rows),
        }
    }
}

impl Random {
    /// A random UUID, version 4, as text.
    fn uuid(&mut self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let [high, low] = &mut self.0;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.u64(..).to_be_bytes());
        bytes[8..].copy_from_slice(&low.u64(..).to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in bytes.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&index) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 0xf)];
            at += 2;
        }
        text
    }
}

impl Form {
    fn write(self, value: &[u8], into: &mut Vec<u8>) {
        match self {
            Self::Plain => into.extend_from_slice(value),
            Self::Percent => {
                for byte in value {
                    match byte {
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(*byte),
                        _ => put(into, format_args!("%{byte:02X}")),
                    }
                }
            }
            Self::Json => {
                for byte in value {
                    match byte {
                        b'"' | b'\\' => into.extend_from_slice(&[b'\\', *byte]),
                        0..0x20 => put(into, format_args!("\\u{byte:04x}")),
                        _ => into.push(*byte),
                    }
                }
            }
        }
    }
}

fn rfc3339(since_1970: Duration, into: &mut Vec<u8>) {
    let nanos = i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX);
    let time = DateTime::<Utc>::from_timestamp_nanos(nanos);
    let (year, month, day) = (time.year(), time.month(), time.day());
    let (hour, minute, second, ms) = (time.hour(), time.minute(), time.second(), since_1970.subsec_millis());
    put(into, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"));
}

fn decimal(number: u128, into: &mut Vec<u8>) {
    put(into, format_args!("{number}"));
}

fn put(into: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    into.write_fmt(text).expect("a vector takes all that is written");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn source(csv: &str, order: RowOrder) -> Source {
        Source::new(Some(Table { rows: Arc::new(Rows::parse(csv.as_bytes()).unwrap()), order }))
    }

    fn text(hit: &mut Hit<'_>, value: Value) -> String {
        let mut text = Vec::new();
        hit.write(value, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_uuid_is_one_and_the_hits_own() {
        let sources = [Source::new(None), Source::new(None)];
        let mut seen = HashSet::new();
        for number in 0..20_000 {
            let mut hit = sources[number as usize % 2].hit(number / 2);
            let uuid = text(&mut hit, Value::Uuid);
            assert_eq!(text(&mut hit, Value::Uuid), uuid, "a hit has but one");
            let groups: Vec<_> = uuid.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{uuid}");
            assert!(uuid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')), "{uuid}");
            assert_eq!(uuid.as_bytes()[14], b'4', "{uuid}");
            assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
            assert!(seen.insert(uuid.clone()), "{uuid} came twice");
        }
    }

    #[test]
    fn times_are_one_moment() {
        let source = Source::new(None);
        let mut hit = source.hit(7);
        hit.now = Some(Duration::new(1_700_000_000, 23_456_789));
        assert_eq!(text(&mut hit, Value::Seconds), "1700000000");
        assert_eq!(text(&mut hit, Value::Millis), "1700000000023");
        assert_eq!(text(&mut hit, Value::Nanos), "1700000000023456789");
        assert_eq!(text(&mut hit, Value::Rfc3339), "2023-11-14T22:13:20.023Z");
        assert_eq!(text(&mut hit, Value::Number), "7");

        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let before = now();
        let seen: u128 = text(&mut source.hit(0), Value::Nanos).parse().unwrap();
        assert!((before..=now()).contains(&seen));
    }

    #[test]
    fn rows_are_taken_in_turn_or_at_random() {
        let in_turn = source("a\nx\ny\nz\n", RowOrder::Turn);
        let column = Value::Column(0, Form::Plain);
        let seen: String = (0..7).map(|number| text(&mut in_turn.hit(number), column)).collect();
        assert_eq!(seen, "xyzxyzx");

        let at_random = source("a,b\n0,0\n1,1\n2,2\n", RowOrder::Random);
        let mut counts = [0; 3];
        for number in 0..3000 {
            let mut hit = at_random.hit(number);
            let [a, b] = [0, 1].map(|column| text(&mut hit, Value::Column(column, Form::Plain)));
            assert_eq!(a, b, "a hit has but one row");
            counts[a.parse::<usize>().unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn values_take_the_form_of_where_they_stand() {
        #[track_caller]
        fn check(form: Form, value: &str, expect: &str) {
            let mut written = Vec::new();
            form.write(value.as_bytes(), &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), expect);
        }
        check(Form::Percent, "aZ09-._~", "aZ09-._~");
        check(Form::Percent, "a b/c?d=e&f#g%h+é\r\n", "a%20b%2Fc%3Fd%3De%26f%23g%25h%2B%C3%A9%0D%0A");
        check(Form::Json, "say \"é\\\"\r\n\t\u{1}", "say \\\"é\\\\\\\"\\u000d\\u000a\\u0009\\u0001");
        check(Form::Plain, "\"é\" /", "\"é\" /");
    }
}
