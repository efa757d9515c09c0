//! The numbers that hits bring back beside their times, by name, over one interval of one test.
//!
//! Names become parts of metrics' names, so they are made to be such here. What
//! is kept doesn't depend on the order in which values come: of too many names
//! the first in byte order stand, of a name's units the first. So intervals,
//! threads and servers merge to what they would have been as one, and a name
//! that is there lacks no value of its unit. What is not kept is counted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::target::Value;

/// The most names of a test: three metrics each are what a destination is sent every interval.
pub const MAX_NAMES: usize = 50;
/// The most characters of a name; the rest is cut off.
pub const MAX_NAME: usize = 64;
/// The most characters of a unit; the rest is cut off.
pub const MAX_UNIT: usize = 16;
/// The largest number, with either sign: so many of them add up without becoming infinite as there can be hits.
pub const MAX_VALUE: f64 = 1e100;

/// The values of a test.
///
/// ```
/// use canihaz::{Outcome, Value, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// # use std::time::Duration;
/// # use canihaz::{Rate, Target};
/// struct Queue;
///
/// impl Target for Queue {
///     async fn hit(&self, number: u64) -> Outcome {
///         let queued = Value { name: "queued".into(), value: 10.0 + number as f64, unit: String::new() };
///         Outcome { values: vec![queued], ..Outcome::default() }
///     }
/// }
///
/// let tally = Worker::hire("queue", Queue).work(Rate::per_second(20), Duration::from_millis(100)).await?;
/// let values = tally.values.expect("there were some");
/// let (name, spread) = values.iter().next().expect("there is one");
/// assert_eq!((name, spread.count, spread.mean(), spread.max), ("queued", 2, 10.5, 11.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Values {
    by_name: BTreeMap<String, Spread>,
    dropped: u64,
}

/// What the values of one name came to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were, at least 1.
    pub count: u64,
    /// Their sum, as exact as floating-point numbers add up.
    pub sum: f64,
    /// The least of them.
    pub min: f64,
    /// The largest of them.
    pub max: f64,
    /// What they are numbers of, as in `s`, `B` or `%`; empty where they have none.
    pub unit: String,
}

impl Values {
    /// Takes a value, or counts it as [dropped](Self::dropped): one that is not finite, or beyond ±1e100, or has not its
    /// name's unit, or comes under one name too many.
    ///
    /// Of names, all but ASCII letters, digits, `_` and `-` becomes `_`, so that different ones may become one.
    pub fn record(&mut self, value: &Value) {
        let Value { name, value, unit } = value;
        // NaN is within no range. (What is added turns the zero that has a sign into the one that has none.)
        match (-MAX_VALUE..=MAX_VALUE).contains(value) {
            true => self.add(&to_name(name), &Spread::new(*value + 0.0, &to_unit(unit))),
            false => self.dropped += 1,
        }
    }

    /// Adds all of `other`, as if all had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        self.dropped += other.dropped;
        for (name, spread) in &other.by_name {
            self.add(name, spread);
        }
    }

    /// Names, in byte order, with what their values came to; at most [`MAX_NAMES`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Spread)> {
        self.by_name.iter().map(|(name, spread)| (name.as_str(), spread))
    }

    /// How many values were not taken.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn add(&mut self, name: &str, spread: &Spread) {
        match self.by_name.get_mut(name) {
            Some(known) => self.dropped += known.add(spread),
            None => {
                self.by_name.insert(name.to_owned(), spread.clone());
                if self.by_name.len() > MAX_NAMES
                    && let Some((_, last)) = self.by_name.pop_last()
                {
                    self.dropped += last.count;
                }
            }
        }
    }
}

impl Spread {
    fn new(value: f64, unit: &str) -> Self {
        Self { count: 1, sum: value, min: value, max: value, unit: unit.to_owned() }
    }

    /// The mean, as exact as floating-point numbers add up.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Adds what is of the same unit; of two units the first in byte order stands. How many values are lost by that.
    fn add(&mut self, other: &Self) -> u64 {
        if other.unit > self.unit {
            return other.count;
        }
        if other.unit < self.unit {
            return std::mem::replace(self, other.clone()).count;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        0
    }
}

/// `text` as one part of a metric's name.
pub(crate) fn to_name(text: &str) -> Cow<'_, str> {
    to_name_of(text, MAX_NAME)
}

/// `text` as one part of a metric's name, of at most `most` characters.
pub(crate) fn to_name_of(text: &str, most: usize) -> Cow<'_, str> {
    let text = if text.is_empty() { "_" } else { text };
    tidy(text, most, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// `text` as it can be shown beside a number.
fn to_unit(text: &str) -> Cow<'_, str> {
    tidy(text, MAX_UNIT, |c| c.is_ascii_graphic() || c.is_alphanumeric() || c == '°')
}

/// The first `most` characters of `text`, with `_` for those that don't fit; the same text where all do.
pub(crate) fn tidy(text: &str, most: usize, fits: impl Fn(char) -> bool) -> Cow<'_, str> {
    match text.chars().count() <= most && text.chars().all(&fits) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.chars().take(most).map(|c| if fits(c) { c } else { '_' }).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, value: f64, unit: &str) -> Value {
        Value { name: name.to_owned(), value, unit: unit.to_owned() }
    }

    fn of(all: &[Value]) -> Values {
        let mut values = Values::default();
        all.iter().for_each(|value| values.record(value));
        values
    }

    #[test]
    fn a_name_has_count_sum_least_and_largest() {
        let values = of(&[value("queued", 3.0, "B"), value("queued", -1.5, "B"), value("free", 7.0, "%")]);
        let spread = |count, sum, min, max, unit: &str| Spread { count, sum, min, max, unit: unit.to_owned() };
        assert_eq!(
            values.iter().collect::<Vec<_>>(),
            [("free", &spread(1, 7.0, 7.0, 7.0, "%")), ("queued", &spread(2, 1.5, -1.5, 3.0, "B"))]
        );
        assert_eq!((values.by_name["queued"].mean(), values.dropped()), (0.75, 0));
    }

    #[test]
    fn names_and_units_are_bounded_and_can_be_shown() {
        #[track_caller]
        fn check(name: &str, unit: &str, expect: (&str, &str)) {
            let values = of(&[value(name, 1.0, unit)]);
            assert_eq!(values.iter().map(|(name, spread)| (name, spread.unit.as_str())).collect::<Vec<_>>(), [expect]);
        }
        check("load-1_min", "", ("load-1_min", ""));
        check("/var/log", "B", ("_var_log", "B"));
        check("C:\\ used.space", "%", ("C___used_space", "%"));
        check("größe", "µs", ("gr__e", "µs"));
        check("temp", "°C", ("temp", "°C"));
        check("", " ", ("_", "_"));
        check("a:1|c\nb", "\x1b[2J", ("a_1_c_b", "_[2J"));
        check("a", "\u{202e}s", ("a", "_s"));
        check(&"ü".repeat(70), &"x".repeat(17), (&"_".repeat(64), &"x".repeat(16)));
        check(&"n".repeat(65), "", (&"n".repeat(64), ""));
    }

    #[test]
    fn what_is_no_number_is_not_taken_but_counted() {
        #[track_caller]
        fn check(number: f64, expect: Option<&str>) {
            let values = of(&[value("a", number, "")]);
            let taken = values.by_name.get("a").map(|spread| format!("{}", spread.min));
            assert_eq!((taken.as_deref(), values.dropped()), (expect, u64::from(expect.is_none())), "{number}");
        }
        check(-0.0, Some("0"));
        check(-2.5, Some("-2.5"));
        check(MAX_VALUE, Some(&format!("{MAX_VALUE}")));
        check(1.1e100, None);
        check(-1.1e100, None);
        check(f64::NAN, None);
        check(f64::INFINITY, None);
        check(f64::NEG_INFINITY, None);
    }

    #[test]
    fn of_too_many_names_the_first_stand_and_the_rest_is_counted() {
        let mut all: Vec<_> = (0..80).flat_map(|n| vec![value(&format!("n{n:02}"), 1.0, ""); 2]).collect();
        for _ in 0..10 {
            let values = of(&all);
            let names: Vec<_> = values.iter().map(|(name, _)| name.to_owned()).collect();
            assert_eq!(names, (0..MAX_NAMES).map(|n| format!("n{n:02}")).collect::<Vec<_>>());
            assert!(values.iter().all(|(_, spread)| spread.count == 2), "whoever stands has all of its values");
            assert_eq!(values.dropped(), 2 * 30);
            fastrand::Rng::with_seed(3).shuffle(&mut all);
        }
    }

    #[test]
    fn of_a_names_units_the_first_stands_and_the_rest_is_counted() {
        let (s, ms) = (value("time", 2.0, "s"), value("time", 1700.0, "ms"));
        for all in [[&s, &ms, &ms], [&ms, &s, &ms], [&ms, &ms, &s]] {
            let values = of(&all.map(Clone::clone));
            let time = &values.by_name["time"];
            assert_eq!((time.unit.as_str(), time.count, time.max, values.dropped()), ("ms", 2, 1700.0, 1));
        }
    }

    #[test]
    fn however_they_are_split_merged_values_are_those_recorded_together() {
        let mut random = fastrand::Rng::with_seed(11);
        for parts in 1..8 {
            let mut split = vec![Values::default(); parts];
            let mut together = Values::default();
            for _ in 0..500 {
                let name = format!("n{}", random.u32(0..70));
                // Whole numbers, which add up exactly in any order.
                let number = if random.u8(0..20) == 0 { f64::NAN } else { f64::from(random.i32(-1000..1000)) };
                let value = value(&name, number, ["", "s", "ms"][random.usize(..3)]);
                split[random.usize(..parts)].record(&value);
                together.record(&value);
            }
            random.shuffle(&mut split);
            let mut merged = Values::default();
            for part in split {
                let stored = serde_json::to_string(&part).unwrap();
                merged.merge(&serde_json::from_str(&stored).unwrap());
            }
            assert_eq!(merged, together, "{parts} parts");
            let kept: u64 = merged.iter().map(|(_, spread)| spread.count).sum();
            assert_eq!(kept + merged.dropped(), 500);
        }
    }

    #[test]
    fn what_is_read_from_disk_is_what_was_written_to_the_last_digit() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..2000 {
            let number = f64::from_bits(random.u64(..));
            let values = of(&[value("a", number, ""), value("a", random.f64(), "")]);
            let stored = serde_json::to_string(&values).unwrap();
            assert_eq!(serde_json::from_str::<Values>(&stored).unwrap(), values, "{number:e}");
        }
    }
}
