//! Where summaries go: one file a kind of destination, and one line in `KINDS`.
//!
//! A destination sends a batch and says whether it was *taken*. What is not
//! taken stays in the spool; the destination alone decides what is worth
//! another try.

mod address;
mod client;
mod collector;
mod datagrams;
mod dotted;
mod file;
mod graphite;
mod http;
mod influxdb;
mod json;
mod log;
#[cfg(test)]
mod sample;
mod statsd;
mod udp;
mod units;

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::fault::{Fault, nearest};
use crate::keys::{Keys, Source, parse_duration};
use crate::summary::Summary;

/// Something that takes summaries.
pub trait Destination: Send {
    /// Sends all of `batch`, in order of time; `Ok` when all of it was taken.
    ///
    /// Every wait on a socket or lock is bounded by the occasion. Looking up a
    /// name is not (the system's resolver can't be told), nor is a write to a
    /// disk or terminal that hangs: call it on a thread that can be abandoned.
    ///
    /// # Errors
    /// [`Refusal::Retry`] leaves the batch in the spool, [`Refusal::Final`]
    /// sets it aside (a batch of several is first tried one by one).
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal>;

    /// Whether it only takes summaries of the run it lives in (a terminal), not
    /// those that another run has left.
    fn is_personal(&self) -> bool {
        false
    }

    /// What it takes; the other it is never brought.
    fn takes(&self) -> Takes {
        Takes::Summaries
    }

    /// Sends the requests of hits themselves, each an Output as JSON, in the order they were printed in; `Ok` when all
    /// of them were taken. Waits are bounded as those of [`deliver`](Self::deliver).
    ///
    /// # Errors
    /// Why they were not taken, and what would be.
    fn collect(&mut self, _: &[&[u8]], _: Occasion) -> Result<(), Declined> {
        Err(Declined::Final(anyhow::anyhow!("it takes summaries")))
    }
}

/// What a destination takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    /// What tests did, and the runner.
    Summaries,
    /// The requests of hits, each for itself, where hits have some that are known.
    Outputs,
}

/// Why requests were not taken.
#[derive(Debug, Error)]
pub enum Declined {
    /// They are worth another try, later or in the next run.
    #[error("{0:#}")]
    Retry(anyhow::Error),
    /// They are too many at once, or one is too large.
    #[error("{0:#}")]
    TooMuch(anyhow::Error),
    /// One of them, or more, will never be taken; the others may.
    #[error("{0:#}")]
    Faulty(anyhow::Error),
    /// None of them will ever be taken, whatever they are.
    #[error("{0:#}")]
    Final(anyhow::Error),
}

/// When a batch is delivered, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// The wall clock's time.
    pub now: DateTime<Utc>,
    /// When sending must be over.
    pub until: Instant,
}

impl Occasion {
    /// What is left of the time to send, never less than a millisecond: socket time-outs can't be zero.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Whether there is no time left: what loops on short waits asks this, as [`left`](Self::left) never is zero.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Why a batch was not taken.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Worth another try, later or in the next run.
    #[error("{0:#}")]
    Retry(anyhow::Error),
    /// Will never be taken.
    #[error("{0:#}")]
    Final(anyhow::Error),
}

/// A destination as its file describes it.
pub struct Post {
    /// Its name: the file's stem.
    pub name: String,
    /// How long an interval it wants; a multiple of the run's own that divides a minute, `None` for the run's own.
    pub every: Option<Duration>,
    /// The text it was made from: the same text, the same destination.
    pub text: String,
    /// What sends.
    pub destination: Box<dyn Destination>,
}

/// Reads a kind's own keys, `prefix` being read already; `None` when one that is needed isn't there.
type Read = fn(&mut Keys<'_>, Option<String>) -> Option<Box<dyn Destination>>;

/// Every kind of destination, and how long an interval it wants unless its file says so.
const KINDS: &[(&str, Read, Option<Duration>)] = &[
    ("log", log::read, None),
    ("file", file::read, None),
    ("udp", udp::read, None),
    ("statsd", statsd::read, None),
    // Whisper keeps one point a minute unless it was told otherwise; of several, it keeps the last.
    ("graphite", graphite::read, Some(Duration::from_secs(60))),
    ("http", http::read, None),
    ("influxdb", influxdb::read, None),
    ("collector", collector::read, None),
];

/// The destinations that need no file, at their customary local ports.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("log", "kind = \"log\"\n"),
    ("udp", "kind = \"udp\"\naddress = \"127.0.0.1:8094\"\n"),
    ("statsd", "kind = \"statsd\"\naddress = \"127.0.0.1:8125\"\n"),
    ("graphite", "kind = \"graphite\"\naddress = \"127.0.0.1:2003\"\n"),
];

/// What happens while a destination's file is wrong.
pub const NOW: &str = "tests that name this destination do not run";
/// The most characters of a `prefix`: with host, test and metric behind it, a name still fits a datagram several times.
const LONGEST_PREFIX: usize = 128;

/// Reads the destination `name` from the text of its file.
pub fn read(name: &str, file: &Path, text: &str, interval: Duration) -> (Option<Post>, Vec<Fault>) {
    let source = Source { file, text, quotes_values: false, now: NOW, now_unknown: NOW };
    let (post, faults) = source.read(|keys| {
        let kind = keys.parsed("kind", &right_kind(source), |word| KINDS.iter().find(|kind| kind.0 == word));
        let Some((_, read, every)) = keys.required("kind", kind) else {
            // Which keys are right depends on the kind: until that is known, the others are not judged.
            keys.skip_rest();
            return None;
        };
        let prefix = keys.parsed("prefix", "1 to 128 of A-Z a-z 0-9 _ . -", parse_prefix);
        let right = format!("a multiple of the interval, {}s, that divides a minute", interval.as_secs());
        let wanted = keys.parsed("every", &right, |text| parse_every(text, interval));
        let destination = read(keys, prefix)?;
        Some(Post { name: name.to_owned(), every: wanted.or(*every), text: text.to_owned(), destination })
    });
    (post.flatten().filter(|_| faults.is_empty()), faults)
}

/// What would be right for the key `kind`: the one that is nearest to what is there, else all of them.
fn right_kind(source: Source<'_>) -> String {
    let names = || KINDS.iter().map(|kind| kind.0);
    let (word, _) = source.read(|keys| keys.text("kind"));
    match word.flatten().and_then(|word| nearest(&word, names())) {
        Some(name) => format!("the nearest known one is \"{name}\""),
        None => format!("the known ones are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

fn parse_prefix(text: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    ((1..=LONGEST_PREFIX).contains(&text.len()) && text.chars().all(known)).then(|| text.to_owned())
}

fn parse_every(text: &str, interval: Duration) -> Option<Duration> {
    parse_duration(text)
        .filter(|every| every.subsec_nanos() == 0 && (1..=60).contains(&every.as_secs()))
        .filter(|every| 60 % every.as_secs() == 0 && every.as_secs().is_multiple_of(interval.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_right() {
        for (name, text) in BUILT_IN {
            let (post, faults) = read(name, Path::new("built-in"), text, Duration::from_secs(10));
            assert_eq!(faults, [], "{name}");
            assert_eq!(post.expect("it has no faults").name, *name);
        }
    }

    #[test]
    fn every_is_the_files_or_the_kinds_or_the_runs() {
        #[track_caller]
        fn check(text: &str, expect: Option<u64>) {
            let (post, faults) = read("x", Path::new("x.toml"), text, Duration::from_secs(10));
            assert_eq!(post.expect("it is right").every, expect.map(Duration::from_secs), "{faults:?}");
        }
        check("kind = \"log\"", None);
        check("kind = \"log\"\nevery = \"30s\"", Some(30));
        check("kind = \"graphite\"\naddress = \"localhost:2003\"", Some(60));
        check("kind = \"graphite\"\naddress = \"localhost:2003\"\nevery = \"10s\"", Some(10));
    }

    #[test]
    fn each_fault_has_its_message_and_no_value() {
        #[track_caller]
        fn check(text: &str, expect: &[&str]) {
            let (post, faults) = read("x", Path::new("x.toml"), text, Duration::from_secs(10));
            assert!(post.is_none());
            let messages: Vec<_> = faults.iter().map(|fault| fault.to_string().replace(NOW, "NOW")).collect();
            assert_eq!(messages, expect);
            assert!(!messages.concat().contains("secret"), "{messages:?}");
        }
        check("", &["x.toml: no key \"kind\": it can't be left out; NOW"]);
        check("address = \"secret:1\"", &["x.toml: no key \"kind\": it can't be left out; NOW"]);
        check(
            "knd = \"secret\"\naddress = \"x:1\"",
            &[
                "x.toml: no key \"kind\": it can't be left out; NOW",
                "x.toml:1:1: unknown key \"knd\": the nearest known one is \"kind\"; NOW",
            ],
        );
        check(
            "kind = \"grafite\"\naddress = \"x:1\"",
            &["x.toml:1:8: \"kind\" can't be this string: the nearest known one is \"graphite\"; NOW"],
        );
        check(
            "kind = \"my-secret-thing\"",
            &[
                "x.toml:1:8: \"kind\" can't be this string: the known ones are log, file, udp, statsd, graphite, http, influxdb, collector; NOW",
            ],
        );
        check(
            "kind = \"udp\"\naddres = \"secret:1\"",
            &[
                "x.toml: no key \"address\": it can't be left out; NOW",
                "x.toml:2:1: unknown key \"addres\": the nearest known one is \"address\"; NOW",
            ],
        );
        check(
            "kind = \"statsd\"\naddress = \"secret\"",
            &["x.toml:2:11: \"address\" can't be this string: an address as host:port; NOW"],
        );
        check(
            "kind = \"log\"\nevery = \"7s\"",
            &["x.toml:2:9: \"every\" can't be this string: \
               a multiple of the interval, 10s, that divides a minute; NOW"],
        );
        check(
            "kind = \"log\"\nprefix = \"a secret\"",
            &["x.toml:2:10: \"prefix\" can't be this string: 1 to 128 of A-Z a-z 0-9 _ . -; NOW"],
        );
        check("kind = \"file\"", &["x.toml: no key \"path\": it can't be left out; NOW"]);
        check(
            "kind = \"http\"\nurl = \"ftp://secret\"",
            &["x.toml:2:7: \"url\" can't be this string: a URL that begins with http:// or https://; NOW"],
        );
        check(
            "kind = \"http\"\nurl = \"http://h/\"\nbearer_file = \"/secret/none\"",
            &["x.toml:3:15: the file \"bearer_file\" names does not exist: a file was expected here; NOW"],
        );
    }
}
