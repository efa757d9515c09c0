//! What the points are.

use std::cell::{Cell, RefCell};
use std::fmt;

use crate::hostname::hostname;
use crate::kinds::influxdb::session::now;
use crate::kinds::influxdb::{Clock, Format, PointSettings, Points, Precision};

/// Generates points, one after the other.
///
/// ```
/// use canihaz::influxdb::PointGenerator;
///
/// /// The temperature of a kettle, each second, until it boils.
/// struct Kettle {
///     degrees: i64,
/// }
///
/// impl PointGenerator for Kettle {
///     fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
///         self.degrees += 1;
///         lines.extend_from_slice(format!("kettle,room=kitchen degrees={}i {}", self.degrees, self.time()).as_bytes());
///         self.degrees < 100
///     }
///
///     fn time(&self) -> i64 {
///         1_700_000_000_000_000_000 + self.degrees * 1_000_000_000
///     }
/// }
///
/// let (mut kettle, mut lines) = (Kettle { degrees: 97 }, Vec::new());
/// assert_eq!(kettle.generate_many(10, &mut lines), 2);
/// assert!(lines.starts_with(b"kettle,room=kitchen degrees=98i 1700000098000000000\n"));
/// ```
pub trait PointGenerator {
    /// Appends the next point to `lines`, as a line of the client's format, with or without its end; `false` when there
    /// are none left: what was appended then is cut off again, and it is not called any more.
    ///
    /// What was in `lines` before is other points, and has to stay. Points of the same series should not share a time
    /// stamp: the later one would replace the earlier.
    fn generate(&mut self, lines: &mut Vec<u8>) -> bool;

    /// The newest time stamp of the points that were generated, in nanoseconds since 1970 (UTC); before the first of
    /// them, whatever comes near.
    fn time(&self) -> i64;

    /// Appends at most `most` points, each a line with its end, and gives back how many: fewer where there are none left.
    fn generate_many(&mut self, most: u64, lines: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        while count < most {
            let before = lines.len();
            if !self.generate(lines) || lines.len() <= before {
                lines.truncate(before);
                break;
            }
            if lines.last() != Some(&b'\n') {
                lines.push(b'\n');
            }
            count += 1;
        }
        count
    }
}

/// Where a client takes points from. Nothing waits in it: they are generated when they are taken.
pub struct PointSource<'a> {
    generator: RefCell<&'a mut dyn PointGenerator>,
    is_dry: Cell<bool>,
}

/// The points of a type of influx_stress: as many in each of so many series, a tick from one to the next; or, without
/// a start, stamped with the present.
///
/// The same settings make the same points. It needs some 100 bytes, whatever the settings are, and no allocation a
/// point.
#[derive(Debug)]
pub struct BasicPointGenerator {
    points: Points,
    series: u64,
    unit: u64,
    /// The number of the next point.
    next: u64,
    /// What the stamps follow where it isn't the number.
    present: Option<Present>,
    start: Option<i64>,
}

/// The newest stamp that was given, of points that are stamped with the present.
#[derive(Clone, Copy, Debug)]
struct Present {
    stamp: i64,
    /// The first point that has it.
    since: u64,
}

impl<'a> PointSource<'a> {
    /// The points of `generator`.
    pub fn new(generator: &'a mut dyn PointGenerator) -> Self {
        Self { generator: RefCell::new(generator), is_dry: Cell::new(false) }
    }

    /// Appends at most `most` points to `lines`, and gives back how many: 0 when there are none left.
    pub fn take(&self, most: u64, lines: &mut Vec<u8>) -> u64 {
        if self.is_dry.get() {
            return 0;
        }
        let count = self.generator.borrow_mut().generate_many(most, lines);
        self.is_dry.set(count < most);
        count
    }

    /// Whether there are known to be none left.
    pub(super) fn is_dry(&self) -> bool {
        self.is_dry.get()
    }

    /// The newest time stamp of the points that were generated, in nanoseconds since 1970.
    pub fn time(&self) -> i64 {
        self.generator.borrow().time()
    }
}

impl fmt::Debug for PointSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PointSource").field("is_dry", &self.is_dry).finish_non_exhaustive()
    }
}

impl BasicPointGenerator {
    /// The points that `settings` tell of, with the precision and in the format of the client that is to send them.
    pub fn new(settings: &PointSettings, precision: Precision, format: Format) -> Self {
        Self {
            points: Points::new(settings, precision, format, &hostname()),
            series: settings.series_count.get(),
            unit: precision.unit(),
            next: 0,
            present: None,
            start: settings.start,
        }
    }

    /// How many points there are, over all series; `None`: no end, as they are stamped with the present.
    pub fn count(&self) -> Option<u64> {
        self.points.count()
    }

    /// The clock of the next `count` points, where they are stamped with the present.
    fn clock(&mut self, count: u64, now: i64) -> Option<Clock> {
        if self.start.is_some() {
            return None;
        }
        let unit = self.unit.cast_signed();
        let present = now - now.rem_euclid(unit);
        let base = match self.present {
            Some(newest) if present <= newest.stamp => {
                // The newest stamp serves as long as no series has its turn again.
                let is_free = self.next - newest.since + count <= self.series;
                if is_free { newest.stamp } else { newest.stamp.saturating_add(unit) }
            }
            _ => present,
        };
        let gap = Clock::least_gap(count, self.series, self.unit);
        let clock = Clock { first: self.next, base, batch: count, gap, series: self.series, step: self.unit };
        let last_turn = self.next + (count - 1) / self.series * self.series;
        let stamp = clock.stamp(last_turn);
        match &self.present {
            Some(newest) if newest.stamp == stamp => {}
            _ => self.present = Some(Present { stamp, since: last_turn }),
        }
        Some(clock)
    }

    fn generate_at(&mut self, now: i64, most: u64, lines: &mut Vec<u8>) -> u64 {
        let left = self.count().map_or(u64::MAX, |count| count.saturating_sub(self.next));
        let count = most.min(left);
        if count > 0 {
            let clock = self.clock(count, now);
            self.points.write(self.next..self.next + count, clock.as_ref(), lines);
            self.next += count;
        }
        count
    }
}

impl PointGenerator for BasicPointGenerator {
    fn generate(&mut self, lines: &mut Vec<u8>) -> bool {
        self.generate_many(1, lines) > 0
    }

    fn time(&self) -> i64 {
        match (self.start, self.present) {
            (Some(start), _) if self.next == 0 => start,
            (Some(_), _) => self.points.stamp(self.next - 1, None),
            (None, Some(newest)) => newest.stamp,
            (None, None) => now(),
        }
    }

    fn generate_many(&mut self, most: u64, lines: &mut Vec<u8>) -> u64 {
        self.generate_at(now(), most, lines)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU64;
    use std::time::Duration;

    use super::*;
    use crate::kinds::influxdb::{Field, FieldType, Tag};

    #[test]
    fn the_points_of_a_series_never_share_a_stamp_of_the_present() {
        let second = 1_000_000_000;
        for (batch, series) in [(250, 100), (7, 100), (1, 3), (100, 100), (3, 1)] {
            let field = Field { key: String::from("v"), value: FieldType::Int };
            let settings = PointSettings {
                point_count: NonZeroU64::new(20),
                series_count: NonZeroU64::new(series).unwrap(),
                tick: Duration::from_secs(1),
                jitter: true,
                measurement: String::from("m"),
                start: None,
                tags: vec![Tag { key: String::from("t"), value: String::from("s") }],
                fields: vec![field],
            };
            let mut generator = BasicPointGenerator::new(&settings, Precision::S, Format::LineHttp);
            let (mut lines, mut now, mut count) = (Vec::new(), 1_700_000_000 * second + 5, 0);
            loop {
                let more = generator.generate_at(now, batch, &mut lines);
                count += more;
                if more == 0 {
                    break;
                }
                // The clock stands still, goes on, and is set back now and then.
                now += [0, second / 3, second, 0, -second][(count % 5) as usize];
            }
            let lines = String::from_utf8(lines).unwrap();
            let mut seen = BTreeMap::<&str, i64>::new();
            for line in lines.lines() {
                let (series, rest) = line.split_once(' ').unwrap();
                let stamp = rest.rsplit_once(' ').unwrap().1.parse().unwrap();
                let before = seen.insert(series, stamp).unwrap_or(0);
                assert!(stamp > before && stamp >= 1_700_000_000, "{series} {before} {stamp}");
            }
            assert_eq!((lines.lines().count() as u64, count), (20 * series, 20 * series));
            assert_eq!(generator.time() / second, *seen.values().max().unwrap());
        }
    }
}
