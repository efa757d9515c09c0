//! Who keeps the guard, on the runner's side: starts it, and should it be killed, ends what it leaves and starts another.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::getsid;

use super::children;
use super::serve::NAME;
use crate::unpoisoned::lock;

/// This very program, whatever has become of its file.
const MYSELF: &str = "/proc/self/exe";
/// The least time from one guard's start to the next one's.
const AGAIN: Duration = Duration::from_secs(1);
/// How often is looked for what a guard that was killed has left; each look finds what the last one's killed have left.
const LOOKS: usize = 1000;

/// The guard of all that use it; it ends with the last of them, and with it what it has started.
#[derive(Debug)]
pub struct Guard {
    program: PathBuf,
    /// `None` while there is no guard, as it was killed.
    socket: Mutex<Option<OwnedFd>>,
}

/// The guard of this process: one is enough, and what falls to a process falls to all of it.
static SHARED: Mutex<Weak<Guard>> = Mutex::new(Weak::new());

impl Guard {
    /// The guard of this process, which is started if there is none: this program once more. So it is only for
    /// programs that begin by asking whether they are [meant](super::is_meant) to be the guard, as the runner does.
    ///
    /// # Errors
    /// The system has no process, thread or descriptor left.
    pub fn shared() -> io::Result<Arc<Self>> {
        let mut shared = lock(&SHARED);
        if let Some(guard) = shared.upgrade() {
            return Ok(guard);
        }
        let guard = Self::start(Path::new(MYSELF))?;
        *shared = Arc::downgrade(&guard);
        Ok(guard)
    }

    /// Starts a guard that is `program`: the runner's own file.
    ///
    /// From now on what such a guard leaves, should it be killed, falls to this process and is killed: all children
    /// of it that are of another session.
    ///
    /// # Errors
    /// The system has no process, thread or descriptor left.
    pub fn start(program: &Path) -> io::Result<Arc<Self>> {
        prctl::set_child_subreaper(true)?;
        let (process, socket) = launch(program)?;
        let guard = Arc::new(Self { program: program.to_owned(), socket: Mutex::new(Some(socket)) });
        let kept = Arc::downgrade(&guard);
        thread::Builder::new().name("guard".into()).spawn(move || keep(process, &kept))?;
        Ok(guard)
    }

    /// A way to it, which doesn't block; `None` while there is none.
    pub(super) fn socket(&self) -> io::Result<Option<OwnedFd>> {
        lock(&self.socket).as_ref().map(OwnedFd::try_clone).transpose()
    }
}

/// Waits for the end of guards, and as long as somebody uses them, starts another each time.
fn keep(mut process: Child, guard: &Weak<Guard>) {
    loop {
        let started = Instant::now();
        let ended = process.wait();
        let Some(guard) = guard.upgrade() else { return };
        *lock(&guard.socket) = None;
        kill_left();
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        log::warn!(
            "the guard of commands was ended ({how}): its commands are killed, their hits failed; another begins"
        );
        process = loop {
            thread::sleep(AGAIN.saturating_sub(started.elapsed()));
            match launch(&guard.program) {
                Ok((process, socket)) => {
                    *lock(&guard.socket) = Some(socket);
                    break process;
                }
                Err(error) => {
                    log::warn!("no guard of commands can be started: {error}");
                    thread::sleep(AGAIN);
                }
            }
        };
    }
}

fn launch(program: &Path) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let process = Command::new(program)
        .arg0(NAME)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    log::debug!("the guard of commands is process {}", process.id());
    Ok((process, ours))
}

/// Kills what fell to this process when its guard was killed, until nothing more does.
///
/// A guard has a session of its own, and so has, at the least, what it starts: by that they differ from any child
/// that somebody else in this process may have.
fn kill_left() {
    let Ok(mine) = getsid(None) else { return };
    for _ in 0..LOOKS {
        let left = children::all().into_iter().filter(|child| child.session != mine);
        // What another user runs can't be killed; to wait for it would be for long.
        let killed: Vec<_> = left.filter(|child| kill(child.id, Signal::SIGKILL).is_ok()).collect();
        if killed.is_empty() {
            return;
        }
        for child in killed {
            let _ = waitpid(child.id, None);
        }
    }
}
