//! The points that a type writes: `cpu,host=server-17,location=us-west value=123 1136214245000000000`.
//!
//! They are numbered, and all of a point follows from its number: with 100
//! series, the point 317 is the one of series 17 at tick 3. So they are made
//! when they are sent, made again when they are sent again, and nobody keeps
//! them: memory grows neither with points nor with series.
//!
//! What a point looks like is worked out once, as a list of parts; a point is
//! that list, gone through.

use std::ops::Range;

use super::digits::{self, Piece};
use super::{Clock, FieldType, Format, PointSettings, Precision, spelling};

/// What stands for the name of this server in a tag's value.
pub const HOST: &str = "%host%";
/// The most bytes that are reserved before it is known that they are needed.
const MAX_RESERVED: usize = 64 << 20;
/// The most bytes of a time stamp: its sign, its digits, a point, the line's end.
const MAX_STAMP: usize = digits::MOST + 3;
/// What numbers are multiplied with, to make what follows from them look random: odd, of no pattern.
const MIXERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
/// What jitter follows from beside the number, as field 0, 1, 2, … do for values.
const JITTER: u64 = u64::MAX;

/// All points of a type; nothing in it changes, so threads can share it.
#[derive(Debug)]
pub struct Points {
    parts: Vec<Part>,
    /// How many points there are; `None`: no end.
    count: Option<u64>,
    /// How many series take turns, at least 1.
    series: u64,
    /// One tick before the first time stamp, in nanoseconds since 1970.
    start: i64,
    /// From one point of a series to the next, in nanoseconds.
    tick: u64,
    /// A point is moved by less than so many units; 0: by none.
    jitter: u64,
    /// The unit of time stamps, in nanoseconds.
    unit: i64,
    /// How time stamps are written.
    stamps: Stamps,
    /// The most bytes of a point.
    most: usize,
}

/// A text, and what comes after it.
#[derive(Debug)]
struct Part {
    text: Piece,
    value: Value,
}

/// What changes from point to point.
#[derive(Clone, Copy, Debug)]
enum Value {
    /// Nothing: the text goes on in the next part.
    Nothing,
    /// The number of the series.
    Series,
    /// 0 to 999.
    Number { salt: u64 },
    /// `true` or `false`.
    Truth { salt: u64 },
    /// 1 or 0.
    Bit { salt: u64 },
    /// The time stamp, and the end of the line.
    Stamp,
}

/// How time stamps are written.
#[derive(Clone, Copy, Debug)]
enum Stamps {
    /// In units.
    Units,
    /// In seconds, with decimals where one isn't whole.
    Seconds {
        /// How many units a second has: 1, or 10 so many times.
        units: u64,
    },
}

impl Points {
    /// The points of a type, as they are sent from the server named `host`.
    pub fn new(settings: &PointSettings, precision: Precision, format: Format, host: &str) -> Self {
        let (parts, stamps) = match format {
            Format::LineHttp | Format::LineUdp => (line_protocol(settings, host), Stamps::Units),
            Format::GraphiteTcp | Format::GraphiteUdp => {
                (graphite(settings, host), Stamps::Seconds { units: Precision::S.unit() / precision.unit() })
            }
        };
        let series = settings.series_count.get();
        let tick = u64::try_from(settings.tick.as_nanos()).unwrap_or(u64::MAX);
        Self {
            most: parts.iter().map(|part| part.text.len() + part.value.most(series)).sum(),
            parts,
            count: settings.point_count.map(|count| count.get().saturating_mul(series)),
            series,
            start: settings.start.unwrap_or_default(),
            tick,
            // Whole units that a tick has: with what is left of it, two points of a series could share a stamp.
            jitter: if settings.jitter && settings.start.is_some() { tick / precision.unit() } else { 0 },
            unit: precision.unit().cast_signed(),
            stamps,
        }
    }

    /// How many there are, over all series; `None`: no end.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// The time stamp of a point, as it is written: in nanoseconds since 1970, a whole number of units.
    ///
    /// It is the clock's where there is one. What is beyond an `i64` becomes the last that isn't.
    pub fn stamp(&self, number: u64, clock: Option<&Clock>) -> i64 {
        let jitter = if clock.is_some() { 0 } else { self.jitter(number) };
        self.units(number, clock).saturating_add_unsigned(jitter).saturating_mul(self.unit)
    }

    /// Appends the points of `numbers`, a line each (with Graphite, a line a field), every line with its end.
    ///
    /// The buffer grows at once by what these points may need at most, where it has no room for them.
    pub fn write(&self, numbers: Range<u64>, clock: Option<&Clock>, into: &mut Vec<u8>) {
        let count = usize::try_from(numbers.end.saturating_sub(numbers.start)).unwrap_or(usize::MAX);
        into.reserve(count.saturating_mul(self.most).min(MAX_RESERVED) + digits::ROOM);
        let has_jitter = self.jitter > 0 && clock.is_none();
        let mut stamp = Vec::with_capacity(MAX_STAMP + digits::ROOM);
        let mut next = numbers.start;
        while next < numbers.end {
            let until = self.until(next, clock).min(numbers.end);
            let units = self.units(next, clock);
            let first_series = next - next % self.series;
            if has_jitter {
                for number in next..until {
                    let units = units.saturating_add_unsigned(self.jitter(number));
                    self.point(number, number - first_series, |into| self.stamps.write(units, into), into);
                }
            } else {
                stamp.clear();
                self.stamps.write(units, &mut stamp);
                let stamp = Piece::new(&stamp);
                for number in next..until {
                    self.point(number, number - first_series, |into| stamp.write(into), into);
                }
            }
            next = until;
        }
    }

    /// Appends a point.
    #[inline(always)]
    fn point(&self, number: u64, series: u64, stamp: impl Fn(&mut Vec<u8>), into: &mut Vec<u8>) {
        for Part { text, value } in &self.parts {
            text.write(into);
            match *value {
                Value::Nothing => {}
                Value::Series => digits::number(series, into),
                Value::Number { salt } => digits::small(below(digits::SMALL, number, salt), into),
                Value::Truth { salt } => match below(2, number, salt) {
                    0 => into.extend_from_slice(b"false"),
                    _ => into.extend_from_slice(b"true"),
                },
                Value::Bit { salt } => digits::small(below(2, number, salt), into),
                Value::Stamp => stamp(into),
            }
        }
    }

    /// The time stamp of a point without its jitter, in units since 1970.
    fn units(&self, number: u64, clock: Option<&Clock>) -> i64 {
        let nanos = match clock {
            Some(clock) => clock.stamp(number),
            None => {
                let ticks = (number / self.series).saturating_add(1);
                self.start.saturating_add_unsigned(ticks.saturating_mul(self.tick))
            }
        };
        nanos.div_euclid(self.unit)
    }

    /// The first point after `number` that begins again with the series, or may have another stamp.
    fn until(&self, number: u64, clock: Option<&Clock>) -> u64 {
        let turn = (number - number % self.series).saturating_add(self.series);
        clock.map_or(turn, |clock| clock.run(number).1.end.min(turn))
    }

    /// By how many units a point is moved, where there is no clock.
    #[inline(always)]
    fn jitter(&self, number: u64) -> u64 {
        below(self.jitter, number, JITTER)
    }
}

impl Value {
    /// The most bytes that it has, with so many series.
    fn most(self, series: u64) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Series => (series - 1).checked_ilog10().map_or(1, |exponent| exponent as usize + 1),
            Self::Number { .. } => 3,
            Self::Truth { .. } => 5,
            Self::Bit { .. } => 1,
            Self::Stamp => MAX_STAMP,
        }
    }
}

impl Stamps {
    /// Appends a stamp of so many units since 1970, and the line's end.
    #[inline(always)]
    fn write(self, units: i64, into: &mut Vec<u8>) {
        if units < 0 {
            into.push(b'-');
        }
        match self {
            Self::Units => digits::number(units.unsigned_abs(), into),
            Self::Seconds { units: a_second } => {
                digits::number(units.unsigned_abs() / a_second, into);
                decimals(units.unsigned_abs() % a_second, a_second, into);
            }
        }
        into.push(b'\n');
    }
}

/// Puts parts together.
#[derive(Default)]
struct Draft {
    parts: Vec<Part>,
    /// What comes before the next value.
    text: String,
}

impl Draft {
    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn value(&mut self, value: Value) -> &mut Self {
        let text = std::mem::take(&mut self.text).into_bytes();
        let (mut text, mut rest) = text.split_at(text.len().min(Piece::MAX));
        while !rest.is_empty() {
            self.parts.push(Part { text: Piece::new(text), value: Value::Nothing });
            (text, rest) = rest.split_at(rest.len().min(Piece::MAX));
        }
        self.parts.push(Part { text: Piece::new(text), value });
        self
    }
}

/// `measurement,tag=value-SERIES,tag=value field=1,field=2i STAMP`
fn line_protocol(settings: &PointSettings, host: &str) -> Vec<Part> {
    let mut line = Draft::default();
    line.push(&spelling::measurement(&settings.measurement));
    for (index, tag) in settings.tags.iter().enumerate() {
        let value = tag.value.replace(HOST, host);
        line.push(",").push(&spelling::key(&tag.key)).push("=");
        match index {
            0 => line.push(&spelling::key(&format!("{value}-"))).value(Value::Series),
            _ => line.push(&spelling::key(&value)),
        };
    }
    for (index, field) in settings.fields.iter().enumerate() {
        line.push(if index == 0 { " " } else { "," }).push(&spelling::key(&field.key)).push("=");
        let salt = salt(index);
        match field.value {
            FieldType::Float64 => line.value(Value::Number { salt }),
            FieldType::Int => line.value(Value::Number { salt }).push("i"),
            FieldType::Bool => line.value(Value::Truth { salt }),
            FieldType::String => line.push("\"text-").value(Value::Number { salt }).push("\""),
        };
    }
    line.push(" ").value(Value::Stamp);
    line.parts
}

/// `value-SERIES.value.measurement.field 1 STAMP`, and the same for the next field.
///
/// The field's key is always there: with two fields it has to be, and so one template reads the lines of all types.
fn graphite(settings: &PointSettings, host: &str) -> Vec<Part> {
    let mut lines = Draft::default();
    for (index, field) in settings.fields.iter().enumerate() {
        for (index, tag) in settings.tags.iter().enumerate() {
            let value = spelling::node(&tag.value.replace(HOST, host));
            match index {
                0 => lines.push(&value).push("-").value(Value::Series).push("."),
                _ => lines.push(&value).push("."),
            };
        }
        lines.push(&spelling::node(&settings.measurement)).push(".").push(&spelling::node(&field.key)).push(" ");
        let salt = salt(index);
        let value = match field.value {
            // Texts are refused where the type is read; a number is what can stand in their place.
            FieldType::Float64 | FieldType::Int | FieldType::String => Value::Number { salt },
            FieldType::Bool => Value::Bit { salt },
        };
        lines.value(value).push(" ").value(Value::Stamp);
    }
    lines.parts
}

/// What makes the values of a field others than those of its neighbours.
fn salt(field: usize) -> u64 {
    MIXERS[0].wrapping_mul(field as u64 + 1)
}

/// A number below `end`, or 0: the same one for the same number and salt, and any for others.
#[inline(always)]
fn below(end: u64, number: u64, salt: u64) -> u64 {
    let mixed = (number ^ salt).wrapping_mul(MIXERS[0]);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(MIXERS[1]);
    // The part of `end` that `mixed` is of all that it could be: without a division.
    ((u128::from(mixed) * u128::from(end)) >> 64) as u64
}

/// Appends `.` and the decimals that `part` of `whole`, 10 so many times, has; nothing where there are none.
fn decimals(mut part: u64, mut whole: u64, into: &mut Vec<u8>) {
    if part > 0 {
        into.push(b'.');
    }
    while part > 0 {
        whole /= 10;
        into.push(b'0' + (part / whole) as u8);
        part %= whole;
    }
}
