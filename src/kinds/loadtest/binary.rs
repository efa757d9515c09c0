//! Where the program comes from, and what is executed of it.
//!
//! A file on this server is executed as it is. What has to be a certain program
//! (`sha256`), or somebody's in particular (a signature), is taken into memory
//! first and sealed there: what is checked is that, and what is checked is what
//! is executed, whatever becomes of the file meanwhile. What is fetched is
//! always so, and kept in the state folder, so that it is fetched once.

mod download;
mod fetch;
mod kept;
mod location;
mod patience;
mod sealed;
mod sha256;
mod signature;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::keys::Keys;
use crate::kinds::command::program_file;
use crate::kinds::dial;
use crate::page::Key;
use crate::trust::{self, Distrust};
use download::Download;
use location::Location;
use patience::Patience;
use sealed::{Draft, Sealed};
use sha256::Sha256;
use signature::MAX_SIGNATURE;

pub use signature::PublicKey;

/// The most that a program may hold, in bytes: what is sealed is in memory as long as it runs.
const MAX_SIZE: u64 = 1 << 30;
/// The least that can be its limit, in bytes.
const MIN_SIZE: u64 = 1 << 10;
/// How much is fetched at most, in bytes, unless the type says otherwise.
const SIZE: u64 = 64 << 20;
/// What `binary` takes.
const BINARY: &str = "the path of a program, or the URL (https://) of one";
/// What stands behind the name of a program in that of its signature.
const SIGNATURE: &str = ".minisig";

/// What [`Binary::read`] reads.
pub const KEYS: &[Key] = &[
    Key {
        name: "binary",
        meaning: "the program: its file, or [where it is fetched from](#where-the-program-comes-from)",
        default: "needed",
    },
    Key { name: "sha256", meaning: "what the program's SHA-256 has to be", default: "none; needed with a URL" },
    Key { name: "max_size", meaning: "the most that is fetched", default: "64MiB" },
    Key {
        name: "ca_file",
        meaning: "the file (PEM) that has the authorities' certificates, of which one has to stand behind that of who is \
                  asked for the program",
        default: "those of the system",
    },
];

/// Where a program comes from, and which one it has to be. Shown without what a URL may have of secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum Binary {
    /// A file that was trusted, and could be executed, when its type was read.
    File {
        /// Where it is.
        path: PathBuf,
        /// Which one it has to be, where that isn't just any.
        sha256: Option<Sha256>,
    },
    /// What an HTTPS server has.
    Download(Box<Download>),
}

/// What is to be executed.
#[derive(Debug)]
pub enum Executable {
    /// The file of this path.
    File(PathBuf),
    /// The file in memory behind this descriptor, which nobody can change any more; and its program's name. The
    /// descriptor is closed on exec: `/proc/self/fd/N` has to be executed while it is open, and a script's interpreter
    /// opens that, too.
    Sealed(OwnedFd, String),
}

impl Executable {
    /// What it is called by.
    pub fn program(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Sealed(_, name) => Path::new(name),
        }
    }

    /// The file itself, where that isn't found by its path.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::File(_) => None,
            Self::Sealed(file, _) => Some(file.as_fd()),
        }
    }
}

impl Binary {
    /// Reads the keys of the kind that say where its program comes from; `None` when one of them is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let named =
            keys.parsed("binary", BINARY, |text| (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned()));
        let sha256 = keys.parsed("sha256", "64 hexadecimal digits", Sha256::parse);
        let max_size = keys.bytes("max_size", MAX_SIZE);
        let authorities = dial::authorities(keys);
        if max_size.is_some_and(|size| size < MIN_SIZE) {
            keys.refuse_key("max_size", format!("less than {MIN_SIZE} bytes"), "a size that a program can have");
        }
        let named = keys.required("binary", named)?;
        if !Location::is_one(&named) {
            for key in ["max_size", "ca_file"].into_iter().filter(|key| keys.was_read(key)).collect::<Vec<_>>() {
                keys.refuse_key(key, format!("{} with the path of a file", keys.name(key)), "it goes with a URL");
            }
            let path = program_file(keys, "binary", &named)?;
            return keys.is_sound().then_some(Self::File { path, sha256 });
        }
        let location = Location::parse(&named);
        let location = location.map_err(|right| keys.refuse_key("binary", "\"binary\" can't be this URL", right)).ok();
        if !keys.was_read("sha256") {
            let right = "with a URL it can't be left out: it says which program is executed";
            keys.refuse_key("binary", "no key \"sha256\"", right);
        }
        if !keys.is_sound() {
            return None;
        }
        let dial = dial::Settings { authorities, ..dial::Settings::default() };
        let max_size = max_size.unwrap_or(SIZE);
        Some(Self::Download(Box::new(Download { location: location?, sha256: sha256?, max_size, dial })))
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Download(download) => write!(f, "{}", download.location),
        }
    }
}

/// Gets the program, fetches it where it isn't kept in the folder `state`, and checks it: that it is the one that
/// `sha256` names, and with a `key` that it is signed by that. Not to be called in a tokio runtime, or where others
/// wait: takes until it is there, as long as `until`, and ends within some 50 ms once `is_stopped`.
///
/// # Errors
/// Why nothing can be executed.
pub fn get(
    binary: &Binary,
    state: &Path,
    key: Option<&PublicKey>,
    until: Instant,
    is_stopped: &dyn Fn() -> bool,
) -> anyhow::Result<Executable> {
    let patience = Patience::new(until, is_stopped);
    match (binary, key) {
        (Binary::File { path, sha256: None }, None) => Ok(Executable::File(path.clone())),
        (Binary::File { path, sha256 }, key) => {
            let sealed = checked(path, sha256.as_ref(), key, &patience)
                .with_context(|| format!("{} is not executed", path.display()))?;
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            Ok(Executable::Sealed(sealed.into_fd(), name))
        }
        (Binary::Download(download), key) => {
            let sealed = download.get(state, key, &patience);
            let sealed = sealed.with_context(|| format!("{} is not executed", download.location))?;
            Ok(Executable::Sealed(sealed.into_fd(), download.location.name()))
        }
    }
}

/// A program on this server: sealed, and then checked.
fn checked(
    path: &Path,
    sha256: Option<&Sha256>,
    key: Option<&PublicKey>,
    patience: &Patience<'_>,
) -> anyhow::Result<Sealed> {
    let untrusted = |distrust: Distrust| anyhow::anyhow!("it {distrust}: {}", distrust.right());
    let file = trust::open_file(path).map_err(untrusted)?;
    let mut draft = Draft::new()?;
    draft.fill(file, MAX_SIZE, patience)?;
    let sealed = draft.seal()?;
    if let Some(expected) = sha256 {
        let found = sealed.sha256(patience)?;
        ensure!(found == *expected, "its SHA-256 is {found}, and \"sha256\" says {expected}");
    }
    if let Some(key) = key {
        let mut beside = path.as_os_str().to_owned();
        beside.push(SIGNATURE);
        let bytes = trust::read(Path::new(&beside), MAX_SIGNATURE, std::time::SystemTime::now())
            .map_err(|distrust| anyhow::anyhow!("its signature, {}, {distrust}", Path::new(&beside).display()))?;
        key.signature(&bytes.bytes)?.verify(&sealed, patience)?;
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests;
