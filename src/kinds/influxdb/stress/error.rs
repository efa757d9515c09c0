//! Why a stress test did not begin, or did not get to its end.

use crate::fault::Fault;
use crate::target::Failure;

/// Whatever a part of one's own has to say.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a stress test did not begin, or a half of it did not get to its end.
///
/// A request that failed is none of it: that is what is measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database could not be seen to; nothing was written or read.
    #[error("provisioning failed: {}", chain(.0))]
    Provisioning(Cause),
    /// A client can't do what it is to do: the way to its servers can't be prepared, say. It has sent nothing.
    #[error("the client can't begin: {}", chain(.0))]
    Client(Cause),
    /// Points were sent again and again, and the client's patience is at its end.
    #[error("gave up on {points} points, which may not be written: {last}")]
    GaveUp {
        /// How many points the database may not have, of those that were generated.
        points: u64,
        /// Why the last of them failed at last.
        last: Failure,
    },
    /// The handler panicked. What it did not hear was counted.
    #[error("the handler panicked")]
    HandlerPanicked,
    /// That is no `host:port`.
    #[error("{0:?} is no address: host:port, as in \"localhost:8086\", without http://")]
    Address(String),
    /// A name, password or token has characters that no request can bear.
    #[error("a name, password or token can't be sent: visible characters alone, and no colon in a name")]
    Credentials,
    /// A `stress.toml` is not as it should be: all that is wrong with it.
    #[error("{}", faults(.0))]
    Settings(Vec<Fault>),
}

/// An error, and what it comes of.
fn chain(cause: &Cause) -> String {
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn faults(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
