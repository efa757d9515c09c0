//! Notices, while a run lives, what people do to it: a stop, a signal, changed files.
//!
//! inotify makes it quick; looking again every half second makes it certain
//! (links to elsewhere, no watches left). Without inotify, and where it knows
//! nothing of what other machines do, it looks for the stop file every 50 ms.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, statfs};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::plan::{DESTINATIONS, TESTS, TYPES};
use crate::stop::{self, Stop};

/// How often everything is looked at although no event came.
const LOOK: Duration = Duration::from_millis(500);
/// How often the stop file is looked for where inotify doesn't work.
const LOOK_WITHOUT_EVENTS: Duration = Duration::from_millis(50);
/// Changes that follow each other within this are one.
const QUIET: Duration = Duration::from_millis(20);
/// How often changes that follow each other are waited for before they are told anyhow.
const QUIET_ROUNDS: u32 = 10;

/// What was noticed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notice {
    /// Nothing may start any longer. The last notice.
    Stop(Stop),
    /// Something in the folders of tests, types or destinations may have changed.
    Changed,
}

struct Watcher {
    etc: PathBuf,
    /// Whether other machines can change the configuration.
    is_shared: bool,
    inotify: Option<Inotify>,
    signals: UnixStream,
    fingerprint: u64,
}

/// Starts a thread that hands what it notices to `report` until a stop.
///
/// # Errors
/// When signals can't be caught or no thread is left.
pub fn start(etc: &Path, mut report: impl FnMut(Notice) + Send + 'static) -> io::Result<()> {
    let (signals, caught) = UnixStream::pair()?;
    signals.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, caught.try_clone()?)?;
    }
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
    let inotify = inotify.inspect_err(|error| log::info!("no inotify ({error}): looking every 50 ms instead")).ok();
    let mut watcher = Watcher { etc: etc.to_owned(), is_shared: is_shared(etc), inotify, signals, fingerprint: 0 };
    watcher.watch();
    watcher.fingerprint = watcher.look_at_files().unwrap_or_default();
    thread::Builder::new().name("watch".into()).spawn(move || {
        loop {
            match watcher.next() {
                Notice::Changed => report(Notice::Changed),
                stop => return report(stop),
            }
        }
    })?;
    Ok(())
}

/// Whether a folder is on a network file system, or on one that may be.
fn is_shared(folder: &Path) -> bool {
    const SHARED: [FsType; 3] = [NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, FUSE_SUPER_MAGIC];
    statfs(folder).is_ok_and(|system| SHARED.contains(&system.filesystem_type()))
}

impl Watcher {
    /// Waits for the next thing worth telling.
    fn next(&mut self) -> Notice {
        loop {
            let is_watched = self.watch();
            if let Some(stop) = self.stopped() {
                return Notice::Stop(stop);
            }
            let timeout = if is_watched { LOOK } else { LOOK_WITHOUT_EVENTS };
            let mut changed = self.wait(timeout);
            if let Some(stop) = self.stopped() {
                return Notice::Stop(stop);
            }
            let mut rounds = 0;
            while changed && rounds < QUIET_ROUNDS && self.wait(QUIET) {
                rounds += 1;
                if let Some(stop) = self.stopped() {
                    return Notice::Stop(stop);
                }
            }
            // Where they can't be looked at, as the machine is at its limits, nothing is known to have changed.
            if let Ok(fingerprint) = self.look_at_files() {
                changed |= fingerprint != self.fingerprint;
                self.fingerprint = fingerprint;
            }
            if changed {
                return Notice::Changed;
            }
        }
    }

    fn stopped(&mut self) -> Option<Stop> {
        match self.signals.read(&mut [0; 8]) {
            Ok(bytes) if bytes > 0 => Some(Stop::Signal),
            _ => stop::look(&self.etc),
        }
    }

    /// Watches the folders, anew where they were replaced; whether the stop file's folder is watched.
    fn watch(&self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let entries = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let contents = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        for folder in [TESTS, TYPES, DESTINATIONS] {
            // A folder that isn't there makes an event in the one above when it comes.
            let _ = inotify.add_watch(&self.etc.join(folder), entries | contents);
        }
        inotify.add_watch(&self.etc, entries).is_ok() && !self.is_shared
    }

    /// Waits for events or a signal; whether there were events.
    fn wait(&self, timeout: Duration) -> bool {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(inotify) = &self.inotify {
            fds.push(PollFd::new(inotify.as_fd(), PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, timeout).is_err() {
            // Interrupted; whoever calls looks for himself.
            return false;
        }
        self.inotify.as_ref().is_some_and(|inotify| inotify.read_events().is_ok_and(|events| !events.is_empty()))
    }

    /// A number that changes when a file does.
    fn look_at_files(&self) -> io::Result<u64> {
        let mut hasher = DefaultHasher::new();
        for folder in [TESTS, TYPES, DESTINATIONS] {
            let folder = self.etc.join(folder);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => continue,
                Err(error) => return Err(error),
            };
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            for name in names {
                if let Ok(metadata) = folder.join(&name).metadata() {
                    (metadata.ino(), metadata.len(), metadata.mode(), metadata.uid()).hash(&mut hasher);
                    (metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
                }
                name.hash(&mut hasher);
            }
        }
        Ok(hasher.finish())
    }
}
