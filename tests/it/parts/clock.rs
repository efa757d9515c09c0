//! The wall clock that a program under test sees: the real one, or one that reads a chosen second when it begins.
//!
//! Chosen minutes are counted from 0, ten minutes before the tests began, so that nothing is ever in a receiver's
//! future: second 40 of minute 0 and second 50 of minute 1 are what they say, whatever the real time is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::deadline::{eventually, seconds};
use super::preload::preload;

/// How long before the tests' own start minute 0 is, in minutes.
pub const BEFORE: i64 = 10;
/// How long a program that was started may take to begin, in seconds.
const BEGIN: f64 = 20.0;
const NS: f64 = 1e9;

/// A wall clock: an offset from the real one.
#[derive(Clone, Debug)]
pub struct Clock {
    /// `None` for the real one.
    started: Option<Arc<Started>>,
    /// The start of the minute that [`Clock::second`] counts from, in seconds since 1970 by this clock.
    minute: i64,
}

/// What a clock read when it was started, and since when it goes.
#[derive(Debug)]
struct Started {
    wanted_ns: i64,
    /// Where the offset is once it is known, in nanoseconds: the first who needs it leaves it there.
    file: PathBuf,
    offset_ns: OnceLock<i64>,
    /// Whether a program was given it, which starts it.
    given: AtomicBool,
}

impl Clock {
    /// One that reads `second` of minute 0 when the first program begins that is given it, or when it is first read.
    pub fn at(second: f64) -> Self {
        Self::in_minute(0, second)
    }

    /// One that reads `second` of minute `number` then.
    pub fn in_minute(number: i64, second: f64) -> Self {
        static CLOCKS: AtomicUsize = AtomicUsize::new(0);
        let minute = minute_0() + 60 * number;
        let name = format!("clock-{}-{}", std::process::id(), CLOCKS.fetch_add(1, Ordering::Relaxed));
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Of tests that were killed, and had this number.
        let _ = fs::remove_file(&file);
        let started = Started {
            wanted_ns: minute * NS as i64 + (second * NS) as i64,
            file,
            offset_ns: OnceLock::new(),
            given: AtomicBool::new(false),
        };
        Self { started: Some(Arc::new(started)), minute }
    }

    /// The real one; its seconds count from the minute it is now.
    pub fn real() -> Self {
        Self { started: None, minute: since_1970().as_secs() as i64 / 60 * 60 }
    }

    /// The same clock, whose seconds count from a minute that is `later` by so many.
    pub fn later(&self, later: i64) -> Self {
        Self { minute: self.minute + 60 * later, ..self.clone() }
    }

    /// The start of its minute, in seconds since 1970, by this clock.
    pub fn epoch(&self) -> i64 {
        self.minute
    }

    /// The second of its minute now.
    pub fn now(&self) -> f64 {
        // First: it may be what starts the clock.
        let offset = self.offset();
        self.second_of(since_1970().as_secs_f64(), offset)
    }

    /// The second of its minute that it read when the real clock read `real` seconds since 1970.
    pub fn second(&self, real: f64) -> f64 {
        self.second_of(real, self.offset())
    }

    /// Waits until it reads `second`: a test that says when something happens has nothing else to wait for.
    pub fn wait_for(&self, second: f64) {
        if let Ok(left) = Duration::try_from_secs_f64(second - self.now()) {
            thread::sleep(left);
        }
    }

    /// Gives `command` this clock: start it next.
    pub fn set(&self, command: &mut Command) {
        if let Some(started) = &self.started {
            preload(command, "clock");
            command.env("WALL_CLOCK_FILE", &started.file).env("WALL_CLOCK_NS", started.wanted_ns.to_string());
            started.given.store(true, Ordering::Relaxed);
        }
    }

    fn second_of(&self, real: f64, offset_ns: i64) -> f64 {
        real + offset_ns as f64 / NS - self.minute as f64
    }

    fn offset(&self) -> i64 {
        self.started.as_ref().map_or(0, |started| *started.offset_ns.get_or_init(|| started.offset()))
    }
}

impl Started {
    /// What it is ahead of the real one by. A program that was started begins; without one it goes from now on.
    fn offset(&self) -> i64 {
        if !self.given.load(Ordering::Relaxed) {
            let offset_ns = self.wanted_ns - since_1970().as_nanos() as i64;
            fs::write(&self.file, format!("{offset_ns}\n")).expect("the clock can be started");
        }
        eventually("a program to begin that was given a clock", seconds(BEGIN), || {
            fs::read_to_string(&self.file).ok()?.strip_suffix('\n')?.parse().ok()
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // There is none where nobody has looked at it.
        let _ = fs::remove_file(&self.file);
    }
}

fn minute_0() -> i64 {
    static MINUTE_0: OnceLock<i64> = OnceLock::new();
    *MINUTE_0.get_or_init(|| (since_1970().as_secs() as i64 / 60 - BEFORE) * 60)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970")
}

#[test]
fn reads_the_chosen_second_and_leaves_timers_alone() {
    let clock = Clock::at(41.25);
    let mut date = Command::new("date");
    clock.set(date.args(["+%S.%N"]));
    let read: f64 = String::from_utf8(date.output().expect("date runs").stdout).unwrap().trim().parse().unwrap();
    assert!((41.25..42.0).contains(&read), "{read}");
    assert!((read..read + 10.0).contains(&clock.now()), "{}", clock.now());

    let clock = Clock::in_minute(1, 10.0);
    let mut sleep = Command::new("sh");
    clock.set(sleep.args(["-c", "sleep 0.3; date +%s"]));
    let read: i64 = String::from_utf8(sleep.output().expect("sh runs").stdout).unwrap().trim().parse().unwrap();
    assert_eq!(read, clock.epoch() + 10);
    assert!((10.3..12.0).contains(&clock.now()), "{}", clock.now());
}

#[test]
fn goes_from_when_the_first_program_begins_however_late_that_is() {
    fn read(clock: &Clock) -> f64 {
        let mut date = Command::new("date");
        clock.set(date.args(["+%s.%N"]));
        let read = String::from_utf8(date.output().expect("date runs").stdout).unwrap();
        read.trim().parse::<f64>().unwrap() - clock.epoch() as f64
    }
    let clock = Clock::at(57.0);
    thread::sleep(seconds(1.1));
    let (first, second) = (read(&clock), read(&clock));
    assert!((57.0..58.0).contains(&first), "{first}");
    assert!(second > first && clock.now() > second, "{first}, {second}, {}", clock.now());
}
