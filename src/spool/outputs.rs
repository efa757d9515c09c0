//! The requests themselves in the spool, for collectors: a file an interval and collector, beside the summaries of
//! others, which never read it.
//!
//! ```text
//! spool/magnum/new/20261121T0327Z.1.00-10.outputs
//! 00000000000000000117             how many of the bytes behind this line are settled: taken, or set aside
//! {"sequenceID":"1c2f…","url":…}   an Output a line, in the order they were printed in
//! ```
//!
//! A collector can't tell that it gets something twice. So how far it got is
//! written into the file itself with each batch, and the next run goes on there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::{NEW, PARTIAL, REASON, REJECTED, Spool, gone, names};
use crate::golo::Output;
use crate::label::Label;
use crate::whole;

/// What the name of such a file ends with, so that it is no interval's.
pub(super) const OUTPUTS: &str = ".outputs";
/// What is behind that where it is set aside unread.
const TORN: &str = ".torn";
/// The digits that say how much is settled.
const DIGITS: usize = 20;
/// What stands before the first Output: the digits, and the end of their line.
const HEAD: usize = DIGITS + 1;

/// What a test's hits have printed in an interval, for the collectors that want it.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// The names of the collectors.
    pub collectors: Vec<String>,
    /// What is for each of them.
    pub outputs: Vec<Output>,
}

/// The Outputs of an interval that are for one collector, and how far it got.
#[derive(Debug)]
pub struct Outputs {
    source: Source,
    /// So many of their bytes are settled.
    settled: u64,
}

#[derive(Debug)]
enum Source {
    Disk(File),
    Memory(Vec<u8>),
}

/// The Outputs of several tests as lines, by collector.
///
/// # Errors
/// Never in practice: an Output is plain data.
pub fn by_collector(collected: &[Collected]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut parcels: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for Collected { collectors, outputs } in collected.iter().filter(|collected| !collected.outputs.is_empty()) {
        let mut lines = Vec::new();
        for output in outputs {
            serde_json::to_writer(&mut lines, output)?;
            lines.push(b'\n');
        }
        for collector in collectors {
            parcels.entry(collector.clone()).or_default().extend_from_slice(&lines);
        }
    }
    Ok(parcels)
}

impl Outputs {
    /// Those that could not be spooled: lines that are whole.
    pub fn in_memory(lines: Vec<u8>) -> Self {
        Self { source: Source::Memory(lines), settled: 0 }
    }

    /// How many bytes of memory they take.
    pub fn held(&self) -> usize {
        match &self.source {
            Source::Disk(_) => 0,
            Source::Memory(lines) => lines.len(),
        }
    }

    /// The next lines that are not settled, whole ones, in `most` bytes; nothing when all is.
    ///
    /// # Errors
    /// `InvalidData` where the next line has no end, or not that soon.
    pub fn next(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = match &self.source {
            Source::Disk(file) => read_at(file, HEAD as u64 + self.settled, most)?,
            Source::Memory(lines) => {
                let rest = lines.get(usize::try_from(self.settled).unwrap_or(usize::MAX)..).unwrap_or_default();
                rest[..rest.len().min(most)].to_vec()
            }
        };
        match memchr::memrchr(b'\n', &bytes) {
            None if bytes.is_empty() => {}
            None => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "a line of it has no end, or is too long for any array",
                ));
            }
            Some(end) => bytes.truncate(end + 1),
        }
        Ok(bytes)
    }

    /// So many bytes more are settled, and not given again, whatever becomes of this run.
    ///
    /// # Errors
    /// When that can't be written down; it holds for this life all the same.
    pub fn settle(&mut self, bytes: usize) -> io::Result<()> {
        self.settled += bytes as u64;
        match &self.source {
            // So few bytes in one place are there as a whole or not at all.
            Source::Disk(file) => file.write_all_at(digits(self.settled).as_bytes(), 0),
            Source::Memory(_) => Ok(()),
        }
    }
}

impl Spool {
    /// Writes the Outputs of an interval, lines that are whole, for a collector; how many bytes that are.
    ///
    /// # Errors
    /// When they can't be written; nothing of them is left then.
    pub fn store_outputs(&self, collector: &str, label: &Label, lines: &[u8]) -> io::Result<u64> {
        fs::create_dir_all(self.folder(collector, NEW))?;
        let path = self.outputs_in(NEW, collector, label);
        let partial = path.with_file_name(format!("{label}{OUTPUTS}{PARTIAL}"));
        let bytes = [digits(0).as_bytes(), b"\n", lines].concat();
        whole::write(&path, &partial, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// The intervals whose Outputs are there for a collector, the oldest first.
    pub fn outputs_waiting(&self, collector: &str) -> Vec<Label> {
        let names = names(&self.folder(collector, NEW));
        let mut labels: Vec<_> = names.iter().filter_map(|name| Label::parse(name.strip_suffix(OUTPUTS)?)).collect();
        labels.sort();
        labels
    }

    /// The Outputs of an interval for a collector.
    ///
    /// # Errors
    /// `NotFound` when another run has delivered them meanwhile, `InvalidData` when the file is none of ours.
    pub fn outputs(&self, collector: &str, label: &Label) -> io::Result<Outputs> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(self.outputs_in(NEW, collector, label))?;
        let head = read_at(&file, 0, HEAD)?;
        let settled = head.strip_suffix(b"\n").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let torn = || io::Error::new(ErrorKind::InvalidData, "it doesn't say how much of it is settled");
        Ok(Outputs { settled: settled.filter(|_| head.len() == HEAD).ok_or_else(torn)?, source: Source::Disk(file) })
    }

    /// Removes the Outputs of an interval, all of which are settled.
    ///
    /// # Errors
    /// When they can't be removed, other than that they have gone already.
    pub fn outputs_taken(&self, collector: &str, label: &Label) -> io::Result<()> {
        gone(fs::remove_file(self.outputs_in(NEW, collector, label)))
    }

    /// Sets the Outputs of an interval aside as they are, with the reason beside them.
    ///
    /// # Errors
    /// When they can't be moved, other than that they have gone already.
    pub fn set_outputs_aside(&self, collector: &str, label: &Label, reason: &str) -> io::Result<()> {
        let folder = self.folder(collector, REJECTED);
        fs::create_dir_all(&folder)?;
        // A part of them may have been set aside already, for another reason.
        fs::write(folder.join(format!("{label}{OUTPUTS}{TORN}{REASON}")), format!("{reason}\n"))?;
        gone(fs::rename(self.outputs_in(NEW, collector, label), folder.join(format!("{label}{OUTPUTS}{TORN}"))))
    }

    /// Sets Outputs of an interval aside that will never be taken, as lines, with the reason beside them.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn reject_outputs(&self, collector: &str, label: &Label, lines: &[u8], reason: &str) -> io::Result<()> {
        fs::create_dir_all(self.folder(collector, REJECTED))?;
        let path = self.outputs_in(REJECTED, collector, label);
        fs::write(path.with_file_name(format!("{label}{OUTPUTS}{REASON}")), format!("{reason}\n"))?;
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(path)?;
        file.write_all(lines)
    }

    /// Removes what runs that are no longer alive had begun to write for collectors.
    pub(super) fn clear_outputs(&self, is_alive: impl Fn(&str) -> bool) {
        for collector in names(&self.root) {
            let folder = self.folder(&collector, NEW);
            for name in names(&folder) {
                let label = name.strip_suffix(PARTIAL).and_then(|name| Label::parse(name.strip_suffix(OUTPUTS)?));
                if label.is_some_and(|label| !is_alive(&label.run())) {
                    let _ = fs::remove_file(folder.join(name));
                }
            }
        }
    }

    fn outputs_in(&self, folder: &str, collector: &str, label: &Label) -> PathBuf {
        self.folder(collector, folder).join(format!("{label}{OUTPUTS}"))
    }
}

fn digits(settled: u64) -> String {
    format!("{settled:0DIGITS$}")
}

/// At most `most` bytes, fewer only at the file's end.
fn read_at(file: &File, from: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut length = 0;
    while length < most {
        match file.read_at(&mut bytes[length..], from + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Measured, Summary, Upkeep};

    fn spool() -> (tempfile::TempDir, Spool, Label) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let label = Label { minute: "20261121T0327Z".into(), copy: 1, from: 0, to: 10, last: false };
        (folder, spool, label)
    }

    fn summary(destination: &str) -> Summary {
        Summary {
            test: "_runner".into(),
            type_name: String::new(),
            host: "h".into(),
            copy: 1,
            start: chrono::DateTime::UNIX_EPOCH,
            seconds: 10.0,
            last: false,
            destinations: vec![destination.into()],
            measured: Measured::Runner(Upkeep::default()),
        }
    }

    #[test]
    fn what_is_settled_is_not_given_again_by_whoever_opens_it() {
        let (_folder, spool, label) = spool();
        spool.store_outputs("c", &label, b"{1}\n{22}\n{333}\n").unwrap();
        let mut outputs = spool.outputs("c", &label).unwrap();
        assert_eq!(outputs.next(100).unwrap(), b"{1}\n{22}\n{333}\n");
        assert_eq!(outputs.next(10).unwrap(), b"{1}\n{22}\n", "whole lines alone");
        outputs.settle(4).unwrap();
        assert_eq!(outputs.next(10).unwrap(), b"{22}\n");
        assert_eq!(spool.outputs("c", &label).unwrap().next(100).unwrap(), b"{22}\n{333}\n");
        outputs.settle(11).unwrap();
        assert_eq!(spool.outputs("c", &label).unwrap().next(100).unwrap(), b"");
        spool.outputs_taken("c", &label).unwrap();
        spool.outputs_taken("c", &label).unwrap();
        assert_eq!(spool.outputs("c", &label).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_only_in_memory_is_settled_likewise() {
        let mut outputs = Outputs::in_memory(b"{1}\n{22}\n".to_vec());
        assert_eq!((outputs.held(), outputs.next(6).unwrap()), (9, b"{1}\n".to_vec()));
        outputs.settle(4).unwrap();
        assert_eq!(outputs.next(6).unwrap(), b"{22}\n");
        outputs.settle(5).unwrap();
        assert_eq!(outputs.next(6).unwrap(), b"");
    }

    #[test]
    fn a_torn_file_says_so_and_can_be_set_aside() {
        let (folder, spool, label) = spool();
        for bytes in ["", "0000", "0000000000000000000x\n{1}\n"] {
            spool.store_outputs("c", &label, b"").unwrap();
            fs::write(spool.outputs_in(NEW, "c", &label), bytes).unwrap();
            assert_eq!(spool.outputs("c", &label).unwrap_err().kind(), ErrorKind::InvalidData, "{bytes:?}");
        }
        spool.store_outputs("c", &label, b"{1}\n{22").unwrap();
        let mut outputs = spool.outputs("c", &label).unwrap();
        outputs.settle(4).unwrap();
        assert_eq!(outputs.next(100).unwrap_err().kind(), ErrorKind::InvalidData);
        spool.set_outputs_aside("c", &label, "torn").unwrap();
        assert_eq!(spool.outputs_waiting("c"), []);
        let rejected = folder.path().join("spool/c/rejected");
        assert_eq!(fs::read_to_string(rejected.join(format!("{label}.outputs.torn.reason"))).unwrap(), "torn\n");
    }

    #[test]
    fn a_destination_that_was_of_another_kind_has_both_side_by_side() {
        let (_folder, spool, label) = spool();
        spool.store(&label, &[summary("c")]).unwrap();
        spool.store_outputs("c", &label, b"{1}\n").unwrap();
        assert_eq!((spool.waiting("c"), spool.outputs_waiting("c")), (vec![label.clone()], vec![label.clone()]));
        assert_eq!(spool.load("c", &label).unwrap().len(), 1);
        spool.taken("c", &label).unwrap();
        assert_eq!((spool.destinations(), spool.outputs_waiting("c").len()), (vec![String::from("c")], 1));
        spool.outputs_taken("c", &label).unwrap();
        assert_eq!(spool.destinations(), Vec::<String>::new());
    }

    #[test]
    fn what_a_killed_run_had_begun_to_write_is_cleared_away() {
        let (_folder, spool, label) = spool();
        spool.store_outputs("c", &label, b"{1}\n").unwrap();
        let partial = spool.folder("c", NEW).join(format!("{label}.outputs.partial"));
        fs::write(&partial, "0000").unwrap();
        spool.recover(|_| true);
        assert!(partial.exists());
        spool.recover(|_| false);
        assert!(!partial.exists());
        assert_eq!(spool.outputs_waiting("c"), [label]);
    }

    #[test]
    fn requests_go_before_summaries_however_old_those_are() {
        let (_folder, spool, label) = spool();
        let later = Label { from: 10, to: 20, ..label.clone() };
        spool.store(&label, &[summary("a")]).unwrap();
        spool.store_outputs("c", &later, b"{1}\n").unwrap();
        spool.reject_outputs("c", &later, b"{2}\n", "no").unwrap();
        let size = spool.size();
        assert_eq!(spool.trim(size - 1), 1);
        assert_eq!(spool.trim_outputs(0), 1, "its reason is no interval");
        assert_eq!((spool.waiting("a").len(), spool.outputs_waiting("c").len()), (1, 0));
        assert_eq!(spool.trim(0), 1);
    }
}
