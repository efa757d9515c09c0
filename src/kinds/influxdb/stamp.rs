//! Time stamps as they stand at the end of a line.

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
}
