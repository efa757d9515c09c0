//! The wall clock that a program under test sees: the real one, or one that reads a chosen second when it starts.
//!
//! Chosen minutes are counted from 0, ten minutes before the tests began, so that nothing is ever in a receiver's
//! future: second 40 of minute 0 and second 50 of minute 1 are what they say, whatever the real time is.

use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::preload::preload;

/// How long before the tests' own start minute 0 is, in minutes.
pub const BEFORE: i64 = 10;
const NS: f64 = 1e9;

/// A wall clock: an offset from the real one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset_ns: i64,
    /// The start of the minute that [`Clock::second`] counts from, in seconds since 1970 by this clock.
    minute: i64,
}

impl Clock {
    /// One that reads `second` of minute 0 at this moment: start the program next.
    pub fn at(second: f64) -> Self {
        Self::in_minute(0, second)
    }

    /// One that reads `second` of minute `number` at this moment.
    pub fn in_minute(number: i64, second: f64) -> Self {
        let minute = minute_0() + 60 * number;
        let wanted_ns = minute * NS as i64 + (second * NS) as i64;
        Self { offset_ns: wanted_ns - since_1970().as_nanos() as i64, minute }
    }

    /// The real one; its seconds count from the minute it is now.
    pub fn real() -> Self {
        Self { offset_ns: 0, minute: since_1970().as_secs() as i64 / 60 * 60 }
    }

    /// The same clock, whose seconds count from a minute that is `later` by so many.
    pub fn later(self, later: i64) -> Self {
        Self { minute: self.minute + 60 * later, ..self }
    }

    /// The start of its minute, in seconds since 1970, by this clock.
    pub fn epoch(&self) -> i64 {
        self.minute
    }

    /// The second of its minute now.
    pub fn now(&self) -> f64 {
        self.second(since_1970().as_secs_f64())
    }

    /// The second of its minute that it read when the real clock read `real` seconds since 1970.
    pub fn second(&self, real: f64) -> f64 {
        real + self.offset_ns as f64 / NS - self.minute as f64
    }

    /// Waits until it reads `second`: a test that says when something happens has nothing else to wait for.
    pub fn wait_for(&self, second: f64) {
        if let Ok(left) = Duration::try_from_secs_f64(second - self.now()) {
            thread::sleep(left);
        }
    }

    /// Gives `command` this clock.
    pub fn set(&self, command: &mut Command) {
        if self.offset_ns != 0 {
            preload(command, "clock");
            command.env("WALL_CLOCK_OFFSET_NS", self.offset_ns.to_string());
        }
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

    let clock = Clock::in_minute(1, 10.0);
    let mut sleep = Command::new("sh");
    clock.set(sleep.args(["-c", "sleep 0.3; date +%s"]));
    let read: i64 = String::from_utf8(sleep.output().expect("sh runs").stdout).unwrap().trim().parse().unwrap();
    assert_eq!(read, clock.epoch() + 10);
    assert!((10.3..12.0).contains(&clock.now()), "{}", clock.now());
}
