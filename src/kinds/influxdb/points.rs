//! The points that a type writes: `cpu,host=server-17,location=us-west value=123 1136214245000000000`.
//!
//! They are numbered, and all of a point follows from its number: with 100
//! series, the point 317 is the one of series 17 at tick 3. So they are made
//! when they are sent, made again when they are sent again, and nobody keeps
//! them: memory grows neither with points nor with series.
//!
//! What a point looks like is worked out once, as a list of parts; a point is
//! that list, gone through.

use std::num::NonZeroU64;
use std::ops::Range;

use super::digits::{self, Piece};
use super::line::{self, Part, Value};
use super::mix::below;
use super::stamp::Stamps;
use super::{Clock, Format, PointSettings, Precision};

/// The most bytes that are reserved before it is known that they are needed.
const MAX_RESERVED: usize = 64 << 20;
/// What jitter follows from beside the number; no field has it.
const JITTER: u64 = u64::MAX;

/// All points of a type; nothing in it changes, so threads can share it.
#[derive(Debug)]
pub struct Points {
    parts: Vec<Part>,
    /// How many points there are; `None`: no end, which only the present has.
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
    /// The last time stamp that there is, in units.
    last: i64,
    /// How time stamps are written.
    stamps: Stamps,
    /// The most bytes of a point.
    most: usize,
}

impl Points {
    /// The points of a type, as they are sent from the server named `host`.
    pub fn new(settings: &PointSettings, precision: Precision, format: Format, host: &str) -> Self {
        let parts = line::parts(settings, format, host);
        let series = settings.series_count.get();
        let tick = u64::try_from(settings.tick.as_nanos()).unwrap_or(u64::MAX);
        let said = settings.point_count.map(NonZeroU64::get);
        // Points beyond the end of time would all have the last stamp, and replace each other.
        let count = said.or_else(|| settings.start.map(|start| PointSettings::room(start, settings.tick)));
        Self {
            most: parts.iter().map(|part| part.text.len() + part.value.most(series)).sum(),
            parts,
            count: count.map(|count| count.saturating_mul(series)),
            series,
            start: settings.start.unwrap_or_default(),
            tick,
            // Whole units that a tick has: with what is left of it, two points of a series could share a stamp.
            jitter: if settings.jitter && settings.start.is_some() { tick / precision.unit() } else { 0 },
            unit: precision.unit().cast_signed(),
            last: i64::MAX / precision.unit().cast_signed(),
            stamps: Stamps::new(format, precision),
        }
    }

    /// How many there are, over all series; `None`: no end, as they are stamped with the present.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// The time stamp of a point, as it is written: in nanoseconds since 1970, a whole number of units.
    ///
    /// It is the clock's where there is one. What is beyond an `i64` becomes the last that isn't.
    pub fn stamp(&self, number: u64, clock: Option<&Clock>) -> i64 {
        let units = self.units(number, clock);
        let units = if clock.is_some() { units } else { self.moved(units, number) };
        units.saturating_mul(self.unit)
    }

    /// Appends the points of `numbers`, a line each (with Graphite, a line a field), every line with its end.
    ///
    /// The buffer grows at once by what these points may need at most, where it has no room for them.
    pub fn write(&self, numbers: Range<u64>, clock: Option<&Clock>, into: &mut Vec<u8>) {
        let count = usize::try_from(numbers.end.saturating_sub(numbers.start)).unwrap_or(usize::MAX);
        into.reserve(count.saturating_mul(self.most).min(MAX_RESERVED) + digits::ROOM);
        let has_jitter = self.jitter > 0 && clock.is_none();
        let mut stamp = Vec::with_capacity(Piece::MAX + digits::ROOM);
        let mut next = numbers.start;
        while next < numbers.end {
            let until = self.until(next, clock).min(numbers.end);
            let units = self.units(next, clock);
            let first_series = next - next % self.series;
            if has_jitter {
                let near = self.stamps.near(units, self.last);
                for number in next..until {
                    let by = below(self.jitter, number, JITTER);
                    self.point(number, number - first_series, |into| near.write(by, into), into);
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
        // Rounded down; but for the very first, as what is before it can't be said.
        nanos.div_euclid(self.unit).max(-self.last)
    }

    /// The first point after `number` that begins again with the series, or may have another stamp.
    fn until(&self, number: u64, clock: Option<&Clock>) -> u64 {
        let turn = (number - number % self.series).saturating_add(self.series);
        clock.map_or(turn, |clock| clock.run(number).1.end.min(turn))
    }

    /// The time stamp of a point with its jitter, in units since 1970.
    fn moved(&self, units: i64, number: u64) -> i64 {
        units.saturating_add_unsigned(below(self.jitter, number, JITTER)).min(self.last)
    }
}

#[cfg(test)]
mod tests;
