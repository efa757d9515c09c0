//! Waiting for something to become true, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, at most `bound`; a panic names `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + bound;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {bound:?} for {what}");
        thread::sleep(EVERY);
    }
}

/// A number of seconds, as tests write them.
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
