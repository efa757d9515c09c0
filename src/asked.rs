//! How many hits a test was asked for up to a moment.
//!
//! That is by its plan as it was made: catch-up moves hits, what was asked for
//! it doesn't change. A minute of 600, planned at its second 0, asks for 100
//! in each interval of 10 s, whatever becomes of them. Of a plan that is
//! replaced only what was due by then counts, and a test at rest is asked for
//! nothing.

use std::time::Instant;

use crate::pacer::{Pacer, Stretch};

/// Counts what the plans of one test ask for, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What former plans asked for.
    before: u64,
    plan: Option<Stretch>,
    /// The most that the plan adds: what had been asked for and was not sent is in it once more.
    most: u64,
    /// Whether any plan was at random.
    random: bool,
}

impl Asked {
    /// From `now` on the plan is what `pacer` has just made.
    pub fn go_on(&mut self, pacer: &Pacer, now: Instant) {
        self.rest(now);
        let plan = pacer.plan();
        self.most = plan.count.saturating_sub(self.before.saturating_sub(pacer.taken()));
        self.random |= plan.is_random();
        self.plan = Some(plan.clone());
    }

    /// From `now` on nothing is asked for.
    pub fn rest(&mut self, now: Instant) {
        self.before = self.up_to(now);
        self.plan = None;
    }

    /// All that was asked for up to `now`, which never goes backwards.
    pub fn up_to(&mut self, now: Instant) -> u64 {
        self.before + self.plan.as_mut().map_or(0, |plan| plan.due_until(now)).min(self.most)
    }

    /// How many fewer than `asked` hits an interval may have without anybody's fault. One may be on its way just now;
    /// and hits at random, once moved, lie elsewhere at random: four standard deviations of the difference of two
    /// such counts.
    pub fn slack(&self, asked: u64) -> u64 {
        if self.random { 1 + (4.0 * (2.0 * asked as f64).sqrt()) as u64 } else { 1 }
    }

    /// Hits at random are counted one by one: a few now and then, instead of an interval's all at once.
    pub fn pass(&mut self, now: Instant) {
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.is_random()) {
            plan.due_until(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pacer::{Arrivals, Pace};

    fn pace(frequency: u64) -> Pace {
        Pace { frequency, phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 10 }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_plan_asks_evenly_whatever_catch_up_moves() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(pace(600), begin, begin + ms(60_000), 1);
        let mut asked = Asked::default();
        asked.go_on(&pacer, begin);
        assert_eq!(asked.up_to(begin), 0);
        pacer.unblock(begin + ms(5_000));
        for (second, expect) in [(5, 50), (10, 100), (35, 350), (60, 600), (90, 600)] {
            assert_eq!(asked.up_to(begin + ms(second * 1000)), expect, "second {second}");
        }
    }

    #[test]
    fn what_does_not_fit_when_planned_is_not_asked_for() {
        let begin = Instant::now();
        let pacer = Pacer::new(pace(6000), begin, begin + ms(4_900), 1);
        let mut asked = Asked::default();
        asked.go_on(&pacer, begin);
        assert_eq!(asked.up_to(begin + ms(5_000)), 4900);
    }

    #[test]
    fn random_hits_are_asked_for_when_they_are_due() {
        let begin = Instant::now();
        let random = Pace { arrivals: Arrivals::Poisson, ..pace(600) };
        let mut pacer = Pacer::new(random, begin, begin + ms(60_000), 7);
        let mut asked = Asked::default();
        asked.go_on(&pacer, begin);
        let mut taken = 0;
        for second in 1..=60 {
            let now = begin + ms(second * 1000);
            while pacer.next_due().is_some_and(|due| due <= now) {
                pacer.take();
                taken += 1;
            }
            if second % 2 == 0 {
                asked.pass(now);
            }
            assert_eq!(asked.up_to(now), taken);
        }
        assert_eq!(taken, 600);
    }

    #[test]
    fn plans_follow_each_other_and_ask_for_no_hit_twice() {
        let begin = Instant::now();
        let at = |second: u64| begin + ms(second * 1000);
        let mut pacer = Pacer::new(pace(600), begin, at(60), 1);
        let mut asked = Asked::default();
        asked.go_on(&pacer, begin);
        for _ in 0..80 {
            pacer.take();
        }
        // Twenty hits behind, it is to do 1,000 altogether.
        pacer.change(pace(1000), at(10));
        asked.go_on(&pacer, at(10));
        assert_eq!((asked.up_to(at(10)), asked.up_to(at(60))), (100, 1000));
        pacer.rest(at(35));
        asked.rest(at(35));
        let at_rest = asked.up_to(at(35));
        assert!((550..=570).contains(&at_rest), "{at_rest}");
        assert_eq!(asked.up_to(at(50)), at_rest);
        // What was asked for stays, should less be wanted.
        pacer.change(pace(500), at(50));
        asked.go_on(&pacer, at(50));
        assert_eq!(asked.up_to(at(60)), at_rest);
    }
}
