//! How many rows the answer to a query has, counted without keeping any.
//!
//! `{"results":[{"series":[{"values":[[1,2],[3,4]]}]}]}` has two. Long answers
//! come in parts (`chunked=true`): several such objects, one after the other,
//! whose rows are those of one answer. That there is more (`partial`) changes
//! nothing about what is there.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::fault::{quote, quote_most};
use crate::target::{Failure, Reason};

/// How much of a statement's error is kept, in characters.
pub const MAX_WORDS: usize = 300;
/// How much of what is no answer is looked at for a message, in bytes: more than a message quotes.
const BEGINNING: usize = 400;

/// What an answer has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rows {
    /// How many rows, over all statements and series.
    pub count: u64,
    /// What the server says of the first statement that it couldn't do, or of all of them: at most 300 characters,
    /// as they came.
    pub error: Option<String>,
}

impl Rows {
    /// Counts the rows of an answer of `/query`, whole or in parts. Takes no more memory than a byte a level of
    /// nesting, and the longest text with escapes in it.
    ///
    /// # Errors
    /// For `body`: it is no such answer, or cut off.
    pub fn of(body: &[u8]) -> Result<Self, Failure> {
        let mut rows = Self::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        let mut documents = 0;
        while documents == 0 || json.end().is_err() {
            let mut is_answer = false;
            let document = Object { level: Level::Document, rows: &mut rows, is_answer: &mut is_answer };
            document.deserialize(&mut json).map_err(|error| no_answer(body, &error))?;
            if !is_answer {
                return Err(failure(body, format_args!("JSON without \"results\" and \"error\"")));
            }
            documents += 1;
        }
        Ok(rows)
    }
}

/// What an object is of.
#[derive(Clone, Copy)]
enum Level {
    Document,
    Result,
    Series,
}

/// The keys that matter, each at its level.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Results,
    Series,
    Values,
    Error,
    #[serde(other)]
    Other,
}

/// Reads an object.
struct Object<'a> {
    level: Level,
    rows: &'a mut Rows,
    /// Set where a document has what answers have.
    is_answer: &'a mut bool,
}

/// Reads an array of objects; `null` is an empty one.
struct Objects<'a>(Object<'a>);

/// Counts what is in an array; `null` is an empty one.
struct Values<'a>(&'a mut u64);

/// Keeps a text, or the beginning of it, if it is the first; `null` is none.
struct Words<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Document => "an object with results",
            Level::Result => "an object with a statement's result",
            Level::Series => "an object with a series",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { level, rows, is_answer } = self;
        while let Some(key) = map.next_key()? {
            match (level, key) {
                (Level::Document, Key::Results) => {
                    *is_answer = true;
                    map.next_value_seed(Objects(Object { level: Level::Result, rows, is_answer }))?;
                }
                (Level::Result, Key::Series) => {
                    map.next_value_seed(Objects(Object { level: Level::Series, rows, is_answer }))?;
                }
                (Level::Series, Key::Values) => map.next_value_seed(Values(&mut rows.count))?,
                (Level::Document | Level::Result, Key::Error) => {
                    *is_answer = true;
                    map.next_value_seed(Words(&mut rows.error))?;
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.level {
            Level::Document => "an array of answers",
            Level::Result => "an array of statements' results",
            Level::Series => "an array of series",
        })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Object { level, rows, is_answer } = self.0;
        while seq.next_element_seed(Object { level, rows, is_answer })?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {
            *self.0 += 1;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Words<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error's text")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.get_or_insert_with(|| text.chars().take(MAX_WORDS).collect());
        Ok(())
    }
}

/// What `body` is, as `error` tells.
fn no_answer(body: &[u8], error: &serde_json::Error) -> Failure {
    match error.classify() {
        _ if body.trim_ascii().is_empty() => Failure::new(Reason::Body, "an empty answer to a query"),
        Category::Eof => failure(body, format_args!("an answer that is cut off after {} bytes", body.len())),
        Category::Data => {
            failure(body, format_args!("JSON that is no answer ({})", quote_most(&error.to_string(), MAX_WORDS)))
        }
        Category::Syntax | Category::Io => failure(body, format_args!("what is not JSON ({error})")),
    }
}

fn failure(body: &[u8], what: fmt::Arguments<'_>) -> Failure {
    let beginning = String::from_utf8_lossy(&body[..body.len().min(BEGINNING)]);
    Failure::new(Reason::Body, format_args!("{what}, where a query's results were expected: {}", quote(&beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_over_statements_series_and_parts() {
        #[track_caller]
        fn check(body: &str, count: u64, error: Option<&str>) {
            let error = error.map(str::to_owned);
            assert_eq!(Rows::of(body.as_bytes()), Ok(Rows { count, error }), "{body}");
        }
        check(r#"{"results":[{"statement_id":0}]}"#, 0, None);
        check("{\"results\":[]}\n", 0, None);
        check(r#"{"results":[{"series":[{"name":"m","columns":["time","v"],"values":[[1,2],[3,4]]}]}]}"#, 2, None);
        check(r#"{"results":[{"series":[{"values":[[1]]},{"values":[[2],[3]],"tags":{"values":"[[]]"}}]}]}"#, 3, None);
        check(r#"{"results":[{"series":[{"values":[[1]]}]},{"series":[{"values":[[1],[2]]}]}]}"#, 3, None);
        check(r#"{"results":[{"series":[{"columns":["name"]}]}]}"#, 0, None);
        check(r#"{"results":[{"series":null},{"series":[{"values":null}],"error":null}]}"#, 0, None);
        // More is to come, or there was more than the server gives.
        let part = |rows: &str, partial| {
            format!(r#"{{"results":[{{"series":[{{"values":{rows},"partial":{partial}}}],"partial":{partial}}}]}}"#)
        };
        check(&part("[[1],[2]]", true), 2, None);
        check(&[part("[[1],[2]]", true), part("[[3]]", false)].join("\n"), 3, None);
        check(&[part("[[1],[2]]", true), part("[[3]]", true), part("[]", false)].concat(), 3, None);
        // Of keys that mean something elsewhere, nothing is taken.
        check(r#"{"values":[[1]],"series":[{}],"results":[{"values":[[1]],"results":7,"messages":[{}]}]}"#, 0, None);
        check(r#" { "results" : [ { "series" : [ { "values" : [ [ 1, "a]\"" ] ] } ] } ] } "#, 1, None);

        check(r#"{"error":"error parsing query"}"#, 0, Some("error parsing query"));
        check(r#"{"results":[{"statement_id":0,"error":"database not found: x"}]}"#, 0, Some("database not found: x"));
        check(r#"{"results":[{"error":"a"},{"error":"b"}],"error":"c"}"#, 0, Some("a"));
        check(r#"{"results":[{"series":[{"values":[[1]]}],"error":"timeout \"1\""}]}"#, 1, Some("timeout \"1\""));
        let later = part("[[1]]", true) + r#"{"results":[{"error":"query interrupted"}]}"#;
        check(&later, 1, Some("query interrupted"));
        let long = "ö".repeat(100_000);
        check(&format!(r#"{{"error":"{long}"}}"#), 0, Some(&"ö".repeat(300)));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        #[track_caller]
        fn check(body: impl AsRef<[u8]>, expect: &str) {
            let failure = Rows::of(body.as_ref()).unwrap_err();
            assert_eq!(failure.reason, Reason::Body);
            let detail = failure.detail;
            assert!(detail.contains(expect) && detail.len() < 1000 && !detail.contains('\n'), "{detail}");
        }
        check("", "an empty answer");
        check(" \r\n", "an empty answer");
        check(
            "<html>\n<b>hi",
            "what is not JSON (expected value at line 1 column 1), where a query's results were expected: \"<html>\\n",
        );
        check("{}", "JSON without \"results\" and \"error\"");
        check(r#"{"status":"success","data":[]}"#, "JSON without \"results\" and \"error\"");
        check(r#"{"results":[]}{"x":1}"#, "JSON without \"results\" and \"error\"");
        check(r#"{"results":[]} <html>"#, "not JSON");
        check("[]", "no answer (\"invalid type: sequence, expected an object with results");
        check("null", "an object with results");
        check("7", "invalid type: integer `7`");
        check(format!("\"{}\"", "x\n".repeat(1000)), "not JSON");
        check(format!("\"{}\"", "x\\n".repeat(100_000)), "JSON that is no answer");
        check(r#"{"results":5}"#, "an array of statements' results");
        check(r#"{"results":[5]}"#, "an object with a statement's result");
        check(r#"{"results":[{"series":{}}]}"#, "an array of series");
        check(r#"{"results":[{"series":[{"values":"x"}]}]}"#, "an array of rows");
        check(r#"{"results":[{"error":5}]}"#, "an error's text");
        check(b"{\"error\":\"\xff\"}", "not JSON");
        check(b"\x1f\x8b\x08\x00\x00", "not JSON");
        check(r#"{"results":[{"series":[{"values":[[1],[2"#, "cut off after 40 bytes");
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_told_as_such() {
        let whole = r#"{"results":[{"series":[{"tags":{"a":"é\n"},"values":[[1.5,null],[true,"x"]]}],"error":"no"}]}"#;
        assert_eq!(Rows::of(whole.as_bytes()).unwrap().count, 2);
        for end in 1..whole.len() {
            let failure = Rows::of(&whole.as_bytes()[..end]).unwrap_err();
            assert!(failure.detail.contains("cut off") || failure.detail.contains("not JSON"), "{end}: {failure}");
        }
    }

    #[test]
    fn depth_and_noise_do_no_harm() {
        for open in ["[", "{\"a\":", "{\"results\":[{\"series\":[{\"values\":[", "{\"results\":"] {
            for before in ["", "{\"results\":[{\"series\":[{\"values\":", "{\"x\":", "{\"results\":[{\"error\":"] {
                let deep = [before, &open.repeat(200_000)].concat();
                assert_eq!(Rows::of(deep.as_bytes()).unwrap_err().reason, Reason::Body, "{before}{open}");
            }
        }
        let closed = ["{\"results\":[{\"series\":[{\"values\":[", &"[".repeat(100_000), &"]".repeat(100_000), "]}]}]}"];
        assert_eq!(Rows::of(closed.concat().as_bytes()).unwrap().count, 1);
        let mut random = fastrand::Rng::with_seed(5);
        let words = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"results\"",
            "\"series\"",
            "\"values\"",
            "\"error\"",
            "1",
            "null",
            "\"",
            "\\",
        ];
        for _ in 0..20_000 {
            let noise: String = (0..random.usize(0..30)).map(|_| *random.choice(&words).unwrap()).collect();
            _ = Rows::of(noise.as_bytes());
        }
    }
}
