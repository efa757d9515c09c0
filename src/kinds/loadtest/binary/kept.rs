//! Programs that were fetched, in the state folder: `binaries/SHA256`, so that each is fetched once.
//!
//! What is kept is checked whenever it is used, as if it had just come. Runs
//! overlap, and tests share programs: who fetches one holds a lock on what it
//! is going to be, `SHA256.partial`, and the others wait and then find it. A
//! lock holds for one program, and leaves nothing behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use fs2::FileExt;
use log::{debug, warn};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::patience::Patience;
use super::sealed::{Draft, Sealed};
use super::sha256::Sha256;
use super::signature::{MAX_SIGNATURE, PublicKey};
use super::{MAX_SIZE, SIGNATURE};
use crate::trust::{self, Contents, Distrust};
use crate::whole;

/// How long what nobody has used is kept: as long as the archive reaches back unless told otherwise.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// The most that is kept, in bytes, beside what was used of late: four of the largest programs.
const MAX_KEPT: u64 = 4 * MAX_SIZE;
/// What is no older than that may have been used within a day, and stays, however much that is.
const OF_LATE: Duration = Duration::from_secs(2 * 24 * 3600);
/// How old its time stamp gets before it is renewed by a use.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The most of a note on a failure, in bytes.
const MAX_NOTE: u64 = 16 << 10;

/// Where one program is kept, whether it is there or not.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    sha256: Sha256,
}

/// What is kept of a program.
#[derive(Debug)]
pub enum Found {
    /// It, and where that is asked for its signature: it can be executed.
    All(Sealed),
    /// It, without a signature that is right.
    Unsigned(Sealed),
    /// Something else in its place.
    Another(Sha256),
    /// Nothing.
    Nothing,
}

/// The right to fetch a program, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    kept: &'a Kept,
    partial: File,
}

/// What is remembered of a program that couldn't be fetched, for those who come soon after.
#[derive(Debug, Deserialize, Serialize)]
pub struct Note {
    /// What was asked for, as a hash: a URL may have secrets.
    pub asked: String,
    /// When that began, in seconds since 1970.
    pub at: u64,
    /// For how many seconds from then on nobody asks again.
    pub rest: u64,
    /// Why there was nothing.
    pub why: String,
}

impl Kept {
    /// Where the program of this hash is kept in the folder `state`. Others, which weren't used for long, are removed.
    ///
    /// # Errors
    /// There is no folder for it, and none can be made.
    pub fn of(state: &Path, sha256: Sha256) -> anyhow::Result<Self> {
        let folder = state.join("binaries");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("{} cannot be made", folder.display()))?;
        let untrusted = |distrust: Distrust| anyhow::anyhow!("{} {distrust}: {}", folder.display(), distrust.right());
        trust::check_folder(&folder).map_err(untrusted)?;
        prune(&folder);
        Ok(Self { folder, sha256 })
    }

    /// Looks for it, and for its signature where there is a `key`.
    ///
    /// # Errors
    /// There is no memory for it, or `patience` is over.
    pub fn look(&self, key: Option<&PublicKey>, patience: &Patience<'_>) -> anyhow::Result<Found> {
        let path = self.path("");
        let file = match trust::open_file(&path) {
            Ok(file) => file,
            Err(Distrust::Missing) => return Ok(Found::Nothing),
            Err(distrust) => {
                warn!("{} {distrust}: {}", path.display(), distrust.right());
                return Ok(Found::Nothing);
            }
        };
        let mut draft = Draft::new()?;
        draft.fill(&file, MAX_SIZE, patience)?;
        let sealed = draft.seal()?;
        let sha256 = sealed.sha256(patience)?;
        if sha256 != self.sha256 {
            return Ok(Found::Another(sha256));
        }
        renew(&file);
        let Some(key) = key else { return Ok(Found::All(sealed)) };
        let is_signed = self.is_signed(key, &sealed, patience);
        patience.check()?;
        Ok(if is_signed { Found::All(sealed) } else { Found::Unsigned(sealed) })
    }

    /// Waits for the right to fetch it, which one at a time has.
    ///
    /// # Errors
    /// Nothing can be written there, or `patience` is over.
    pub fn turn(&self, patience: &Patience<'_>) -> anyhow::Result<Turn<'_>> {
        let path = self.path(".partial");
        let mut options = OpenOptions::new();
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
        options.create(true).truncate(false).read(true).write(true).mode(0o600).custom_flags(flags);
        loop {
            patience.check()?;
            let partial = options.open(&path).with_context(|| format!("{} cannot be written", path.display()))?;
            match FileExt::try_lock_exclusive(&partial) {
                // Who had it before has renamed or removed it: that isn't what others would lock now.
                Ok(()) if !is_at(&partial, &path) => {}
                Ok(()) => {
                    renew(&partial);
                    return Ok(Turn { kept: self, partial });
                }
                Err(error) if error.kind() == fs2::lock_contended_error().kind() => thread::sleep(patience.pause()),
                Err(error) => return Err(error).with_context(|| format!("{} cannot be locked", path.display())),
            }
        }
    }

    fn is_signed(&self, key: &PublicKey, program: &Sealed, patience: &Patience<'_>) -> bool {
        let path = self.path(SIGNATURE);
        let Ok(Contents { bytes, .. }) = trust::read(&path, MAX_SIGNATURE, SystemTime::now()) else { return false };
        let signature = key.signature(&bytes).and_then(|signature| signature.verify(program, patience));
        let is_right = signature.inspect_err(|error| debug!("{}: {error:#}", path.display())).is_ok();
        if is_right && let Ok(file) = File::open(&path) {
            renew(&file);
        }
        is_right
    }

    fn path(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}{end}", self.sha256))
    }
}

impl Turn<'_> {
    /// Removes what is kept in the program's place, and is another.
    pub fn discard(&self, found: &Sha256) {
        let path = self.kept.path("");
        warn!("{} is not what it was (its SHA-256 is {found}): it is fetched again", path.display());
        let _ = fs::remove_file(path);
    }

    /// Keeps the program.
    ///
    /// # Errors
    /// It can't be written, or `patience` is over.
    pub fn keep(&self, program: &Sealed, patience: &Patience<'_>) -> anyhow::Result<()> {
        let mut partial = &self.partial;
        partial.set_len(0)?;
        partial.rewind()?;
        program.each(patience, |chunk| Ok(partial.write_all(chunk)?))?;
        partial.sync_all()?;
        fs::rename(self.kept.path(".partial"), self.kept.path(""))?;
        Ok(())
    }

    /// Keeps its signature.
    ///
    /// # Errors
    /// It can't be written.
    pub fn keep_signature(&self, signature: &[u8]) -> io::Result<()> {
        whole::write(&self.kept.path(SIGNATURE), &self.kept.path(".minisig.partial"), signature)
    }

    /// What is remembered of it, if anything is.
    pub fn note(&self) -> Option<Note> {
        let contents = trust::read(&self.kept.path(".failed"), MAX_NOTE, SystemTime::now()).ok()?;
        serde_json::from_slice(&contents.bytes).ok()
    }

    /// Remembers that it couldn't be fetched, or that there is nothing to remember.
    pub fn remember(&self, note: Option<&Note>) {
        let path = self.kept.path(".failed");
        let done = match note {
            Some(note) => serde_json::to_vec(note)
                .map_err(io::Error::from)
                .and_then(|note| whole::write(&path, &self.kept.path(".failed.partial"), &note)),
            None => fs::remove_file(&path),
        };
        if let Err(error) = done
            && error.kind() != ErrorKind::NotFound
        {
            warn!("{} cannot be written ({error})", path.display());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let path = self.kept.path(".partial");
        // Once it is renamed, that name is somebody else's.
        if is_at(&self.partial, &path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a file is the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let [here, there] =
        [file.metadata(), fs::symlink_metadata(path)].map(|metadata| metadata.ok().map(|m| (m.dev(), m.ino())));
    here.is_some() && here == there
}

/// Says that a file is used, unless that was said not long ago.
fn renew(file: &File) {
    let now = SystemTime::now();
    let is_old = age(file.metadata(), now).is_none_or(|age| age > RENEWED_AFTER);
    if is_old && let Err(error) = file.set_modified(now) {
        debug!("when a kept program was used is not noted: {error}");
    }
}

/// Removes what nobody has used for long, and what was used the longest ago where the rest is too much.
fn prune(folder: &Path) {
    let now = SystemTime::now();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            let bytes = metadata.len();
            Some((age(Ok(metadata), now)?, bytes, entry.path()))
        })
        .collect();
    files.sort();
    let mut kept: u64 = 0;
    for (age, bytes, path) in files {
        kept = kept.saturating_add(bytes);
        if age > KEPT_FOR || (kept > MAX_KEPT && age > OF_LATE) {
            debug!("{} was not used for long and is removed", path.display());
            let _ = fs::remove_file(path);
        }
    }
}

/// How long ago a file was said to be used; `None` where that isn't known, or is to come.
fn age(metadata: io::Result<fs::Metadata>, now: SystemTime) -> Option<Duration> {
    now.duration_since(metadata.ok()?.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn patience() -> Patience<'static> {
        Patience::new(Instant::now() + Duration::from_secs(60), &|| false)
    }

    fn sealed(text: &str) -> Sealed {
        let mut draft = Draft::new().unwrap();
        draft.write(text.as_bytes(), 100).unwrap();
        draft.seal().unwrap()
    }

    fn files(state: &Path) -> Vec<String> {
        let entries = fs::read_dir(state.join("binaries")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_at_a_time_fetches_and_nothing_is_left_of_that() {
        let state = tempfile::tempdir().unwrap();
        let (one, same, other) = (Sha256::of("one"), Sha256::of("one"), Sha256::of("other"));
        let [one, same, other] = [one, same, other].map(|sha256| Kept::of(state.path(), sha256).unwrap());
        let turn = one.turn(&patience()).unwrap();
        let late = same.turn(&Patience::new(Instant::now() + Duration::from_millis(100), &|| false)).unwrap_err();
        assert_eq!(late.to_string(), "it was not there in time");
        drop(other.turn(&patience()).unwrap());
        drop(turn);
        assert_eq!(files(state.path()), [""; 0]);

        let turn = same.turn(&patience()).unwrap();
        turn.keep(&sealed("one"), &patience()).unwrap();
        // Its name is free again, and somebody else's turn does not end with this one.
        let next = one.turn(&patience()).unwrap();
        drop(turn);
        assert_eq!(files(state.path()), [Sha256::of("one").to_string(), format!("{}.partial", Sha256::of("one"))]);
        drop(next);
        assert!(matches!(one.look(None, &patience()).unwrap(), Found::All(_)));
        assert_eq!(files(state.path()), [Sha256::of("one").to_string()]);
    }

    #[test]
    fn what_a_killed_run_has_left_is_no_program() {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::of(state.path(), Sha256::of("one")).unwrap();
        fs::write(kept.path(".partial"), "half of something else, and longer").unwrap();
        assert!(matches!(kept.look(None, &patience()).unwrap(), Found::Nothing));
        kept.turn(&patience()).unwrap().keep(&sealed("one"), &patience()).unwrap();
        assert!(matches!(kept.look(None, &patience()).unwrap(), Found::All(_)));
    }

    #[test]
    fn what_nobody_has_used_for_long_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let kept = ["used", "unused"].map(|name| {
            let kept = Kept::of(state.path(), Sha256::of(name)).unwrap();
            kept.turn(&patience()).unwrap().keep(&sealed(name), &patience()).unwrap();
            kept
        });
        let now = SystemTime::now();
        let age = |kept: &Kept, by: Duration| {
            let file = File::open(kept.path("")).unwrap();
            file.set_modified(now - by).unwrap();
        };
        let day = Duration::from_secs(24 * 3600);
        kept.iter().for_each(|kept| age(kept, 29 * day));
        assert!(matches!(kept[0].look(None, &patience()).unwrap(), Found::All(_)));
        let [used, unused] = [0, 1].map(|n| fs::metadata(kept[n].path("")).unwrap().modified().unwrap());
        assert!(used >= now && unused < now - 28 * day);
        age(&kept[1], 31 * day);
        Kept::of(state.path(), Sha256::of("third")).unwrap();
        assert_eq!(files(state.path()), [Sha256::of("used").to_string()]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_was_used_longest_ago_goes_first() {
        let state = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let put = |name: &str, days: u32, bytes: u64| {
            let kept = Kept::of(state.path(), Sha256::of(name)).unwrap();
            let file = File::create(kept.path("")).unwrap();
            // A hole, which takes no disk.
            file.set_len(bytes).unwrap();
            file.set_modified(SystemTime::now() - days * day).unwrap();
        };
        let left = || {
            drop(Kept::of(state.path(), Sha256::of("another")).unwrap());
            let files = files(state.path());
            let names = ["now", "just", "week", "month"];
            names.into_iter().filter(|name| files.contains(&Sha256::of(name).to_string())).collect::<Vec<_>>()
        };
        put("month", 29, MAX_KEPT / 4);
        put("week", 7, MAX_KEPT / 4);
        put("just", 1, MAX_KEPT / 4);
        put("now", 0, MAX_KEPT / 4);
        assert_eq!(left(), ["now", "just", "week", "month"]);
        put("now", 0, MAX_KEPT / 4 + 1);
        assert_eq!(left(), ["now", "just", "week"]);
        // What is in use is fetched again and again otherwise.
        put("now", 0, 2 * MAX_KEPT);
        assert_eq!(left(), ["now", "just"]);
    }
}
