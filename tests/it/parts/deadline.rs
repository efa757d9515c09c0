//! Waiting for something to become true, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, at most `bound`; a panic names `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, bound: Duration, look: impl FnMut() -> Option<T>) -> T {
    let Some(found) = within(bound, look) else { panic!("waited {bound:?} for {what}") };
    found
}

/// What `look` finds; `None` when that is nothing until `bound` is over.
pub fn within<T>(bound: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + bound;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(EVERY);
    }
}

/// A number of seconds, as tests write them.
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
