//! What a hit does: one file or folder a kind.
//!
//! A *type* is a named, configured kind: `types.d/NAME.toml`. What every kind
//! shares (overtime, when_busy, arrivals, grace) is read here, the rest by the
//! kind itself.

use std::path::Path;
use std::time::Duration;

use crate::fault::Fault;
use crate::pacer::Arrivals;
use crate::worker::WhenBusy;

/// A type as its file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// Its name: the file's stem.
    pub name: String,
    /// What a hit does.
    pub kind: Kind,
    /// The most hits in flight, at least 1.
    pub overtime: u32,
    /// What a due hit does when `overtime` is reached.
    pub when_busy: WhenBusy,
    /// How the dues lie in the minute.
    pub arrivals: Arrivals,
    /// How long hits in flight at the minute's end may go on: the kind's timeout unless given, at most 50 s.
    pub grace: Duration,
}

/// The kinds, each with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {}

/// The type that needs no file.
pub const BUILT_IN: (&str, &str) = ("loopback", "kind = \"loopback\"\n");

/// Reads the type `name` from the text of its file.
pub fn read(_name: &str, _file: &Path, _text: &str) -> (Option<Type>, Vec<Fault>) {
    (None, Vec::new())
}
