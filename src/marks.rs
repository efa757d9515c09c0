//! A count on disk that any run may add to and one takes: the runs that were skipped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fs2::FileExt;
use nix::fcntl::OFlag;

/// The marks of one state folder: a file with a byte a mark.
#[derive(Clone, Debug)]
pub struct Marks {
    path: PathBuf,
}

impl Marks {
    /// The marks of runs that found no free slot, or their minute taken.
    pub fn of_skipped_runs(state: &Path) -> Self {
        Self { path: state.join("runs_skipped") }
    }

    /// Leaves a mark.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn leave(&self) -> io::Result<()> {
        self.open()?.write_all(b".")
    }

    /// Takes all marks: how many there were.
    ///
    /// # Errors
    /// When the file can't be opened or emptied.
    pub fn take(&self) -> io::Result<u64> {
        let file = self.open()?;
        let marks = file.metadata()?.len();
        if marks > 0 {
            file.set_len(0)?;
        }
        Ok(marks)
    }

    /// The file, ours alone while it is open.
    fn open(&self) -> io::Result<File> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(&self.path)?;
        FileExt::lock_exclusive(&file)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_once() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let marks = Marks::of_skipped_runs(state.path());
        assert_eq!(marks.take().expect("it opens"), 0);
        for _ in 0..3 {
            marks.leave().expect("it writes");
        }
        assert_eq!(marks.take().expect("it opens"), 3);
        assert_eq!(marks.take().expect("it opens"), 0);
    }
}
