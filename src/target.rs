//! What a worker hits: a [`Target`] turns the number of a hit into an [`Outcome`].
//!
//! A target knows nothing of schedules, files or destinations. It is called
//! once a hit, may be called again before the last call has ended (up to
//! `overtime` times), and is cancelled by being dropped.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::{self, value::StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::pacer::Due;
use crate::work::Work;

/// Something that can be hit.
///
/// Every async closure is one that takes nothing and gives back a result of
/// which both sides display. (One that wants the hit's number is wrapped by
/// [`numbered`].)
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::time::Duration;
/// use canihaz::{Rate, work};
///
/// let target = async || Ok::<_, std::io::Error>("pong");
/// let tally = work(Rate::per_second(20), Duration::from_millis(100), target).await?;
/// assert_eq!((tally.ok, tally.failed), (2, 0));
/// # Ok(())
/// # }
/// ```
///
/// A type of one's own is more exact: it gives its [`Reason`] for a failure and
/// counts bytes.
///
/// ```
/// use canihaz::{Failure, Outcome, Reason, Target};
///
/// struct Moody;
///
/// impl Target for Moody {
///     async fn hit(&self, number: u64) -> Outcome {
///         match number % 3 {
///             0 => Outcome::failed(Failure::new(Reason::Status, "every third hit, on principle")),
///             _ => Outcome { bytes_in: 4, ..Outcome::default() },
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// # use std::time::Duration;
/// # use canihaz::{Rate, work};
/// let tally = work(Rate::per_second(20), Duration::from_millis(150), Moody).await?;
/// assert_eq!((tally.ok, tally.failures[&Reason::Status], tally.bytes_in), (2, 1, 8));
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
/// A hit is canceled by dropping its future: what it owns is dropped, and
/// nothing of it runs any further.
///
/// # Panics
/// A hit that panics is a failed hit, [`Reason::Panic`].
pub trait Target {
    /// Executes one hit; `number` counts the hits of this minute, or this
    /// stint of work, from 0. Dropping the future cancels the hit.
    fn hit(&self, number: u64) -> impl Future<Output = Outcome>;

    /// What the engine calls: the hit, for whoever has to know when it was due.
    #[doc(hidden)]
    fn hit_due(&self, due: Due) -> impl Future<Output = Outcome> {
        self.hit(due.number)
    }

    /// A hit was canceled, as `overtime` hits were in flight.
    #[doc(hidden)]
    fn skip(&self, _due: Due) {}

    /// Whether there is something for a hit to do; if so, it is kept for one that starts now. A due hit that finds
    /// nothing is counted as stopped.
    #[doc(hidden)]
    fn claim(&self) -> bool {
        true
    }

    /// How long nobody takes a hit's place after it has ended.
    #[doc(hidden)]
    fn rest(&self) -> Duration {
        Duration::ZERO
    }
}

/// How one hit ended, and what it moved over the wire; ok by default.
///
/// A result becomes one: an error that is a [`Failure`] keeps its reason, any
/// other is [`Reason::Other`].
///
/// ```
/// use canihaz::{Failure, Outcome, Reason};
///
/// let ok = Outcome::from(Ok::<_, String>(42));
/// assert!(ok.failure.is_none());
/// assert_eq!(ok.answer.unwrap().to_string(), "42");
///
/// let failed = Outcome::from("forty-two".parse::<u64>());
/// assert_eq!(failed.failure.unwrap().reason, Reason::Other);
///
/// let late = Outcome::from(Err::<&str, _>(Failure::new(Reason::Timeout, "not done after 5 s")));
/// assert_eq!(late.failure.unwrap().reason, Reason::Timeout);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// `None` when the hit was ok.
    pub failure: Option<Failure>,
    /// What it gave back, for whoever listens; not measured.
    pub answer: Option<Answer>,
    /// Bytes received, as counted at the socket (TLS records included).
    pub bytes_in: u64,
    /// Bytes sent, as counted at the socket (TLS records included).
    pub bytes_out: u64,
    /// When the hit began, where the target knows better than that it was called.
    pub started: Option<Instant>,
    /// When it was over, where the target knows better than that it was found to be.
    pub ended: Option<Instant>,
    /// How long the parts of a new connection took; `None` where the hit opened none.
    pub phases: Option<Box<Phases>>,
    /// What else the hit measured.
    pub values: Vec<Value>,
    /// What the hit got done; `None` where there is nothing to count beside the hit.
    pub work: Option<Box<Work>>,
}

/// How long the parts of a new connection took, each where there was one.
///
/// ```
/// use std::time::Duration;
/// use canihaz::{Outcome, Phases};
///
/// let phases = Phases { connect: Some(Duration::from_millis(3)), ..Phases::default() };
/// let outcome = Outcome { phases: Some(phases.into()), ..Outcome::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Phases {
    /// Looking up the name.
    pub dns: Option<Duration>,
    /// Until the connection was there, over all the addresses that were tried.
    pub connect: Option<Duration>,
    /// Agreeing on TLS.
    pub tls: Option<Duration>,
    /// From the first byte sent to the first one of an answer.
    pub first_byte: Option<Duration>,
}

/// A number that a hit brings back, beside how long it took: a queue's length, say.
///
/// ```
/// use canihaz::{Outcome, Value};
///
/// let queued = Value { name: "queued".into(), value: 17.0, unit: String::new() };
/// let outcome = Outcome { values: vec![queued], ..Outcome::default() };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it is a number of; it becomes part of a metric's name.
    pub name: String,
    /// The number, finite.
    pub value: f64,
    /// Its unit, as in `s`, `B` or `%`; empty where it has none.
    pub unit: String,
}

/// What a hit gave back: anything that displays, shown only when somebody asks.
///
/// ```
/// use canihaz::Answer;
///
/// assert_eq!(Answer::new(7 * 6).to_string(), "42");
/// ```
#[derive(Clone)]
pub struct Answer(Arc<dyn fmt::Display + Send + Sync>);

/// A closure that is told the number of the hit; made by [`numbered`].
///
/// ```
/// use canihaz::{Worker, numbered};
///
/// let worker = Worker::hire("shop", numbered(async |number| Ok::<_, String>(number)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Numbered<F>(F);

/// Why a hit failed.
///
/// ```
/// use canihaz::{Failure, Reason};
///
/// let failure = Failure::new(Reason::Status, "503 where 200 was expected");
/// assert_eq!(failure.to_string(), "status: 503 where 200 was expected");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What is counted.
    pub reason: Reason,
    /// What happened, for a person who looks at the debug log.
    pub detail: String,
}

/// Makes a target of an async closure that wants the number of the hit, from 0.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), canihaz::Error> {
/// use std::time::Duration;
/// use canihaz::{Rate, numbered, work};
///
/// let target = numbered(async |number| if number < 2 { Ok(number) } else { Err("that is too much") });
/// let tally = work(Rate::per_second(20), Duration::from_millis(150), target).await?;
/// assert_eq!((tally.ok, tally.failed), (2, 1));
/// # Ok(())
/// # }
/// ```
pub fn numbered<F, R, E>(closure: F) -> Numbered<F>
where
    F: AsyncFn(u64) -> Result<R, E>,
    R: fmt::Display + Send + Sync + 'static,
    E: fmt::Display + 'static,
{
    Numbered(closure)
}

impl<F, R, E> Target for F
where
    F: AsyncFn() -> Result<R, E>,
    R: fmt::Display + Send + Sync + 'static,
    E: fmt::Display + 'static,
{
    async fn hit(&self, _number: u64) -> Outcome {
        self().await.into()
    }
}

impl<F, R, E> Target for Numbered<F>
where
    F: AsyncFn(u64) -> Result<R, E>,
    R: fmt::Display + Send + Sync + 'static,
    E: fmt::Display + 'static,
{
    async fn hit(&self, number: u64) -> Outcome {
        (self.0)(number).await.into()
    }
}

impl Outcome {
    /// A hit that failed.
    ///
    /// ```
    /// use canihaz::{Failure, Outcome, Reason};
    ///
    /// let outcome = Outcome::failed(Failure::new(Reason::Body, "an empty page"));
    /// assert_eq!(outcome.failure.unwrap().detail, "an empty page");
    /// ```
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// A hit that was still in flight when grace was over.
    pub(crate) fn cut() -> Self {
        Self::failed(Failure::new(Reason::Deadline, "still in flight when grace was over"))
    }

    /// A hit that panicked.
    pub(crate) fn panicked() -> Self {
        Self::failed(Failure::new(Reason::Panic, "the target panicked"))
    }
}

impl<R: fmt::Display + Send + Sync + 'static, E: fmt::Display + 'static> From<Result<R, E>> for Outcome {
    fn from(result: Result<R, E>) -> Self {
        match result {
            Ok(answer) => Self { answer: Some(Answer::new(answer)), ..Self::default() },
            Err(error) => Self::failed(match (&error as &dyn Any).downcast_ref::<Failure>() {
                Some(failure) => failure.clone(),
                None => Failure::new(Reason::Other, error),
            }),
        }
    }
}

impl Answer {
    /// An answer that shows what `answer` shows.
    pub fn new(answer: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({self})")
    }
}

impl Failure {
    /// A failure for `reason`; `detail` is anything that can be shown.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Failure {}

/// Why hits fail: a closed list, as each is the name of a metric.
///
/// ```
/// assert_eq!(canihaz::Reason::Timeout.name(), "timeout");
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// No connection: refused, reset or unreachable before the request was out.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The name did not resolve.
    Dns,
    /// The type's `timeout` passed.
    Timeout,
    /// The answer's status is none of those expected.
    Status,
    /// The body is not as expected, too large, or was cut off.
    Body,
    /// The other side does not speak the protocol.
    Protocol,
    /// A program ended with another status than 0.
    Exit,
    /// Still in flight when the minute's grace was over.
    Deadline,
    /// The target's own code panicked.
    Panic,
    /// None of the above.
    Other,
}

impl Reason {
    /// The reason that metrics and summaries spell so.
    ///
    /// ```
    /// use canihaz::Reason;
    ///
    /// assert_eq!(Reason::parse("timeout"), Some(Reason::Timeout));
    /// assert_eq!(Reason::parse("weather"), None);
    /// ```
    pub fn parse(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<de::value::Error>::new(name)).ok()
    }

    /// The reason as metrics and summaries spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Body => "body",
            Self::Protocol => "protocol",
            Self::Exit => "exit",
            Self::Deadline => "deadline",
            Self::Panic => "panic",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
