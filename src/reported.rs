//! Which faults were told already: each is told once per change of its file, not each minute.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fault::Fault;

/// The most faults that are told in one go; the others are counted.
const MOST: usize = 100;

/// What was told by this run and those before it.
#[derive(Debug)]
pub struct Reported {
    path: PathBuf,
    told: BTreeSet<u64>,
}

impl Reported {
    /// What earlier runs have told, as the folder `state` remembers it; nothing where it can't be read.
    pub fn load(state: &Path) -> Self {
        let path = state.join("reported");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let told = text.lines().filter_map(|line| u64::from_str_radix(line, 16).ok()).collect();
        Self { path, told }
    }

    /// Forgets everything, so that all is told again: somebody is watching.
    pub fn forget(&mut self) {
        self.told.clear();
    }

    /// The lines to log for `faults`, the current ones: those that were not told yet. They count as told then.
    pub fn news(&mut self, faults: &[Fault]) -> Vec<String> {
        let now: BTreeSet<u64> = faults.iter().map(digest).collect();
        let mut news: Vec<String> = Vec::new();
        let mut more = 0;
        for fault in faults.iter().filter(|fault| !self.told.contains(&digest(fault))) {
            if news.len() < MOST { news.push(fault.to_string()) } else { more += 1 }
        }
        if more > 0 {
            news.push(format!("and {more} more; canihazctl check shows them all"));
        }
        if now != self.told {
            self.told = now;
            self.save();
        }
        news
    }

    fn save(&self) {
        let text: String = self.told.iter().map(|digest| format!("{digest:016x}\n")).collect();
        let partial = self.path.with_extension(format!("{}", std::process::id()));
        let saved = fs::write(&partial, text).and_then(|()| fs::rename(&partial, &self.path));
        if let Err(error) = saved {
            let _ = fs::remove_file(&partial);
            // Whoever can't write here says so in a line of its own; told twice is better than never.
            if error.kind() != ErrorKind::NotFound {
                log::debug!("{} cannot be written: {error}", self.path.display());
            }
        }
    }
}

/// A number for the fault and the state of its file.
fn digest(fault: &Fault) -> u64 {
    let mut hasher = DefaultHasher::new();
    fault.to_string().hash(&mut hasher);
    if let Ok(metadata) = fault.file.symlink_metadata() {
        (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(file: PathBuf, seen: &str) -> Fault {
        Fault { file, at: Some((1, 1)), seen: seen.into(), right: "x".into(), now: "y" }
    }

    #[test]
    fn a_fault_is_told_once_per_change_of_its_file() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let file = state.path().join("a.conf");
        fs::write(&file, "bad").expect("it writes");
        let faults = [fault(file.clone(), "one"), fault(file.clone(), "two")];
        assert_eq!(Reported::load(state.path()).news(&faults).len(), 2);
        assert_eq!(Reported::load(state.path()).news(&faults).len(), 0);
        fs::write(&file, "worse").expect("it writes");
        assert_eq!(Reported::load(state.path()).news(&faults).len(), 2);
        assert_eq!(Reported::load(state.path()).news(&[]).len(), 0);
        assert_eq!(Reported::load(state.path()).news(&faults[..1]).len(), 1, "mended and broken again");
    }

    #[test]
    fn a_flood_is_cut_short() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let faults: Vec<_> = (0..500).map(|n| fault("a.conf".into(), &n.to_string())).collect();
        let news = Reported::load(state.path()).news(&faults);
        assert_eq!((news.len(), news[100].as_str()), (101, "and 400 more; canihazctl check shows them all"));
    }
}
