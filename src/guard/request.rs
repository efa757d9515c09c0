//! What the guard is asked to start, as one datagram.
//!
//! It begins with the limits, eight bytes each. Texts follow, each with a NUL
//! behind it, which none of them can contain: the number of arguments, the
//! folder, the program, the arguments, and names and values of the environment
//! in turn.
//!
//! ```text
//! ffffffffffffffff ffffffffffffffff 2 · / · /usr/bin/psql · -c · select 1 · PATH · /usr/bin:/bin ·
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most that a request may hold, in bytes; the kernel's own limit of a datagram is some 200 KiB by default.
pub const MAX_REQUEST: usize = 64 << 10;
/// The least memory that a program may be limited to, in bytes. The guard has the limit itself for the moment in which
/// it starts the program, and must not want for memory then: it uses some 300 KiB.
pub const LEAST_MEMORY: u64 = 16 << 20;
/// What the limits are in a request, in bytes.
const LIMITS: usize = 16;
/// As a limit on its way: there is none.
const NO_LIMIT: u64 = u64::MAX;

/// A command, ready to be sent as often as one likes.
#[derive(Clone, Eq, PartialEq)]
pub struct Request(Vec<u8>);

/// What a program may have at the most, and each process that it starts. It can't raise that, unless it is root's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Memory of its own, in bytes, as `RLIMIT_DATA` counts it: at least [`LEAST_MEMORY`]. What is more is refused
    /// when it is asked for, used or not. `None` leaves what the system allows.
    pub memory: Option<u64>,
    /// Open files, as far as the system allows. `None` is 1,024, which a program may raise.
    pub open_files: Option<u64>,
}

/// A request as the guard reads it.
#[derive(Debug, Eq, PartialEq)]
pub struct Command<'a> {
    /// What it may have.
    pub limits: Limits,
    /// Where it runs.
    pub folder: &'a OsStr,
    /// The program's file.
    pub program: &'a OsStr,
    /// What it is told, without its own name.
    pub arguments: Vec<&'a OsStr>,
    /// All of its environment.
    pub env: Vec<(&'a OsStr, &'a OsStr)>,
}

impl Request {
    /// A request for `program`, which runs in `folder` and knows nothing of its environment but `env`; `None` when
    /// that is more than [`MAX_REQUEST`], or contains a NUL.
    pub fn new(program: &Path, arguments: &[String], env: &[(String, String)], folder: &Path) -> Option<Self> {
        let mut bytes = Limits::default().to_bytes().to_vec();
        let mut put = |text: &[u8]| {
            bytes.extend_from_slice(text);
            bytes.push(0);
            !text.contains(&0) && bytes.len() <= MAX_REQUEST
        };
        let is_sound = put(arguments.len().to_string().as_bytes())
            && put(folder.as_os_str().as_bytes())
            && put(program.as_os_str().as_bytes())
            && arguments.iter().all(|argument| put(argument.as_bytes()))
            && env.iter().all(|(name, value)| put(name.as_bytes()) && put(value.as_bytes()));
        is_sound.then_some(Self(bytes))
    }

    /// The same, with limits.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.0[..LIMITS].copy_from_slice(&limits.to_bytes());
        self
    }

    /// As it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its environment may have secrets.
        write!(f, "Request({} bytes)", self.0.len())
    }
}

impl Limits {
    fn to_bytes(self) -> [u8; LIMITS] {
        let [memory, open_files] = [self.memory, self.open_files].map(|limit| limit.unwrap_or(NO_LIMIT));
        (u128::from(open_files) << 64 | u128::from(memory)).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; LIMITS]) -> Self {
        let both = u128::from_le_bytes(bytes);
        let [memory, open_files] = [both as u64, (both >> 64) as u64].map(|limit| (limit != NO_LIMIT).then_some(limit));
        Self { memory: memory.map(|memory| memory.max(LEAST_MEMORY)), open_files }
    }
}

impl<'a> Command<'a> {
    /// Reads a request; `None` for what is none.
    pub fn read(request: &'a [u8]) -> Option<Self> {
        let (limits, texts) = request.split_first_chunk()?;
        let limits = Limits::from_bytes(*limits);
        let mut texts = texts.strip_suffix(&[0])?.split(|byte| *byte == 0).map(OsStr::from_bytes);
        let count: usize = texts.next()?.to_str()?.parse().ok()?;
        let (folder, program) = (texts.next()?, texts.next()?);
        let arguments: Vec<_> = (0..count).map_while(|_| texts.next()).collect();
        if arguments.len() < count {
            return None;
        }
        let mut env = Vec::new();
        while let Some(name) = texts.next() {
            env.push((name, texts.next()?));
        }
        Some(Self { limits, folder, program, arguments, env })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_request_arrives_as_it_was_made() {
        #[track_caller]
        fn check(arguments: &[&str], env: &[(&str, &str)]) {
            let pairs: Vec<_> = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let request = Request::new(Path::new("/bin/x"), &texts(arguments), &pairs, Path::new("/")).unwrap();
            let read = Command::read(request.as_bytes()).unwrap();
            assert_eq!(read.limits, Limits::default());
            assert_eq!((read.folder, read.program), (OsStr::new("/"), OsStr::new("/bin/x")));
            assert_eq!(read.arguments, arguments);
            let read: Vec<_> = read.env.iter().map(|(n, v)| (n.to_str().unwrap(), v.to_str().unwrap())).collect();
            assert_eq!(read, env);
        }
        check(&[], &[]);
        check(&["-c", "select 1"], &[]);
        check(&["", " ", "é\n", ""], &[("PATH", "/bin"), ("EMPTY", "")]);
        check(&[], &[("A", "1")]);
    }

    #[test]
    fn limits_arrive_as_they_were_said_but_for_one_that_the_guard_could_not_bear() {
        let request = Request::new(Path::new("/x"), &[], &[], Path::new("/")).unwrap();
        let check = |memory, open_files, expect| {
            let limits = Limits { memory, open_files };
            let limited = request.clone().limited(limits);
            assert_eq!(limited == request, limits == Limits::default());
            let read = Command::read(limited.as_bytes()).unwrap();
            assert_eq!((read.limits, read.program), (Limits { memory: expect, open_files }, OsStr::new("/x")));
        };
        check(None, None, None);
        check(Some(LEAST_MEMORY), None, Some(LEAST_MEMORY));
        check(None, Some(0), None);
        check(Some(3 << 40), Some(100_000), Some(3 << 40));
        check(Some(LEAST_MEMORY - 1), Some(64), Some(LEAST_MEMORY));
        check(Some(0), Some(u64::MAX - 1), Some(LEAST_MEMORY));
    }

    #[test]
    fn what_does_not_fit_is_no_request() {
        let new = |argument: String| Request::new(Path::new("/x"), &[argument], &[], Path::new("/"));
        // The limits, "1", "/" and "/x", each with its NUL, and the argument's own.
        let most = MAX_REQUEST - LIMITS - 2 - 2 - 3 - 1;
        assert!(new("x".repeat(most)).is_some());
        assert!(new("x".repeat(most + 1)).is_none());
        assert!(new("a\0b".to_owned()).is_none());
    }

    #[test]
    fn what_is_no_request_is_not_read() {
        let limits = Limits::default().to_bytes();
        for bytes in [&b""[..], b"\0", b"0", b"0\0", b"0\0/\0", b"x\0/\0/x\0", b"-1\0/\0/x\0", b"0\0/\0/x\0A\0"] {
            assert_eq!(Command::read(bytes), None, "{bytes:?}");
            assert_eq!(Command::read(&[&limits, bytes].concat()), None, "{bytes:?}");
        }
        // Nothing is reserved for arguments that aren't there.
        assert_eq!(Command::read(&[&limits, &b"99999999999\0/\0/x\0a\0"[..]].concat()), None);
    }
}
