//! What a ledger's file says: where the writer of a type is, and who has been lent what.
//!
//! Every number is in one place: from `place` on it was never lent; below, it
//! is left (lent once, and came back), lent to a loan, or else it is done. So
//! a number that is nowhere is never sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::loan::Newest;
use super::lots::Lots;
use super::slots::{Present, SLOTS, Slots};
use crate::ranges::Ranges;

/// The version of the format.
pub const VERSION: u32 = 1;
/// The most ranges in a book: a loan has about as many as there are batches in flight.
pub const MAX_RANGES: usize = 100_000;
/// How far stamps run ahead of the present before it is told, in nanoseconds.
const AHEAD: u64 = 60_000_000_000;

/// All that is kept of a type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// The version of the format.
    version: u32,
    /// Which points these are.
    pub identity: String,
    /// Numbers from here on have never been lent.
    place: u64,
    /// What came back.
    left: Lots,
    /// What is out, by the loan.
    loans: BTreeMap<u64, Entry>,
    /// Which stamps were given.
    slots: Slots,
    /// The largest number that is done.
    pub newest: Option<Newest>,
    /// What was reset.
    resets: BTreeSet<String>,
    /// How many points there were when it was said that all are written.
    told: Option<u64>,
    /// Whether it was said that nobody is named who would reset the database.
    told_of_reset: bool,
}

/// What a loan has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Whose it is.
    holder: String,
    /// The points that it is for are no longer those of the book: it has nothing, and gets nothing.
    forgotten: bool,
    /// Where its own stamps are from.
    given: Vec<Given>,
    /// What isn't done.
    lots: Lots,
}

/// Stamps that a loan was given.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// Where they are from.
    slot: u32,
    /// The newest stamp in the slot without them.
    before: Option<i64>,
    /// The newest stamp in the slot with them.
    newest: Option<i64>,
}

/// What is to be lent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wants {
    /// The most points that the run can send.
    pub points: u64,
    /// How many points there are in all; `None`: no end.
    pub total: Option<u64>,
    /// How points are stamped with the present; `None`: their stamps follow from their numbers.
    pub present: Option<Present>,
}

/// What was lent.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Lent {
    /// What may have been sent before, with the stamps it had.
    pub again: Lots,
    /// What was not, or has no stamps but those of its numbers.
    pub fresh: Lots,
}

/// What a loan knows at its end of what it doesn't have done.
#[derive(Debug, Default)]
pub struct Rest {
    /// What was never handed out, and so has stamps that nobody has seen.
    pub unsent: Ranges,
    /// The newest of its own stamps that was handed out.
    pub newest: Option<i64>,
}

/// How a loan has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// Nothing was known of it any more.
    Unknown,
    /// What it hadn't done is left.
    Left,
    /// So it is, and with what it had done all points are done, which was not told yet.
    LastDone,
}

impl Book {
    /// The book of points of which none was lent.
    pub fn new(identity: &str) -> Self {
        Self {
            version: VERSION,
            identity: identity.to_owned(),
            place: 0,
            left: Lots::default(),
            loans: BTreeMap::new(),
            slots: Slots::default(),
            newest: None,
            resets: BTreeSet::new(),
            told: None,
            told_of_reset: false,
        }
    }

    /// What is wrong with a book that was read from a file, if anything is.
    pub fn fault(&self) -> Option<String> {
        let lots = || self.loans.values().map(|entry| &entry.lots).chain([&self.left]);
        let count: usize = lots().map(Lots::len).sum();
        if count > MAX_RANGES {
            return Some(format!("it has {count} ranges, more than {MAX_RANGES}"));
        }
        let mut all: Vec<_> = lots().flat_map(Lots::in_order).collect();
        all.sort_unstable_by_key(|(range, _)| range.start);
        if let Some(pair) = all.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
            return Some(format!("the number {} is in it twice", pair[1].0.start));
        }
        if let Some((range, _)) = all.last().filter(|(range, _)| range.end > self.place) {
            return Some(format!("the number {} is lent, and only those below {} were", range.end - 1, self.place));
        }
        let is_sound = |clock: &Clock, first| clock.is_sound() && clock.first <= first;
        if all.iter().any(|(range, clock)| clock.is_some_and(|clock| !is_sound(&clock, range.start)))
            || self.newest.is_some_and(|newest| newest.clock.is_some_and(|clock| !is_sound(&clock, newest.number)))
        {
            return Some(String::from("no time stamps can be had by one of its clocks"));
        }
        let mut given = self.loans.values().flat_map(|entry| &entry.given);
        given.any(|given| given.slot >= SLOTS).then(|| String::from("it has a slot that there is not"))
    }

    /// Other points are meant from now on: numbers begin at 0 again.
    pub fn change(&mut self, identity: &str) {
        identity.clone_into(&mut self.identity);
        self.begin_again();
        self.slots.level();
    }

    /// Who has a loan.
    pub fn holders(&self) -> impl Iterator<Item = &str> {
        self.loans.values().map(|entry| entry.holder.as_str())
    }

    /// The loans there are.
    pub fn loans(&self) -> Vec<u64> {
        self.loans.keys().copied().collect()
    }

    /// Whether there is this loan.
    pub fn has(&self, loan: u64) -> bool {
        self.loans.contains_key(&loan)
    }

    /// The holder of a loan has died: what it had is left, with the stamps it had, as nobody knows what it has sent.
    pub fn bury(&mut self, loan: u64) {
        if let Some(entry) = self.loans.remove(&loan) {
            if entry.lots.len() > 0 {
                log::info!("{} ended before its time: what it was lent is sent again", entry.holder);
            }
            self.left.merge(&entry.lots);
            self.fold();
        }
    }

    /// Makes a loan that has nothing yet.
    pub fn register(&mut self, loan: u64, holder: &str) {
        let entry = Entry { holder: holder.to_owned(), forgotten: false, given: Vec::new(), lots: Lots::default() };
        self.loans.insert(loan, entry);
    }

    /// Lends to a loan, first what is left; nothing to one that isn't there, or was forgotten.
    ///
    /// # Errors
    /// When there are no more time stamps.
    pub fn lend(&mut self, loan: u64, wants: &Wants) -> io::Result<Lent> {
        let taken: Vec<_> = self.loans.values().flat_map(|entry| &entry.given).map(|given| given.slot).collect();
        let Some(entry) = self.loans.get_mut(&loan).filter(|entry| !entry.forgotten) else {
            return Ok(Lent::default());
        };
        let end = wants.total.unwrap_or(u64::MAX);
        let left = self.left.take(wants.points, end);
        let (mut again, mut unstamped) = (Lots::default(), Ranges::default());
        let mut count = 0;
        for (clock, numbers) in left.by_clock() {
            count += numbers.count();
            match clock {
                Some(_) => again.add(clock, numbers),
                None => unstamped.merge(numbers),
            }
        }
        let place = self.place.saturating_add(wants.points - count).min(end).max(self.place);
        unstamped.insert(self.place..place);
        self.place = place;
        let mut fresh = Lots::default();
        match &wants.present {
            None => fresh.add(None, &unstamped),
            Some(_) if unstamped.is_empty() => {}
            Some(present) => {
                let slot = self.slots.choose(present, &taken);
                let before = self.slots.newest(slot);
                let clocks = self.slots.give(slot, present, &unstamped)?;
                let newest = self.slots.newest(slot);
                entry.given.push(Given { slot, before, newest });
                if let Some(ahead) = present.ahead(newest).filter(|ahead| *ahead > AHEAD) {
                    let seconds = ahead / 1_000_000_000;
                    log::info!("{}: at this precision stamps have to run ahead by {seconds} s", entry.holder);
                }
                unstamped.iter().zip(clocks).for_each(|(range, clock)| fresh.insert(Some(clock), range));
            }
        }
        entry.lots.merge(&again);
        entry.lots.merge(&fresh);
        Ok(Lent { again, fresh })
    }

    /// Numbers of a loan are done; false when nothing is known of it any more.
    pub fn acknowledge(&mut self, loan: u64, done: &Ranges) -> bool {
        let Some(entry) = self.loans.get_mut(&loan).filter(|entry| !entry.forgotten) else {
            return false;
        };
        for (clock, numbers) in entry.lots.by_clock() {
            if let Some(number) = numbers.common(done).last()
                && self.newest.is_none_or(|newest| newest.number < number)
            {
                self.newest = Some(Newest { number, clock });
            }
        }
        entry.lots.remove(done);
        true
    }

    /// A loan has ended: what isn't done is left. Of all points there are `total`; `None`: no end.
    pub fn settle(&mut self, loan: u64, rest: &Rest, total: Option<u64>) -> Settled {
        let Some(entry) = self.loans.remove(&loan).filter(|entry| !entry.forgotten) else { return Settled::Unknown };
        for (clock, numbers) in entry.lots.by_clock() {
            let unsent = numbers.common(&rest.unsent);
            let mut sent = numbers.clone();
            sent.remove_all(&unsent);
            self.left.add(None, &unsent);
            self.left.add(clock, &sent);
        }
        for Given { slot, before, newest } in entry.given.into_iter().rev() {
            self.slots.take_back(slot, newest, before.max(rest.newest));
        }
        self.fold();
        if total.is_some_and(|total| self.tell_done(total)) { Settled::LastDone } else { Settled::Left }
    }

    /// Whether the first `total` numbers are done, all of them.
    fn is_done(&self, total: u64) -> bool {
        let mut open = self.loans.values().map(|entry| &entry.lots).chain([&self.left]).filter_map(Lots::first);
        self.place >= total && !open.any(|first| first < total)
    }

    /// Whether all are done and that was not told yet; it is then.
    fn tell_done(&mut self, total: u64) -> bool {
        self.is_done(total) && self.told.replace(total) != Some(total)
    }

    /// Whether it was not told yet that nobody is named who would reset the database; it is then.
    pub fn tell_of_reset(&mut self) -> bool {
        !std::mem::replace(&mut self.told_of_reset, true)
    }

    /// Whether `what` was reset.
    pub fn is_reset(&self, what: &str) -> bool {
        self.resets.contains(what)
    }

    /// `what` was reset: none of the points is there any more.
    pub fn reset(&mut self, what: &str) {
        self.resets.insert(what.to_owned());
        self.begin_again();
    }

    fn begin_again(&mut self) {
        (self.place, self.left, self.newest, self.told) = (0, Lots::default(), None, None);
        for entry in self.loans.values_mut() {
            (entry.forgotten, entry.lots) = (true, Lots::default());
        }
    }

    /// What is left at the end of the numbering is given back to it, unless it has stamps to keep.
    fn fold(&mut self) {
        while let Some(start) = self.left.take_end(self.place) {
            self.place = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTS: Wants = Wants { points: 100, total: None, present: None };

    fn stamped(now: i64) -> Wants {
        Wants { present: Some(Present { now, until: now + 10_000, step: 1, series: 10, batch: 10 }), ..WANTS }
    }

    fn borrow(book: &mut Book, loan: u64, wants: &Wants) -> Lent {
        book.register(loan, "t");
        let lent = book.lend(loan, wants).unwrap();
        assert_eq!(book.fault(), None);
        lent
    }

    fn ranges(lots: &Lots) -> Vec<(u64, u64)> {
        lots.in_order().into_iter().map(|(range, _)| (range.start, range.end)).collect()
    }

    fn of(pairs: &[(u64, u64)]) -> Ranges {
        pairs.to_vec().into()
    }

    #[test]
    fn what_is_at_the_end_of_the_numbering_is_given_back_to_it() {
        let mut book = Book::new("i");
        borrow(&mut book, 1, &WANTS);
        borrow(&mut book, 2, &WANTS);
        book.acknowledge(1, &of(&[(0, 50)]));
        book.settle(1, &Rest::default(), None);
        assert_eq!((book.place, ranges(&book.left)), (200, vec![(50, 100)]));
        book.settle(2, &Rest::default(), None);
        assert_eq!((book.place, ranges(&book.left)), (50, vec![]));
    }

    #[test]
    fn what_was_sent_keeps_its_stamps_and_what_was_not_loses_them() {
        let mut book = Book::new("i");
        let lent = borrow(&mut book, 1, &stamped(1_000_000));
        let clock = lent.fresh.in_order()[0].1;
        book.acknowledge(1, &of(&[(0, 10)]));
        book.settle(1, &Rest { unsent: of(&[(30, 100)]), newest: clock.map(|clock| clock.stamp(29)) }, None);
        assert_eq!((book.place, book.left.in_order()), (30, vec![(10..30, clock)]));
        assert_eq!(book.slots.newest(0), clock.map(|clock| clock.stamp(29)));
        let again = borrow(&mut book, 2, &stamped(2_000_000));
        assert_eq!((again.again.in_order(), ranges(&again.fresh)), (vec![(10..30, clock)], vec![(30, 110)]));
    }

    #[test]
    fn what_a_dead_holder_had_is_lent_first_with_its_stamps() {
        let mut book = Book::new("i");
        let lent = borrow(&mut book, 1, &stamped(1_000_000));
        let clock = lent.fresh.in_order()[0].1;
        book.acknowledge(1, &of(&[(20, 40), (90, 100)]));
        book.bury(1);
        let again = borrow(&mut book, 2, &stamped(2_000_000));
        assert_eq!(again.again.in_order(), [(0..20, clock), (40..90, clock)]);
        assert_eq!(ranges(&again.fresh), [(100, 130)]);
    }

    #[test]
    fn no_number_from_the_total_on_is_lent() {
        let mut book = Book::new("i");
        let wants = Wants { total: Some(150), ..WANTS };
        assert_eq!(ranges(&borrow(&mut book, 1, &wants).fresh), [(0, 100)]);
        assert_eq!(ranges(&borrow(&mut book, 2, &wants).fresh), [(100, 150)]);
        assert_eq!(borrow(&mut book, 3, &wants), Lent::default());
        book.bury(1);
        let fewer = Wants { total: Some(30), ..WANTS };
        assert_eq!(ranges(&borrow(&mut book, 4, &fewer).fresh), [(0, 30)]);
        assert!(!book.is_done(30));
        book.acknowledge(4, &of(&[(0, 30)]));
        assert!(book.is_done(30) && !book.is_done(31) && !book.is_done(1000));
    }

    #[test]
    fn that_all_is_written_is_told_once() {
        let mut book = Book::new("i");
        borrow(&mut book, 1, &Wants { total: Some(100), ..WANTS });
        book.acknowledge(1, &of(&[(0, 99)]));
        assert!(!book.tell_done(100));
        book.acknowledge(1, &of(&[(99, 100)]));
        assert!(book.tell_done(100) && !book.tell_done(100) && !book.tell_done(200));
        borrow(&mut book, 2, &Wants { total: Some(200), ..WANTS });
        book.acknowledge(2, &of(&[(100, 200)]));
        assert!(book.tell_done(200) && !book.tell_done(200));
    }

    #[test]
    fn the_newest_is_the_largest_number_that_is_done() {
        let mut book = Book::new("i");
        let lent = borrow(&mut book, 1, &stamped(1_000_000));
        let clock = lent.fresh.in_order()[0].1;
        book.acknowledge(1, &of(&[(20, 40)]));
        book.acknowledge(1, &of(&[(0, 10)]));
        assert_eq!(book.newest, Some(Newest { number: 39, clock }));
    }

    #[test]
    fn a_loan_of_other_points_has_nothing_more() {
        let mut book = Book::new("i");
        borrow(&mut book, 1, &WANTS);
        book.change("j");
        assert_eq!(book.lend(1, &WANTS).unwrap(), Lent::default());
        assert_eq!(ranges(&borrow(&mut book, 2, &WANTS).fresh), [(0, 100)]);
        assert!(!book.acknowledge(1, &of(&[(0, 100)])));
        book.settle(1, &Rest::default(), None);
        assert_eq!(ranges(&book.loans[&2].lots), [(0, 100)]);
    }

    #[test]
    fn what_is_added_to_a_loan_is_of_the_present_too() {
        let mut book = Book::new("i");
        borrow(&mut book, 1, &stamped(1_000_000));
        let wants = Wants { points: 50, ..stamped(1_005_000) };
        let lent = book.lend(1, &wants).unwrap();
        let (numbers, clock) = lent.fresh.in_order().remove(0);
        let stamps = [numbers.start, numbers.end - 1].map(|number| clock.unwrap().stamp(number));
        assert!((1_004_984..=1_005_000).contains(&stamps[0]) && stamps[1] <= 1_015_000, "{stamps:?}");
        // Nothing of them was handed out.
        book.settle(1, &Rest { unsent: of(&[(0, 150)]), newest: None }, None);
        assert_eq!((book.place, book.slots), (0, Slots::default()));
    }

    #[test]
    fn loans_at_once_have_stamps_of_their_own_also_where_numbers_come_back() {
        let mut random = fastrand::Rng::with_seed(7);
        for unit in [1, 1_000_000, 1_000_000_000] {
            let (mut book, mut seen) = (Book::new("i"), BTreeMap::<(u64, i64), u64>::new());
            let mut live: Vec<(u64, Lent)> = Vec::new();
            for loan in 0..200_u64 {
                let now = 1_700_000_000_000_000_000 + (loan * 1_000_000_000).cast_signed();
                let until = now + 100_000_000;
                let wants = Wants { present: Some(Present { now, until, step: unit, series: 7, batch: 10 }), ..WANTS };
                let mut lent = borrow(&mut book, loan, &wants);
                if random.bool() {
                    let more = book.lend(loan, &wants).unwrap();
                    lent.again.merge(&more.again);
                    lent.fresh.merge(&more.fresh);
                }
                live.push((loan, lent));
                while live.len() > random.usize(0..5) {
                    let (loan, lent) = live.swap_remove(random.usize(0..live.len()));
                    let (mut unsent, mut done, mut newest) = (Ranges::default(), Ranges::default(), None);
                    let is_sent = random.u64(0..100);
                    let all = lent.again.in_order().into_iter().map(|of| (of, false));
                    let all = all.chain(lent.fresh.in_order().into_iter().map(|of| (of, true)));
                    for (at, ((number, clock), is_fresh)) in
                        all.flat_map(|((range, clock), fresh)| range.map(move |n| ((n, clock), fresh))).enumerate()
                    {
                        let stamp = clock.unwrap().stamp(number);
                        if at as u64 >= is_sent {
                            if is_fresh {
                                unsent.insert(number..number + 1);
                            }
                            continue;
                        }
                        newest = newest.max(is_fresh.then_some(stamp));
                        assert_eq!(*seen.entry((number % 7, stamp)).or_insert(number), number, "two points are one");
                        if random.u8(0..3) > 0 {
                            done.insert(number..number + 1);
                        }
                    }
                    book.acknowledge(loan, &done);
                    if random.bool() {
                        book.settle(loan, &Rest { unsent, newest }, None);
                    } else {
                        book.bury(loan);
                    }
                    assert_eq!(book.fault(), None);
                }
            }
        }
    }
}
