//! Ledgers in temporary folders, with runs that end, die and are killed.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::kinds::influxdb::clock::Clock;
use crate::kinds::influxdb::{Batch, Newest, Present};

const WANTS: Wants = Wants { points: 100, total: None, present: None };
/// How a child is told where its ledger is, and what to do with it.
const STATE: &str = "CANIHAZ_TEST_STATE";
const DOES: &str = "CANIHAZ_TEST_DOES";

fn ledger(state: &Path) -> Ledger {
    Ledger::open(state, "my-influx", "one kind of points", || true).unwrap()
}

fn stamped(now: i64) -> Wants {
    let present = Present { now, until: now + 10_000_000_000, step: 1_000_000, series: 4, batch: 10 };
    Wants { present: Some(present), ..WANTS }
}

fn borrow(ledger: &Ledger, holder: &str, wants: &Wants) -> Loan {
    ledger.borrow(holder, wants).unwrap().0
}

/// Ends a loan of which nothing more is done.
fn close(loan: &Loan) {
    loan.close(&Ranges::default(), None).unwrap();
}

/// Takes all there is, in batches of 10.
fn all(loan: &Loan) -> Vec<Batch> {
    std::iter::from_fn(|| loan.take(10)).collect()
}

/// Sends the next batches and has them filed.
fn send(loan: &Loan, batches: usize) -> Ranges {
    let mut done = Ranges::default();
    for _ in 0..batches {
        let batch = loan.take(10).unwrap();
        done.insert(batch.numbers.clone());
        batch.done();
    }
    loan.acknowledge(&done).unwrap();
    done
}

/// What a loan has to give, without taking it.
fn numbers(loan: &Loan) -> Vec<(u64, u64)> {
    all(loan).iter().map(|batch| batch.numbers.clone()).collect::<Ranges>().into()
}

fn files(ledger: &Ledger) -> BTreeSet<String> {
    fs::read_dir(&ledger.folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn book(ledger: &Ledger) -> Book {
    ledger.read().unwrap()
}

/// Starts this very program as another process that does something with a ledger.
fn child(state: &Path, does: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "kinds::influxdb::ledger::tests::a_process_of_its_own", "--nocapture"]);
    command.env(STATE, state).env(DOES, does).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What a child says, by the words of each line.
fn said(child: &mut Child) -> impl Iterator<Item = Vec<String>> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.filter_map(|line| Some(line.split_once("child: ")?.1.split(' ').map(str::to_owned).collect()))
}

/// What children do; as a test of its own, nothing.
#[test]
fn a_process_of_its_own() {
    let (Some(state), Ok(does)) = (env::var_os(STATE), env::var(DOES)) else { return };
    let ledger = ledger(Path::new(&state));
    match does.as_str() {
        "waits" => {
            let loan = borrow(&ledger, "child", &stamped(5_000_000_000));
            let mut batches = all(&loan);
            let done: Ranges = [1, 4, 7].map(|place| batches[place].numbers.clone()).into_iter().collect();
            loan.acknowledge(&done).unwrap();
            // One more is in the database, and was not filed yet.
            batches.remove(8).done();
            println!("\nchild: {}", serde_json::to_string(&batches[0].clock).unwrap());
            let _ = io::stdin().read_line(&mut String::new());
        }
        _ => {
            for round in 0..8 {
                let loan = borrow(&ledger, &does, &WANTS);
                for range in send(&loan, 1 + round).iter() {
                    println!("\nchild: {} {}", range.start, range.end);
                }
                match round % 3 {
                    0 => drop(loan),
                    _ => close(&loan),
                }
            }
        }
    }
}

#[test]
fn numbers_are_in_the_file_before_they_are_lent() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let _loan = borrow(&ledger, "20261121T0327Z.1.load", &WANTS);
    let text = fs::read_to_string(ledger.path()).unwrap();
    assert!(text.contains("\"place\":100") && text.contains("[0,100]"), "{text}");
    assert!(text.contains("20261121T0327Z.1.load"), "{text}");
}

#[test]
fn loans_alive_at_once_never_share_a_number() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let borrow = |holder: usize| {
        let ledger = ledger.clone();
        thread::spawn(move || borrow(&ledger, &holder.to_string(), &stamped(5_000_000_000)))
    };
    let threads: Vec<_> = (0..8).map(borrow).collect();
    let loans: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let mut seen = BTreeSet::new();
    for batch in loans.iter().flat_map(all) {
        for number in batch.numbers.clone() {
            assert!(seen.insert((number, None)), "{number} is lent twice");
            let stamp = batch.clock.unwrap().stamp(number);
            assert!(seen.insert((number % 4, Some(stamp))), "two points of a series have one stamp");
        }
        batch.done();
    }
    assert_eq!(seen.len(), 1600);
}

#[test]
fn processes_that_come_and_go_never_file_a_number_twice_and_leave_none_out() {
    let state = tempfile::tempdir().unwrap();
    let mut children: Vec<_> = ["a", "b", "c"].map(|name| child(state.path(), name)).into();
    let mut seen = BTreeSet::new();
    for child in &mut children {
        for words in said(child) {
            let [start, end] = [0, 1].map(|word| words[word].parse::<u64>().unwrap());
            (start..end).for_each(|number| assert!(seen.insert(number), "{number} was filed twice"));
        }
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(seen.len(), 3 * 36 * 10);
    let ledger = ledger(state.path());
    let last = borrow(&ledger, "last", &WANTS);
    for number in all(&last).iter().flat_map(|batch| batch.numbers.clone()) {
        assert!(seen.insert(number), "{number} is lent once more");
    }
    assert!(seen.into_iter().enumerate().all(|(place, number)| place as u64 == number));
}

#[test]
fn after_kill_9_and_one_more_run_no_number_below_the_highest_acknowledged_is_missing() {
    let state = tempfile::tempdir().unwrap();
    let mut killed = child(state.path(), "waits");
    let words = said(&mut killed).next().unwrap();
    let clock: Option<Clock> = serde_json::from_str(&words.concat()).unwrap();
    let ledger = ledger(state.path());
    // While it lives, its numbers are its own.
    let beside = borrow(&ledger, "beside", &stamped(5_000_000_000));
    assert_eq!(numbers(&beside), [(100, 200)]);
    close(&beside);
    killed.kill().unwrap();
    killed.wait().unwrap();

    let next = borrow(&ledger, "next", &stamped(9_000_000_000));
    let batches = all(&next);
    let (again, fresh): (Vec<_>, Vec<_>) = batches.iter().partition(|batch| batch.clock == clock);
    let again: Ranges = again.into_iter().map(|batch| batch.numbers.clone()).collect();
    assert_eq!(Vec::from(again), [(0, 10), (20, 40), (50, 70), (80, 100)], "with the stamps they had");
    assert_eq!(fresh.iter().map(|batch| batch.numbers.start).min(), Some(100));
    assert!(batches.is_sorted_by_key(|batch| batch.numbers.start), "first what was left");
    let done = batches.iter().map(|batch| batch.numbers.clone()).collect();
    assert!(next.close(&done, Some(130)).unwrap(), "none of the first is missing");
    assert_eq!(files(&ledger), ["my-influx.json", "my-influx.lock"].map(String::from).into());
}

#[test]
fn what_was_handed_out_keeps_its_stamps_and_what_was_not_gets_new_ones() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let loan = borrow(&ledger, "one", &stamped(5_000_000_000));
    send(&loan, 2);
    let failed = loan.take(10).unwrap();
    let (numbers, clock) = (failed.numbers.clone(), failed.clock);
    drop(failed);
    close(&loan);
    let next = borrow(&ledger, "two", &stamped(900_000_000_000));
    let again = next.take(10).unwrap();
    assert_eq!((again.numbers.clone(), again.clock), (numbers, clock));
    let fresh = next.take(10).unwrap();
    assert_eq!(fresh.numbers, 30..40);
    assert!((900_000_000_000 - fresh.clock.unwrap().base).unsigned_abs() < 16_000_000);
}

#[test]
fn after_a_crash_everything_keeps_its_stamps() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let loan = borrow(&ledger, "one", &stamped(5_000_000_000));
    let clock = loan.take(10).unwrap().clock;
    drop(loan);
    // One that takes them over and never sends them doesn't know better.
    close(&borrow(&ledger, "two", &stamped(900_000_000_000)));
    assert!(all(&borrow(&ledger, "three", &stamped(900_000_000_000))).iter().all(|batch| batch.clock == clock));
}

#[test]
fn the_file_stays_small_over_many_runs() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let mut random = fastrand::Rng::with_seed(3);
    for minute in 0..40_i64 {
        let loan = borrow(&ledger, "run", &stamped(minute * 60_000_000_000));
        let mut done = Ranges::default();
        for _ in 0..random.usize(0..10) {
            let Some(batch) = loan.take(10) else { break };
            if random.bool() {
                done.insert(batch.numbers.clone());
                batch.done();
            }
        }
        loan.acknowledge(&done).unwrap();
        if random.u8(0..10) > 0 {
            close(&loan);
        }
    }
    let length = ledger.path().metadata().unwrap().len();
    assert!(length < 4096, "{length} bytes");
    assert!(files(&ledger).len() <= 3, "{:?}", files(&ledger));
}

#[test]
fn the_last_batch_is_partial_and_nothing_comes_after_it() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let wants = Wants { total: Some(95), ..WANTS };
    let loan = borrow(&ledger, "one", &wants);
    assert_eq!(all(&loan).last().unwrap().numbers, 90..95);
    loan.acknowledge(&vec![(0, 90)].into()).unwrap();
    let done = vec![(90, 95)].into();
    assert_eq!([loan.close(&done, Some(95)).unwrap(), loan.close(&done, Some(95)).unwrap()], [true, false]);
    let (next, newest) = ledger.borrow("two", &wants).unwrap();
    assert!(next.take(10).is_none());
    assert_eq!(newest, Some(Newest { number: 94, clock: None }), "readers still ask for it");
    assert!(!next.close(&Ranges::default(), Some(95)).unwrap(), "it is told once");
}

#[test]
fn other_points_begin_at_0() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let old = borrow(&ledger, "one", &WANTS);
    send(&old, 3);
    let changed = Ledger::open(state.path(), "my-influx", "another kind", || false);
    assert_eq!(changed.unwrap_err().to_string(), "it was changed");
    let other = Ledger::open(state.path(), "my-influx", "another kind", || true).unwrap();
    let new = borrow(&other, "two", &WANTS);
    assert_eq!(numbers(&new), [(0, 100)]);
    // The old run goes on with what it has, and changes nothing.
    send(&old, 1);
    old.extend(&Wants { points: 300, ..WANTS }).unwrap();
    assert_eq!(numbers(&old), [(40, 100)]);
    let refused = ledger.borrow("three", &WANTS).unwrap_err().to_string();
    assert!(refused.contains("means other points by now"), "{refused}");
    assert!(!old.close(&Ranges::default(), Some(0)).unwrap());
    send(&new, 1);
    close(&new);
    assert_eq!(numbers(&borrow(&other, "four", &WANTS)), [(10, 110)]);
}

#[test]
fn a_reset_happens_once_and_never_beside_a_live_loan() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let never = || -> anyhow::Result<()> { panic!("it is not called") };
    let loan = borrow(&ledger, "20261121T0327Z.1.load", &WANTS);
    send(&loan, 3);
    let refused = ledger.reset_once("http://h:8086 stress", never).unwrap_err().to_string();
    assert!(refused.contains("20261121T0327Z.1.load is still writing there"), "{refused}");
    close(&loan);

    let failed = ledger.reset_once("http://h:8086 stress", || anyhow::bail!("no answer")).unwrap_err();
    assert_eq!(format!("{failed:#}"), "http://h:8086 stress is not reset: no answer");
    let loan = borrow(&ledger, "run", &WANTS);
    assert_eq!(loan.take(10).unwrap().numbers, 30..40, "nothing is forgotten then");
    // Killed.
    drop(loan);

    assert!(ledger.reset_once("http://h:8086 stress", || Ok(())).unwrap());
    assert!(!ledger.reset_once("http://h:8086 stress", never).unwrap());
    let loan = borrow(&ledger, "run", &WANTS);
    assert_eq!(numbers(&loan), [(0, 100)]);
    assert!(!ledger.reset_once("http://h:8086 stress", never).unwrap(), "done is done, whoever writes");
    close(&loan);
    let other = Ledger::open(state.path(), "my-influx", "another kind", || true).unwrap();
    assert!(!other.reset_once("http://h:8086 stress", never).unwrap());
    assert!(other.reset_once("http://h:8086 other", || Ok(())).unwrap());
}

#[test]
fn what_cannot_be_filed_is_filed_with_the_next() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let loan = borrow(&ledger, "one", &WANTS);
    let batches = all(&loan);
    // Root can write anywhere, but not over a folder.
    fs::create_dir_all(ledger.file_of(".json.partial").join("full")).unwrap();
    let error = loan.acknowledge(&vec![(0, 10)].into()).unwrap_err();
    assert!(error.to_string().contains("my-influx.json cannot be written"), "{error}");
    ledger.borrow("two", &WANTS).unwrap_err();
    loan.extend(&Wants { points: 200, ..WANTS }).unwrap_err();
    assert_eq!(files(&ledger).len(), 4, "{:?}", files(&ledger));
    fs::remove_dir_all(ledger.file_of(".json.partial")).unwrap();
    loan.acknowledge(&vec![(50, 60)].into()).unwrap();
    drop((batches, loan));
    assert_eq!(numbers(&borrow(&ledger, "two", &WANTS)), [(10, 50), (60, 120)]);
}

#[test]
fn a_run_that_cannot_close_can_try_again() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let loan = borrow(&ledger, "one", &WANTS);
    send(&loan, 3);
    fs::create_dir(ledger.file_of(".json.partial")).unwrap();
    loan.close(&Ranges::default(), None).unwrap_err();
    fs::remove_dir(ledger.file_of(".json.partial")).unwrap();
    close(&loan);
    assert!(book(&ledger).loans().is_empty());
    assert_eq!(numbers(&borrow(&ledger, "two", &WANTS)), [(30, 130)]);
}

#[test]
fn a_file_that_cannot_be_understood_is_never_begun_anew() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let loan = borrow(&ledger, "one", &stamped(5_000_000_000));
    send(&loan, 3);
    drop(loan);
    let good = fs::read_to_string(ledger.path()).unwrap();
    #[track_caller]
    fn check(ledger: &Ledger, text: &str, expect: &str) {
        fs::write(ledger.path(), text).unwrap();
        let error = ledger.borrow("two", &WANTS).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
        assert!(error.contains("my-influx.json") && error.contains("remove it to begin"), "{error}");
        assert_eq!(fs::read_to_string(ledger.path()).unwrap(), text);
        let opened = Ledger::open(ledger.folder.parent().unwrap(), "my-influx", "another kind", || true);
        opened.expect_err("not by another kind of points either");
    }
    check(&ledger, "", "can't be understood");
    check(&ledger, &good[..good.len() / 2], "can't be understood");
    check(&ledger, "[]", "can't be understood");
    check(&ledger, &"[".repeat(100_000), "can't be understood");
    check(&ledger, &good.replace("\"version\":1", "\"version\":2"), "has the version 2, and only 1 is known");
    check(&ledger, "{\"version\":7,\"news\":true}", "has the version 7");
    check(&ledger, &good.replace("\"place\":100", "\"place\":100,\"more\":1"), "can't be understood");
    check(&ledger, &good.replace("\"place\":100", "\"place\":99"), "the number 99 is lent");
    check(&ledger, &good.replace("\"place\":100", "\"place\":-1"), "can't be understood");
    check(&ledger, &good.replace("[30,100]", "[100,30]"), "is not as it was written");
    check(&ledger, &good.replace("[30,100]", "[30,50],[40,100]"), "is not as it was written");
    check(&ledger, &good.replace("\"batch\":10", "\"batch\":0"), "no time stamps");
    check(&ledger, &good.replace("\"gap\":1000800000", "\"gap\":1"), "no time stamps");
    check(&ledger, &good.replace("\"slot\":0", "\"slot\":16"), "a slot that there is not");
    check(
        &ledger,
        &good.replace("\"left\":[]", "\"left\":[{\"clock\":null,\"numbers\":[[40,50]]}]"),
        "the number 40 is in it twice",
    );
    let many: Vec<_> = (0..=100_000).map(|number| format!("[{},{}]", 2 * number, 2 * number + 1)).collect();
    let many = format!("\"left\":[{{\"clock\":null,\"numbers\":[{}]}}]", many.join(","));
    check(&ledger, &good.replace("\"left\":[]", &many), "ranges, more than 100000");
    fs::write(ledger.path(), &good).unwrap();
    assert!(ledger.borrow("two", &WANTS).is_ok());
}

#[test]
fn a_file_that_somebody_else_could_have_put_there_is_not_read() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    send(&borrow(&ledger, "one", &WANTS), 3);
    #[track_caller]
    fn check(ledger: &Ledger, expect: &str) {
        let error = ledger.borrow("two", &WANTS).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
    let path = ledger.path();
    for entry in files(&ledger) {
        let mode = ledger.folder.join(&entry).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry}");
    }
    assert_eq!(ledger.folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    check(&ledger, "may be written by others");
    fs::rename(&path, state.path().join("elsewhere")).unwrap();
    fs::set_permissions(state.path().join("elsewhere"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink(state.path().join("elsewhere"), &path).unwrap();
    check(&ledger, "is a link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check(&ledger, "is a folder");
    fs::remove_dir(&path).unwrap();
    File::create(&path).unwrap().set_len(MAX_BOOK + 1).unwrap();
    check(&ledger, "is larger than");
    fs::rename(state.path().join("elsewhere"), &path).unwrap();
    fs::remove_file(ledger.file_of(".lock")).unwrap();
    symlink(state.path().join("elsewhere"), ledger.file_of(".lock")).unwrap();
    check(&ledger, "my-influx.lock: ");
    fs::remove_file(ledger.file_of(".lock")).unwrap();
    symlink(state.path().join("elsewhere"), ledger.file_of(".json.partial")).unwrap();
    check(&ledger, "cannot be written");
    assert!(!state.path().join("elsewhere").exists());
    fs::set_permissions(&ledger.folder, PermissionsExt::from_mode(0o777)).unwrap();
    check(&ledger, "may be written by others");
}

#[test]
fn a_state_folder_that_is_removed_is_survived() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let loan = borrow(&ledger, "one", &WANTS);
    send(&loan, 3);
    fs::remove_dir_all(state.path()).unwrap();
    send(&loan, 1);
    loan.extend(&Wants { points: 300, ..WANTS }).unwrap();
    let next = borrow(&ledger, "two", &WANTS);
    send(&loan, 1);
    close(&loan);
    assert_eq!(numbers(&next), [(0, 100)]);
    drop(next);
    assert_eq!(numbers(&borrow(&ledger, "three", &WANTS)), [(0, 100)], "the old loan has changed nothing");
}

#[test]
fn files_of_the_dead_are_removed() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let other = borrow(&Ledger::open(state.path(), "my", "i", || true).unwrap(), "other", &WANTS);
    drop(borrow(&ledger, "one", &WANTS));
    let live = borrow(&ledger, "two", &WANTS);
    // Killed before its loan was in the book.
    File::create(ledger.loan(7)).unwrap();
    // Not ours.
    File::create(ledger.folder.join("my-influx.7.loan")).unwrap();
    close(&borrow(&ledger, "three", &WANTS));
    let loan = format!("my-influx.{:016x}.loan", live.number());
    let others = format!("my.{:016x}.loan", other.number());
    let expect = ["my-influx.json", "my-influx.lock", "my-influx.7.loan", &loan, "my.json", "my.lock", &others];
    assert_eq!(files(&ledger), expect.map(String::from).into());
}

#[test]
fn a_lock_on_a_removed_file_guards_nothing() {
    let state = tempfile::tempdir().unwrap();
    let ledger = ledger(state.path());
    let path = ledger.file_of(".lock");
    let held = open(&path, false).unwrap();
    FileExt::lock_exclusive(&held).unwrap();
    let error = ledger.locked(Duration::from_millis(20), || ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    fs::remove_file(&path).unwrap();
    assert!(!is_at(&held, &path));
    ledger.locked(Duration::from_millis(20), || assert!(!is_at(&held, &path))).unwrap();
}

#[test]
fn a_type_s_name_is_a_file_s() {
    let state = tempfile::tempdir().unwrap();
    for name in ["", "a/b", "..", "a.b", "ä", &"a".repeat(201)] {
        let error = Ledger::open(state.path(), name, "i", || true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
    }
    let longest = Ledger::open(state.path(), &"a".repeat(200), "i", || true).unwrap();
    close(&borrow(&longest, "h", &WANTS));
}
