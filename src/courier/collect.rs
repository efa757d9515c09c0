//! Brings a collector the requests that wait for it, in arrays of a bounded size.
//!
//! What is taken, or will never be, is settled in the spool array by array, so
//! that a round that is broken off goes on where it was. Where one request
//! spoils an array, halves of it are tried, until it is alone.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::time::Instant;

use chrono::Utc;

use super::{End, Round};
use crate::destinations::{Declined, Occasion};
use crate::label::Label;
use crate::spool::Outputs;
use crate::trust;

/// The most requests in an array: that many are some 250 KB.
const ARRAY: usize = 1000;
/// The most bytes of requests in an array: with what is around them, what nginx takes unless told otherwise (1 MiB). A
/// go-lo collector takes 4 MB.
const ARRAY_BYTES: usize = 1_000_000;
/// How many requests in a row are set aside each for itself. With those that are refused after them go as many more as
/// already have since: a collector that takes nothing at all would be asked for each request else.
const ALONE: usize = 256;
/// The most bytes of requests that are carried in memory as they could not be spooled; of more, the oldest go.
const CARRIED: usize = 64 << 20;

/// How large arrays are, for now.
#[derive(Debug)]
pub(super) struct Size {
    /// The next one has at most as many requests.
    next: usize,
    /// No further one has more: the collector finds them too large.
    most: usize,
    /// So many requests were set aside since one was last taken.
    refused: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { next: ARRAY, most: ARRAY, refused: 0 }
    }
}

impl Size {
    /// How many requests the next array has, where it is known that one of the first `suspects` is refused.
    fn count(&self, suspects: usize) -> usize {
        match suspects {
            _ if self.refused >= ALONE => 1,
            0 => self.next,
            _ => (suspects / 2).clamp(1, self.most),
        }
    }

    /// Remembers that one request was refused, alone; with how many it is set aside, itself among them.
    fn refuse(&mut self) -> usize {
        let count = (self.refused + 1).saturating_sub(ALONE).clamp(1, ARRAY);
        self.refused += count;
        count
    }
}

impl Round {
    /// Carries requests that could not be spooled.
    pub(super) fn carry_outputs(&mut self, label: Label, lines: Vec<u8>) {
        self.carried_outputs.insert(label, Outputs::in_memory(lines));
        while self.carried_outputs.len() > 1
            && self.carried_outputs.values().map(Outputs::held).sum::<usize>() > CARRIED
        {
            if let Some((label, _)) = self.carried_outputs.pop_first() {
                log::warn!(
                    "destination {}: requests of {label} are dropped, there is no room for them",
                    self.post.name
                );
            }
        }
    }

    /// Delivers all requests that wait, the oldest interval first.
    pub(super) fn collect_all(&mut self, is_locked: bool, until: Instant) -> End {
        // What can't be read at the moment holds up nothing but itself.
        let (mut unread, mut trouble) = (BTreeSet::new(), None);
        loop {
            let mut labels = self.collectable(is_locked);
            labels.retain(|label| !unread.contains(label));
            if labels.is_empty() {
                return trouble.map_or(End::Done, |trouble| self.halt(trouble));
            }
            for label in labels {
                match self.collect(&label, until) {
                    Ok(End::Done) => {}
                    Ok(End::Halt) => return End::Halt,
                    Err(error) => {
                        if let Err(stays) = self.give_up(&label, &error) {
                            trouble = Some(stays);
                            unread.insert(label);
                        }
                    }
                }
            }
        }
    }

    /// The intervals whose requests can be sent; without the lock only those that nobody else has.
    pub(super) fn collectable(&self, is_locked: bool) -> Vec<Label> {
        let mut labels = if is_locked { self.spool.outputs_waiting(&self.post.name) } else { Vec::new() };
        labels.extend(self.carried_outputs.keys().cloned());
        labels.sort();
        labels.dedup();
        labels
    }

    /// Delivers the requests of an interval; what of them is not settled in the end is kept.
    ///
    /// # Errors
    /// They can't be read.
    fn collect(&mut self, label: &Label, until: Instant) -> io::Result<End> {
        let carried = self.carried_outputs.remove(label);
        let is_carried = carried.is_some();
        let mut outputs = match carried.map_or_else(|| self.spool.outputs(&self.post.name, label), Ok) {
            Ok(outputs) => outputs,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(End::Done),
            Err(error) => return Err(error),
        };
        Ok(match self.send(label, &mut outputs, until)? {
            End::Done if is_carried => End::Done,
            End::Done => match self.spool.outputs_taken(&self.post.name, label) {
                Ok(()) => End::Done,
                Err(error) => self.halt(format!("requests of {label} were sent but cannot be removed ({error})")),
            },
            End::Halt => {
                if is_carried {
                    self.carried_outputs.insert(label.clone(), outputs);
                }
                End::Halt
            }
        })
    }

    /// Sends what is not settled, and says what was set aside of it.
    fn send(&mut self, label: &Label, outputs: &mut Outputs, until: Instant) -> io::Result<End> {
        let mut refused = Refused::default();
        let sent = loop {
            let bytes = match outputs.next(ARRAY_BYTES) {
                Ok(bytes) if bytes.is_empty() => break Ok(End::Done),
                Ok(bytes) => bytes,
                Err(error) => break Err(error),
            };
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            if let End::Halt = self.send_lines(label, outputs, &lines, until, &mut refused) {
                break Ok(End::Halt);
            }
        };
        refused.tell(&self.post.name, label);
        sent
    }

    /// Sends array after array of the next lines, until they are settled.
    fn send_lines(
        &mut self,
        label: &Label,
        outputs: &mut Outputs,
        mut lines: &[&[u8]],
        until: Instant,
        refused: &mut Refused,
    ) -> End {
        // One of the first so many spoils an array.
        let mut suspects = 0;
        while !lines.is_empty() {
            let occasion = Occasion { now: Utc::now(), until };
            if occasion.is_over() {
                self.trouble.get_or_insert_with(|| String::from("time to send was over"));
                return End::Halt;
            }
            let count = self.size.count(suspects).min(lines.len());
            let array: Vec<&[u8]> = lines[..count].iter().map(|line| line.trim_ascii_end()).collect();
            let settled = match self.post.destination.collect(&array, occasion) {
                Ok(()) => {
                    self.trouble = None;
                    self.size.refused = 0;
                    if suspects == 0 {
                        self.size.next = (self.size.next * 2).min(self.size.most);
                    }
                    suspects = suspects.saturating_sub(count);
                    count
                }
                Err(Declined::Retry(error)) => return self.halt(format!("{error:#}")),
                Err(Declined::TooMuch(_)) if count > 1 => {
                    self.size.most = count / 2;
                    self.size.next = self.size.most;
                    continue;
                }
                Err(Declined::Faulty(_)) if count > 1 => {
                    if suspects == 0 {
                        self.size.next = count / 2;
                    }
                    suspects = count;
                    continue;
                }
                Err(error) => {
                    let aside = if let Declined::Final(_) = error { count } else { self.size.refuse() };
                    let aside = aside.min(lines.len());
                    let (bytes, reason) = (lines[..aside].concat(), error.to_string());
                    if let Err(error) = self.spool.reject_outputs(&self.post.name, label, &bytes, &reason) {
                        return self.halt(format!("requests of {label} cannot be set aside ({error})"));
                    }
                    refused.add(aside, reason);
                    suspects = 0;
                    aside
                }
            };
            let (done, rest) = lines.split_at(settled);
            lines = rest;
            if let Err(error) = outputs.settle(done.iter().map(|line| line.len()).sum()) {
                // Sent again and again otherwise.
                return self.halt(format!("requests of {label} were sent, which cannot be written down ({error})"));
            }
        }
        End::Done
    }

    /// Sets the requests of an interval aside that can't be read, and never will be.
    ///
    /// # Errors
    /// They stay where they are; why.
    fn give_up(&mut self, label: &Label, error: &io::Error) -> Result<(), String> {
        if trust::is_passing(error) {
            return Err(format!("requests of {label} cannot be read at the moment ({error})"));
        }
        log::warn!("destination {}: requests of {label} are set aside: {error}", self.post.name);
        let aside = self.spool.set_outputs_aside(&self.post.name, label, &error.to_string());
        aside.map_err(|error| format!("requests of {label} cannot be set aside ({error})"))
    }
}

/// What a collector will never take of an interval.
#[derive(Default)]
struct Refused {
    count: usize,
    /// Why, of the first.
    reason: String,
}

impl Refused {
    fn add(&mut self, count: usize, reason: String) {
        if self.count == 0 {
            self.reason = reason;
        }
        self.count += count;
    }

    fn tell(&self, collector: &str, label: &Label) {
        let Self { count, reason } = self;
        if *count > 0 {
            log::warn!("destination {collector}: {count} requests of {label} are set aside: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use nix::errno::Errno;

    use super::*;
    use crate::destinations::{Destination, Post, Refusal, Takes};
    use crate::places::Places;
    use crate::spool::Spool;
    use crate::summary::Summary;

    /// What the numbers of an array's requests come to.
    type Answer = Box<dyn FnMut(&[u32]) -> Result<(), Declined> + Send>;

    /// Takes what it is told to; remembers what it was given, and what it took.
    struct Fake {
        answer: Answer,
        seen: Arc<Mutex<Seen>>,
    }

    #[derive(Default)]
    struct Seen {
        arrays: Vec<usize>,
        taken: Vec<u32>,
    }

    impl Destination for Fake {
        fn takes(&self) -> Takes {
            Takes::Outputs
        }

        fn deliver(&mut self, _: &[Summary], _: Occasion) -> Result<(), Refusal> {
            panic!("a collector gets no summaries")
        }

        fn collect(&mut self, outputs: &[&[u8]], _: Occasion) -> Result<(), Declined> {
            let numbers: Vec<u32> =
                outputs.iter().map(|output| std::str::from_utf8(output).unwrap().parse().unwrap()).collect();
            let mut seen = self.seen.lock().unwrap();
            seen.arrays.push(numbers.len());
            (self.answer)(&numbers)?;
            seen.taken.extend(numbers);
            Ok(())
        }
    }

    struct Setting {
        round: Round,
        seen: Arc<Mutex<Seen>>,
        label: Label,
        state: tempfile::TempDir,
    }

    /// A courier to `fake`, whose spool holds an interval with the requests 0 to `count`.
    fn setting(count: u32, answer: impl FnMut(&[u32]) -> Result<(), Declined> + Send + 'static) -> Setting {
        let state = tempfile::tempdir().unwrap();
        let places = Places { etc: state.path().into(), state: state.path().into(), lock: state.path().into() };
        let (spool, seen, label) =
            (Spool::new(state.path()), Arc::<Mutex<Seen>>::default(), Label::parse("M.1.00-10").unwrap());
        spool.store_outputs("fake", &label, &lines(0..count)).unwrap();
        let destination = Box::new(Fake { answer: Box::new(answer), seen: Arc::clone(&seen) });
        let post = Post { name: "fake".into(), every: None, text: String::new(), destination };
        let round = Round {
            post,
            spool,
            places,
            run: "M.9".into(),
            carried: BTreeMap::new(),
            carried_outputs: BTreeMap::new(),
            size: Size::default(),
            trouble: None,
        };
        Setting { round, seen, label, state }
    }

    fn lines(numbers: std::ops::Range<u32>) -> Vec<u8> {
        numbers.flat_map(|number| format!("{number}\n").into_bytes()).collect()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn no(declined: fn(anyhow::Error) -> Declined) -> Result<(), Declined> {
        Err(declined(anyhow::anyhow!("no")))
    }

    /// The requests that were set aside.
    fn rejected(setting: &Setting) -> Vec<u32> {
        let path = setting.state.path().join(format!("spool/fake/rejected/{}.outputs", setting.label));
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn all_of_an_interval_goes_in_arrays_of_a_thousand() {
        let mut setting = setting(2500, |_| Ok(()));
        setting.round.deliver(soon());
        let seen = setting.seen.lock().unwrap();
        assert_eq!((seen.arrays.as_slice(), &seen.taken), ([1000, 1000, 500].as_slice(), &(0..2500).collect()));
        assert_eq!(setting.round.spool.outputs_waiting("fake"), []);
        assert_eq!(setting.round.trouble, None);
    }

    #[test]
    fn an_array_has_no_more_bytes_than_servers_take() {
        let long = "7".repeat(400_000);
        let mut setting = setting(0, |_| Ok(()));
        struct Long(Arc<Mutex<Vec<usize>>>);
        impl Destination for Long {
            fn takes(&self) -> Takes {
                Takes::Outputs
            }
            fn deliver(&mut self, _: &[Summary], _: Occasion) -> Result<(), Refusal> {
                Ok(())
            }
            fn collect(&mut self, outputs: &[&[u8]], _: Occasion) -> Result<(), Declined> {
                self.0.lock().unwrap().push(outputs.len());
                Ok(())
            }
        }
        let arrays = Arc::default();
        setting.round.post.destination = Box::new(Long(Arc::clone(&arrays)));
        let text = format!("{long}\n").repeat(5);
        setting.round.spool.store_outputs("fake", &setting.label, text.as_bytes()).unwrap();
        setting.round.deliver(soon());
        assert_eq!(*arrays.lock().unwrap(), [2, 2, 1]);
    }

    #[test]
    fn a_round_that_was_broken_off_goes_on_where_it_was() {
        let mut down = true;
        let mut setting = setting(2500, move |numbers| match numbers[0] {
            1000 if std::mem::take(&mut down) => no(Declined::Retry),
            _ => Ok(()),
        });
        setting.round.deliver(soon());
        assert_eq!(setting.seen.lock().unwrap().arrays, [1000, 1000]);
        assert_eq!(setting.round.trouble.as_deref(), Some("no"));
        assert_eq!(setting.round.spool.outputs_waiting("fake").len(), 1);
        // As the next run would find it.
        setting.round.deliver(soon());
        assert_eq!(setting.seen.lock().unwrap().taken, (0..2500).collect::<Vec<_>>());
        assert_eq!((setting.round.trouble, setting.round.spool.outputs_waiting("fake")), (None, vec![]));
    }

    /// A number that looks as if it had nothing to do with this one.
    fn scattered(number: u32) -> u32 {
        let mixed = (0..2).fold(number, |number, _| (number ^ number >> 16).wrapping_mul(0x045d_9f3b));
        mixed ^ mixed >> 16
    }

    #[test]
    fn what_spoils_an_array_is_set_aside_alone() {
        /// Of `count` requests those that `is_bad` finds are refused, and whatever is with them; in how many arrays.
        #[track_caller]
        fn check(count: u32, is_bad: fn(u32) -> bool, most: usize) {
            let any_bad = move |numbers: &[u32]| numbers.iter().any(|number| is_bad(*number));
            let mut setting =
                setting(count, move |numbers| if any_bad(numbers) { no(Declined::Faulty) } else { Ok(()) });
            setting.round.deliver(Instant::now() + Duration::from_secs(60));
            assert_eq!(rejected(&setting), (0..count).filter(|number| is_bad(*number)).collect::<Vec<_>>());
            let seen = setting.seen.lock().unwrap();
            assert_eq!(seen.taken, (0..count).filter(|number| !is_bad(*number)).collect::<Vec<_>>());
            assert!(seen.arrays.len() <= most, "{} arrays", seen.arrays.len());
            assert_eq!(setting.round.spool.outputs_waiting("fake"), []);
        }
        check(2000, |number| [0, 700, 701, 1999].contains(&number), 50);
        // As of a program whose requests all failed for a while.
        check(5000, |number| (100..160).contains(&number), 125);
        check(20_000, |number| (300..500).contains(&number), 280);
        check(20_000, |number| (300..500).contains(&number) || number % 500 == 499, 720);
        // Some 5 %, as if at random.
        check(20_000, |number| scattered(number) < u32::MAX / 20, 7000);
    }

    #[test]
    fn a_collector_that_takes_nothing_is_not_asked_for_each_request() {
        let mut setting = setting(20_000, |_| no(Declined::Faulty));
        let second = Label::parse("M.1.10-20").unwrap();
        setting.round.spool.store_outputs("fake", &second, &lines(0..20_000)).unwrap();
        setting.round.deliver(soon());
        assert_eq!(rejected(&setting), (0..20_000).collect::<Vec<_>>());
        assert_eq!(setting.round.spool.outputs_waiting("fake"), []);
        let asked = setting.seen.lock().unwrap().arrays.len();
        assert!(asked <= ALONE + 100, "{asked}");
    }

    #[test]
    fn what_is_given_up_unasked_is_no_more_than_was_refused_and_it_ends_with_what_is_taken() {
        let (bad, good) = (300..900, 2000);
        let is_bad = bad.clone();
        let mut setting = setting(20_000, move |numbers| match numbers.iter().any(|number| is_bad.contains(number)) {
            true => no(Declined::Faulty),
            false => Ok(()),
        });
        setting.round.deliver(soon());
        let rejected = rejected(&setting);
        assert!(bad.clone().all(|number| rejected.contains(&number)));
        assert!(rejected.len() < 2 * bad.len() && rejected.iter().all(|number| *number < good), "{}", rejected.len());
        let seen = setting.seen.lock().unwrap();
        assert_eq!(seen.taken.len() + rejected.len(), 20_000);
        assert!(seen.arrays.len() < ALONE + 100, "{}", seen.arrays.len());
    }

    #[test]
    fn what_is_too_much_at_once_comes_in_less_from_then_on() {
        let mut setting = setting(2000, |numbers| if numbers.len() > 300 { no(Declined::TooMuch) } else { Ok(()) });
        setting.round.deliver(soon());
        let seen = setting.seen.lock().unwrap();
        assert_eq!(seen.taken, (0..2000).collect::<Vec<_>>());
        assert_eq!(seen.arrays, [vec![1000, 500], vec![250; 8]].concat());
        drop(seen);
        assert_eq!(rejected(&setting), Vec::<u32>::new());
    }

    #[test]
    fn what_is_refused_for_good_is_set_aside_with_the_reason() {
        let mut setting = setting(1500, |_| no(Declined::Final));
        setting.round.deliver(soon());
        assert_eq!(setting.seen.lock().unwrap().arrays, [1000, 500]);
        assert_eq!(rejected(&setting), (0..1500).collect::<Vec<_>>());
        let reason = setting.state.path().join(format!("spool/fake/rejected/{}.outputs.reason", setting.label));
        assert_eq!(fs::read_to_string(reason).unwrap(), "no\n");
        assert_eq!(setting.round.spool.outputs_waiting("fake"), []);
    }

    #[test]
    fn what_cannot_be_read_at_the_moment_waits_and_what_never_will_be_is_set_aside() {
        #[track_caller]
        fn check(error: &io::Error, waits: bool) {
            let mut setting = setting(10, |_| Ok(()));
            assert_eq!(setting.round.give_up(&setting.label, error).is_err(), waits, "{error}");
            assert_eq!(setting.round.spool.outputs_waiting("fake").len(), usize::from(waits), "{error}");
        }
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EIO] {
            check(&errno.into(), true);
        }
        check(&ErrorKind::InvalidData.into(), false);
        check(&Errno::ELOOP.into(), false);
    }

    #[test]
    fn another_run_that_delivers_is_left_to_it_and_time_that_is_over_too() {
        let mut setting = setting(10, |_| Ok(()));
        let lock = setting.round.spool.lock("fake").unwrap();
        setting.round.deliver(soon());
        drop(lock);
        setting.round.deliver(Instant::now());
        assert_eq!(setting.seen.lock().unwrap().arrays, [0; 0]);
        assert_eq!(setting.round.trouble.as_deref(), Some("time to send was over"));
        setting.round.deliver(soon());
        assert_eq!(setting.seen.lock().unwrap().arrays, [10]);
    }

    #[test]
    fn what_could_not_be_spooled_is_sent_from_memory_and_the_oldest_goes_where_that_is_too_much() {
        let mut setting = setting(10, |_| Ok(()));
        let label = |from| Label::parse(&format!("M.9.{from}-60")).unwrap();
        setting.round.carry_outputs(label(20), vec![b'\n'; CARRIED]);
        setting.round.carry_outputs(label(30), lines(10..15));
        setting.round.deliver(soon());
        assert_eq!(setting.seen.lock().unwrap().taken, (0..15).collect::<Vec<_>>());
        assert!(setting.round.carried_outputs.is_empty());
    }

    #[test]
    fn summaries_that_wait_since_it_was_of_another_kind_are_left_alone() {
        let mut setting = setting(10, |_| Ok(()));
        fs::write(setting.state.path().join(format!("spool/fake/new/{}", setting.label)), "{}\n").unwrap();
        setting.round.deliver(soon());
        assert_eq!(setting.seen.lock().unwrap().taken.len(), 10);
        assert_eq!(setting.round.spool.waiting("fake"), [setting.label.clone()]);
    }
}
