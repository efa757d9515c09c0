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
        let bytes =
            |parcels: &BTreeMap<String, Vec<u8>>| parcels.values().map(|lines| on_disk(lines.len() as u64)).sum();
        let mut needed: u64 = bytes(&parcels);
        if needed > 0 && self.size + needed > self.spool_max {
            self.dropped += self.spool.trim_outputs(self.spool_max.saturating_sub(needed));
            self.size = self.spool.size();
        }
        while self.size + needed > self.spool_max && parcels.pop_last().is_some() {
            self.dropped += 1;
            needed = bytes(&parcels);
        }
        parcels
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

/// So many bytes as the disk counts them: in whole blocks, of mostly this size.
fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}
