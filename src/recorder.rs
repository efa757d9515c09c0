//! Listens to one test's gossip and keeps its tally of the interval.

use std::time::Instant;

use crate::asked::Asked;
use crate::gossip::Gossip;
use crate::pacer::Pacer;
use crate::summary::Tally;

/// The open interval of one test on one thread.
#[derive(Debug, Default)]
pub struct Recorder {
    tally: Tally,
    asked: Asked,
    /// What was asked for in the intervals before.
    asked_before: u64,
    /// While as many hits are in flight as may be: when the next one is due, which will have to wait.
    full_until: Option<Instant>,
    /// Whether a due hit had to wait for the target in this interval.
    waited: bool,
    /// The number that the next hit has, as far as is known.
    next: u64,
    /// Hits with smaller numbers are done without checking whom they are done to.
    insecure_below: u64,
    /// Whether those of the plan to come are.
    is_insecure: bool,
}

impl Recorder {
    /// Counts one event.
    pub fn hear(&mut self, gossip: &Gossip) {
        match gossip {
            Gossip::BeforeTarget(due) => {
                self.tally.sent += 1;
                self.next = due.number + 1;
            }
            Gossip::AfterTarget { number, ended } => {
                self.tally.insecure |= *number < self.insecure_below;
                self.look_who_waited(ended.end);
                self.asked.pass(ended.end);
                self.tally.record(ended);
            }
            Gossip::Canceled(_) => {
                self.waited = true;
                self.tally.canceled += 1;
            }
        }
    }

    /// From `now` on the test is asked for what `pacer` has just planned.
    pub fn plan(&mut self, pacer: &Pacer, now: Instant) {
        self.look_who_waited(now);
        self.asked.go_on(pacer, now);
        if !self.is_insecure {
            self.insecure_below = self.insecure_below.min(self.next);
        }
    }

    /// Whether hits are insecure from now on, or, once they were, no longer from the next [plan](Self::plan) on: those
    /// in flight end as they began. The interval, and every other in which an insecure hit ends, is marked.
    pub fn insecure(&mut self, is_insecure: bool) {
        self.is_insecure = is_insecure;
        if is_insecure {
            self.insecure_below = u64::MAX;
            self.tally.insecure = true;
        }
    }

    /// From `now` on the test is asked for nothing.
    pub fn rest(&mut self, now: Instant) {
        self.look_who_waited(now);
        self.asked.rest(now);
    }

    /// Until the next hit ends there is no place for the one that is due at `due`.
    pub fn is_full(&mut self, due: Option<Instant>) {
        self.full_until = due;
    }

    /// Counts hits the minute had no time left for.
    pub fn missed(&mut self, hits: u64) {
        self.tally.missed += hits;
    }

    /// Counts hits that were kept from starting, or dropped in flight.
    pub fn stopped(&mut self, hits: u64) {
        self.tally.stopped += hits;
    }

    /// Counts a due hit that found nothing to do.
    pub fn nothing_to_do(&mut self) {
        // Not the generator's doing.
        self.waited = true;
        self.tally.stopped += 1;
    }

    /// Whether nothing was counted since the interval began.
    pub fn is_empty(&self) -> bool {
        self.tally.planned() == 0 && self.tally.sent == 0
    }

    /// Ends the interval at `now` and begins the next.
    pub fn close(&mut self, now: Instant) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        self.tally.insecure = self.insecure_below == u64::MAX;
        let asked = self.asked.up_to(now).max(self.asked_before);
        tally.asked = asked - std::mem::replace(&mut self.asked_before, asked);
        let waited = std::mem::take(&mut self.waited) || self.full_until.is_some_and(|due| due <= now);
        let short = tally.asked.saturating_sub(tally.sent);
        if !waited && short > self.asked.slack(tally.asked) {
            tally.unsent = short;
        }
        tally
    }

    /// There is a place again at `now`, or another plan: whoever was due before it has waited.
    fn look_who_waited(&mut self, now: Instant) {
        self.waited |= self.full_until.take().is_some_and(|due| due <= now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gossip::Ended;
    use crate::pacer::{Arrivals, Due, Pace};
    use crate::target::Outcome;

    /// A recorder of 6,000 hits a minute, and its minute's beginning.
    fn recorder() -> (Recorder, Instant) {
        let begin = Instant::now();
        let pace = Pace { frequency: 6000, phase: 0, arrivals: Arrivals::Even, max_catch_up: 10 };
        let mut recorder = Recorder::default();
        recorder.plan(&Pacer::new(pace, begin, begin + Duration::from_secs(60), 1), begin);
        (recorder, begin)
    }

    fn due(number: u64, at: Instant) -> Due {
        Due { number, at, blocked: Duration::ZERO, late: Duration::ZERO }
    }

    fn send(recorder: &mut Recorder, hits: u64, at: Instant) {
        for number in 0..hits {
            recorder.hear(&Gossip::BeforeTarget(due(number, at)));
            let (blocked, late) = Default::default();
            let ended = Ended { due: at, start: at, end: at, blocked, late, outcome: Outcome::default() };
            recorder.hear(&Gossip::AfterTarget { number, ended });
        }
    }

    #[test]
    fn what_was_not_sent_is_the_generators_fault_unless_something_waited() {
        #[track_caller]
        fn check(sent: u64, meanwhile: impl FnOnce(&mut Recorder, Instant), expect: (u64, bool)) {
            let (mut recorder, begin) = recorder();
            send(&mut recorder, sent, begin);
            meanwhile(&mut recorder, begin);
            let tally = recorder.close(begin + Duration::from_millis(9_999));
            assert_eq!((tally.asked, tally.sent), (1000, sent));
            assert_eq!((tally.unsent, tally.generator_limited()), expect, "{sent} sent");
        }
        let waits = |recorder: &mut Recorder, begin| recorder.is_full(Some(begin + Duration::from_secs(5)));
        check(1000, |_, _| {}, (0, false));
        check(999, |_, _| {}, (0, false));
        check(995, |_, _| {}, (5, false));
        check(989, |_, _| {}, (11, true));
        check(0, |_, _| {}, (1000, true));
        check(500, waits, (0, false));
        check(500, |recorder, begin| recorder.hear(&Gossip::Canceled(due(500, begin))), (0, false));
        // As many in flight as may be, but nobody waits.
        check(500, |recorder, begin| recorder.is_full(Some(begin + Duration::from_secs(10))), (500, true));
        check(500, |recorder, _| recorder.is_full(None), (500, true));
    }

    #[test]
    fn who_waited_in_one_interval_may_not_in_the_next() {
        let (mut recorder, begin) = recorder();
        let second = |second| begin + Duration::from_secs(second);
        recorder.is_full(Some(second(1)));
        assert!(!recorder.close(second(10)).generator_limited());
        assert!(!recorder.close(second(20)).generator_limited());
        send(&mut recorder, 1, second(21));
        assert!(!recorder.close(second(30)).generator_limited());
        assert!(recorder.close(second(40)).generator_limited());
    }

    #[test]
    fn who_waited_when_the_test_was_removed_has_waited() {
        let (mut recorder, begin) = recorder();
        recorder.is_full(Some(begin + Duration::from_secs(1)));
        recorder.rest(begin + Duration::from_secs(5));
        recorder.is_full(None);
        let tally = recorder.close(begin + Duration::from_secs(10));
        assert_eq!((tally.asked, tally.sent, tally.unsent), (501, 0, 0));
    }

    #[test]
    fn intervals_are_marked_while_their_type_is_insecure_and_until_the_last_insecure_hit_has_ended() {
        let (mut recorder, begin) = recorder();
        let second = |second| begin + Duration::from_secs(second);
        let pace = Pace { frequency: 6000, phase: 0, arrivals: Arrivals::Even, max_catch_up: 10 };
        let pacer = Pacer::new(pace, begin, begin + Duration::from_secs(60), 1);
        let start = |recorder: &mut Recorder, number| recorder.hear(&Gossip::BeforeTarget(due(number, begin)));
        let end = |recorder: &mut Recorder, number| {
            let ended = Ended::new(due(number, begin), begin, begin, Outcome::default());
            recorder.hear(&Gossip::AfterTarget { number, ended });
        };
        start(&mut recorder, 0);
        recorder.plan(&pacer, second(1));
        end(&mut recorder, 0);
        assert!(!recorder.close(second(10)).insecure, "it never was");
        recorder.insecure(true);
        recorder.plan(&pacer, second(11));
        start(&mut recorder, 1);
        assert!(recorder.close(second(20)).insecure, "it became so in this interval");
        assert!(recorder.close(second(30)).insecure, "also where no hit ended");
        recorder.insecure(false);
        start(&mut recorder, 2);
        recorder.plan(&pacer, second(31));
        start(&mut recorder, 3);
        assert!(recorder.close(second(40)).insecure, "it was so until the change");
        end(&mut recorder, 3);
        assert!(!recorder.close(second(41)).insecure, "only a secure hit ended");
        end(&mut recorder, 2);
        assert!(recorder.close(second(42)).insecure, "one was still on its way as it began");
        recorder.plan(&pacer, second(42));
        end(&mut recorder, 1);
        assert!(recorder.close(second(43)).insecure, "and another, whatever was planned since");
        assert!(!recorder.close(second(50)).insecure);
        recorder.insecure(true);
        recorder.insecure(false);
        recorder.plan(&pacer, second(51));
        assert!(recorder.close(second(60)).insecure, "it was so for a moment");
    }

    #[test]
    fn intervals_add_up_to_what_was_asked_for() {
        let (mut recorder, begin) = recorder();
        let mut minute = Tally::default();
        for second in [0, 7, 30, 30, 59, 61] {
            minute.merge(&recorder.close(begin + Duration::from_secs(second)));
        }
        assert_eq!((minute.asked, minute.unsent), (6000, 5999));
        recorder.rest(begin + Duration::from_secs(61));
        assert_eq!(recorder.close(begin + Duration::from_secs(70)).asked, 0);
    }
}
