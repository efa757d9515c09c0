//! What the guard is asked to start, as one datagram.
//!
//! Texts follow each other, each with a NUL behind it, which none of them can
//! contain: the number of arguments, the folder, the program, the arguments,
//! and names and values of the environment in turn.
//!
//! ```text
//! 2 · / · /usr/bin/psql · -c · select 1 · PATH · /usr/bin:/bin ·
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most that a request may hold, in bytes; the kernel's own limit of a datagram is some 200 KiB by default.
pub const MAX_REQUEST: usize = 64 << 10;

/// A command, ready to be sent as often as one likes.
#[derive(Clone, Eq, PartialEq)]
pub struct Request(Vec<u8>);

/// A request as the guard reads it.
#[derive(Debug, Eq, PartialEq)]
pub struct Command<'a> {
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
        let mut bytes = Vec::new();
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

impl<'a> Command<'a> {
    /// Reads a request; `None` for what is none.
    pub fn read(request: &'a [u8]) -> Option<Self> {
        let mut texts = request.strip_suffix(&[0])?.split(|byte| *byte == 0).map(OsStr::from_bytes);
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
        Some(Self { folder, program, arguments, env })
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
    fn what_does_not_fit_is_no_request() {
        let new = |argument: String| Request::new(Path::new("/x"), &[argument], &[], Path::new("/"));
        // "1", "/" and "/x", each with its NUL, and the argument's own.
        let most = MAX_REQUEST - 2 - 2 - 3 - 1;
        assert!(new("x".repeat(most)).is_some());
        assert!(new("x".repeat(most + 1)).is_none());
        assert!(new("a\0b".to_owned()).is_none());
    }

    #[test]
    fn what_is_no_request_is_not_read() {
        for bytes in [&b""[..], b"\0", b"0", b"0\0", b"0\0/\0", b"x\0/\0/x\0", b"-1\0/\0/x\0", b"0\0/\0/x\0A\0"] {
            assert_eq!(Command::read(bytes), None, "{bytes:?}");
        }
        // Nothing is reserved for arguments that aren't there.
        assert_eq!(Command::read(b"99999999999\0/\0/x\0a\0"), None);
    }
}
