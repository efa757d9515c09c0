//! `kind = "file"`: JSON lines at the end of a file.
//!
//! A batch is there as a whole or not at all: it is written under a lock
//! (flock), what a full disk took of it is cut off again, and it is taken once
//! it is on the disk. The file is opened anew for each batch, so a rotated one
//! is left alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, bail};
use nix::fcntl::OFlag;

use super::{Destination, Occasion, Refusal, json};
use crate::keys::Keys;
use crate::summary::Summary;

/// What others may do with a new file: read it.
const MODE: u32 = 0o644;
/// How long somebody else may hold the lock; a batch is written in far less.
const LOCK_FOR: Duration = Duration::from_secs(2);
/// How long to wait before looking at the lock again.
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// Where lines go.
struct Lines {
    path: PathBuf,
    prefix: Option<String>,
}

/// Reads `path`.
pub(super) fn read(keys: &mut Keys<'_>, prefix: Option<String>) -> Option<Box<dyn Destination>> {
    let path = keys.path("path");
    let path = keys.required("path", path)?;
    Some(Box::new(Lines { path, prefix }))
}

impl Destination for Lines {
    fn deliver(&mut self, batch: &[Summary], occasion: Occasion) -> Result<(), Refusal> {
        let text = json::lines(batch, self.prefix.as_deref());
        let mut file = self.open().map_err(Refusal::Retry)?;
        lock(&file, occasion).map_err(Refusal::Retry)?;
        append(&mut file, text).map_err(Refusal::Retry)
    }
}

impl Lines {
    /// Opens it without blocking, as what has its name may be a FIFO.
    fn open(&self) -> Result<File, Error> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(MODE).custom_flags(flags.bits());
        let file = options.open(&self.path).context("cannot open its file")?;
        if !file.metadata().context("cannot look at its file")?.is_file() {
            bail!("what its path names is not a regular file");
        }
        Ok(file)
    }
}

/// Takes the file's lock, which ends when it is closed.
fn lock(file: &File, occasion: Occasion) -> Result<(), Error> {
    let until = occasion.until.min(Instant::now() + LOCK_FOR);
    loop {
        // By its path: the method of that name on File has another error type.
        match fs2::FileExt::try_lock_exclusive(file) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(Error::new(error).context("cannot lock its file"));
            }
            Err(_) if Instant::now() >= until => bail!("somebody else holds the lock of its file"),
            Err(_) => thread::sleep(LOCK_AGAIN),
        }
    }
}

/// Puts `text` at the end and onto the disk, or leaves the file as it was.
fn append(file: &mut File, mut text: String) -> Result<(), Error> {
    let length = file.metadata().context("cannot look at its file")?.len();
    if !ends_a_line(file, length).context("cannot read its file")? {
        // Somebody was cut off in the midst of a line: ours begin on one of their own.
        text.insert(0, '\n');
    }
    whole_or_not(file, length, |file| file.write_all(text.as_bytes()).and_then(|()| file.sync_data()))
}

/// Lets `write` add to a file of `length` bytes, and cuts off what it added if it fails.
fn whole_or_not(file: &mut File, length: u64, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
    let Err(error) = write(file) else { return Ok(()) };
    let undone = file.set_len(length).and_then(|()| file.sync_data());
    undone.with_context(|| format!("cannot write its file ({error}), nor cut off what was written"))?;
    Err(Error::new(error).context("cannot write its file"))
}

fn ends_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::sample;
    use super::*;

    fn lines(path: PathBuf) -> Lines {
        Lines { path, prefix: None }
    }

    fn in_a_moment() -> Occasion {
        Occasion { until: Instant::now() + Duration::from_millis(50), ..sample::occasion() }
    }

    #[test]
    fn batches_stand_one_behind_the_other() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("out.jsonl");
        let mut lines = lines(path.clone());
        let (first, second) = (sample::test("a"), sample::runner());
        lines.deliver(std::slice::from_ref(&first), sample::occasion()).expect("it is written");
        lines.deliver(&[second.clone(), first.clone()], sample::occasion()).expect("it is written");
        let expect = json::lines(&[first.clone(), second, first], None);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), expect);
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7133, 0, "{mode:o}");
    }

    #[test]
    fn a_torn_line_is_ended_first() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("out.jsonl");
        fs::write(&path, "{\"torn\":").expect("there is room");
        lines(path.clone()).deliver(&[sample::runner()], sample::occasion()).expect("it is written");
        let expect = format!("{{\"torn\":\n{}", json::lines(&[sample::runner()], None));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), expect);
    }

    #[test]
    fn what_can_be_mended_is_worth_another_try() {
        #[track_caller]
        fn check(path: PathBuf, expect: &str) {
            let refusal = lines(path).deliver(&[sample::runner()], in_a_moment()).expect_err("it can't be written");
            assert!(matches!(refusal, Refusal::Retry(_)), "{refusal}");
            assert!(refusal.to_string().starts_with(expect), "{refusal}");
        }
        let folder = tempfile::tempdir().expect("there is room");
        check(folder.path().join("none/out.jsonl"), "cannot open its file: No such file or directory");
        check(folder.path().to_owned(), "cannot open its file: Is a directory");
        check(PathBuf::from("/dev/null"), "what its path names is not a regular file");
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("there is room");
        check(fifo, "what its path names is not a regular file");
        let locked = folder.path().join("locked");
        let holder = File::create(&locked).expect("there is room");
        fs2::FileExt::lock_exclusive(&holder).expect("nobody else has it");
        check(locked, "somebody else holds the lock of its file");
    }

    #[test]
    fn what_a_full_disk_took_is_cut_off_again() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("out.jsonl");
        fs::write(&path, "kept\n").expect("there is room");
        let mut file = lines(path.clone()).open().expect("it is there");
        let full = |file: &mut File| file.write_all(b"{\"lo").and(Err(io::ErrorKind::StorageFull.into()));
        let error = whole_or_not(&mut file, 5, full).expect_err("the disk is full");
        assert_eq!(format!("{error:#}"), "cannot write its file: no storage space");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "kept\n");
        append(&mut file, String::from("next\n")).expect("there is room again");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "kept\nnext\n");
    }
}
