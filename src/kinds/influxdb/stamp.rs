//! Time stamps as they stand at the end of a line.

use super::digits::{Piece, TWELVE};
use super::{Format, Precision, digits};

/// The most bytes of a time stamp: its sign, its digits, a decimal point, the line's end.
pub const MOST: usize = digits::MOST + 3;

/// How time stamps are written.
#[derive(Clone, Copy, Debug)]
pub enum Stamps {
    /// In units.
    Units,
    /// In seconds, with decimals where one isn't whole.
    Seconds {
        /// How many units a second has: 1, or 10 so many times.
        units: u64,
    },
}

/// The time stamps from one on. Most differ in their last twelve digits alone, so the others are written down once.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    stamps: Stamps,
    /// The first, and the last that there is, in units.
    first: i64,
    last: i64,
    /// What comes before the last twelve digits.
    head: Piece,
    /// What these are of the first.
    tail: u64,
    /// One more than they are of the last that begins so; 0 where they are all digits that there are.
    end: u64,
}

impl Stamps {
    /// How a format has those of a precision.
    pub fn new(format: Format, precision: Precision) -> Self {
        match format {
            Format::LineHttp | Format::LineUdp => Self::Units,
            Format::GraphiteTcp | Format::GraphiteUdp => {
                Self::Seconds { units: Precision::S.unit() / precision.unit() }
            }
        }
    }

    /// Those from `first` on, up to `last`.
    pub fn near(self, first: i64, last: i64) -> Near {
        let since = u64::try_from(first).unwrap_or(0);
        let (begin, tail) = match self {
            Self::Units => (since / TWELVE, since % TWELVE),
            Self::Seconds { .. } => (0, 0),
        };
        let left = last.abs_diff(first).saturating_add(tail + 1);
        let end = if begin > 0 && first <= last { left.min(TWELVE) } else { 0 };
        let mut head = Vec::with_capacity(Piece::MAX + digits::ROOM);
        digits::number(begin, &mut head);
        Near { stamps: self, first, last, head: Piece::new(&head), tail, end }
    }

    /// Appends a stamp of so many units since 1970, and the line's end.
    #[inline(always)]
    pub fn write(self, units: i64, into: &mut Vec<u8>) {
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

impl Near {
    /// Appends the stamp that is so many units after the first, or else the last, and the line's end.
    #[inline(always)]
    pub fn write(&self, after: u64, into: &mut Vec<u8>) {
        let tail = self.tail.saturating_add(after);
        if tail >= self.end {
            return self.write_far(after, into);
        }
        self.head.write(into);
        digits::all_twelve(tail, b'\n', into);
    }

    /// A call, on purpose: few take this way.
    #[inline(never)]
    fn write_far(&self, after: u64, into: &mut Vec<u8>) {
        self.stamps.write(self.first.saturating_add_unsigned(after).min(self.last), into);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_as_lines_have_them() {
        #[track_caller]
        fn check(format: Format, precision: Precision, units: i64, expect: &str) {
            let mut written = Vec::new();
            Stamps::new(format, precision).write(units, &mut written);
            assert!(written.len() <= MOST);
            assert_eq!(String::from_utf8(written).unwrap(), format!("{expect}\n"), "{units} {precision:?}");
        }
        use Format::{GraphiteTcp, GraphiteUdp, LineHttp, LineUdp};
        use Precision::{Ms, N, S, U};
        check(LineHttp, N, 1_136_214_245_000_000_000, "1136214245000000000");
        check(LineUdp, S, 1_136_214_245, "1136214245");
        check(LineHttp, U, 0, "0");
        check(LineHttp, N, -5, "-5");
        check(LineHttp, N, i64::MAX, "9223372036854775807");
        check(LineHttp, N, i64::MIN, "-9223372036854775808");
        check(GraphiteTcp, S, 1_136_214_245, "1136214245");
        check(GraphiteTcp, Ms, 1_136_214_245_000, "1136214245");
        check(GraphiteTcp, Ms, 1_136_214_245_020, "1136214245.02");
        check(GraphiteUdp, U, 1_500_000, "1.5");
        check(GraphiteTcp, N, 1, "0.000000001");
        check(GraphiteTcp, N, -1, "-0.000000001");
        check(GraphiteTcp, Ms, -1_500, "-1.5");
        check(GraphiteTcp, N, i64::MIN, "-9223372036.854775808");
        check(GraphiteTcp, N, i64::MAX, "9223372036.854775807");
    }

    #[test]
    fn stamps_near_each_other_are_written_as_others() {
        let mut random = fastrand::Rng::with_seed(5);
        let edges = [1, 10, 1_136_160, 9_223_372].map(|times| (times * TWELVE).cast_signed());
        let starts = edges.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1, -edge]).chain([0, 1, i64::MIN]);
        let any = std::iter::repeat_with(|| random.i64(..) >> random.u32(0..64)).take(500);
        for start in starts.chain(any).collect::<Vec<_>>() {
            for format in [Format::LineHttp, Format::GraphiteTcp] {
                let stamps = Stamps::new(format, Precision::Ms);
                for (by, less) in [0, 1, 1000, TWELVE / 2, TWELVE - 1, TWELVE, 20 * TWELVE, u64::MAX]
                    .into_iter()
                    .flat_map(|by| [(by, 0), (by, 1), (by, 500), (by, TWELVE)])
                {
                    let last = start.saturating_add_unsigned(by).saturating_sub_unsigned(less);
                    let units = start.saturating_add_unsigned(by).min(last);
                    let (mut seen, mut expect) = (Vec::new(), Vec::new());
                    stamps.near(start, last).write(by, &mut seen);
                    stamps.write(units, &mut expect);
                    assert_eq!(String::from_utf8(seen), String::from_utf8(expect), "{start} + {by}, {last}");
                }
            }
        }
    }
}
