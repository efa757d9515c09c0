//! Values in what a command has written, as plugins of Nagios write them.
//!
//! What stands behind the first `|` of the first line, and behind the first one
//! of the lines after it, all further lines included, is a list with spaces:
//!
//! ```text
//! OK - 3 of 100 used | used=3;80;90;0;100 'idle time'=250ms
//! more words | rows=1200
//! cache=87%
//! ```
//! has the values `used` (3), `idle time` (0.25 s), `rows` (1200) and `cache`
//! (87 %). Limits behind a `;` are for Nagios. What is no value is passed over:
//! other programs write bars as well. Values become metrics, so there is a
//! bound to how many there are, and to what they are called.

use crate::target::Value;

/// The most values of a hit.
const MAX_VALUES: usize = 20;
/// The longest name of a value, in bytes.
const MAX_NAME: usize = 64;
/// The longest unit, in bytes.
const MAX_UNIT: usize = 16;
/// The most things that are looked at for values.
const MAX_TOKENS: usize = 1000;

/// The values in `output`, in their order; of two with one name the first.
pub fn read(output: &str) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    let (first, rest) = output.split_once('\n').unwrap_or((output, ""));
    let lists = [first, rest].into_iter().filter_map(|text| Some(text.split_once('|')?.1));
    for value in lists.flat_map(tokens).take(MAX_TOKENS).filter_map(value) {
        if values.len() < MAX_VALUES && !values.iter().any(|known| known.name == value.name) {
            values.push(value);
        }
    }
    values
}

/// What stands between white space that is not within quotes.
fn tokens(list: &str) -> impl Iterator<Item = &str> {
    let mut left = list;
    std::iter::from_fn(move || {
        left = left.trim_start();
        let mut is_quoted = false;
        let end = left.find(|c: char| {
            is_quoted ^= c == '\'';
            // A quote never reaches beyond its line: one that isn't closed spoils no more than that.
            is_quoted &= c != '\n';
            c.is_whitespace() && !is_quoted
        });
        let (token, rest) = left.split_at(end.unwrap_or(left.len()));
        left = rest;
        (!token.is_empty()).then_some(token)
    })
}

/// Reads `'name'=number[unit][;warn[;crit[;min[;max]]]]`; `None` for what is no value, or an unknown one (`U`).
fn value(token: &str) -> Option<Value> {
    let (name, rest) = match token.strip_prefix('\'') {
        Some(quoted) => {
            let (name, rest) = quoted.rsplit_once("'=")?;
            (name.replace("''", "'"), rest)
        }
        None => {
            let (name, rest) = token.split_once('=')?;
            (name.to_owned(), rest)
        }
    };
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return None;
    }
    let measured = rest.split(';').next()?;
    let (number, unit) = measured.split_at(number_end(measured));
    let (factor, unit) = base(unit)?;
    let value = number.parse::<f64>().ok()? * factor;
    value.is_finite().then(|| Value { name, value, unit: unit.to_owned() })
}

/// Where a number ends and its unit begins.
fn number_end(text: &str) -> usize {
    let plain = |text: &str| text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(text.len());
    let end = plain(text);
    let Some(power) = text[end..].strip_prefix(['e', 'E']) else { return end };
    match plain(power) {
        0 => end,
        length => end + 1 + length,
    }
}

/// What a number in `unit` is to be multiplied with, and in which unit it is then; `None` for what is none.
fn base(unit: &str) -> Option<(f64, &str)> {
    Some(match unit {
        "s" => (1.0, "s"),
        "ms" => (1e-3, "s"),
        "us" | "µs" | "μs" => (1e-6, "s"),
        "ns" => (1e-9, "s"),
        "B" => (1.0, "B"),
        "kB" | "KB" => (1e3, "B"),
        "MB" => (1e6, "B"),
        "GB" => (1e9, "B"),
        "TB" => (1e12, "B"),
        "PB" => (1e15, "B"),
        "KiB" => ((1_u64 << 10) as f64, "B"),
        "MiB" => ((1_u64 << 20) as f64, "B"),
        "GiB" => ((1_u64 << 30) as f64, "B"),
        "TiB" => ((1_u64 << 40) as f64, "B"),
        "PiB" => ((1_u64 << 50) as f64, "B"),
        // `%`, `c` for a counter, none, or whatever it is.
        _ if unit.len() > MAX_UNIT => return None,
        _ if unit.contains(|c: char| c.is_control() || c.is_ascii_digit() || "'\"=|,".contains(c)) => return None,
        _ => (1.0, unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(output: &str) -> Vec<(String, f64, String)> {
        read(output).into_iter().map(|value| (value.name, value.value, value.unit)).collect()
    }

    #[track_caller]
    fn check(output: &str, expect: &[(&str, f64, &str)]) {
        let expect: Vec<_> =
            expect.iter().map(|(name, value, unit)| (name.to_string(), *value, unit.to_string())).collect();
        assert_eq!(seen(output), expect, "{output:?}");
    }

    #[test]
    fn values_as_plugins_write_them() {
        check(
            "PING OK - rta 0.5 ms|rta=0.500ms;100.000;500.000;0; pl=0%;20;60;;",
            &[("rta", 0.0005, "s"), ("pl", 0.0, "%")],
        );
        check("OK | 'C:\\ used space'=12.5GB;;;0;40", &[("C:\\ used space", 12.5e9, "B")]);
        check(
            "DISK OK|/=2643MB;5948;5958;0;5968\n/ 15272 MB (77%);\n| /boot=68MB;88;93;0;98\n/home=69357MB",
            &[("/", 2643e6, "B"), ("/boot", 68e6, "B"), ("/home", 69_357e6, "B")],
        );
        check("OK\nlong\ntext | a=1\nb=2", &[("a", 1.0, ""), ("b", 2.0, "")]);
        check("OK|a=1 \r\nlong | b=2\r\n", &[("a", 1.0, ""), ("b", 2.0, "")]);
        check(
            "|time=0.012s;;;0.000;10.000 size=1KiB in=93c",
            &[("time", 0.012, "s"), ("size", 1024.0, "B"), ("in", 93.0, "c")],
        );
        check("OK|a=1;@10:20;~:5 b=-1.5;;", &[("a", 1.0, ""), ("b", -1.5, "")]);
        check("OK|'it''s'=1 'a=b'=2 ''''=3", &[("it's", 1.0, ""), ("a=b", 2.0, ""), ("'", 3.0, "")]);
        check(
            "OK|a=1e3ms b=2E-1 c=+4 d=.5 e=5.",
            &[("a", 1.0, "s"), ("b", 0.2, ""), ("c", 4.0, ""), ("d", 0.5, ""), ("e", 5.0, "")],
        );
        check("OK|a=7us b=7µs", &[("a", 7e-6, "s"), ("b", 7e-6, "s")]);
        check("OK|a=3packets b=1.5W", &[("a", 3.0, "packets"), ("b", 1.5, "W")]);
    }

    #[test]
    fn what_is_no_value_is_passed_over() {
        check("", &[]);
        check("OK", &[]);
        check("OK a=1", &[]);
        check("OK|", &[]);
        check("OK|||=", &[]);
        check(" id | name \n----+------\n  1 | x=y \n", &[]);
        check("OK|a=U b=1", &[("b", 1.0, "")]);
        check("OK|a= =1 b c=x d=; e=-- f=1.2.3 g=1,5 h=e5 ok=1", &[("ok", 1.0, "")]);
        check("OK|a=1e999 b=-1e999 c=nan d=inf e=1", &[("e", 1.0, "")]);
        check("OK|a=1s2 b=1\u{1b}[31m c='1' d=1=2 e=1", &[("e", 1.0, "")]);
        check("OK|a\u{7}=1 b\u{0}=1 c=1", &[("c", 1.0, "")]);
        check("OK|a=1 a=2 'a'=3", &[("a", 1.0, "")]);
        check("OK|'never closed=1 b=2", &[]);
        check("OK|'never closed=1\nlong | b=2", &[("b", 2.0, "")]);
        check("OK|a=1\u{2028}b=2\u{a0}c=3", &[("a", 1.0, ""), ("b", 2.0, ""), ("c", 3.0, "")]);
        check("OK|a=9%; \u{fffd}=1 b=1\u{fffd}", &[("a", 9.0, "%"), ("\u{fffd}", 1.0, ""), ("b", 1.0, "\u{fffd}")]);
    }

    #[test]
    fn there_is_a_bound_to_everything() {
        let many: String = (0..50).map(|n| format!("v{n}={n} ")).collect();
        let values = seen(&format!("OK|{many}"));
        assert_eq!((values.len(), values.last().unwrap().1), (MAX_VALUES, 19.0));
        let name = "n".repeat(MAX_NAME);
        check(&format!("OK|{name}=1 {name}x=2"), &[(&name, 1.0, "")]);
        let unit = "u".repeat(MAX_UNIT);
        check(&format!("OK|a=1{unit} b=2{unit}u"), &[("a", 1.0, &unit)]);
        check(&format!("OK|{} late=1", "x ".repeat(MAX_TOKENS)), &[]);
        check(&format!("OK|{}=1", "'".repeat(64 << 10)), &[]);
        check(&format!("OK|a={}", "9".repeat(64 << 10)), &[]);
    }
}
