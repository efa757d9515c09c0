//! The guard's own life: one thread, one loop, and nothing in it waits for anything but events.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString, c_int};
use std::fs::{self, File};
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockType, getsockopt, recv, recvmsg, send, sockopt};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, close, setsid};
use signal_hook::consts as signals;
use thiserror::Error;

use super::children;
use super::request::{Command, Limits, MAX_REQUEST};
use super::status::Status;

/// What this program is called when it is the guard.
pub const NAME: &str = "canihaz-guard";
/// The most descriptors that come with a request: the command's standard output and error, where its status goes, and
/// where the program's file isn't found by its name, the file.
const DESCRIPTORS: usize = 4;
/// The most requests that are taken before it is looked for who is to be killed: each takes about half a millisecond.
const REQUESTS_A_TURN: usize = 8;
/// The most children that are waited for before there is something else to do: there may be ever more of them.
const BURIED_A_TURN: usize = 256;
/// How often is looked for processes that got away from their groups, as long as commands begin and end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it is while those that there are just go on: some do for a minute.
const LOOK_IDLE: Duration = Duration::from_secs(2);
/// How soon it is after some were found of a command that has ended: what they had started themselves falls to the guard
/// when they are killed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many looks in turn that found some are followed by the next one so soon, whatever they took: processes may have
/// got away from others that did, but not for ever.
const LOOKS_AGAIN: u32 = 16;
/// How many times as long as a look took there is none: on a server with thousands of processes it takes milliseconds.
const LOOK_SELDOM: u32 = 20;
/// How long the guard tries to kill what is left, when the runner is gone; what another user runs it can't.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it tries.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// How many descriptors the guard keeps for itself, and for a request: those that no room is left for would be lost.
const KEPT_FREE: u64 = 32;
/// How many files a command may open unless it asks for more. The runner raises its own limit as far as it can, but
/// there are programs that close every descriptor they may have, or have no place for high ones.
const OPEN_FILES: u64 = 1024;
/// Signals that whoever started the runner may have had ignored. Caught here, they are the commands' own again, as a
/// program inherits what is ignored, but nothing that is caught.
const OFTEN_IGNORED: [c_int; 8] = [
    signals::SIGHUP,
    signals::SIGINT,
    signals::SIGQUIT,
    signals::SIGTERM,
    signals::SIGUSR1,
    signals::SIGUSR2,
    signals::SIGALRM,
    signals::SIGTSTP,
];

/// Why this program isn't the guard, although it is called so.
#[derive(Debug, Error)]
pub enum NotCalled {
    /// A person called it.
    #[error("canihaz itself starts this, for commands; to run tests, call it canihaz")]
    ByRunner,
    /// What the guard can't do without.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Whether this program was called as the guard, going by its arguments.
pub fn is_meant(mut arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.next().is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new(NAME)))
}

/// Is the guard, for whoever has the other end of the socket that is standard input, until that is closed.
///
/// # Errors
/// Standard input is no such socket, or the system refuses what a guard needs.
pub fn serve() -> Result<(), NotCalled> {
    let stdin = io::stdin();
    let socket = stdin.as_fd();
    if !getsockopt(&socket, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket) {
        return Err(NotCalled::ByRunner);
    }
    let mut guard = Serving::new(socket)?;
    let served = guard.serve();
    guard.leave();
    Ok(served?)
}

/// The guard at work.
struct Serving<'a> {
    socket: BorrowedFd<'a>,
    /// Readable when a child has ended.
    ended: io::PipeReader,
    /// What commands read.
    null: File,
    /// The commands that are not waited for yet, by number, which is their group's as well.
    running: BTreeMap<Pid, Running>,
    /// When it was last looked for processes that got away.
    looked: Instant,
    /// How long there is no look after that, going by what there may be to see.
    pause: Duration,
    /// How long there is none, going by what the last one took.
    rest: Duration,
    /// How many looks in turn have found some.
    found: u32,
    /// Whether a command has ended since one has found none.
    has_ended: bool,
    /// The guard's own limit of open files, and the most that it could be.
    open_files: (u64, u64),
    /// The guard's own limit of memory, in bytes, and the most that it could be.
    memory: (u64, u64),
    buffer: Box<[u8]>,
}

struct Running {
    process: process::Child,
    /// Where its status is waited for, and where it is asked to end; `None` when it isn't waited for any more.
    waiting: Option<OwnedFd>,
}

/// A limit of something, for a command.
struct Limit {
    /// What the guard has itself.
    mine: u64,
    /// What it could have.
    most: u64,
    /// What the command has.
    theirs: u64,
    /// What the guard has while it starts the command, and the command until it is bound.
    meanwhile: u64,
    /// Whether it was asked for, so that the command can't raise it.
    is_bound: bool,
}

/// What there is to do.
#[derive(Default)]
struct Events {
    child_ended: bool,
    request: bool,
    runner_gone: bool,
    /// Commands whose status nobody waits for any more.
    given_up: Vec<Pid>,
    /// Commands that somebody asks to end.
    asked: Vec<Pid>,
}

impl<'a> Serving<'a> {
    fn new(socket: BorrowedFd<'a>) -> io::Result<Self> {
        close_strays();
        prctl::set_child_subreaper(true)?;
        prctl::set_name(c"canihaz-guard")?;
        // Away from the runner's terminal, whose signals are for the runner to decide on. Refused to the first of a
        // group, which has no terminal then that it could lose.
        let _ = setsid();
        SigSet::empty().thread_set_mask()?;
        for signal in OFTEN_IGNORED {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        let (ended, write) = io::pipe()?;
        signal_hook::low_level::pipe::register(signals::SIGCHLD, write)?;
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        Ok(Self {
            socket,
            ended,
            null: File::open("/dev/null")?,
            running: BTreeMap::new(),
            looked: Instant::now(),
            pause: LOOK_EVERY,
            rest: Duration::ZERO,
            found: 0,
            has_ended: false,
            open_files: (most, most),
            memory: getrlimit(Resource::RLIMIT_DATA)?,
            buffer: vec![0; MAX_REQUEST + 1].into(),
        })
    }

    /// Serves until the runner is gone.
    fn serve(&mut self) -> io::Result<()> {
        let mut is_parent = false;
        loop {
            let events = self.wait(is_parent.then(|| self.next_look()))?;
            if events.runner_gone {
                return Ok(());
            }
            for id in events.asked {
                self.ask_to_end(id);
            }
            for id in events.given_up {
                self.give_up(id);
            }
            if events.child_ended {
                // However much is in it: what matters is who can be waited for.
                let _ = self.ended.read(&mut [0; 256]);
            }
            // Not only when one has ended: a look has to know as well.
            is_parent = self.bury();
            if is_parent && (self.running.is_empty() || Instant::now() >= self.next_look()) {
                self.kill_strays();
            }
            if events.request {
                is_parent |= self.take_requests();
            }
        }
    }

    /// The runner is gone: kills what is left, until there is nothing, or nothing that it could kill.
    fn leave(&mut self) {
        let until = Instant::now() + FAREWELL;
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            self.give_up(id);
        }
        while self.bury() && Instant::now() < until {
            self.kill_strays();
            let mut ended = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ended, timeout(TRY_EVERY)).is_ok_and(|ready| ready > 0) {
                let _ = self.ended.read(&mut [0; 256]);
            }
        }
    }

    /// Waits for something to do, or until it is time to look.
    fn wait(&self, look: Option<Instant>) -> io::Result<Events> {
        let waiting = || self.running.iter().filter_map(|(id, running)| Some((*id, running.waiting.as_ref()?)));
        // Requests that there are no descriptors for wait in the socket.
        let has_room = self.running.len() as u64 + KEPT_FREE < self.open_files.1;
        let requests = if has_room { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = vec![PollFd::new(self.socket, requests), PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        fds.extend(waiting().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        let limit = look.map_or(PollTimeout::NONE, |look| timeout(look.saturating_duration_since(Instant::now())));
        match poll(&mut fds, limit) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Events::default()),
            Err(error) => return Err(error.into()),
        }
        let seen: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR)).collect();
        let is_gone = |seen: &PollFlags| seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        let (mut given_up, mut asked) = (Vec::new(), Vec::new());
        for ((id, _), seen) in waiting().zip(&seen[2..]) {
            if is_gone(seen) {
                given_up.push(id);
            } else if !seen.is_empty() {
                asked.push(id);
            }
        }
        Ok(Events {
            runner_gone: is_gone(&seen[0]),
            request: seen[0].contains(PollFlags::POLLIN),
            child_ended: !seen[1].is_empty(),
            given_up,
            asked,
        })
    }

    /// Starts what is asked for, as far as one turn goes; true when something was.
    fn take_requests(&mut self) -> bool {
        (0..REQUESTS_A_TURN).map_while(|_| self.take_request().ok()).count() > 0
    }

    fn take_request(&mut self) -> nix::Result<()> {
        let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let length = received.bytes;
        if length == 0 {
            // The runner's end is closed; the next wait says so.
            return Err(Errno::ENOTCONN);
        }
        let descriptors: Vec<OwnedFd> = received
            .cmsgs()
            .into_iter()
            .flatten()
            .flat_map(|message| match message {
                ControlMessageOwned::ScmRights(raw) => raw,
                _ => Vec::new(),
            })
            .map(own)
            .collect();
        // None are told when not all could come, as the guard has no descriptors left: so nothing is ever executed by
        // its name as its file was lost. Whoever waits sees that its socket is closed.
        let mut descriptors = descriptors.into_iter();
        let first = [(); 3].map(|()| descriptors.next());
        let file = descriptors.next();
        if let ([Some(stdout), Some(stderr), Some(waiting)], None) = (first, descriptors.next()) {
            self.begin(length, stdout, stderr, waiting, file.as_ref());
        }
        Ok(())
    }

    /// Starts the command that is in the buffer's first bytes, unless nobody waits for it any more.
    fn begin(&mut self, length: usize, stdout: OwnedFd, stderr: OwnedFd, waiting: OwnedFd, file: Option<&OwnedFd>) {
        let Some(command) = self.buffer.get(..length).and_then(Command::read) else { return };
        let mut given_up = [PollFd::new(waiting.as_fd(), PollFlags::empty())];
        if poll(&mut given_up, PollTimeout::ZERO).is_ok_and(|gone| gone > 0) {
            return;
        }
        match self.spawn(&command, stdout, stderr, file) {
            Ok(process) => {
                let id = number(&process);
                if self.running.is_empty() {
                    self.looked = Instant::now();
                }
                self.pause = self.pause.min(LOOK_EVERY);
                self.running.insert(id, Running { process, waiting: Some(waiting) });
            }
            Err(error) => tell(&waiting, Status::NotStarted(error.raw_os_error().unwrap_or(0))),
        }
    }

    fn spawn(
        &self,
        command: &Command<'_>,
        stdout: OwnedFd,
        stderr: OwnedFd,
        file: Option<&OwnedFd>,
    ) -> io::Result<process::Child> {
        let program = match file {
            Some(file) => {
                // The command inherits it, as the interpreter of a script opens it once more. Nothing else is started
                // before the guard closes it.
                fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
                format!("/proc/self/fd/{}", file.as_raw_fd()).into()
            }
            None => command.program.to_owned(),
        };
        let null = self.null.try_clone()?;
        let given = [null.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
        let mut prepared = process::Command::new(program);
        prepared
            .arg0(command.program)
            .args(&command.arguments)
            .env_clear()
            .envs(command.env.iter().copied())
            .current_dir(command.folder)
            .process_group(0)
            .stdin(Stdio::from(null))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr));
        let limits = self.limits(command, given);
        // A command inherits the limits of the moment; where one is refused, it runs as well.
        for (resource, limit) in &limits {
            let _ = setrlimit(*resource, limit.meanwhile, limit.most);
        }
        let started = prepared.spawn();
        for (resource, limit) in &limits {
            let _ = setrlimit(*resource, limit.mine, limit.most);
        }
        if let Ok(process) = &started {
            // The guard couldn't raise its own again, had it bound itself.
            for (resource, limit) in limits.iter().filter(|(_, limit)| limit.is_bound) {
                bind(number(process), *resource, limit.theirs);
            }
        }
        started
    }

    /// What a command may have at the most, which is `given` these descriptors of the guard's.
    fn limits(&self, command: &Command<'_>, given: [RawFd; 3]) -> [(Resource, Limit); 2] {
        let of = |(mine, most): (u64, u64), asked: Option<u64>, otherwise: u64, meanwhile: u64| {
            let theirs = asked.unwrap_or(otherwise).min(most);
            Limit { mine, most, theirs, meanwhile: theirs.max(meanwhile), is_bound: asked.is_some() }
        };
        let Limits { memory, open_files } = command.limits;
        // The C library gives nothing whose number is beyond the limit of the moment, however small it is at the command.
        let numbers = given.into_iter().filter_map(|descriptor| u64::try_from(descriptor).ok());
        let all_given = numbers.max().map_or(0, |highest| highest + 1);
        [
            (Resource::RLIMIT_NOFILE, of(self.open_files, open_files, OPEN_FILES, all_given)),
            (Resource::RLIMIT_DATA, of(self.memory, memory, self.memory.0, 0)),
        ]
    }

    /// Asks a command and all of its group to end, as somebody asks for it.
    fn ask_to_end(&mut self, id: Pid) {
        let Some(waiting) = self.running.get(&id).and_then(|running| running.waiting.as_ref()) else { return };
        // What is more than this is another question.
        match recv(waiting.as_raw_fd(), &mut [0; 256], MsgFlags::MSG_DONTWAIT) {
            Ok(1..) => _ = killpg(id, Signal::SIGTERM),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody will ask again, nor wait: else this would be heard for ever.
            Ok(0) | Err(_) => self.give_up(id),
        }
    }

    /// Kills a command for which nobody waits any more, and all of its group. It is buried when it has ended.
    fn give_up(&mut self, id: Pid) {
        if let Some(running) = self.running.get_mut(&id) {
            running.waiting = None;
            // It may have gone to another group.
            let _ = (killpg(id, Signal::SIGKILL), kill(id, Signal::SIGKILL));
        }
    }

    /// Waits for every child that has ended, as far as one turn goes; false when there is none left at all.
    fn bury(&mut self) -> bool {
        for _ in 0..BURIED_A_TURN {
            // Only looked at, so that its number is still its own when its group is killed.
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) {
                Ok(WaitStatus::StillAlive) => return true,
                Ok(status) => match status.pid() {
                    Some(id) => self.end(id),
                    None => return true,
                },
                Err(Errno::EINTR) => {}
                // One was killed by a signal that nix has no name for.
                Err(Errno::EINVAL) => {
                    let over: Vec<_> = children::all().into_iter().filter(|child| child.is_over).collect();
                    if over.is_empty() {
                        return true;
                    }
                    over.iter().for_each(|child| self.end(child.id));
                }
                Err(_) => return false,
            }
        }
        (self.pause, self.rest) = (Duration::ZERO, Duration::ZERO);
        true
    }

    /// Waits for a child that has ended; with a command all that is left of its group ends, too.
    fn end(&mut self, id: Pid) {
        self.pause = self.pause.min(LOOK_EVERY);
        let Some(mut running) = self.running.remove(&id) else {
            // A stray one.
            let _ = waitpid(id, Some(WaitPidFlag::WNOHANG));
            return;
        };
        self.has_ended = true;
        let _ = killpg(id, Signal::SIGKILL);
        if let (Ok(status), Some(waiting)) = (running.process.wait(), running.waiting) {
            tell(&waiting, status.into());
        }
    }

    /// From when on is looked for processes that got away.
    fn next_look(&self) -> Instant {
        self.looked + self.pause.max(self.rest)
    }

    /// Kills the children that are no commands, and in no command's group: they got away from it.
    fn kill_strays(&mut self) {
        let begin = Instant::now();
        let mut has_found = false;
        for child in children::all() {
            let is_stray = !self.running.contains_key(&child.id) && !self.running.contains_key(&child.group);
            has_found |= is_stray && kill(child.id, Signal::SIGKILL).is_ok();
        }
        self.looked = Instant::now();
        self.found = if has_found { self.found.saturating_add(1) } else { 0 };
        self.has_ended &= has_found;
        let is_hurried = self.has_ended && self.found <= LOOKS_AGAIN;
        (self.pause, self.rest) = match (has_found, is_hurried) {
            (true, true) => (LOOK_AGAIN, Duration::ZERO),
            (true, false) => (LOOK_EVERY, begin.elapsed() * LOOK_SELDOM),
            (false, _) => (LOOK_IDLE, begin.elapsed() * LOOK_SELDOM),
        };
    }
}

/// Closes what the runner itself was given by whoever started it, so that no command holds it: the runner's own
/// descriptors are never inherited.
fn close_strays() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > io::stderr().as_raw_fd()) {
        // The folder's own is closed already.
        let _ = close(descriptor);
    }
}

fn number(process: &process::Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).unwrap_or(i32::MAX))
}

/// Sets a limit of a command for good, whatever the command has made of it meanwhile: as some programs do, which raise
/// their limit of open files as far as they can. What became another user's keeps what it has.
#[expect(unsafe_code, reason = "nix has no prlimit")]
fn bind(process: Pid, resource: Resource, limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: it reads what the one pointer leads to, which lives until it returns, and writes nothing, as the other is null.
    let _ = unsafe { libc::prlimit(process.as_raw(), resource as _, &raw const limit, std::ptr::null_mut()) };
}

/// Tells how a command ended; who has gone meanwhile isn't told.
fn tell(waiting: &OwnedFd, status: Status) {
    let _ = send(waiting.as_raw_fd(), &status.to_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

/// A length of time as `poll` has it: in milliseconds, and not less than it is.
fn timeout(length: Duration) -> PollTimeout {
    PollTimeout::try_from(length.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

#[expect(unsafe_code, reason = "nix hands on what the kernel made as a bare number")]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it for this process, and nobody else was told of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
