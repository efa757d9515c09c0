//! Where the writer of a type is, kept over runs: which points are done, and which were lent to whom.
//!
//! ```text
//! influxdb/my-influx.json                    the book: the place, what is left, what is lent
//! influxdb/my-influx.lock                    locked while the book is read and written
//! influxdb/my-influx.00c0ffee00c0ffee.loan   locked while the holder of that loan lives
//! ```
//!
//! A number goes: lent, in the file → sent → done, in memory, with the tally of
//! its interval → filed → its interval written. Each time the book is written
//! whole, under another name, and renamed. A run that is killed
//!
//! - before the book with its loan is renamed has lent nothing: a loan's file
//!   that no book knows is removed;
//! - before a number is filed, sent or not, leaves it lent, and its loan's file
//!   unlocked: whoever borrows next lends the number first, in the same write
//!   that forgets the dead loan, and it is sent again with the time stamp it
//!   had, which makes it the same point in the database;
//! - between filing and the interval's end on disk has written points that are
//!   never reported;
//! - while closing either has a loan still, and it is as above, or none, and
//!   what it hadn't done is left, with a file that no book knows.
//!
//! So what is reported is never more than what is in the database, and no
//! number is left out. That is as true as the server's answer, though: some
//! partial writes of InfluxDB 1.6 have lost more than they say, and what isn't
//! sent as a request has no answer. A book that can't be read is never begun
//! anew: that would write other points over those that are there.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use fs2::FileExt;
use nix::fcntl::OFlag;
use serde::Deserialize;

pub use super::book::Wants;
use super::book::{Book, Lent, Rest, Settled, VERSION};
use super::loan::{Loan, Lock, Newest};
use crate::ranges::Ranges;
use crate::trust::{self, Distrust};
use crate::whole;

/// The folder in the state folder.
const FOLDER: &str = "influxdb";
/// The most a book may hold, in bytes.
const MAX_BOOK: u64 = 16 << 20;
/// The longest name of a type, in bytes: with what is added it must be a file's.
const MAX_NAME: usize = 200;
/// How long to wait for others who borrow: one of them may be dropping a database, which takes a statement's time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long those wait for others who file what is done: an interval is waiting for them.
const LITTLE_PATIENCE: Duration = Duration::from_secs(5);
/// How often a lock is tried meanwhile.
const TRY: Duration = Duration::from_millis(5);
/// The most files of loans that are looked at for those of the dead.
const MAX_FILES: usize = 10_000;
/// How often another number is tried for a loan when a file has its name.
const TRIES: u32 = 16;

/// The ledger of one type, for points of one kind.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
    type_name: String,
    identity: String,
}

/// What every version of the format has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Ledger {
    /// The ledger of the type `type_name` in the folder `state`.
    ///
    /// `identity` is text that says which points these are: whatever another measurement, tag, start, tick or
    /// precision changes. With another than before, numbers begin at 0 again, and loans that are still out get
    /// nothing more. So what is opened last stands: whoever waits for the ledger is asked then whether the type
    /// `is_meant` so still.
    ///
    /// # Errors
    /// When the type's name can't be a file's, or the ledger can't be read, trusted or written; and when the type isn't
    /// meant so.
    pub fn open(state: &Path, type_name: &str, identity: &str, is_meant: impl FnOnce() -> bool) -> io::Result<Self> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if type_name.is_empty() || type_name.len() > MAX_NAME || !type_name.bytes().all(is_name) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a type's name is of A-Z a-z 0-9 _ -"));
        }
        let folder = state.join(FOLDER);
        let ledger = Self { folder, type_name: type_name.to_owned(), identity: identity.to_owned() };
        ledger.update(PATIENCE, |book| {
            if book.identity != identity {
                if !is_meant() {
                    return Err(io::Error::other("it was changed"));
                }
                log::info!("the type {type_name} means other points than before: their numbers begin at 0");
                book.change(identity);
            }
            Ok(())
        })?;
        Ok(ledger)
    }

    /// Where the book is: removed, everything begins again.
    pub fn path(&self) -> PathBuf {
        self.file_of(".json")
    }

    /// Lends numbers, on disk before they are given: first what the dead have left, then what came back, then new ones.
    /// `holder` says in messages who has them. With them comes the point that has the largest number of those that are
    /// done; `None` when none is.
    ///
    /// # Errors
    /// When the ledger can't be read or written, or its type means other points by now. Nothing is lent then.
    pub fn borrow(&self, holder: &str, wants: &Wants) -> io::Result<(Loan, Option<Newest>)> {
        let (mut dead, mut made) = (Vec::new(), None);
        let lent = self.update(PATIENCE, |book| {
            self.check(book)?;
            self.sweep(book);
            dead = self.bury(book)?;
            let (number, lock) = self.lock_loan()?;
            book.register(number, holder);
            made = Some((number, lock));
            Ok((book.lend(number, wants)?, book.newest))
        });
        match (lent, made) {
            (Ok((lent, newest)), Some((number, lock))) => {
                // Only now: a file without a loan is nothing, a loan without a file a dead one.
                self.forget(&dead);
                Ok((Loan::new(number, self.clone(), lock, &lent), newest))
            }
            (Err(error), made) => {
                if let Some((number, _lock)) = made {
                    self.forget(&[number]);
                }
                Err(error)
            }
            (Ok(_), None) => Err(io::Error::other("nothing was lent")),
        }
    }

    /// Calls `drop` unless that was done before for `what`, a server and a database, and begins at 0 again then; whether
    /// it was called. Others who want the ledger wait meanwhile, so `drop` has to end within a minute.
    ///
    /// A run that is killed between the two does it again.
    ///
    /// # Errors
    /// When a loan is out, which a dropped database would make a lie; when `drop` fails, and nothing is remembered
    /// then; or when the ledger can't be read or written.
    pub fn reset_once(&self, what: &str, drop: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<bool> {
        let mut dead = Vec::new();
        let done = self.locked(PATIENCE, || {
            let mut book = self.read()?;
            self.check(&book)?;
            if book.is_reset(what) {
                return Ok(false);
            }
            dead = self.bury(&mut book)?;
            if let Some(holder) = book.holders().next() {
                anyhow::bail!("{what} is not reset: {holder} is still writing there; the next run can do it");
            }
            drop().with_context(|| format!("{what} is not reset"))?;
            book.reset(what);
            self.write(&book).with_context(|| {
                format!("{what} was reset, and that is not in {}: the next run resets it again", self.path().display())
            })?;
            Ok(true)
        })??;
        self.forget(&dead);
        Ok(done)
    }

    /// Whether it was not told yet that nobody is named who would reset the database: `true` once.
    ///
    /// # Errors
    /// When the ledger can't be read or written.
    pub fn tell_of_reset(&self) -> io::Result<bool> {
        self.update(PATIENCE, |book| Ok(book.tell_of_reset()))
    }

    /// Lends more to a loan.
    pub(super) fn lend_more(&self, loan: u64, wants: &Wants) -> io::Result<Lent> {
        self.update(LITTLE_PATIENCE, |book| book.lend(loan, wants))
    }

    /// Files what a loan has done; false when nothing is known of the loan.
    pub(super) fn file(&self, loan: u64, done: &Ranges) -> io::Result<bool> {
        self.update(LITTLE_PATIENCE, |book| Ok(book.acknowledge(loan, done)))
    }

    /// Files what a loan has done and ends it.
    pub(super) fn settle(&self, loan: u64, done: &Ranges, rest: &Rest, total: Option<u64>) -> io::Result<Settled> {
        self.update(LITTLE_PATIENCE, |book| {
            book.acknowledge(loan, done);
            Ok(book.settle(loan, rest, total))
        })
    }

    /// Whether these are still the points that the type means.
    fn check(&self, book: &Book) -> io::Result<()> {
        if book.identity == self.identity {
            return Ok(());
        }
        Err(io::Error::other(format!("the type {} means other points by now", self.type_name)))
    }

    /// Reads the book, changes it and writes it, if it is another then, while nobody else does.
    fn update<T>(&self, patience: Duration, change: impl FnOnce(&mut Book) -> io::Result<T>) -> io::Result<T> {
        self.locked(patience, || {
            let before = self.read()?;
            let mut book = before.clone();
            let changed = change(&mut book)?;
            if book != before {
                self.write(&book).map_err(|error| {
                    io::Error::new(error.kind(), format!("{} cannot be written: {error}", self.path().display()))
                })?;
            }
            Ok(changed)
        })?
    }

    /// Does something while nobody else has the book.
    fn locked<T>(&self, patience: Duration, does: impl FnOnce() -> T) -> io::Result<T> {
        let path = self.file_of(".lock");
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let until = Instant::now() + patience;
        loop {
            self.prepare()?;
            let lock = open(&path, false).map_err(told)?;
            match FileExt::try_lock_exclusive(&lock) {
                // A file that was removed meanwhile guards nothing.
                Ok(()) if is_at(&lock, &path) => {
                    let done = does();
                    let _ = FileExt::unlock(&lock);
                    return Ok(done);
                }
                Ok(()) => {}
                Err(error) if !is_contended(&error) => return Err(told(error)),
                Err(_) => {}
            }
            if Instant::now() >= until {
                return Err(told(io::Error::new(
                    ErrorKind::TimedOut,
                    format!("another run has locked it for more than {} s", patience.as_secs()),
                )));
            }
            thread::sleep(TRY);
        }
    }

    /// Makes the folder, and looks at it.
    fn prepare(&self) -> io::Result<()> {
        let told = |error| io::Error::other(format!("{}: {error}", self.folder.display()));
        match trust::check_folder(&self.folder) {
            Err(Distrust::Missing) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(told)?;
                trust::check_folder(&self.folder)
            }
            checked => checked,
        }
        .map_err(|distrust| io::Error::other(format!("{} {distrust}: {}", self.folder.display(), distrust.right())))
    }

    /// Reads the book; a new one when there is none.
    fn read(&self) -> io::Result<Book> {
        let path = self.path();
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(self.unusable("is a link"));
        }
        let bytes = match trust::read(&path, MAX_BOOK, SystemTime::UNIX_EPOCH) {
            Ok(contents) => contents.bytes,
            Err(Distrust::Missing) => return Ok(Book::new(&self.identity)),
            Err(Distrust::Io(error)) => {
                return Err(io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display())));
            }
            Err(distrust) => return Err(self.unusable(distrust)),
        };
        match serde_json::from_slice::<Versioned>(&bytes) {
            Ok(Versioned { version }) if version != u64::from(VERSION) => {
                return Err(self.unusable(format!("has the version {version}, and only {VERSION} is known")));
            }
            _ => {}
        }
        let book: Book =
            serde_json::from_slice(&bytes).map_err(|error| self.unusable(format!("can't be understood ({error})")))?;
        // What reads the same and isn't the same was changed by somebody: a range that is none, say, is passed over.
        if serde_json::to_vec(&book)? != bytes {
            return Err(self.unusable("is not as it was written"));
        }
        match book.fault() {
            Some(fault) => Err(self.unusable(format!("contradicts itself: {fault}"))),
            None => Ok(book),
        }
    }

    /// Writes the book.
    fn write(&self, book: &Book) -> io::Result<()> {
        let bytes = serde_json::to_vec(book)?;
        if bytes.len() as u64 > MAX_BOOK {
            return Err(io::Error::other(format!("it would be larger than {MAX_BOOK} bytes")));
        }
        // What couldn't be read again must not be written.
        if let Some(fault) = book.fault() {
            return Err(io::Error::other(fault));
        }
        let (path, partial) = (self.path(), self.file_of(".json.partial"));
        whole::write(&path, &partial, &bytes)?;
        // Else the old book might be back after a power failure, and numbers would be lent twice.
        File::open(&self.folder)?.sync_all()
    }

    /// Makes a file for a loan and locks it.
    fn lock_loan(&self) -> io::Result<(u64, Lock)> {
        for _ in 0..TRIES {
            let number = fastrand::u64(..);
            let path = self.loan(number);
            match open(&path, true) {
                Ok(file) => {
                    FileExt::try_lock_exclusive(&file)?;
                    return Ok((number, Lock { file, path }));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            }
        }
        Err(io::Error::other(format!("{}: {TRIES} files of loans are there already", self.folder.display())))
    }

    /// Takes the loans of the dead out of the book; which they were.
    fn bury(&self, book: &mut Book) -> io::Result<Vec<u64>> {
        let mut dead = Vec::new();
        for loan in book.loans() {
            if !is_alive(&self.loan(loan))? {
                book.bury(loan);
                dead.push(loan);
            }
        }
        Ok(dead)
    }

    /// Removes files of the dead that the book doesn't know: of runs that were killed before they had a loan, or after.
    fn sweep(&self, book: &Book) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().take(MAX_FILES);
        let mut loans: Vec<_> =
            entries.filter_map(|entry| self.loan_of(entry.file_name().to_str().unwrap_or_default())).collect();
        loans.retain(|loan| !book.has(*loan) && is_alive(&self.loan(*loan)).is_ok_and(|is_alive| !is_alive));
        self.forget(&loans);
    }

    /// Removes the files of loans.
    fn forget(&self, loans: &[u64]) {
        for loan in loans {
            // One that stays is swept by the next to borrow.
            let _ = fs::remove_file(self.loan(*loan));
        }
    }

    /// The file of a loan.
    fn loan(&self, number: u64) -> PathBuf {
        self.file_of(&format!(".{number:016x}.loan"))
    }

    /// The loan that a file's name is of, if it is of one of this type.
    fn loan_of(&self, name: &str) -> Option<u64> {
        let number = name.strip_prefix(&self.type_name)?.strip_prefix('.')?.strip_suffix(".loan")?;
        u64::from_str_radix(number, 16).ok().filter(|number| self.loan(*number).ends_with(name))
    }

    fn file_of(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", self.type_name))
    }

    /// Why the book can't be used, and what would help.
    fn unusable(&self, why: impl fmt::Display) -> io::Error {
        let path = self.path();
        let path = path.display();
        io::Error::new(
            ErrorKind::InvalidData,
            format!(
                "{path} {why}: it says which points are written; remove it to begin at the first one again, over those that are there"
            ),
        )
    }
}

/// Opens a file of ours to be locked: made if it isn't there, or only `new`.
fn open(path: &Path, new: bool) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.create(true).create_new(new).truncate(false).write(true).mode(0o600).custom_flags(flags).open(path)
}

/// Whether somebody holds the loan whose file this is.
fn is_alive(path: &Path) -> io::Result<bool> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    match FileExt::try_lock_exclusive(&file) {
        Ok(()) => {
            FileExt::unlock(&file)?;
            Ok(false)
        }
        Err(error) if is_contended(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_contended(error: &io::Error) -> bool {
    error.kind() == fs2::lock_contended_error().kind()
}

/// Whether this open file is the one that has this name.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
