//! One request of a journey, as a line of JSON.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A request of a journey, and how it went: a line of JSON on a load test's standard output.
///
/// What go-lo's first version wrote is read, and written: see the fields.
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
    /// How long it took, in nanoseconds.
    #[serde(with = "nanoseconds")]
    pub duration: Duration,
    /// Why there is no answer, or none that will do; `None` when all is well.
    #[serde(default)]
    pub error: Option<String>,
}

mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        // A clock that was set back made go-lo write negative ones.
        i64::deserialize(from).map(|ns| Duration::from_nanos(u64::try_from(ns).unwrap_or(0)))
    }
}
