//! The runner, for some seconds: flat out, or with next to nothing to do.
//!
//! It runs until its minute ends, so it is started where there is room for that, and stopped by its stop file.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::Value;

use crate::parts::deadline::eventually;
use crate::parts::sandbox::Sandbox;
use crate::{BATCH, DATABASE, Load};

/// Batches a minute: fifty million points a second, which no server here takes.
const FLAT_OUT: u32 = 600_000;
/// The second of a minute before which its hits are to end: there are none at the very end.
const LAST: f64 = 59.0;

/// How long it may take to end once it is told to.
const ENDS: Duration = Duration::from_secs(15);

/// What a run came to.
pub struct Ran {
    /// How long it ran until it was stopped; what was on its way then doesn't count.
    pub took: Duration,
    /// Points that it has reported.
    pub points: u64,
    /// Its processor time, in its own code and in the kernel.
    pub user: Duration,
    pub system: Duration,
    /// The peak of its memory, in kB.
    pub peak: u64,
    /// What its summaries say of who was the limit.
    pub verdict: Verdict,
}

/// What the summaries of a run say of who was the limit.
#[derive(Default)]
pub struct Verdict {
    /// How many of its intervals had this server for their limit, and how many there are.
    pub generator_limited: usize,
    pub intervals: usize,
    /// The largest 99th percentiles, in ms: of the time for which hits waited as all connections were busy, and of that
    /// which was our own doing.
    pub blocked_ms: f64,
    pub lag_ms: f64,
    /// Hits that did not end well, missed ones aside.
    pub failed: u64,
}

/// Runs it for so many seconds, flat out.
pub fn flat_out(port: u16, load: Load, seconds: f64) -> Ran {
    run(port, load, seconds, FLAT_OUT)
}

/// Runs it for so many seconds, with one batch to send.
pub fn idle(port: u16, load: Load, seconds: f64) -> Ran {
    run(port, load, seconds, 1)
}

fn run(port: u16, Load { series, concurrency }: Load, seconds: f64, frequency: u32) -> Ran {
    let sandbox = Sandbox::new();
    sandbox.settings("max_catch_up = 1000");
    sandbox.out();
    sandbox.write(
        "types.d/stress.toml",
        format!(
            "kind = \"influxdb\"\n\
             [write.point_generator.basic]\nseries_count = {series}\ntick = \"10s\"\nmeasurement = \"cpu\"\n\
             start_date = \"2006-Jan-02\"\n\
             tag = [{{ key = \"host\", value = \"server\" }}, {{ key = \"location\", value = \"us-west\" }}]\n\
             field = [{{ key = \"value\", value = \"float64\" }}]\n\
             [write.influx_client.basic]\naddresses = [\"127.0.0.1:{port}\"]\ndatabase = \"{DATABASE}\"\n\
             batch_size = {BATCH}\nconcurrency = {concurrency}\n"
        ),
    );
    sandbox.test(&format!("load|stress|{frequency}|out"));
    wait_for_room(seconds);
    let mut command = sandbox.runner();
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    let (user, system) = spent(UsageWho::RUSAGE_CHILDREN);
    let begin = Instant::now();
    let mut child = command.spawn().expect("the runner starts");
    thread::sleep(Duration::from_secs_f64(seconds));
    let peak = peak_of(child.id());
    sandbox.write("stop", "measured\n");
    let took = begin.elapsed();
    eventually("the runner to end", ENDS, || child.try_wait().expect("it can be waited for"));
    let ended = spent(UsageWho::RUSAGE_CHILDREN);
    let results = sandbox.results();
    let summaries = results.of("load.write");
    Ran {
        took,
        points: summaries.iter().filter_map(|summary| summary["work"]["points"].as_u64()).sum(),
        user: ended.0 - user,
        system: ended.1 - system,
        peak,
        verdict: Verdict::of(&summaries),
    }
}

impl Verdict {
    fn of(summaries: &[&Value]) -> Self {
        let ms = |what: &str| summaries.iter().filter_map(|one| one[what]["p99"].as_f64()).fold(0.0, f64::max) * 1e3;
        Self {
            generator_limited: summaries.iter().filter(|one| one["generator_limited"] == true).count(),
            intervals: summaries.len(),
            blocked_ms: ms("blocked"),
            lag_ms: ms("lag"),
            failed: summaries.iter().filter_map(|one| one["failed"].as_u64()).sum(),
        }
    }
}

/// The processor time of threads, or of all children that have ended: in their own code, and in the kernel.
pub fn spent(who: UsageWho) -> (Duration, Duration) {
    let usage = getrusage(who).expect("the kernel always tells");
    let time = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    (time(usage.user_time()), time(usage.system_time()))
}

/// The peak of a process's memory so far, in kB.
fn peak_of(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it still runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    peak.trim().trim_end_matches("kB").trim().parse().expect("a number of kB")
}

/// Waits, if need be, for the next minute, so that this one doesn't end meanwhile.
fn wait_for_room(seconds: f64) {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64() % 60.0;
    if second + seconds > LAST {
        thread::sleep(Duration::from_secs_f64(60.2 - second));
    }
}
