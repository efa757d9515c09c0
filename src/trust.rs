//! Opening what decides what runs: only what nobody else could have put there.
//!
//! A file or folder of the configuration is opened without blocking (it may be
//! a FIFO) and then looked at, by its descriptor, so that what was looked at is
//! what is read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use thiserror::Error;

/// The most a file of the configuration may hold, in bytes.
pub const MAX_FILE: u64 = 1 << 20;
/// How long a file must have been still before a last line without its newline is believed.
pub const STILL: Duration = Duration::from_secs(1);
/// The mode bit that lets everybody write.
const OTHERS_WRITE: u32 = 0o002;

/// Why something is not read. The caller decides between "isn't there" and the rest.
#[derive(Debug, Error)]
pub enum Distrust {
    /// Nothing has that name (or a link leads nowhere).
    #[error("does not exist")]
    Missing,
    /// Something else than a regular file.
    #[error("is {0}")]
    NotAFile(&'static str),
    /// Something else than a folder.
    #[error("is not a folder")]
    NotAFolder,
    /// Somebody else's.
    #[error("is owned by user {0}")]
    Owner(u32),
    /// Everybody may write it.
    #[error("may be written by others")]
    Writable,
    /// Larger than the limit, in bytes.
    #[error("is larger than {0} bytes")]
    Large(u64),
    /// The system said no.
    #[error("cannot be read ({0})")]
    Io(#[from] io::Error),
}

impl Distrust {
    /// Whether the machine is at its limits, which says nothing of the file: what was read before still stands.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io(error) if is_passing(error))
    }

    /// What would have been right.
    pub const fn right(&self) -> &'static str {
        match self {
            Self::Missing => "a file was expected here",
            Self::NotAFile(_) => "a regular file was expected",
            Self::NotAFolder => "a folder was expected",
            Self::Owner(_) => "it must be owned by root or by the user canihaz runs as",
            Self::Writable => "take the right to write from others (chmod o-w)",
            Self::Large(_) => "keep it smaller",
            Self::Io(_) => "it must be readable by the user canihaz runs as",
        }
    }
}

/// The bytes of a trusted file.
#[derive(Debug)]
pub struct Contents {
    /// All of it.
    pub bytes: Vec<u8>,
    /// False while a writer may still be at work on it: changed less than a second before `now`.
    pub still: bool,
}

/// Whether an error says nothing of the file, only of the machine at this moment.
pub fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EIO, Errno::EINTR, Errno::ESTALE];
    error.raw_os_error().is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}

/// Reads a regular file of at most `limit` bytes, owned by root or the running
/// user and not writable by others. `now` decides whether it is [still](Contents::still).
///
/// # Errors
/// [`Distrust`] says what it is instead.
pub fn read(path: &Path, limit: u64, now: SystemTime) -> Result<Contents, Distrust> {
    let file = open_file(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > limit {
        return Err(Distrust::Large(limit));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Distrust::Large(limit));
    }
    let still = match metadata.modified().map(|modified| now.duration_since(modified)) {
        Ok(Ok(age)) => age >= STILL,
        // A time stamp in the future, or none, says nothing of a writer at work.
        Ok(Err(ahead)) => ahead.duration() >= STILL,
        Err(_) => true,
    };
    Ok(Contents { bytes, still })
}

/// Opens a regular file, owned by root or the running user and not writable by others.
///
/// # Errors
/// [`Distrust`] says what it is instead.
pub fn open_file(path: &Path) -> Result<File, Distrust> {
    let file = open(path, OFlag::O_NOCTTY)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Distrust::NotAFile(kind(&metadata)));
    }
    check_owner(&metadata)?;
    Ok(file)
}

/// Looks at a file that is not to be read but executed: a regular one, owned by root or the running user and not
/// writable by others. It need not be readable.
///
/// # Errors
/// [`Distrust`] says what it is instead.
pub fn check_file(path: &Path) -> Result<(), Distrust> {
    let metadata = open(path, OFlag::O_PATH)?.metadata()?;
    if !metadata.is_file() {
        return Err(Distrust::NotAFile(kind(&metadata)));
    }
    check_owner(&metadata)
}

/// Looks at a folder: one that only root and the running user can change.
///
/// # Errors
/// [`Distrust`] says what it is instead.
pub fn check_folder(path: &Path) -> Result<(), Distrust> {
    let metadata = open(path, OFlag::O_DIRECTORY)?.metadata()?;
    check_owner(&metadata)
}

fn open(path: &Path, flags: OFlag) -> Result<File, Distrust> {
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => Ok(file),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => Distrust::Missing,
            io::ErrorKind::NotADirectory if flags.contains(OFlag::O_DIRECTORY) => Distrust::NotAFolder,
            // What open(2) answers for a socket.
            _ if error.raw_os_error() == Some(Errno::ENXIO as i32) => Distrust::NotAFile("a socket"),
            _ => Distrust::Io(error),
        }),
    }
}

fn check_owner(metadata: &Metadata) -> Result<(), Distrust> {
    if metadata.uid() != 0 && metadata.uid() != Uid::effective().as_raw() {
        return Err(Distrust::Owner(metadata.uid()));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(Distrust::Writable);
    }
    Ok(())
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
