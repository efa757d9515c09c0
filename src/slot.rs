//! No more than three copies: three lock files, each held by one run.
//!
//! The kernel frees a slot however its run dies; the files are never removed,
//! as a lock on a removed file guards nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fs2::FileExt;
use nix::fcntl::OFlag;

/// How many runs may live at once.
pub const SLOTS: u32 = 3;

/// One of the three slots, taken until it is dropped. Children don't inherit it.
#[derive(Debug)]
pub struct Slot {
    _file: File,
}

impl Slot {
    /// Takes a free slot in the folder `lock`; `None` when all three are taken.
    ///
    /// # Errors
    /// When a lock file can't be opened (a link is not followed) or locked.
    pub fn take(lock: &Path) -> io::Result<Option<Self>> {
        for number in 1..=SLOTS {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits())
                .open(lock.join(format!("slot-{number}")))?;
            match FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(error) if error.kind() == fs2::lock_contended_error().kind() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_are_taken_and_freed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut slots: Vec<_> = (0..SLOTS).map(|_| Slot::take(folder.path()).expect("it locks")).collect();
        assert!(slots.iter().all(Option::is_some));
        assert!(Slot::take(folder.path()).expect("it locks").is_none());
        slots.remove(1);
        assert!(Slot::take(folder.path()).expect("it locks").is_some());
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::os::unix::fs::symlink("/dev/null", folder.path().join("slot-1")).expect("a link");
        assert!(Slot::take(folder.path()).is_err());
    }
}
