//! Lengths of time as Go writes them, as existing files have them, and as InfluxDB's statements do.
//!
//! Both are numbers with units, one behind the other: `1m30s`. They are added
//! up in whole nanoseconds, so that a tick is exactly what it says.

use std::time::Duration;

use crate::keys::{Keys, parse_duration};

const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    // Both of Unicode's letters for it.
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const STATEMENT_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("u", 1_000),
    ("\u{b5}", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];
/// The most digits behind a point that count: nothing finer than a nanosecond is left behind them.
const MAX_DIGITS: usize = 18;

/// A length of time that the bounds, a text each, say the least and the most of.
pub fn read(keys: &mut Keys<'_>, key: &'static str, least: &str, most: &str) -> Option<Duration> {
    let right = format!("a time with its unit, as in \"100ms\" or \"1m30s\", from {least} to {most}");
    let bounds = [least, most].map(|bound| parse(bound).unwrap_or_default());
    keys.parsed(key, &right, |text| parse(text).filter(|length| (bounds[0]..=bounds[1]).contains(length)))
}

/// Understands Go's `1h30m`, `1.5h`, `10us`, `0`; and what is a length of time elsewhere.
pub fn parse(text: &str) -> Option<Duration> {
    let bare = text.strip_prefix('+').unwrap_or(text);
    if bare == "0" {
        return Some(Duration::ZERO);
    }
    sum(bare, UNITS, true).or_else(|| parse_duration(text))
}

/// Understands InfluxDB's `7d`, `1h30m`; whole numbers alone.
pub fn parse_of_statement(text: &str) -> Option<Duration> {
    sum(text, STATEMENT_UNITS, false)
}

fn sum(text: &str, units: &[(&str, u64)], with_fractions: bool) -> Option<Duration> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (mut rest, mut nanos) = (text, 0_u64);
    loop {
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let unit = units.iter().find(|(name, _)| *name == unit)?.1;
        nanos = nanos.checked_add(times(number, unit, with_fractions)?)?;
        rest = behind;
        if rest.is_empty() {
            return Some(Duration::from_nanos(nanos));
        }
    }
}

/// So many units, a fraction of one included, in nanoseconds.
fn times(number: &str, unit: u64, with_fractions: bool) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        Some(parts) if with_fractions => parts,
        Some(_) => return None,
        None => (number, ""),
    };
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let digits = fraction.get(..fraction.len().min(MAX_DIGITS))?;
    let part = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
    let part = part * u128::from(unit) / 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        #[track_caller]
        fn check(text: &str, expect: Option<u64>) {
            assert_eq!(parse(text), expect.map(Duration::from_nanos), "{text}");
        }
        check("0s", Some(0));
        check("0", Some(0));
        check("1ns", Some(1));
        check("10us", Some(10_000));
        check("10\u{b5}s", Some(10_000));
        check("10\u{3bc}s", Some(10_000));
        check("100ms", Some(100_000_000));
        check("10s", Some(10_000_000_000));
        check("1m30s", Some(90_000_000_000));
        check("1.5h", Some(5_400_000_000_000));
        check("1h1m1.000000001s", Some(3_661_000_000_001));
        check(".5s", Some(500_000_000));
        check("1.s", Some(1_000_000_000));
        check("+1s", Some(1_000_000_000));
        check("0.1ns", Some(0));
        check("1.9999999999999999999999s", Some(1_999_999_999));
        // As everywhere in canihaz.
        check("5 s", Some(5_000_000_000));
        check("2min", Some(120_000_000_000));
        for wrong in [
            "",
            "5",
            "s",
            ".s",
            "-1s",
            "1x",
            "1s5",
            "1..5s",
            "1.5.5s",
            "1 h 5 m",
            "99999999999999999999h",
            "1sm",
            "1e9s",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn durations_of_statements() {
        #[track_caller]
        fn check(text: &str, expect: Option<u64>) {
            assert_eq!(parse_of_statement(text), expect.map(Duration::from_secs), "{text}");
        }
        check("7d", Some(604_800));
        check("1w", Some(604_800));
        check("1h30m", Some(5400));
        check("0s", Some(0));
        for wrong in ["", "7", "1.5d", "7 d", "7d; DROP DATABASE x", "1us", "INF", "-1h"] {
            check(wrong, None);
        }
    }
}
