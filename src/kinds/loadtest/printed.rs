//! A request as a load test prints it: an [`Output`], read without copying what need not be.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::golo::Output;
use crate::golo::output::{error, nanoseconds};

/// An [`Output`], as far as can be borrowed from its line.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Printed<'a> {
    #[serde(borrow, rename = "sequenceID")]
    pub sequence_id: Cow<'a, str>,
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    pub status: u16,
    pub size: i64,
    pub timestamp: DateTime<Utc>,
    #[serde(deserialize_with = "nanoseconds::deserialize")]
    pub duration: Duration,
    #[serde(default, deserialize_with = "error::deserialize")]
    pub error: Option<String>,
}

impl<'a> Printed<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is no Output: what is wrong with it.
    pub fn read(line: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }

    /// The same, which needs no line.
    pub fn to_output(&self) -> Output {
        Output {
            sequence_id: self.sequence_id.clone().into_owned(),
            url: self.url.clone().into_owned(),
            method: self.method.clone().into_owned(),
            status: self.status,
            size: self.size,
            timestamp: self.timestamp,
            duration: self.duration,
            error: self.error.clone(),
        }
    }

    /// When it was over, in nanoseconds since 1970; a time out of their range is the nearest in it.
    pub fn end_ns(&self) -> i64 {
        let beyond = if self.timestamp < DateTime::UNIX_EPOCH { i64::MIN } else { i64::MAX };
        self.timestamp.timestamp_nanos_opt().unwrap_or(beyond)
    }

    /// When it began, likewise.
    pub fn start_ns(&self) -> i64 {
        self.end_ns().saturating_sub(i64::try_from(self.duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl<'a> From<&'a Output> for Printed<'a> {
    fn from(output: &'a Output) -> Self {
        Self {
            sequence_id: Cow::Borrowed(&output.sequence_id),
            url: Cow::Borrowed(&output.url),
            method: Cow::Borrowed(&output.method),
            status: output.status,
            size: output.size,
            timestamp: output.timestamp,
            duration: output.duration,
            error: output.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"sequenceID":"s","url":"http://h/?a=1","method":"GET","status":200,"size":-1,"timestamp":"2026-11-21T03:27:00.25Z","duration":250000000,"error":null}"#;

    #[test]
    fn what_is_printed_is_an_output() {
        let printed = Printed::read(LINE).unwrap();
        assert!(matches!((&printed.sequence_id, &printed.url), (Cow::Borrowed("s"), Cow::Borrowed("http://h/?a=1"))));
        let output: Output = serde_json::from_str(LINE).unwrap();
        assert_eq!(printed.to_output(), output);
        assert_eq!(Printed::from(&output), printed);
        assert_eq!((printed.end_ns() - printed.start_ns(), printed.start_ns() % 1_000_000_000), (250_000_000, 0));
    }

    #[test]
    fn what_go_lo_wrote_is_read() {
        #[track_caller]
        fn check(this: &str, by: &str, expect: impl Fn(&Printed<'_>) -> bool) {
            let line = LINE.replace(this, by);
            assert_ne!(line, LINE);
            let printed = Printed::read(&line).unwrap();
            assert!(expect(&printed), "{printed:?}");
        }
        check("?a=1", r"?a=1\u0026b=2", |printed| printed.url == "http://h/?a=1&b=2");
        check("250000000", "-7", |printed| printed.duration.is_zero());
        check(",\"error\":null", "", |printed| printed.error.is_none());
        check("null", "\"\"", |printed| printed.error.is_none());
        check("null", "\"refused\"", |printed| printed.error.as_deref() == Some("refused"));
        check("null", r#"{"Op":"Get","Err":{}}"#, |printed| {
            printed.error.as_deref().is_some_and(|error| error.contains(r#""Op":"Get""#))
        });
        check(".25Z", ".123456789+02:00", |printed| printed.end_ns() % 1_000_000_000 == 123_456_789);
        check("2026-11-21T03:27:00.25Z", "0001-01-01T00:00:00Z", |printed| {
            (printed.end_ns(), printed.start_ns()) == (i64::MIN, i64::MIN)
        });
        check("null", "null,\"more\":[1,{}]", |printed| printed.status == 200);
    }

    #[test]
    fn what_lacks_a_field_or_has_it_otherwise_is_none() {
        #[track_caller]
        fn check(this: &str, by: &str, expect: &str) {
            let error = Printed::read(&LINE.replace(this, by)).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        }
        check("\"url\":\"http://h/?a=1\",", "", "missing field `url`");
        check("200", "-1", "invalid value");
        check("200", "70000", "invalid value");
        check("250000000", "0.25", "invalid type");
        check("2026-11-21T03:27:00.25Z", "yesterday", "input contains invalid characters");
        check("}", "} x", "trailing characters");
    }
}
