//! What the kernel's receive stamps mean on the clock that hits are timed by.
//!
//! They are the wall clock's, which may be set at any moment. A stamp is taken
//! for what it says only while the wall clock goes as it went, and only where
//! that lies between the question and now; else there is none.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;

/// How far two readings may say that the wall clock went differently: a step is more, the adjusting of a clock less.
const STEP: Duration = Duration::from_millis(1);

/// How the wall clock goes.
#[derive(Debug)]
pub struct Stamps {
    /// One moment by both clocks.
    last: Cell<(Instant, Duration)>,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { last: Cell::new((Instant::now(), wall_clock())) }
    }
}

impl Stamps {
    /// When something came that is stamped so, was asked for at `asked` and is read `now`.
    pub fn moment(&self, stamp: Option<TimeSpec>, asked: Instant, now: Instant) -> Option<Instant> {
        self.moment_by(wall_clock(), stamp, asked, now)
    }

    fn moment_by(&self, wall: Duration, stamp: Option<TimeSpec>, asked: Instant, now: Instant) -> Option<Instant> {
        let (before, wall_before) = self.last.replace((now, wall));
        let (went, wall_went) = (now.checked_duration_since(before)?, wall.checked_sub(wall_before)?);
        if went.abs_diff(wall_went) > STEP {
            return None;
        }
        let age = wall.checked_sub(Duration::from(stamp?))?;
        now.checked_sub(age).filter(|moment| *moment >= asked)
    }
}

/// The wall clock, since 1970.
fn wall_clock() -> Duration {
    // Before 1970 no stamp is believed.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_believed_while_the_wall_clock_goes_as_it_went() {
        #[track_caller]
        fn check(wall_us: u64, stamp_us: Option<u64>, expect_us: Option<u64>) {
            let (begin, us) = (Instant::now(), Duration::from_micros);
            let wall = Duration::from_secs(1_800_000_000);
            let stamps = Stamps { last: Cell::new((begin, wall)) };
            let stamp = stamp_us.map(|at| TimeSpec::from(wall + us(at)));
            // Asked at 1000, read at 1500.
            let moment = stamps.moment_by(wall + us(wall_us), stamp, begin + us(1000), begin + us(1500));
            assert_eq!(moment, expect_us.map(|at| begin + us(at)));
        }
        check(1500, Some(1300), Some(1300));
        check(1500, Some(1500), Some(1500));
        check(1500, None, None);
        // From the future, and from before it was asked for.
        check(1500, Some(1501), None);
        check(1500, Some(999), None);
        // A clock that is adjusted, and one that was set forward and back.
        check(1510, Some(1300), Some(1290));
        check(3_000_000, Some(2_999_900), None);
        check(10, Some(5), None);
    }

    #[test]
    fn after_a_step_the_next_one_is_believed_again() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        let wall = Duration::from_secs(1_800_000_000);
        let stamps = Stamps { last: Cell::new((begin, wall)) };
        let read =
            |wall: Duration, at: u64| stamps.moment_by(wall, Some(TimeSpec::from(wall - ms(1))), begin, begin + ms(at));
        assert_eq!(read(wall + ms(10), 10), Some(begin + ms(9)));
        assert_eq!(read(wall + ms(3_600_020), 20), None);
        assert_eq!(read(wall + ms(3_600_030), 30), Some(begin + ms(29)));
    }
}
