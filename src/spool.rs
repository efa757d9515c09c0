//! Summaries on disk, before anything is sent: what is measured is never lost.
//!
//! An interval is one file with all tests' summaries, one JSON object a line.
//! It is written whole (one fsync, then a rename) and linked into the `new/`
//! of every destination that it is for, to be removed from there when taken.
//!
//! ```text
//! spool/intervals/              written, not yet linked everywhere
//! spool/carbon/new/20261121T0327Z.1.00-10
//! spool/carbon/new/20261121T0327Z.1.50-60.last
//! spool/carbon/rejected/        never to be taken, each with its reason beside it
//! spool/carbon/lock             held by the one run that delivers
//! ```
//!
//! What collectors get, the requests themselves, is in files of their own, which
//! nobody else reads.

mod outputs;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs2::FileExt;
use nix::fcntl::OFlag;

use crate::label::Label;
use crate::summary::Summary;
use crate::whole;

pub use outputs::{Collected, Outputs, by_collector};

const INTERVALS: &str = "intervals";
const NEW: &str = "new";
const REJECTED: &str = "rejected";
const LOCK: &str = "lock";
/// What a file is called while it is being written.
const PARTIAL: &str = ".partial";
/// What is written beside a rejected file.
const REASON: &str = ".reason";
/// The unit that st_blocks counts in, in bytes, whatever the file system.
const BLOCK: u64 = 512;

/// The spool of one state folder.
#[derive(Clone, Debug)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// The spool in the folder `state`; nothing is made until something is stored.
    pub fn new(state: &Path) -> Self {
        Self { root: state.join("spool") }
    }

    /// Writes an interval and links it to every destination it is for; how many bytes that are.
    ///
    /// # Errors
    /// When it can't be written; nothing of it is left then.
    pub fn store(&self, label: &Label, summaries: &[Summary]) -> io::Result<u64> {
        let folder = self.root.join(INTERVALS);
        fs::create_dir_all(&folder)?;
        let path = folder.join(label.to_string());
        let partial = folder.join(format!("{label}{PARTIAL}"));
        let lines = lines(summaries)?;
        let stored = whole::write(&path, &partial, &lines);
        if let Err(error) = stored.and_then(|()| self.link(&path, label, summaries)) {
            let _ = fs::remove_file(&path);
            for destination in summaries.iter().flat_map(|summary| &summary.destinations) {
                let _ = self.taken(destination, label);
            }
            return Err(error);
        }
        Ok(lines.len() as u64)
    }

    /// Links what runs that are no longer alive had written but not linked everywhere.
    pub fn recover(&self, is_alive: impl Fn(&str) -> bool) {
        for name in names(&self.root.join(INTERVALS)) {
            let path = self.root.join(INTERVALS).join(&name);
            match Label::parse(name.strip_suffix(PARTIAL).unwrap_or(&name)) {
                Some(label) if is_alive(&label.run()) => {}
                // Half written: its run was killed, and had not closed it.
                _ if name.ends_with(PARTIAL) => _ = fs::remove_file(&path),
                Some(label) => {
                    let linked = read(&path).and_then(|summaries| self.link(&path, &label, &summaries));
                    if let Err(error) = linked {
                        log::warn!("{} stays where it is: {error}", path.display());
                    }
                }
                None => {}
            }
        }
        self.clear_outputs(is_alive);
    }

    /// The destinations that something was left for.
    pub fn destinations(&self) -> Vec<String> {
        let mut destinations = names(&self.root);
        let is_waited_for = |name: &str| !self.waiting(name).is_empty() || !self.outputs_waiting(name).is_empty();
        destinations.retain(|name| name != INTERVALS && is_waited_for(name));
        destinations
    }

    /// What is there for a destination, the oldest first.
    pub fn waiting(&self, destination: &str) -> Vec<Label> {
        let mut labels: Vec<_> =
            names(&self.folder(destination, NEW)).iter().filter_map(|name| Label::parse(name)).collect();
        labels.sort();
        labels
    }

    /// The summaries of an interval that are for a destination.
    ///
    /// # Errors
    /// `NotFound` when another run has delivered it meanwhile, `InvalidData` when the file is torn.
    pub fn load(&self, destination: &str, label: &Label) -> io::Result<Vec<Summary>> {
        let mut summaries = read(&self.folder(destination, NEW).join(label.to_string()))?;
        summaries.retain(|summary| summary.destinations.iter().any(|name| name == destination));
        Ok(summaries)
    }

    /// Removes an interval that was taken.
    ///
    /// # Errors
    /// When it can't be removed, other than that it has gone already.
    pub fn taken(&self, destination: &str, label: &Label) -> io::Result<()> {
        gone(fs::remove_file(self.folder(destination, NEW).join(label.to_string())))
    }

    /// Sets an interval aside that will never be taken, with the reason beside it.
    ///
    /// # Errors
    /// When it can't be moved, other than that it has gone already.
    pub fn reject(&self, destination: &str, label: &Label, reason: &str) -> io::Result<()> {
        let folder = self.folder(destination, REJECTED);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{label}{REASON}")), format!("{reason}\n"))?;
        gone(fs::rename(self.folder(destination, NEW).join(label.to_string()), folder.join(label.to_string())))
    }

    /// Takes the right to deliver to a destination, until what is given back is dropped; `None` when another run
    /// has it.
    ///
    /// # Errors
    /// When the lock can't be opened.
    pub fn lock(&self, destination: &str) -> io::Result<Option<File>> {
        fs::create_dir_all(self.folder(destination, NEW))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(self.folder(destination, LOCK))?;
        match FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(file)),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the spool holds, in bytes of disk.
    pub fn size(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }

    /// Removes the oldest until the spool holds at most `max` bytes, the requests of collectors first: there are many,
    /// and summaries tell of them; how many intervals went, counted for each destination.
    pub fn trim(&self, max: u64) -> u64 {
        self.drop_oldest(max, |_| true)
    }

    /// The same, but only requests of collectors go.
    pub fn trim_outputs(&self, max: u64) -> u64 {
        self.drop_oldest(max, Stored::is_outputs)
    }

    fn drop_oldest(&self, max: u64, may_go: impl Fn(&Stored) -> bool) -> u64 {
        let mut files = self.files();
        files.sort_by(|a, b| (!a.is_outputs(), &a.name).cmp(&(!b.is_outputs(), &b.name)));
        let mut size: u64 = files.iter().map(|file| file.bytes).sum();
        let mut dropped = 0;
        for file in files.into_iter().filter(may_go) {
            if size <= max {
                break;
            }
            if fs::remove_file(&file.path).is_ok() {
                size -= file.bytes.min(size);
                dropped += u64::from(!file.name.ends_with(REASON));
            }
        }
        dropped
    }

    /// Every file of every destination, with its share of the disk: a file is shared by those it is linked to.
    fn files(&self) -> Vec<Stored> {
        let mut files = Vec::new();
        for destination in names(&self.root) {
            for folder in [NEW, REJECTED] {
                let folder = self.folder(&destination, folder);
                for name in names(&folder) {
                    let path = folder.join(&name);
                    if let Ok(metadata) = path.symlink_metadata() {
                        let bytes = metadata.blocks() * BLOCK / metadata.nlink().max(1);
                        files.push(Stored { name, path, bytes });
                    }
                }
            }
        }
        files
    }

    fn folder(&self, destination: &str, folder: &str) -> PathBuf {
        self.root.join(destination).join(folder)
    }

    /// Links a written interval to its destinations; it is no longer in `intervals/` then.
    fn link(&self, path: &Path, label: &Label, summaries: &[Summary]) -> io::Result<()> {
        let destinations: BTreeSet<&String> = summaries.iter().flat_map(|summary| &summary.destinations).collect();
        for destination in destinations {
            let folder = self.folder(destination, NEW);
            fs::create_dir_all(&folder)?;
            match fs::hard_link(path, folder.join(label.to_string())) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        fs::remove_file(path)
    }
}

struct Stored {
    name: String,
    path: PathBuf,
    bytes: u64,
}

impl Stored {
    /// Whether it has to do with requests of a collector.
    fn is_outputs(&self) -> bool {
        self.name.contains(outputs::OUTPUTS)
    }
}

/// Summaries as they stand in a file.
///
/// # Errors
/// Never in practice: a summary is plain data.
pub fn lines(summaries: &[Summary]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for summary in summaries {
        serde_json::to_writer(&mut bytes, summary)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Vec<Summary>> {
    let text = fs::read(path)?;
    text.split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| io::Error::new(ErrorKind::InvalidData, error)))
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Measured, Upkeep};

    fn label(from: u32, last: bool) -> Label {
        Label { minute: "20261121T0327Z".into(), copy: 1, from, to: from + 10, last }
    }

    fn summary(destinations: &[&str]) -> Summary {
        Summary {
            test: "_runner".into(),
            type_name: String::new(),
            host: "h".into(),
            copy: 1,
            start: chrono::DateTime::UNIX_EPOCH,
            seconds: 10.0,
            last: false,
            destinations: destinations.iter().map(|name| (*name).to_owned()).collect(),
            measured: Measured::Runner(Upkeep::default()),
        }
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let spool = Spool::new(folder.path());
        (folder, spool)
    }

    #[test]
    fn an_interval_waits_for_each_destination_until_it_is_taken() {
        let (_folder, spool) = spool();
        spool.store(&label(0, false), &[summary(&["a", "b"]), summary(&["b"])]).expect("it writes");
        assert_eq!((spool.waiting("a"), spool.waiting("c")), (vec![label(0, false)], vec![]));
        assert_eq!(spool.load("a", &label(0, false)).expect("it reads").len(), 1);
        assert_eq!(spool.load("b", &label(0, false)).expect("it reads").len(), 2);
        spool.taken("a", &label(0, false)).expect("it removes");
        spool.taken("a", &label(0, false)).expect("twice is fine");
        assert_eq!((spool.waiting("a"), spool.waiting("b")), (vec![], vec![label(0, false)]));
        assert_eq!(spool.destinations(), ["b"]);
    }

    #[test]
    fn what_was_written_but_not_linked_is_linked_by_the_next_run() {
        let (folder, spool) = spool();
        let intervals = folder.path().join("spool/intervals");
        fs::create_dir_all(&intervals).expect("a folder");
        fs::write(intervals.join(label(0, false).to_string()), lines(&[summary(&["a"])]).expect("lines"))
            .expect("it writes");
        fs::write(intervals.join(format!("{}.partial", label(10, false))), "{\"test\":").expect("it writes");
        spool.recover(|_| true);
        assert_eq!(spool.waiting("a"), []);
        spool.recover(|_| false);
        assert_eq!(spool.waiting("a"), [label(0, false)]);
        assert_eq!(names(&intervals), Vec::<String>::new());
    }

    #[test]
    fn past_its_bound_the_oldest_go() {
        let (_folder, spool) = spool();
        for from in [0, 10, 20] {
            spool.store(&label(from, false), &[summary(&["a", "b"])]).expect("it writes");
        }
        let size = spool.size();
        assert_eq!(spool.trim(size), 0);
        assert_eq!(spool.trim(size / 3), 4);
        assert_eq!((spool.waiting("a"), spool.waiting("b")), (vec![label(20, false)], vec![label(20, false)]));
    }

    #[test]
    fn a_torn_file_says_so_and_can_be_set_aside() {
        let (folder, spool) = spool();
        spool.store(&label(0, false), &[summary(&["a"])]).expect("it writes");
        let path = folder.path().join("spool/a/new").join(label(0, false).to_string());
        fs::write(&path, "{\"test\":\"x").expect("it writes");
        assert_eq!(spool.load("a", &label(0, false)).expect_err("it is torn").kind(), ErrorKind::InvalidData);
        spool.reject("a", &label(0, false), "torn").expect("it moves");
        assert_eq!(spool.waiting("a"), []);
        let reason = folder.path().join(format!("spool/a/rejected/{}.reason", label(0, false)));
        assert_eq!(fs::read_to_string(reason).expect("a reason"), "torn\n");
    }
}
