//! The thread that writes closed intervals to disk, so that a slow disk holds nobody up.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;

use chrono::Utc;

use crate::archive::Archive;
use crate::label::Label;
use crate::minute;
use crate::settings::Settings;
use crate::spool::{Collected, Spool, by_collector};
use crate::summary::{Measured, Summary};

/// The size of a file system's blocks, in bytes.
const BLOCK: u64 = 4096;

/// One interval that was to be written.
#[derive(Debug)]
pub struct Kept {
    /// Which.
    pub label: Label,
    /// What is in it.
    pub summaries: Vec<Summary>,
    /// Why it is not in the spool, or not in the archive.
    pub trouble: Option<io::Error>,
    /// Whether it is in the spool; else it can only be sent from memory.
    pub spooled: bool,
    /// The requests, as lines, that are not in the spool, by collector: they can only be sent from memory.
    pub unspooled: BTreeMap<String, Vec<u8>>,
}

/// The way to the keeper's thread.
#[derive(Clone, Debug)]
pub struct Keeper {
    intervals: Sender<(Label, Vec<Summary>)>,
}

struct Shelf {
    spool: Spool,
    archive: Archive,
    spool_max: u64,
    archive_max: u64,
    is_archive_full: bool,
    /// What the spool is known to hold at least, in bytes.
    size: u64,
    dropped: u64,
}

impl Keeper {
    /// Starts the thread, which first puts in order what killed runs have left in the folder `state`; `before` is
    /// called before an interval is written, and gives the requests in it that are for collectors, `report` when all
    /// is on disk, or can't be.
    ///
    /// # Errors
    /// When no thread is left.
    pub fn start(
        state: &Path,
        settings: &Settings,
        mut before: impl FnMut(&Label, &mut Vec<Summary>) -> Vec<Collected> + Send + 'static,
        mut report: impl FnMut(Kept) + Send + 'static,
    ) -> io::Result<Self> {
        let (intervals, receiver) = mpsc::channel::<(Label, Vec<Summary>)>();
        let state = state.to_owned();
        let (spool_max, days, bytes) = (settings.spool_max, settings.archive_days, settings.archive_max);
        thread::Builder::new().name("keeper".into()).spawn(move || {
            let (spool, archive) = (Spool::new(&state), Archive::new(&state));
            spool.recover(|run| minute::is_alive(&state, run));
            let mut shelf =
                Shelf { size: 0, dropped: 0, spool, archive, spool_max, archive_max: bytes, is_archive_full: false };
            while let Ok((label, mut summaries)) = receiver.recv() {
                let last = label.last;
                let collected = before(&label, &mut summaries);
                report(shelf.keep(label, summaries, &collected));
                if last {
                    shelf.archive.prune(Utc::now().date_naive(), days, bytes);
                }
            }
        })?;
        Ok(Self { intervals })
    }

    /// Writes an interval, soon.
    pub fn keep(&self, label: Label, summaries: Vec<Summary>) {
        // The thread ends when this end is gone, not before.
        let _ = self.intervals.send((label, summaries));
    }
}

impl Shelf {
    fn keep(&mut self, label: Label, mut summaries: Vec<Summary>, collected: &[Collected]) -> Kept {
        if self.size == 0 || self.size > self.spool_max {
            self.dropped += self.spool.trim(self.spool_max);
            self.size = self.spool.size();
        }
        let (parcels, unwritten) = match by_collector(collected) {
            Ok(parcels) => (self.fitting(parcels), None),
            Err(error) => (BTreeMap::new(), Some(error)),
        };
        for summary in &mut summaries {
            if let Measured::Runner(upkeep) = &mut summary.measured {
                upkeep.spool_dropped += std::mem::take(&mut self.dropped);
            }
        }
        let at = summaries.first().map_or_else(Utc::now, |summary| summary.start);
        let archived = self.archive.append(at, &summaries, self.archive_max).map(|is_archived| {
            if !is_archived && !std::mem::replace(&mut self.is_archive_full, true) {
                log::warn!("the archive's file of today holds archive_max already: nothing is added to it");
            }
        });
        let stored = self.spool.store(&label, &summaries);
        self.size += stored.as_ref().map_or(0, |bytes| on_disk(*bytes));
        let spooled = stored.is_ok();
        let (unspooled, unstored) = self.store_outputs(&label, parcels);
        let trouble = stored.err().or(archived.err()).or(unstored).or(unwritten);
        Kept { label, summaries, trouble, spooled, unspooled }
    }

    /// Makes room for the requests of an interval; those that there is none for are dropped.
    fn fitting(&mut self, mut parcels: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        self.drop_past(self.spool_max, &mut parcels);
        let needed = needed(&parcels);
        if needed > 0 && self.size + needed > self.spool_max {
            self.dropped += self.spool.trim_outputs(self.spool_max.saturating_sub(needed));
            self.size = self.spool.size();
            self.drop_past(self.spool_max.saturating_sub(self.size), &mut parcels);
        }
        parcels
    }

    /// Drops requests until the rest needs at most `max` bytes.
    fn drop_past(&mut self, max: u64, parcels: &mut BTreeMap<String, Vec<u8>>) {
        while needed(parcels) > max && parcels.pop_last().is_some() {
            self.dropped += 1;
        }
    }

    /// Writes requests for collectors; gives back those that couldn't be, and why.
    fn store_outputs(
        &mut self,
        label: &Label,
        mut parcels: BTreeMap<String, Vec<u8>>,
    ) -> (BTreeMap<String, Vec<u8>>, Option<io::Error>) {
        let mut trouble = None;
        parcels.retain(|collector, lines| match self.spool.store_outputs(collector, label, lines) {
            Ok(bytes) => {
                self.size += on_disk(bytes);
                false
            }
            Err(error) => {
                trouble.get_or_insert(error);
                true
            }
        });
        (parcels, trouble)
    }
}

/// How many bytes of disk these requests need.
fn needed(parcels: &BTreeMap<String, Vec<u8>>) -> u64 {
    parcels.values().map(|lines| on_disk(lines.len() as u64)).sum()
}

/// So many bytes as the disk counts them: in whole blocks, of mostly this size.
fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::golo::Output;
    use crate::summary::{RUNNER, Upkeep};

    fn label(from: u32) -> Label {
        Label { minute: "20261121T0327Z".into(), copy: 1, from, to: from + 10, last: false }
    }

    fn runner(destination: &str) -> Summary {
        Summary {
            test: RUNNER.into(),
            type_name: String::new(),
            host: "h".into(),
            copy: 1,
            start: DateTime::UNIX_EPOCH,
            seconds: 10.0,
            last: false,
            destinations: vec![destination.into()],
            measured: Measured::Runner(Upkeep::default()),
        }
    }

    /// So many requests for these collectors, of some 150 bytes each.
    fn collected(collectors: &[&str], count: usize) -> Collected {
        let output = Output {
            sequence_id: "c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb".into(),
            url: "http://10.50.0.4:8765".into(),
            method: "GET".into(),
            status: 200,
            size: 2,
            timestamp: DateTime::UNIX_EPOCH,
            duration: Duration::from_millis(2),
            error: None,
        };
        Collected { collectors: collectors.iter().map(|&name| name.into()).collect(), outputs: vec![output; count] }
    }

    /// Keeps these intervals under `state`, of which the spool may take so many bytes; what was reported.
    fn keep(state: &Path, spool_max: u64, intervals: Vec<Vec<Collected>>) -> Vec<Kept> {
        let settings = Settings { spool_max, ..Settings::default() };
        let (sender, kept) = mpsc::channel();
        let (count, mut parts) = (intervals.len(), intervals.into_iter());
        let before = move |_: &Label, _: &mut Vec<Summary>| parts.next().unwrap_or_default();
        let keeper = Keeper::start(state, &settings, before, move |kept| _ = sender.send(kept)).unwrap();
        for number in 0..count {
            keeper.keep(label(number as u32 * 10), vec![runner("a")]);
        }
        kept.iter().take(count).collect()
    }

    /// How many requests wait for a collector in each interval.
    fn waiting(spool: &Spool, collector: &str) -> Vec<usize> {
        let lines = |label: &Label| spool.outputs(collector, label).unwrap().next(1 << 20).unwrap();
        let count = |label| lines(label).iter().filter(|byte| **byte == b'\n').count();
        spool.outputs_waiting(collector).iter().map(count).collect()
    }

    #[test]
    fn each_collector_has_its_requests_and_nobody_else_reads_them() {
        let state = tempfile::tempdir().unwrap();
        let parts = vec![collected(&["one", "two"], 3), collected(&["two"], 4), collected(&["three"], 0)];
        let kept = keep(state.path(), 1 << 30, vec![parts]).remove(0);
        assert!(kept.spooled && kept.unspooled.is_empty() && kept.trouble.is_none());
        let spool = Spool::new(state.path());
        assert_eq!((waiting(&spool, "one"), waiting(&spool, "two")), (vec![3], vec![7]));
        assert_eq!((spool.waiting("one"), spool.waiting("a")), (vec![], vec![label(0)]));
        let mut destinations = spool.destinations();
        destinations.sort();
        assert_eq!(destinations, ["a", "one", "two"]);
        for file in ["spool/a/new/20261121T0327Z.1.00-10", "archive/1970-01-01.jsonl"] {
            assert!(!fs::read_to_string(state.path().join(file)).unwrap().contains("sequenceID"), "{file}");
        }
    }

    #[test]
    fn requests_that_there_is_no_room_for_are_dropped_and_counted_and_summaries_stay() {
        let state = tempfile::tempdir().unwrap();
        let parts = [400, 400, 1200, 0].map(|count| vec![collected(&["one"], count)]).to_vec();
        let kept = keep(state.path(), 128 << 10, parts);
        let dropped = kept.iter().map(|kept| match kept.summaries[0].measured {
            Measured::Runner(upkeep) => upkeep.spool_dropped,
            Measured::Test(_) => unreachable!("it is the runner's"),
        });
        // For the second the first goes; the third is larger than all there is.
        assert_eq!(dropped.collect::<Vec<_>>(), [0, 1, 1, 0]);
        let spool = Spool::new(state.path());
        assert_eq!((waiting(&spool, "one"), spool.waiting("a").len()), (vec![400], 4));
        assert!(spool.size() <= 128 << 10);
    }

    #[test]
    fn requests_that_cannot_be_written_are_given_back() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join("spool")).unwrap();
        fs::write(state.path().join("spool/one"), "in the way").unwrap();
        let kept = keep(state.path(), 1 << 30, vec![vec![collected(&["one", "two"], 3)]]).remove(0);
        assert!(kept.spooled && kept.trouble.is_some());
        assert_eq!(kept.unspooled.keys().collect::<Vec<_>>(), ["one"]);
        assert_eq!(waiting(&Spool::new(state.path()), "two"), [3]);
    }
}
