//! Where things are: the configuration, state and lock folders of whoever runs canihaz.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, User, access};
use thiserror::Error;

use crate::trust::{self, Distrust};

const ETC: &str = "/etc/canihaz";
const STATE: &str = "/var/lib/canihaz";
const LOCK: &str = "/run/lock/canihaz";

/// The three folders.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration.
    pub etc: PathBuf,
    /// Spool, archive, claims.
    pub state: PathBuf,
    /// The three slots.
    pub lock: PathBuf,
}

/// Why a state or lock folder isn't used.
#[derive(Debug, Error)]
pub enum Unusable {
    /// Somebody else could have prepared it.
    #[error("{0} {1}: {hint}", hint = .1.right())]
    Distrust(PathBuf, Distrust),
    /// It isn't there and can't be made.
    #[error("{0} cannot be made ({1}): make it, owned by the user canihaz runs as, or set {2}")]
    Missing(PathBuf, io::Error, &'static str),
}

impl Places {
    /// Finds the folders from the environment: the overrides, the system's
    /// defaults where they exist and are ours to write, the user's own else.
    pub fn find() -> Self {
        let etc = folder("CANIHAZ_ETC").or_else(|| folder("CONFIGURATION_DIRECTORY")).unwrap_or_else(|| ETC.into());
        let state = folder("CANIHAZ_STATE").or_else(|| folder("STATE_DIRECTORY")).unwrap_or_else(|| {
            ours(STATE).unwrap_or_else(|| {
                let home = folder("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state")));
                home.unwrap_or_else(|| PathBuf::from("/var/lib")).join("canihaz")
            })
        });
        // Not in XDG_RUNTIME_DIR, which a login has and cron hasn't: of runs by hand and by cron no more than three
        // may live together.
        let lock = folder("CANIHAZ_LOCK").or_else(|| ours(LOCK)).unwrap_or_else(|| state.join("lock"));
        Self { etc, state, lock }
    }
}

/// Makes a state or lock folder, for its owner alone, unless it is there; and looks at it.
///
/// # Errors
/// [`Unusable::Distrust`] when somebody else could have put something into it,
/// [`Unusable::Missing`] when it isn't there and can't be made.
pub fn prepare(folder: &Path, setting: &'static str) -> Result<(), Unusable> {
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
        && !folder.is_dir()
    {
        return Err(Unusable::Missing(folder.to_owned(), error, setting));
    }
    trust::check_folder(folder).map_err(|distrust| Unusable::Distrust(folder.to_owned(), distrust))
}

/// The folder that an environment variable names; systemd may name several, the first is meant.
fn folder(variable: &str) -> Option<PathBuf> {
    let value = env::var_os(variable)?;
    let first = value.to_str().map_or(Path::new(&value), |text| Path::new(text.split(':').next().unwrap_or(text)));
    (!first.as_os_str().is_empty()).then(|| std::path::absolute(first).unwrap_or_else(|_| first.to_owned()))
}

/// A default folder, where it exists and is ours to write.
fn ours(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    let metadata = path.metadata().ok()?;
    let ours = metadata.is_dir() && (metadata.uid() == Uid::effective().as_raw() || Uid::effective().is_root());
    (ours || access(&path, AccessFlags::W_OK).is_ok()).then_some(path)
}

fn home() -> Option<PathBuf> {
    env::home_dir()
        .filter(|home| home.is_absolute())
        .or_else(|| User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir))
}
