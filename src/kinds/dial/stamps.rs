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
    last: Cell<Reading>,
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Reading {
    now: Instant,
    wall: Duration,
    /// Whether the wall clock had gone as it went.
    steady: bool,
    /// The wake-up that it was made after, if it is good for all of it.
    round: Option<u64>,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { last: Cell::new(Reading { now: Instant::now(), wall: wall_clock(), steady: true, round: None }) }
    }
}

impl Stamps {
    /// When something came that is stamped so, was asked for not before `asked`, and is read now.
    pub fn moment(&self, stamp: Option<TimeSpec>, asked: Instant) -> Option<Instant> {
        self.read(Instant::now(), wall_clock(), None).moment(stamp?, asked)
    }

    /// The same for what is read right after a wake-up, of which the clocks are read once.
    pub fn moment_of_round(&self, stamp: Option<TimeSpec>, asked: Instant, round: u64) -> Option<Instant> {
        let last = self.last.get();
        let reading = match last.round == Some(round) {
            true => last,
            false => self.read(Instant::now(), wall_clock(), Some(round)),
        };
        reading.moment(stamp?, asked)
    }

    fn read(&self, now: Instant, wall: Duration, round: Option<u64>) -> Reading {
        let last = self.last.get();
        let went = now.checked_duration_since(last.now).zip(wall.checked_sub(last.wall));
        let steady = went.is_some_and(|(went, wall_went)| went.abs_diff(wall_went) <= STEP);
        let reading = Reading { now, wall, steady, round };
        self.last.set(reading);
        reading
    }
}

impl Reading {
    fn moment(&self, stamp: TimeSpec, asked: Instant) -> Option<Instant> {
        let stamp = Duration::from(stamp);
        // What is collected together may have come a moment after the clocks were read.
        let moment = match self.wall.checked_sub(stamp) {
            Some(age) => self.now.checked_sub(age)?,
            None => self.now + stamp.checked_sub(self.wall).filter(|after| *after < STEP && self.round.is_some())?,
        };
        (self.steady && moment >= asked).then_some(moment)
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

    fn stamps(now: Instant, wall: Duration) -> Stamps {
        Stamps { last: Cell::new(Reading { now, wall, steady: true, round: None }) }
    }

    #[test]
    fn a_stamp_is_believed_while_the_wall_clock_goes_as_it_went() {
        #[track_caller]
        fn check(wall_us: u64, stamp_us: Option<u64>, expect_us: Option<u64>) {
            let (begin, us) = (Instant::now(), Duration::from_micros);
            let wall = Duration::from_secs(1_800_000_000);
            let stamps = stamps(begin, wall);
            let stamp = stamp_us.map(|at| TimeSpec::from(wall + us(at)));
            // Asked at 1000, read at 1500.
            let reading = stamps.read(begin + us(1500), wall + us(wall_us), None);
            let moment = stamp.and_then(|stamp| reading.moment(stamp, begin + us(1000)));
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
        let stamps = stamps(begin, wall);
        let read = |wall: Duration, at: u64| {
            stamps.read(begin + ms(at), wall, None).moment(TimeSpec::from(wall - ms(1)), begin)
        };
        assert_eq!(read(wall + ms(10), 10), Some(begin + ms(9)));
        assert_eq!(read(wall + ms(3_600_020), 20), None);
        assert_eq!(read(wall + ms(3_600_030), 30), Some(begin + ms(29)));
    }

    #[test]
    fn what_comes_while_others_are_collected_is_believed_too() {
        let (begin, us) = (Instant::now(), Duration::from_micros);
        let wall = Duration::from_secs(1_800_000_000);
        let read = |round| stamps(begin, wall).read(begin + us(500), wall + us(500), round);
        let stamp = TimeSpec::from(wall + us(520));
        assert_eq!(read(Some(1)).moment(stamp, begin), Some(begin + us(520)));
        assert_eq!(read(None).moment(stamp, begin), None);
    }
}
