//! Times, sizes and counts as people read them.

use std::time::Duration;

/// Units of time with how many nanoseconds they have.
const TIMES: [(&str, f64); 3] = [("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
/// Units of size with how many bytes they have.
const SIZES: [(&str, f64); 5] =
    [("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("TiB", 1_099_511_627_776.0)];
/// The digits of a [`number`], as far as it has a fraction.
const SIGNIFICANT: f64 = 4.0;
/// What is smaller than this is shown with an exponent.
const SMALLEST: f64 = 0.001;
/// What is not smaller than this is, too.
const LARGEST: f64 = 1e9;
/// What is shown as the next larger unit: it would need a fourth digit.
const TOO_LARGE: f64 = 999.5;

/// A time with three significant digits: `1.23ms`, `85.0µs`, `3600s`; none is `0`.
pub(super) fn time(time: Duration) -> String {
    if time.is_zero() { String::from("0") } else { scaled(time.as_nanos() as f64, &TIMES, "") }
}

/// A size with three significant digits: `512 B`, `1.50 KiB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1000 { format!("{bytes} B") } else { scaled(bytes as f64, &SIZES, " ") }
}

/// Hits a second with three significant digits and no zeros behind them: `0.17`, `1`, `291`, `20000`.
pub(super) fn rate(hits: f64) -> String {
    let decimals = decimals(hits);
    let digits = format!("{hits:.decimals$}");
    if decimals == 0 { digits } else { digits.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A number of whatever it may be, with four significant digits and no zeros behind them: `-0.25`, `17`, `1234567`,
/// `1.5e12`.
pub(super) fn number(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(SMALLEST..LARGEST).contains(&magnitude) {
        return format!("{:e}", format!("{number:.3e}").parse().unwrap_or(number));
    }
    // Zero has none.
    let digits = magnitude.log10().floor().max(-SIGNIFICANT) as i32;
    let decimals = usize::try_from(SIGNIFICANT as i32 - 1 - digits).unwrap_or(0);
    let digits = format!("{number:.decimals$}");
    if decimals == 0 { digits } else { digits.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// `1 run`, `2 runs`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn scaled(value: f64, units: &[(&str, f64)], space: &str) -> String {
    let fits = |(_, unit): &&(&str, f64)| value / unit < TOO_LARGE;
    let (name, unit) = units.iter().find(fits).unwrap_or(&units[units.len() - 1]);
    let number = value / unit;
    let decimals = decimals(number);
    format!("{number:.decimals$}{space}{name}")
}

/// How many decimals make three digits of `number`.
fn decimals(number: f64) -> usize {
    match number {
        _ if number < 9.995 => 2,
        _ if number < 99.95 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_suits() {
        #[track_caller]
        fn check(ns: u64, expect: &str) {
            assert_eq!(time(Duration::from_nanos(ns)), expect);
        }
        check(0, "0");
        check(127, "0.13µs");
        check(9_994, "9.99µs");
        check(9_996, "10.0µs");
        check(85_000, "85.0µs");
        check(999_400, "999µs");
        check(999_600, "1.00ms");
        check(50_135_039, "50.1ms");
        check(999_600_000, "1.00s");
        check(75_000_000_000, "75.0s");
        check(7_200_000_000_000, "7200s");
    }

    #[test]
    fn rates_have_no_zeros_behind_them() {
        #[track_caller]
        fn check(hits: f64, expect: &str) {
            assert_eq!(rate(hits), expect);
        }
        check(0.0, "0");
        check(1.0 / 6.0, "0.17");
        check(1.0, "1");
        check(10.0, "10");
        check(10.55, "10.6");
        check(291.0, "291");
        check(20_000.4, "20000");
    }

    #[test]
    fn numbers_have_four_digits_and_no_zeros_behind_them() {
        #[track_caller]
        fn check(value: f64, expect: &str) {
            assert_eq!(number(value), expect);
        }
        check(0.0, "0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(0.25, "0.25");
        check(1.0 / 3.0, "0.3333");
        check(-2.0 / 3.0 * 100.0, "-66.67");
        check(0.001, "0.001");
        check(0.000_999_9, "9.999e-4");
        check(1234.5, "1234");
        check(999.96, "1000");
        check(1_234_567.8, "1234568");
        check(999_999_999.0, "999999999");
        check(1e9, "1e9");
        check(-1.5e12, "-1.5e12");
        check(1e100, "1e100");
        check(5e-324, "5e-324");
    }

    #[test]
    fn sizes_and_counts() {
        #[track_caller]
        fn check(bytes: u64, expect: &str) {
            assert_eq!(size(bytes), expect);
        }
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "0.98 KiB");
        check(1536, "1.50 KiB");
        check(200 << 20, "200 MiB");
        check(u64::MAX, "16777216 TiB");
        assert_eq!((counted(1, "run"), counted(0, "run")), (String::from("1 run"), String::from("0 runs")));
    }
}
