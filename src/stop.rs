//! The stop file: while it exists, nothing runs.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::fault::quote;

/// The stop file's name in the configuration folder.
pub const FILE: &str = "stop";
/// How much of its text is looked at for a reason, in bytes.
const REASON: u64 = 512;

/// Why nothing runs, or nothing runs any longer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The stop file exists; its text, quoted.
    File(String),
    /// Whether it exists can't be told, so it counts as existing.
    Unknown(String),
    /// SIGTERM or SIGINT.
    Signal,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(text) => write!(f, "the stop file exists: {text}"),
            Self::Unknown(error) => {
                write!(f, "whether the stop file exists cannot be told ({error}), so it counts as existing")
            }
            Self::Signal => f.write_str("a signal"),
        }
    }
}

/// Looks for the stop file in the configuration folder `etc`; `None` when
/// there is none, which includes that there is no such folder.
pub fn look(etc: &Path) -> Option<Stop> {
    let file = etc.join(FILE);
    match file.symlink_metadata() {
        Ok(_) => Some(Stop::File(reason(&file))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => None,
            _ => Some(Stop::Unknown(error.to_string())),
        },
    }
}

/// The stop file's text, for the log: somebody may have written why.
fn reason(file: &Path) -> String {
    let nonblocking = (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC).bits();
    let opened = File::options().read(true).custom_flags(nonblocking).open(file);
    let mut text = Vec::new();
    // A stop file that can't be read stops as well; it only gives no reason.
    let _ = opened.map(|file| file.take(REASON).read_to_end(&mut text));
    quote(String::from_utf8_lossy(&text).trim())
}
