//! What a run has been lent: the numbers of the points that it sends.
//!
//! Batches are taken from it by the threads that hit, with no file in the way.
//! One that isn't done comes back by being dropped, and is the next to be
//! taken. What is done is filed by whoever keeps the intervals, later.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs2::FileExt;
use serde::{Deserialize, Serialize};

use super::book::{Lent, Rest, Settled, Wants};
use super::clock::Clock;
use super::ledger::Ledger;
use crate::ranges::Ranges;

/// Numbers that are this run's alone until it [closes](Loan::close) the loan or dies. Clones are the same loan.
#[derive(Clone, Debug)]
pub struct Loan(Arc<Shared>);

/// Points that go out together. Dropped before it is [done](Batch::done) it goes back, to be taken again as it is.
#[derive(Debug)]
pub struct Batch {
    /// The points' numbers; at least one.
    pub numbers: Range<u64>,
    /// Where their time stamps are from; `None`: from their numbers.
    pub clock: Option<Clock>,
    /// Where it goes back to.
    loan: Option<Arc<Shared>>,
}

/// A point with the largest number so far.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// Where its time stamp is from; `None`: from its number.
    pub clock: Option<Clock>,
}

/// The file that is locked for as long as the loan's holder lives.
#[derive(Debug)]
pub struct Lock {
    /// The file, locked.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
}

#[derive(Debug)]
struct Shared {
    number: u64,
    ledger: Ledger,
    lock: Lock,
    supply: Mutex<Supply>,
    /// What only those want who write files, and so wait for each other.
    files: Mutex<Files>,
    /// Whether it was said that the ledger doesn't know the loan any more.
    is_lost: AtomicBool,
}

/// What can be taken.
#[derive(Debug, Default)]
struct Supply {
    /// Batches that came back, by their first numbers.
    back: BTreeMap<u64, (u64, Option<Clock>)>,
    /// What was not handed out yet, in order.
    lots: VecDeque<Lot>,
    /// The newest stamp that was handed out and is of this loan.
    stamp: Option<i64>,
    /// Nothing is handed out any more.
    is_closed: bool,
}

#[derive(Debug)]
struct Lot {
    numbers: Range<u64>,
    clock: Option<Clock>,
    /// Whether nobody else can have sent them under this clock.
    is_fresh: bool,
}

#[derive(Debug, Default)]
struct Files {
    /// What is done and not filed yet.
    unfiled: Ranges,
    /// How many numbers were lent.
    lent: u64,
    /// Whether the file knows that the loan is closed.
    is_settled: bool,
}

impl Loan {
    /// A loan that `ledger` has made.
    pub(super) fn new(number: u64, ledger: Ledger, lock: Lock, lent: &Lent) -> Self {
        let loan = Self(Arc::new(Shared {
            number,
            ledger,
            lock,
            supply: Mutex::default(),
            files: Mutex::default(),
            is_lost: AtomicBool::new(false),
        }));
        loan.receive(&mut loan.0.files(), lent);
        loan
    }

    /// What names it: no other loan has the same.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The next batch: one that came back, or at most `batch` points that weren't handed out yet; `None` when there
    /// is nothing to send at the moment.
    pub fn take(&self, batch: u64) -> Option<Batch> {
        let mut supply = self.0.supply();
        if supply.is_closed {
            return None;
        }
        let (numbers, clock) = supply.next(batch.max(1))?;
        Some(Batch { numbers, clock, loan: Some(Arc::clone(&self.0)) })
    }

    /// Lends more, as the run can send more than was thought: `wants.points` in all. It writes files.
    ///
    /// # Errors
    /// When the ledger can't be written; nothing more is lent then.
    pub fn extend(&self, wants: &Wants) -> io::Result<()> {
        let mut files = self.0.files();
        let points = wants.points.saturating_sub(files.lent);
        if points == 0 || self.0.supply().is_closed {
            return Ok(());
        }
        let lent = self.0.ledger.lend_more(self.0.number, &Wants { points, ..*wants })?;
        self.receive(&mut files, &lent);
        Ok(())
    }

    /// Files that these numbers are done: nobody sends them again. It writes files.
    ///
    /// # Errors
    /// When the ledger can't be read or written; they are filed with the next ones then, or when the loan is closed.
    pub fn acknowledge(&self, done: &Ranges) -> io::Result<()> {
        let mut files = self.0.files();
        files.unfiled.merge(done);
        if files.unfiled.is_empty() || files.is_settled {
            return Ok(());
        }
        if !self.0.ledger.file(self.0.number, &files.unfiled)? {
            self.0.note_lost();
        }
        files.unfiled = Ranges::default();
        Ok(())
    }

    /// Files that these numbers are done, and gives back what isn't; nothing can be taken from now on. Whether the first
    /// `total` points are done with that, all of them, by whichever run, and it was not told yet: `true` once. It
    /// writes files.
    ///
    /// # Errors
    /// When the ledger can't be read or written: it can be tried again, and if it isn't, what isn't filed is sent
    /// again by a later run once this one has ended.
    pub fn close(&self, done: &Ranges, total: Option<u64>) -> io::Result<bool> {
        let mut files = self.0.files();
        let rest = self.0.supply().close();
        if files.is_settled {
            return Ok(false);
        }
        files.unfiled.merge(done);
        let settled = self.0.ledger.settle(self.0.number, &files.unfiled, &rest, total)?;
        files.unfiled = Ranges::default();
        files.is_settled = true;
        if settled == Settled::Unknown {
            self.0.note_lost();
        }
        // One that stays is removed by the next to borrow.
        let _ = fs::remove_file(&self.0.lock.path);
        Ok(settled == Settled::LastDone)
    }

    /// Puts what was lent behind what is there.
    fn receive(&self, files: &mut Files, lent: &Lent) {
        let mut supply = self.0.supply();
        for (lots, is_fresh) in [(&lent.again, false), (&lent.fresh, true)] {
            for (numbers, clock) in lots.in_order() {
                let count = numbers.end - numbers.start;
                files.lent = files.lent.saturating_add(count);
                supply.lots.push_back(Lot { numbers, clock, is_fresh });
            }
        }
    }
}

impl Batch {
    /// The database has these points, or never will: they don't go back.
    pub fn done(mut self) {
        self.loan = None;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let Some(loan) = self.loan.take() else { return };
        let mut supply = loan.supply();
        if !supply.is_closed {
            supply.back.insert(self.numbers.start, (self.numbers.end, self.clock));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that is just being started has the file open, too, and with it the lock.
        let _ = FileExt::unlock(&self.file);
    }
}

impl Shared {
    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.supply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says, once, that the ledger doesn't know the loan: its type means other points by now, or its file is gone.
    fn note_lost(&self) {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            log::info!("{} knows nothing of this run any more: its numbers begin again", self.ledger.path().display());
        }
    }
}

impl Supply {
    /// Takes the next batch out.
    fn next(&mut self, batch: u64) -> Option<(Range<u64>, Option<Clock>)> {
        if let Some((start, (end, clock))) = self.back.pop_first() {
            let cut = end.min(start.saturating_add(batch));
            if cut < end {
                self.back.insert(cut, (end, clock));
            }
            return Some((start..cut, clock));
        }
        let lot = self.lots.front_mut()?;
        let cut = lot.numbers.end.min(lot.numbers.start.saturating_add(batch));
        let (numbers, clock) = (lot.numbers.start..cut, lot.clock);
        if let Some(clock) = clock.filter(|_| lot.is_fresh) {
            self.stamp = self.stamp.max(Some(clock.stamp(cut - 1)));
        }
        lot.numbers.start = cut;
        if lot.numbers.is_empty() {
            self.lots.pop_front();
        }
        Some((numbers, clock))
    }

    /// Ends it; what nobody has seen of it.
    fn close(&mut self) -> Rest {
        self.is_closed = true;
        let unsent = self.lots.iter().filter(|lot| lot.is_fresh).map(|lot| lot.numbers.clone()).collect();
        Rest { unsent, newest: self.stamp }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::kinds::influxdb::Present;

    const WANTS: Wants = Wants { points: 100, total: None, present: None };

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(state.path(), "t", "i", || true).unwrap();
        (state, ledger)
    }

    fn borrow(ledger: &Ledger, holder: &str, wants: &Wants) -> Loan {
        ledger.borrow(holder, wants).unwrap().0
    }

    #[test]
    fn a_batch_that_is_dropped_comes_back_first_as_the_same_batch() {
        let (_state, ledger) = ledger();
        let present = Present { now: 1_000_000, until: 1_004_000, step: 1, series: 5, batch: 30 };
        let loan = borrow(&ledger, "h", &Wants { present: Some(present), ..WANTS });
        let [first, second, third] = [0; 3].map(|_| loan.take(30).unwrap());
        assert_eq!([&first, &second, &third].map(|batch| batch.numbers.clone()), [0..30, 30..60, 60..90]);
        let clock = second.clock;
        assert!(clock.is_some());
        drop(third);
        drop(second);
        first.done();
        let again = loan.take(30).unwrap();
        assert_eq!((again.numbers.clone(), again.clock), (30..60, clock));
        assert_eq!(loan.take(20).unwrap().numbers, 60..80);
        again.done();
        assert_eq!(
            [0; 4].map(|_| loan.take(30).map(|batch| {
                let n = batch.numbers.clone();
                batch.done();
                n
            })),
            [Some(60..80), Some(80..90), Some(90..100), None]
        );
    }

    #[test]
    fn it_is_out_while_everything_is_taken() {
        let (_state, ledger) = ledger();
        let loan = borrow(&ledger, "h", &WANTS);
        let batch = loan.take(1000).unwrap();
        assert!(loan.take(1).is_none());
        drop(batch);
        loan.take(1000).unwrap().done();
        assert!(loan.take(1).is_none());
    }

    #[test]
    fn threads_that_take_and_drop_send_each_number_once() {
        let (_state, ledger) = ledger();
        let loan = borrow(&ledger, "h", &Wants { points: 5_000, ..WANTS });
        let sent = |seed| {
            let loan = loan.clone();
            thread::spawn(move || {
                let (mut sent, mut random) = (Vec::new(), fastrand::Rng::with_seed(seed));
                while let Some(batch) = loan.take(7) {
                    if random.bool() {
                        sent.extend(batch.numbers.clone());
                        batch.done();
                    }
                }
                sent
            })
        };
        let threads: Vec<_> = (0..4).map(sent).collect();
        let mut sent: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        sent.sort_unstable();
        assert!(sent.into_iter().eq(0..5_000));
    }

    #[test]
    fn more_is_lent_when_the_frequency_is_raised() {
        let (_state, ledger) = ledger();
        let loan = borrow(&ledger, "h", &WANTS);
        let other = borrow(&ledger, "g", &WANTS);
        loan.extend(&Wants { points: 50, ..WANTS }).unwrap();
        loan.extend(&Wants { points: 250, ..WANTS }).unwrap();
        loan.extend(&Wants { points: 250, ..WANTS }).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| loan.take(100))
            .map(|batch| {
                let n = batch.numbers.clone();
                batch.done();
                n
            })
            .collect();
        assert_eq!(taken, [0..100, 200..300, 300..350]);
        drop(other);
    }

    #[test]
    fn nothing_is_taken_from_a_loan_that_is_closed() {
        let (_state, ledger) = ledger();
        let loan = borrow(&ledger, "h", &WANTS);
        let batch = loan.take(10).unwrap();
        loan.close(&Ranges::default(), None).unwrap();
        drop(batch);
        loan.close(&vec![(0, 10)].into(), None).unwrap();
        loan.extend(&Wants { points: 300, ..WANTS }).unwrap();
        loan.acknowledge(&vec![(0, 10)].into()).unwrap();
        assert!(loan.take(10).is_none());
        assert_eq!(borrow(&ledger, "h", &WANTS).take(10).unwrap().numbers, 0..10);
    }

    #[test]
    fn a_thread_that_panicked_holds_nobody_up() {
        let (_state, ledger) = ledger();
        let loan = borrow(&ledger, "h", &WANTS);
        let poisoned = loan.clone();
        let panicked = thread::spawn(move || {
            let _files = poisoned.0.files();
            let _supply = poisoned.0.supply();
            panic!("on purpose");
        });
        assert!(panicked.join().is_err() && loan.0.supply.is_poisoned() && loan.0.files.is_poisoned());
        loan.take(10).unwrap().done();
        loan.acknowledge(&vec![(0, 10)].into()).unwrap();
        loan.close(&Ranges::default(), None).unwrap();
        assert_eq!(borrow(&ledger, "h", &WANTS).take(10).unwrap().numbers, 10..20);
    }
}
