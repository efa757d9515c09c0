//! Summaries for the tests of the destinations.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::Occasion;
use crate::gossip::Ended;
use crate::routes::Request;
use crate::summary::{Measured, RUNNER, Summary, Tally, Upkeep};
use crate::target::{Failure, Outcome, Phases, Reason, Value};
use crate::work::Work;

/// 12:00:00 on the first day of 2026, UTC.
pub(super) fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).single().expect("it is a time")
}

/// Right after the first interval, with five seconds to send in.
pub(super) fn occasion() -> Occasion {
    Occasion { now: noon() + TimeDelta::seconds(10), until: Instant::now() + Duration::from_secs(5) }
}

/// The interval from 12:00:00 to 12:00:10: 97 ok, 2 timeouts, 1 wrong status,
/// 3 canceled, 2 missed; response times of 1.1 to 100.1 ms; 10.5 a second asked for, 10.2 sent.
pub(super) fn test(name: &str) -> Summary {
    let mut tally = tally(100);
    (tally.canceled, tally.missed) = (3, 2);
    (tally.asked, tally.sent) = (105, 102);
    summary(name, Measured::Test(Box::new(tally)))
}

/// As [`test`], with `ok` hits that all went well.
pub(super) fn sound(name: &str, ok: u64) -> Summary {
    let mut tally = Tally::default();
    let due = Instant::now();
    for number in 1..=ok {
        tally.record(&ended(due, number, None));
    }
    (tally.asked, tally.sent) = (ok, ok);
    summary(name, Measured::Test(Box::new(tally)))
}

/// One hit that was started 20 ms late and took 1 ms.
pub(super) fn late(name: &str) -> Summary {
    let mut tally = Tally::default();
    let due = Instant::now();
    let late = Duration::from_millis(20);
    tally.record(&Ended { start: due + late, end: due + late + Duration::from_millis(1), ..ended(due, 1, None) });
    (tally.asked, tally.sent) = (1, 1);
    summary(name, Measured::Test(Box::new(tally)))
}

/// 291 hits a second where 300 were asked for, without a reason in the target.
pub(super) fn short(name: &str) -> Summary {
    let Measured::Test(mut tally) = sound(name, 2910).measured else { unreachable!("it is a test") };
    (tally.asked, tally.unsent) = (3000, 90);
    summary(name, Measured::Test(tally))
}

/// Three hits of an insecure type, ended at once, each with a connection of its own: one name looked up in 0.2 ms,
/// connects in 1, 2 and 3 ms, one first byte after 30 ms, none with TLS. They brought `queued` -5 and 2, `time` 0.25 s,
/// and a number that is none.
pub(super) fn rich(name: &str) -> Summary {
    let ms = |ms| Some(Duration::from_millis(ms));
    let phases = |connect| Phases { connect: ms(connect), ..Phases::default() };
    let value = |name: &str, value, unit: &str| Value { name: name.into(), value, unit: unit.into() };
    let mut tally = Tally { insecure: true, ..Tally::default() };
    for (phases, values) in [
        (Phases { dns: Some(Duration::from_micros(200)), ..phases(1) }, vec![value("queued", -5.0, "")]),
        (Phases { first_byte: ms(30), ..phases(2) }, vec![value("queued", 2.0, ""), value("time", 0.25, "s")]),
        (phases(3), vec![value("queued", f64::NAN, "")]),
    ] {
        let outcome = Outcome { phases: Some(phases.into()), values, ..Outcome::default() };
        tally.record(&Ended { outcome, ..ended(Instant::now(), 0, None) });
    }
    (tally.asked, tally.sent) = (3, 3);
    summary(name, Measured::Test(Box::new(tally)))
}

/// As [`sound`], with what its hits got done.
pub(super) fn working<const N: usize>(name: &str, ok: u64, counts: [(&'static str, u64); N]) -> Summary {
    let Measured::Test(mut tally) = sound(name, ok).measured else { unreachable!("it is a test") };
    // As when it is recorded, or merged: its names are made safe.
    tally.work.get_or_insert_default().merge(&Work::of(counts));
    summary(name, Measured::Test(tally))
}

/// As [`sound`] with ten hits, and of each route as many requests as are told, which took 1, 2, 3 ms and so on: of 100
/// bytes, with 200, but the last, which has an error, no status and no size.
pub(super) fn routed(name: &str, routes: &[(&str, u64)]) -> Summary {
    let mut summary = sound(name, 10);
    let Measured::Test(tally) = &mut summary.measured else { unreachable!("it is a test") };
    let sum = tally.routes.get_or_insert_default();
    for (route, requests) in routes {
        for number in 1..=*requests {
            let is_error = number == *requests;
            let (status, size) = if is_error { (0, None) } else { (200, Some(100)) };
            sum.record(&Request { route, duration: Duration::from_millis(number), status, size, is_error });
        }
    }
    summary
}

/// An interval in which no hit ended.
pub(super) fn idle(name: &str) -> Summary {
    summary(name, Measured::Test(Box::default()))
}

/// The runner, with two faults and one run skipped.
pub(super) fn runner() -> Summary {
    let upkeep = Upkeep { config_errors: 2, runs_skipped: 1, spool_dropped: 0, last_run: noon().timestamp() };
    Summary { type_name: String::new(), ..summary(RUNNER, Measured::Runner(upkeep)) }
}

/// The same, `seconds` later.
pub(super) fn later(summary: Summary, seconds: i64) -> Summary {
    Summary { start: summary.start + TimeDelta::seconds(seconds), ..summary }
}

fn summary(name: &str, measured: Measured) -> Summary {
    Summary {
        test: name.to_owned(),
        type_name: String::from("loopback"),
        host: String::from("web-1.example.com"),
        copy: 1,
        start: noon(),
        seconds: 10.0,
        last: false,
        destinations: Vec::new(),
        measured,
    }
}

fn tally(hits: u64) -> Tally {
    let mut tally = Tally::default();
    let due = Instant::now();
    for number in 1..=hits {
        let reason = match number {
            98 => Some(Reason::Status),
            99 | 100 => Some(Reason::Timeout),
            _ => None,
        };
        tally.record(&ended(due, number, reason));
    }
    tally
}

/// A hit that started 100 µs late and took `number` ms.
fn ended(due: Instant, number: u64, reason: Option<Reason>) -> Ended {
    let start = due + Duration::from_micros(100);
    let failure = reason.map(|reason| Failure::new(reason, "a sample"));
    Ended {
        due,
        start,
        end: start + Duration::from_millis(number),
        blocked: Duration::ZERO,
        late: Duration::ZERO,
        outcome: Outcome { failure, bytes_in: 200, bytes_out: 100, ..Outcome::default() },
    }
}
