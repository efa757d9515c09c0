//! What the reader asks: a query with places for what changes from hit to hit.
//!
//! `%v` is a number that is another one in each of `query_count` hits, `%now%`
//! the present and `%time%` the newest time stamp of the writer, both in
//! nanoseconds since 1970, as in `time > %time% - 10s`. `%%` is a percent sign,
//! and so is any other one.

use std::fmt::{self, Write};
use std::num::NonZeroU64;

use url::form_urlencoded::byte_serialize;

use super::settings::{Piece, Variable, pieces};

/// A query: as it stands behind the `?` of a URL, with its database, or as it would be typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    parts: Vec<Part>,
    count: NonZeroU64,
}

/// What is another one in each hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Its number.
    pub number: u64,
    /// The present, in nanoseconds since 1970.
    pub now: i64,
    /// The newest time stamp of the writer, in nanoseconds since 1970.
    pub time: i64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// Encoded as it is sent.
    Text(String),
    Variable(Variable),
}

impl Query {
    /// Understands `template`, which is to be asked of `database`; `%v` has `count` values, from 0 on.
    pub fn new(database: &str, template: &str, count: NonZeroU64) -> Self {
        let mut beginning = String::from("db=");
        beginning.extend(byte_serialize(database.as_bytes()));
        beginning.push_str("&q=");
        Self::of(beginning, template, count, |text| byte_serialize(text.as_bytes()).collect())
    }

    /// The same as it would be typed, without a database.
    pub fn plain(template: &str, count: NonZeroU64) -> Self {
        Self::of(String::new(), template, count, str::to_owned)
    }

    /// What `template` says behind `text`, all of its own text `spelled` as it is to be written.
    fn of(mut text: String, template: &str, count: NonZeroU64, spelled: impl Fn(&str) -> String) -> Self {
        let mut parts = Vec::new();
        for piece in pieces(template) {
            match piece {
                Piece::Text(piece) => text.push_str(&spelled(piece)),
                Piece::Variable(variable) => {
                    parts.extend([Part::Text(std::mem::take(&mut text)), Part::Variable(variable)]);
                }
            }
        }
        parts.push(Part::Text(text));
        Self { parts, count }
    }

    /// Adds the query of `hit` to `out`, as in `db=lab&q=SELECT+v+FROM+m`: what stands behind the `?` of a URL.
    ///
    /// # Errors
    /// Those of `out`; a `String` or `BytesMut` has none.
    pub fn write(&self, hit: Hit, out: &mut impl Write) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.write_str(text)?,
                Part::Variable(Variable::Number) => write!(out, "{}", hit.number % self.count)?,
                Part::Variable(Variable::Now) => write!(out, "{}", hit.now)?,
                Part::Variable(Variable::Time) => write!(out, "{}", hit.time)?,
            }
        }
        Ok(())
    }

    /// Whether anything in it is the writer's newest time stamp.
    pub fn has_time(&self) -> bool {
        self.parts.contains(&Part::Variable(Variable::Time))
    }
}

#[cfg(test)]
mod tests {
    use url::form_urlencoded;

    use super::*;

    /// The query of a hit, decoded as a server does it, with the database.
    fn decoded(database: &str, template: &str, count: u64, hit: Hit) -> Vec<(String, String)> {
        let mut out = String::new();
        Query::new(database, template, NonZeroU64::new(count).unwrap()).write(hit, &mut out).unwrap();
        assert!(out.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.*+%&=".contains(&b)), "{out}");
        form_urlencoded::parse(out.as_bytes()).into_owned().collect()
    }

    #[test]
    fn variables_change_with_the_hit_and_the_rest_stays() {
        #[track_caller]
        fn check(template: &str, number: u64, expect: &str) {
            let hit = Hit { number, now: 1_700_000_000_000_000_001, time: 1_136_214_245_000_000_000 };
            let expect = [("db", "my db"), ("q", expect)].map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(decoded("my db", template, 250, hit), expect, "{template}");
        }
        check(
            r"SELECT count(value) FROM cpu where host='server-%v'",
            7,
            "SELECT count(value) FROM cpu where host='server-7'",
        );
        check("%v", 0, "0");
        check("%v", 249, "249");
        check("%v", 250, "0");
        check("%v-%v", u64::MAX, "115-115");
        check("time > %now% - 1m", 0, "time > 1700000000000000001 - 1m");
        check("time > %time%", 0, "time > 1136214245000000000");
        check("%now%v", 3, "1700000000000000001v");
        check("%v%now%%time%%v", 3, "3170000000000000000111362142450000000003");
        check("%%", 0, "%");
        check("%%v", 0, "%v");
        check("%%%v", 5, "%5");
        check("%%now%", 0, "%now%");
        check("%%now%%", 0, "%now%");
        check("100%", 0, "100%");
        check("% %x %no %now %Now% %V", 0, "% %x %no %now %Now% %V");
        // In a type that is a fault; of a program's own query, `%v` is what it always is.
        check("%very_long_word_here%", 6, "6ery_long_word_here%");
        check("", 0, "");
        check("a+b&c=d#e?f/\"g\"; é\n\u{1F980}", 0, "a+b&c=d#e?f/\"g\"; é\n\u{1F980}");
    }

    #[test]
    fn whatever_the_template_the_decoded_query_is_what_was_meant() {
        let hit = Hit { number: 1234, now: i64::MAX, time: i64::MIN };
        let (now, time) = (hit.now.to_string(), hit.time.to_string());
        // What is written, and what it stands for, wherever it stands.
        let pieces = [
            ("%v", "4"),
            ("%now%", now.as_str()),
            ("%time%", time.as_str()),
            ("%%", "%"),
            ("a", "a"),
            (" ", " "),
            ("&q=", "&q="),
            ("+", "+"),
            ("\u{0}\n", "\u{0}\n"),
            ("ß漢🦀", "ß漢🦀"),
            ("% ", "% "),
            ("%41", "%41"),
        ];
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..5000 {
            let chosen: Vec<_> = (0..random.usize(0..12)).map(|_| *random.choice(&pieces).unwrap()).collect();
            let [template, expect]: [String; 2] =
                [chosen.iter().map(|piece| piece.0).collect(), chosen.iter().map(|piece| piece.1).collect()];
            let database: String = (0..random.usize(0..5)).map(|_| random.char(..)).collect();
            let expect = [("db".to_owned(), database.clone()), ("q".to_owned(), expect)];
            assert_eq!(decoded(&database, &template, 10, hit), expect, "{template}");
        }
    }

    #[test]
    fn a_buffer_that_is_large_enough_is_all_it_takes() {
        let query = Query::new("lab", "SELECT %v, %now%, %time% FROM \"m\"", NonZeroU64::new(9).unwrap());
        assert!(query.has_time() && !Query::new("lab", "%now%", NonZeroU64::MIN).has_time());
        let mut out = String::with_capacity(200);
        let before = out.as_ptr();
        for number in 0..100 {
            out.clear();
            query.write(Hit { number, now: i64::MAX, time: i64::MIN }, &mut out).unwrap();
            assert!(out.starts_with(&format!("db=lab&q=SELECT+{}%2C", number % 9)), "{out}");
        }
        assert_eq!(out.as_ptr(), before);
    }
}
