//! One life of a program under test: started, watched, ended within a bound, told of when the test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock::Clock;
use super::deadline::{seconds, within};

/// How much of an output a failing test shows, in bytes.
const SHOWN: usize = 4000;

/// A program that was started; killed, if it still runs, when dropped.
pub struct Run {
    child: Child,
    folder: PathBuf,
    /// Its clock: the file that it may look for when it begins goes with the last who has it.
    _clock: Option<Clock>,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All that it wrote to its standard output.
    pub stdout: String,
    /// All that it wrote to its standard error.
    pub stderr: String,
}

impl Run {
    /// Starts `command` with its outputs in files of `folder` named after `name`.
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let [stdout, stderr] = ["out", "err"].map(|end| folder.join(format!("{name}.{end}")));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("the file for stdout can be created"))
            .stderr(File::create(&stderr).expect("the file for stderr can be created"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, folder: folder.to_owned(), _clock: None, stdout, stderr }
    }

    /// The same run, which was given `clock`.
    pub fn by(mut self, clock: &Clock) -> Self {
        self._clock = Some(clock.clone());
        self
    }

    /// Waits for its end, at most `bound`.
    #[track_caller]
    pub fn wait(mut self, bound: Duration) -> Ended {
        let status = within(bound, || self.child.try_wait().expect("it can be waited for"));
        let Some(status) = status else { panic!("waited {bound:?} for the program to end{}", claims(&self.folder)) };
        Ended { code: status.code(), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    /// Waits for its end, at most `bound` seconds, and expects success that says nothing on standard error.
    #[track_caller]
    pub fn succeed(self, bound: f64) -> Ended {
        let ended = self.wait(seconds(bound));
        ended.expect_silence();
        ended
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Asks it to stop, as `kill` does.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process has a small number");
        kill(Pid::from_raw(pid), signal).expect("it still runs");
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill_9(mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it can be waited for");
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for path in [&self.stdout, &self.stderr] {
                eprintln!("--- {}\n{}", path.display(), tail(&text(path)));
            }
        }
    }
}

impl Ended {
    /// Expects status 0 and nothing on standard error.
    #[track_caller]
    pub fn expect_silence(&self) {
        self.expect_code(0);
        assert_eq!(self.stderr, "", "a run that succeeds is silent");
    }

    /// Expects an exit status.
    #[track_caller]
    pub fn expect_code(&self, code: i32) {
        let (stdout, stderr) = (tail(&self.stdout), tail(&self.stderr));
        assert_eq!(self.code, Some(code), "exit status\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    }
}

/// Which minutes runs in this sandbox have claimed, in words, if any: a run that was to end with one, but was started
/// too late in it, owns the next.
fn claims(sandbox: &Path) -> String {
    let claims = std::fs::read_dir(sandbox.join("state/minutes")).into_iter().flatten().flatten();
    let mut words: Vec<_> = claims
        .map(|claim| match text(&claim.path()).as_str() {
            "" => format!("{:?}", claim.file_name()),
            _ => format!("{:?}, for which it had to wait", claim.file_name()),
        })
        .collect();
    words.sort();
    words.iter().map(|claim| format!("; a run has claimed {claim}")).collect()
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> &str {
    let start = (text.len().saturating_sub(SHOWN)..).find(|start| text.is_char_boundary(*start));
    &text[start.unwrap_or(0)..]
}

#[test]
fn a_run_that_owns_the_next_minute_is_told_of_when_it_does_not_end() {
    use super::sandbox::Sandbox;

    let wait = |second: f64| {
        let sandbox = Sandbox::new();
        let run = sandbox.start(&Clock::at(second));
        let minutes = sandbox.path("state/minutes");
        crate::parts::deadline::eventually("a claim", seconds(10.0), || minutes.read_dir().ok()?.flatten().next());
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.wait(seconds(0.1))));
        *waited.expect_err("it lives until the minute's end").downcast::<String>().expect("it says why")
    };
    let (own, next) = (wait(30.0), wait(58.5));
    assert!(own.starts_with("waited 100ms for the program to end; a run has claimed \"20"), "{own}");
    assert!(own.ends_with("Z.1\"") && next.ends_with("Z.1\", for which it had to wait"), "{own}\n{next}");
}
