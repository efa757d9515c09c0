//! Every summary of the last days, one append-only file a day, whatever becomes of the delivery.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveDate, Utc};

use crate::spool::lines;
use crate::summary::Summary;

const EXTENSION: &str = ".jsonl";

/// A file of those that go when they are old.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Aged {
    pub date: NaiveDate,
    pub path: PathBuf,
    pub bytes: u64,
}

/// The archive of one state folder: `archive/2026-11-21.jsonl`, days in UTC.
#[derive(Clone, Debug)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// The archive in the folder `state`; nothing is made until something is written.
    pub fn new(state: &Path) -> Self {
        Self { folder: state.join("archive") }
    }

    /// Appends summaries, in one write, to the file of the day `at` lies in; false when that file alone holds `max`
    /// bytes already.
    ///
    /// # Errors
    /// When they can't be written; a part that was is taken back.
    pub fn append(&self, at: DateTime<Utc>, summaries: &[Summary], max: u64) -> io::Result<bool> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{}{EXTENSION}", at.date_naive()));
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        // Two runs may overlap: without the lock, taking back a part could cut off the other's lines.
        fs2::FileExt::lock_exclusive(&file)?;
        let before = file.metadata()?.len();
        if before >= max {
            return Ok(false);
        }
        file.write_all(&lines(summaries)?).inspect_err(|_| _ = file.set_len(before))?;
        Ok(true)
    }

    /// Removes the files of days more than `days` ago, and then the oldest until at most `max` bytes are left.
    pub fn prune(&self, today: NaiveDate, days: u32, max: u64) {
        let mut files = self.files();
        files.sort();
        // Today's is being written.
        thin_out(files, today, days, max, |date| date >= today);
    }

    fn files(&self) -> Vec<Aged> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let date = name.strip_suffix(EXTENSION)?.parse().ok()?;
                Some(Aged { date, path: entry.path(), bytes: entry.metadata().ok()?.size() })
            })
            .collect()
    }
}

/// Removes, of files in order of their age, those of days more than `days` ago, and then the oldest until at most `max`
/// bytes are left; those of days that are `spared` stay.
pub(crate) fn thin_out(files: Vec<Aged>, today: NaiveDate, days: u32, max: u64, spared: impl Fn(NaiveDate) -> bool) {
    let first = today.checked_sub_days(Days::new(days.into())).unwrap_or(NaiveDate::MIN);
    let mut size: u64 = files.iter().map(|file| file.bytes).sum();
    for Aged { date, path, bytes } in files {
        if (date < first || size > max) && !spared(date) && fs::remove_file(path).is_ok() {
            size -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_days_file_is_bounded_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let archive = Archive::new(folder.path());
        let at = DateTime::UNIX_EPOCH;
        assert!(archive.append(at, &[], 1).expect("it writes"));
        fs::write(archive.folder.join(format!("1970-01-01{EXTENSION}")), [0; 100]).expect("it writes");
        assert!(archive.append(at, &[], 101).expect("it writes"));
        assert!(!archive.append(at, &[], 100).expect("there is nothing to write"));
    }

    #[test]
    fn old_days_go_and_then_the_oldest_past_the_bound() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let archive = Archive::new(folder.path());
        fs::create_dir(&archive.folder).expect("a folder");
        for day in ["2026-10-01", "2026-11-19", "2026-11-20", "2026-11-21"] {
            fs::write(archive.folder.join(format!("{day}{EXTENSION}")), [0; 100]).expect("it writes");
        }
        let days = || {
            let mut days: Vec<_> = archive.files().into_iter().map(|file| file.date.to_string()).collect();
            days.sort();
            days
        };
        let today = "2026-11-21".parse().expect("a date");
        archive.prune(today, 30, 300);
        assert_eq!(days(), ["2026-11-19", "2026-11-20", "2026-11-21"]);
        archive.prune(today, 30, 200);
        assert_eq!(days(), ["2026-11-20", "2026-11-21"]);
        archive.prune(today, 30, 0);
        assert_eq!(days(), ["2026-11-21"], "today's is being written");
    }
}
