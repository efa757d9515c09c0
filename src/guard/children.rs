//! Whose parent this process is, by what the kernel says of every process.
//!
//! `/proc/…/children` would say it at once, but not every kernel has it.

use std::fs::{self, File};
use std::io::Read;

use nix::unistd::Pid;

/// How much of `/proc/PID/stat` is looked at, in bytes: what matters stands in the first hundred.
const STAT: usize = 256;

/// A child of this process, by birth or since its own parent is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Child {
    /// Its number.
    pub id: Pid,
    /// The group it is in.
    pub group: Pid,
    /// The session it is in.
    pub session: Pid,
    /// Whether it has ended, and is only to be waited for.
    pub is_over: bool,
}

/// All children of this process, as far as they stay where they are while one looks.
pub fn all() -> Vec<Child> {
    let mine = Pid::this();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes =
        entries.filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
    processes
        .filter_map(|entry| {
            let mut stat = Vec::with_capacity(STAT);
            // One that has ended meanwhile can't be read, and is nobody's child any more.
            File::open(entry.path().join("stat")).ok()?.take(STAT as u64).read_to_end(&mut stat).ok()?;
            parse(&stat)
        })
        .filter_map(|(parent, child)| (parent == mine).then_some(child))
        .collect()
}

/// Reads `PID (NAME) STATE PARENT GROUP SESSION …`, where the name may be anything: its parent, and itself.
fn parse(stat: &[u8]) -> Option<(Pid, Child)> {
    let id = std::str::from_utf8(stat.split(|byte| *byte == b' ').next()?).ok()?;
    let name_end = memchr::memrchr(b')', stat)?;
    let mut fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let [parent, group, session] = [(); 3].map(|()| fields.next().and_then(number));
    let child = Child { id: number(id)?, group: group?, session: session?, is_over: matches!(state, "Z" | "X") };
    Some((parent?, child))
}

fn number(text: &str) -> Option<Pid> {
    text.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_process() {
        #[track_caller]
        fn check(stat: &str, expect: Option<(i32, [i32; 3], bool)>) {
            let seen = parse(stat.as_bytes());
            let expect = expect.map(|(parent, [id, group, session], is_over)| {
                let [id, group, session] = [id, group, session].map(Pid::from_raw);
                (Pid::from_raw(parent), Child { id, group, session, is_over })
            });
            assert_eq!(seen, expect, "{stat}");
        }
        check("17 (sleep) S 3 17 2 0 -1 4194304 90 0", Some((3, [17, 17, 2], false)));
        check("17 (a) Z 1 (b)) Z 3 16 2 0", Some((3, [17, 16, 2], true)));
        check("17 (sleep) S 3 17", None);
        check("17 (sleep", None);
        check("", None);
    }

    #[test]
    fn a_child_is_seen_until_it_was_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let id = Pid::from_raw(child.id().try_into().unwrap());
        let look = || all().into_iter().find(|child| child.id == id);
        assert_eq!(look().unwrap().session, nix::unistd::getsid(None).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(look(), None);
    }
}
