//! Where summaries go: one file a kind of destination, and one line in [`KINDS`].
//!
//! A destination sends a batch and says whether it was *taken*. What is not
//! taken stays in the spool; the destination alone decides what is worth
//! another try.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::fault::Fault;
use crate::keys::{Keys, Source};
use crate::summary::Summary;

/// Something that takes summaries.
pub trait Destination: Send {
    /// Sends all of `batch`, in order of time; `Ok` when all of it was taken.
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

/// Reads a kind's own keys; `None` when one that is needed isn't there.
type Read = fn(&mut Keys<'_>) -> Option<Box<dyn Destination>>;

/// Every kind of destination, and how long an interval it wants unless its file says so.
const KINDS: &[(&str, Read, Option<Duration>)] = &[];

/// The destinations that need no file, at their customary local ports.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("log", "kind = \"log\"\n"),
    ("udp", "kind = \"udp\"\naddress = \"127.0.0.1:8094\"\n"),
    ("statsd", "kind = \"statsd\"\naddress = \"127.0.0.1:8125\"\n"),
    ("graphite", "kind = \"graphite\"\naddress = \"127.0.0.1:2003\"\n"),
];

/// What happens while a destination's file is wrong.
const NOW: &str = "tests that name this destination do not run";

/// Reads the destination `name` from the text of its file.
pub fn read(name: &str, file: &Path, text: &str) -> (Option<Post>, Vec<Fault>) {
    let source = Source { file, text, quotes_values: false, now: NOW };
    let (post, faults) = source.read(|keys| {
        let kinds: Vec<_> = KINDS.iter().map(|kind| (kind.0, kind)).collect();
        let kind = keys.choice("kind", &kinds);
        let (_, read, every) = keys.required("kind", kind)?;
        let right = "a time that divides a minute, in whole seconds, as in \"10s\" or \"60s\"";
        let every = keys
            .parsed("every", right, |text| {
                crate::keys::parse_duration(text)
                    .filter(|every| every.subsec_nanos() == 0 && (1..=60).contains(&every.as_secs()))
                    .filter(|every| 60 % every.as_secs() == 0)
            })
            .or(*every);
        let destination = read(keys)?;
        Some(Post { name: name.to_owned(), every, text: text.to_owned(), destination })
    });
    (post.flatten().filter(|_| faults.is_empty()), faults)
}
