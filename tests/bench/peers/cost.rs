//! What a command costs: processor time, peak memory and switches, as the kernel counts them for a child.
//!
//! A process of its own stands between the bench and each command: the kernel's figures for children are sums and
//! maxima over all that a process ever had, so it may have but one. A command's peak begins with that of what
//! started it, too, and this one is small.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cores;
use crate::stamps::monotonic;

/// The first argument that makes the bench this process.
pub const ROLE: &str = "cost-of";
/// How long starting a command may take.
const START: Duration = Duration::from_secs(5);

/// What a command cost, from exec to exit.
#[derive(Debug, Deserialize, Serialize)]
pub struct Cost {
    /// When it was started, in nanoseconds of the monotonic clock.
    pub exec_ns: u64,
    /// From exec to exit, in microseconds.
    pub wall_us: u64,
    /// Processor time in its own code, in microseconds.
    pub user_us: i64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: i64,
    /// The peak of its resident memory, in kB.
    pub peak_kb: i64,
    /// How often it was switched from as it waited.
    pub waits: i64,
    /// How often it was switched from against its will.
    pub preemptions: i64,
    /// Whether it exited with 0.
    pub success: bool,
}

/// A command that runs on the client's core.
pub struct Running {
    helper: Child,
    /// What the helper says: its child's process ID, then the cost.
    words: Receiver<String>,
    pid: Pid,
}

impl Running {
    /// Starts `command`, which writes to `log` whatever it says.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let mut helper = cores::pinned(cores::CLIENT)?;
        // What canihaz would obey, and nobody means here.
        helper.env_remove("RUST_LOG");
        helper.arg(ROLE).arg(log).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            helper.env(name, value.unwrap_or_default());
        }
        let mut helper =
            helper.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("taskset does not start")?;
        let output = BufReader::new(helper.stdout.take().context("the helper has no output")?);
        let (said, words) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let first = words.recv_timeout(START);
        let Some(pid) = first.ok().and_then(|line| line.parse().ok()) else {
            let _ = helper.kill();
            let _ = helper.wait();
            bail!("{} does not start", command.get_program().display());
        };
        Ok(Self { helper, words, pid: Pid::from_raw(pid) })
    }

    /// Waits for its end, at most for `limit`; then it is killed.
    pub fn wait(mut self, limit: Duration) -> Result<Cost> {
        let last = self.words.recv_timeout(limit);
        if last == Err(RecvTimeoutError::Timeout) {
            // Fails only when it has ended just now.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        self.helper.wait().context("the helper can't be waited for")?;
        let last = last.with_context(|| format!("no cost within {} s", limit.as_secs()))?;
        serde_json::from_str(&last).with_context(|| format!("no cost: {last}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only where a run was given up half-way; after `wait` both are gone, and the helper is known to be.
        if let Ok(None) = self.helper.try_wait() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.helper.wait();
        }
    }
}

/// Runs the command in `arguments` (its log comes first), and says what it cost.
pub fn role(arguments: &[String]) -> Result<()> {
    let [log, program, rest @ ..] = arguments else { bail!("{ROLE} needs a log and a command") };
    let log = std::fs::File::create(log).with_context(|| format!("{log} can't be created"))?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut output = std::io::stdout();
    let exec_ns = monotonic();
    let mut child = command.spawn().with_context(|| format!("{program} does not start"))?;
    writeln!(output, "{}", child.id())?;
    let status = child.wait()?;
    let wall_us = (monotonic() - exec_ns) / 1_000;
    writeln!(output, "{}", serde_json::to_string(&Cost::read(exec_ns, wall_us, status)?)?)?;
    Ok(())
}

impl Cost {
    fn read(exec_ns: u64, wall_us: u64, status: ExitStatus) -> Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let microseconds = |time: TimeVal| time.num_microseconds();
        Ok(Self {
            exec_ns,
            wall_us,
            user_us: microseconds(usage.user_time()),
            system_us: microseconds(usage.system_time()),
            peak_kb: usage.max_rss(),
            waits: usage.voluntary_context_switches(),
            preemptions: usage.involuntary_context_switches(),
            success: status.success(),
        })
    }
}
