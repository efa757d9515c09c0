//! One request of a journey, as a line of JSON.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};

/// The status where no answer came.
pub const NO_STATUS: u16 = 0;
/// The size where it isn't known.
pub const NO_SIZE: i64 = -1;

/// A request of a journey, and how it went: a line of JSON on a load test's standard output.
///
/// It is written as go-lo's first version wrote it, fields in the same order, and what that wrote is read: an error
/// that is any JSON (but an empty text, which is none), a negative duration (a clock was set back) as 0. Of what is read only `error` may lack, and
/// fields that nobody knows are skipped.
///
/// ```
/// use canihaz::loadtest::Output;
///
/// let line = r#"{"sequenceID":"c276c8c7","url":"http://h/","method":"GET","status":200,"size":3,
///     "timestamp":"2026-07-01T12:00:00+02:00","duration":1500000,"error":null}"#;
/// let output: Output = serde_json::from_str(line).unwrap();
/// assert_eq!((output.status, output.duration.as_micros()), (200, 1500));
/// assert_eq!(serde_json::from_str::<Output>(&output.to_string()).unwrap(), output);
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Output {
    /// What all requests of one journey have in common.
    #[serde(rename = "sequenceID")]
    pub sequence_id: String,
    /// What was asked for.
    pub url: String,
    /// How.
    pub method: String,
    /// The answer's status; 0 where none came.
    pub status: u16,
    /// The length of the answer's body, in bytes; -1 where it isn't known.
    pub size: i64,
    /// When the request was over.
    pub timestamp: DateTime<Utc>,
    /// How long it took; nanoseconds in JSON.
    #[serde(with = "nanoseconds")]
    pub duration: Duration,
    /// Why there is no answer, or none that will do; `None` when all is well.
    #[serde(default, deserialize_with = "error::deserialize")]
    pub error: Option<String>,
}

impl Output {
    /// What is to be said of a `response` that came after `duration`, and is whole now: for whoever doesn't ask by
    /// [`do_request`](crate::loadtest::do_request).
    ///
    /// An answer doesn't tell how it was asked for: the method is GET, unless it came from `do_request`, and a field
    /// to be set. The URL is where it came from, behind all redirects, without user and password. The size is what
    /// the answer says of it.
    pub fn parse(sequence_id: &str, duration: Duration, response: &Response) -> Self {
        let method = response.extensions().get::<Method>().unwrap_or(&Method::GET);
        Self {
            sequence_id: sequence_id.to_owned(),
            url: without_credentials(response.url()),
            method: method.to_string(),
            status: response.status().as_u16(),
            size: response.content_length().and_then(|size| i64::try_from(size).ok()).unwrap_or(NO_SIZE),
            timestamp: Utc::now(),
            duration,
            error: None,
        }
    }
}

/// The line, without its end.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// A URL as lines show it: they are stored, and shown to others.
pub(crate) fn without_credentials(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    // Fails where a URL can't have them.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.into()
}

/// A duration in JSON.
pub(crate) mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        // A clock that was set back made go-lo write negative ones.
        i64::deserialize(from).map(|ns| Duration::from_nanos(u64::try_from(ns).unwrap_or(0)))
    }
}

/// An error in JSON.
pub(crate) mod error {
    use serde::{Deserialize, Deserializer};
    use serde_json::Value;

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<String>, D::Error> {
        Ok(match Value::deserialize(from)? {
            Value::Null => None,
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            // Go writes the public fields of an error, of which most have none: `{}`.
            other => Some(other.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = r#""sequenceID":"a","url":"http://h/","method":"GET""#;
    const REST: &str = r#""status":200,"size":3,"timestamp":"2018-07-01T12:00:00Z","duration":1500"#;

    fn read(line: &str) -> Result<Output, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn what_go_lo_wrote_is_read() {
        #[track_caller]
        fn check(rest: &str, expect: impl Fn(&Output) -> bool) {
            let output = read(&format!("{{{URL},{rest}}}")).unwrap();
            assert!(expect(&output), "{output:?}");
        }
        let noon: DateTime<Utc> = "2018-07-01T12:00:00Z".parse().unwrap();
        check(REST, |output| {
            let expect = Output {
                sequence_id: String::from("a"),
                url: String::from("http://h/"),
                method: String::from("GET"),
                status: 200,
                size: 3,
                timestamp: noon,
                duration: Duration::from_nanos(1500),
                error: None,
            };
            *output == expect
        });
        check(&format!("{REST},\"error\":null"), |output| output.error.is_none());
        check(&format!("{REST},\"error\":\"EOF\""), |output| output.error.as_deref() == Some("EOF"));
        check(&format!("{REST},\"error\":\"\""), |output| output.error.is_none());
        check(&format!("{REST},\"error\":{{}}"), |output| output.error.as_deref() == Some("{}"));
        check(&format!("{REST},\"error\":{{\"Op\":\"Get\",\"Err\":{{}}}}"), |output| {
            output.error.as_deref() == Some("{\"Op\":\"Get\",\"Err\":{}}")
                || output.error.as_deref() == Some("{\"Err\":{},\"Op\":\"Get\"}")
        });
        check(&format!("{REST},\"host\":\"h\",\"more\":[1,{{}}]"), |output| output.status == 200);
        check(&REST.replace(":3,", ":-1,"), |output| output.size == -1);
        check(&REST.replace(":200,", ":0,"), |output| output.status == 0);
        check(&REST.replace("1500", "-1500"), |output| output.duration.is_zero());
        check(&REST.replace("1500", "9223372036854775807"), |output| output.duration.as_secs() == 9_223_372_036);
        let time = |text: &str| REST.replace("2018-07-01T12:00:00Z", text);
        check(&time("2018-07-01T14:00:00+02:00"), |output| output.timestamp == noon);
        check(&time("2018-07-01T06:30:00-05:30"), |output| output.timestamp == noon);
        check(&time("2018-07-01T14:00:00.123456789+02:00"), |output| {
            output.timestamp == noon + chrono::TimeDelta::nanoseconds(123_456_789)
        });
        check(&time("2018-07-01T12:00:00.5Z"), |output| output.timestamp.timestamp_subsec_millis() == 500);
        check(&time("0001-01-01T00:00:00Z"), |output| output.timestamp.timestamp() < 0);
    }

    #[test]
    fn what_lacks_a_field_or_has_another_in_its_place_is_no_output() {
        #[track_caller]
        fn check(line: &str) {
            assert!(read(line).is_err(), "{line}");
        }
        check("");
        check("{}");
        check("[]");
        check("null");
        check("starting…");
        let whole = format!("{{{URL},{REST}}}");
        for lacking in ["sequenceID", "url", "method", "status", "size", "timestamp", "duration"] {
            check(&whole.replace(&format!("\"{lacking}\""), "\"other\""));
        }
        check(&whole.replace(":200,", ":\"200\","));
        check(&whole.replace(":200,", ":65536,"));
        check(&whole.replace(":200,", ":-1,"));
        check(&whole.replace("1500", "9223372036854775808"));
        check(&whole.replace("1500", "1.5"));
        check(&whole.replace("2018-07-01T", "yesterday "));
        check(&whole[..whole.len() - 1]);
    }

    #[test]
    fn it_is_written_as_go_lo_wrote_it() {
        let line = format!("{{{URL},{REST},\"error\":null}}");
        assert_eq!(read(&line).unwrap().to_string(), line);
        let failed = Output { error: Some("line\nfeed".into()), duration: Duration::MAX, ..read(&line).unwrap() };
        assert_eq!(
            failed.to_string(),
            line.replace("null", "\"line\\nfeed\"").replace("1500", "9223372036854775807"),
            "one line, and no number that Go can't read"
        );
    }

    #[test]
    fn an_answer_is_parsed() {
        use reqwest::ResponseBuilderExt;

        let url = "http://user:secret@h/a?b=c".parse().unwrap();
        let answer = hyper::Response::builder().status(404).url(url).body("gone").unwrap();
        let output = Output::parse("a", Duration::from_millis(2), &Response::from(answer));
        assert_eq!((output.sequence_id.as_str(), output.url.as_str()), ("a", "http://h/a?b=c"));
        assert_eq!((output.method.as_str(), output.status, output.size), ("GET", 404, 4));
        assert_eq!((output.duration, output.error), (Duration::from_millis(2), None));
    }
}
