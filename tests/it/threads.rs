//! More than one thread of hits: counted at the receiver, to the hit, whatever the number of threads.
//!
//! Most of these tests speak to the engine itself, with threads that are asked for too much at 10 hits a second: at
//! the rate that makes the runner start another, a shared machine would test itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use canihaz::engine::{Assignment, Engine, Interval, Limits, Window};
use canihaz::kinds::{self, Prepared, Type};
use canihaz::pacer::{Arrivals, Pace};
use canihaz::summary::Tally;

use crate::parts::arrivals::{in_parts, latest};
use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::sandbox::sandbox;
use crate::parts::target::{Answer, Target};

/// Hits a second that make another thread necessary here.
const RATE: u64 = 10;
/// A frequency that needs three threads, and more hits a second than that, as it is that of a minute.
const THREE: u64 = 3 * 60 * RATE;
/// How long the engine may take to say that it has ended.
const BOUND: Duration = Duration::from_secs(10);

/// An engine, its minute of a few seconds, and what it has reported.
struct Bench {
    engine: Engine,
    begin: Instant,
    began: f64,
    reported: Receiver<Interval>,
}

impl Bench {
    /// Starts an engine with so many threads at most, whose minute is `length` long, in intervals of 500 ms.
    fn start(threads: usize, length: f64) -> Self {
        let began = since_1970();
        let begin = Instant::now();
        let window = Window {
            begin,
            end: begin + seconds(length),
            interval: Duration::from_millis(500),
            slack: Duration::from_micros(430),
        };
        let (told, reported) = mpsc::channel();
        let limits = Limits { threads, rate_of_a_thread: RATE };
        let engine = Engine::start(window, limits, move |interval| told.send(interval).unwrap()).unwrap();
        Self { engine, begin, began, reported }
    }

    /// Has a test run, from now on.
    fn run(&self, test: &str, of_type: &Type, frequency: u64) {
        self.run_made(test, of_type, frequency, Instant::now());
    }

    /// Has a test run in a plan that was made at a given moment.
    fn run_made(&self, test: &str, of_type: &Type, frequency: u64, made: Instant) {
        // So short a minute is all catching up.
        let pace = Pace { frequency, phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 1000 };
        self.engine.run(&Assignment {
            test: test.to_owned(),
            of_type: of_type.clone(),
            prepared: Prepared::Nothing,
            pace,
            seed: 1,
            made,
        });
    }

    /// Every interval, once the last is there: numbered from 0 without a gap, one of them the last.
    fn intervals(&self) -> Vec<Interval> {
        let mut intervals = Vec::new();
        while !intervals.last().is_some_and(|interval: &Interval| interval.last) {
            intervals.push(self.reported.recv_timeout(BOUND).unwrap());
            assert_eq!(intervals.last().unwrap().index as usize, intervals.len() - 1);
        }
        assert!(self.reported.try_recv().is_err(), "something came after the last interval");
        intervals
    }
}

/// A type that has so many hits in flight at `target`, which has to live on.
fn of_type(target: &Target, overtime: u32) -> Type {
    let text = format!("kind = \"http\"\nurl = \"{}\"\novertime = {overtime}\n", target.url("/"));
    kinds::read("front", Path::new("front.toml"), &text).0.unwrap().remove(0)
}

/// All of a test's intervals as one.
fn sum(intervals: &[Interval], test: &str) -> Tally {
    let mut sum = Tally::default();
    intervals.iter().filter_map(|interval| interval.tallies.get(test)).for_each(|tally| sum.merge(tally));
    sum
}

/// Expects that all of `planned` hits are accounted for, that the receiver has had those that are ok, and that no more
/// than a few were missed: a machine that stalls in the last moment of so short a minute leaves no time to catch up.
#[track_caller]
fn expect_to_the_hit(tally: &Tally, planned: u64, target: &Target) {
    let [ok, failed, canceled, missed, stopped] = counts(tally);
    assert_eq!((ok + missed, failed, canceled, stopped), (planned, 0, 0, 0), "{:?}", counts(tally));
    assert_eq!(target.requests().len() as u64, ok);
    assert!(missed <= planned / 100, "{missed} of {planned} missed");
}

fn counts(tally: &Tally) -> [u64; 5] {
    tally.results().map(|(_, count)| count)
}

fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// When each hit arrived, in seconds since 1970.
fn arrived(target: &Target) -> Vec<f64> {
    target.requests().iter().map(|request| request.at).collect()
}

#[test]
fn one_two_and_three_threads_send_the_same_to_the_hit() {
    #[track_caller]
    fn check(threads: usize) {
        let target = Target::start(Answer::ok(Duration::ZERO));
        let bench = Bench::start(threads, 2.0);
        bench.run_made("a", &of_type(&target, 30), THREE, bench.begin);
        assert_eq!(bench.engine.threads(), threads);
        let intervals = bench.intervals();
        expect_to_the_hit(&sum(&intervals, "a"), THREE, &target);
        let arrived = arrived(&target);
        // Evenly, and each interval has its quarter.
        let counts = in_parts(&arrived, bench.began, bench.began + 2.0, 10);
        assert!(counts.iter().all(|count| count.abs_diff(THREE as usize / 10) <= 30), "{counts:?}");
        assert_eq!(intervals.len(), 4);
        for interval in &intervals {
            let planned = interval.tallies["a"].planned();
            assert!(planned.abs_diff(THREE / 4) <= 30, "{planned} of {threads} threads in {}", interval.index);
        }
    }
    for threads in 1..=3 {
        check(threads);
    }
}

#[test]
fn threads_take_turns() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let bench = Bench::start(2, 8.0);
    // A hit in flight a thread, and so a connection; 100 a second, so that a thread which the machine keeps waiting for
    // some milliseconds doesn't miss its turn.
    bench.run("a", &of_type(&target, 2), 800);
    expect_to_the_hit(&sum(&bench.intervals(), "a"), 800, &target);
    let mut requests = target.requests();
    requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    let turns = requests.windows(2).filter(|pair| pair[0].connection != pair[1].connection).count();
    assert!(turns > 750, "{turns} turns");
}

#[test]
fn no_more_hits_are_in_flight_than_overtime_whatever_the_threads() {
    let target = Target::start(Answer::ok(Duration::from_millis(100)));
    let bench = Bench::start(3, 1.0);
    bench.run("a", &of_type(&target, 4), THREE);
    assert_eq!(bench.engine.threads(), 3);
    let tally = sum(&bench.intervals(), "a");
    // Four at a time, ten times a second, and those that were in flight at the end.
    assert!((30..=44).contains(&tally.ok), "{:?}", counts(&tally));
    assert_eq!((tally.planned(), tally.missed), (THREE, THREE - tally.ok));
    let connections: BTreeSet<usize> = target.requests().iter().map(|request| request.connection).collect();
    assert_eq!((connections.len(), target.requests().len() as u64), (4, tally.ok));
}

#[test]
fn a_change_of_frequency_reaches_every_share() {
    #[track_caller]
    fn check(before: u64, after: u64) {
        let target = Target::start(Answer::ok(Duration::ZERO));
        let of_type = of_type(&target, 30);
        let bench = Bench::start(3, 2.0);
        bench.run("a", &of_type, before);
        eventually("a quarter of the hits", BOUND, || {
            (target.requests().len() as u64 > before.min(after) / 4).then_some(())
        });
        bench.run("a", &of_type, after);
        // Away and back, nothing is sent twice.
        bench.engine.withdraw("a");
        bench.run("a", &of_type, after);
        assert_eq!(bench.engine.threads(), 3);
        expect_to_the_hit(&sum(&bench.intervals(), "a"), after, &target);
    }
    check(THREE - 1, THREE + 500);
    check(THREE, THREE - 500);
    // Shares of a test stay, also when it becomes an ordinary one.
    check(THREE, THREE / 3);
}

#[test]
fn what_a_test_that_can_no_longer_run_leaves_is_missed_on_every_thread() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let bench = Bench::start(3, 2.0);
    bench.run("a", &of_type(&target, 30), THREE);
    eventually("a quarter of the hits", BOUND, || (target.requests().len() as u64 > THREE / 4).then_some(()));
    // A database that nobody got ready.
    let text = "kind = \"influxdb\"\n[read.query_generator.basic]\ntemplate = \"SELECT 1\"\n\
                [read.query_client.basic]\naddresses = [\"127.0.0.1:1\"]\ndatabase = \"lab\"\nconcurrency = 30\n";
    let none = kinds::read("none", Path::new("none.toml"), text).0.unwrap().remove(0);
    bench.run("a", &none, THREE);
    let tally = sum(&bench.intervals(), "a");
    assert!((THREE / 4..THREE).contains(&tally.ok), "{:?}", counts(&tally));
    assert_eq!(counts(&tally), [tally.ok, 0, 0, THREE - tally.ok, 0]);
}

#[test]
fn a_stop_reaches_all_threads_within_100_ms() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let bench = Bench::start(3, 60.0);
    bench.run("a", &of_type(&target, 30), 40 * THREE);
    bench.run("b", &of_type(&target, 30), 1);
    eventually("hits of all threads", BOUND, || (target.requests().len() > 600).then_some(()));
    let stopped = since_1970();
    bench.engine.stop();
    let intervals = bench.intervals();
    bench.run("c", &of_type(&target, 30), THREE);
    let tally = sum(&intervals, "a");
    assert_eq!((tally.planned(), tally.stopped), (40 * THREE, 40 * THREE - tally.ok));
    assert_eq!(sum(&intervals, "b").planned(), 1);
    // No thread is left that could send; what was sent has been read by then.
    thread::sleep(Duration::from_millis(200));
    let arrived = arrived(&target);
    assert!(latest(&arrived) < stopped + 0.1, "{} s after the stop", latest(&arrived) - stopped);
    assert!((tally.ok..=tally.ok + 31).contains(&(arrived.len() as u64)), "{} of {}", arrived.len(), tally.ok);
}

#[test]
fn threads_are_started_when_a_plan_needs_them_and_join_in() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let of_type = of_type(&target, 30);
    let bench = Bench::start(3, 2.5);
    for test in ["a", "b", "c"] {
        bench.run_made(test, &of_type, 20 * RATE, bench.begin);
    }
    assert_eq!(bench.engine.threads(), 1, "ordinary tests have one thread");
    let first = bench.reported.recv_timeout(BOUND).unwrap();
    assert_eq!((first.index, first.last), (0, false));
    bench.run("late", &of_type, THREE);
    assert_eq!(bench.engine.threads(), 3);

    let mut intervals = vec![first];
    while !intervals.last().unwrap().last {
        intervals.push(bench.reported.recv_timeout(BOUND).unwrap());
    }
    assert_eq!(intervals.iter().map(|interval| interval.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let mut all = sum(&intervals, "late");
    assert_eq!(all.planned(), THREE);
    for test in ["a", "b", "c"] {
        let tally = sum(&intervals, test);
        assert_eq!(tally.planned(), 20 * RATE);
        all.merge(&tally);
        assert!(intervals.iter().all(|interval| interval.tallies[test].ok.abs_diff(4 * RATE) <= 8));
    }
    expect_to_the_hit(&all, THREE + 60 * RATE, &target);
}

#[test]
fn random_arrivals_are_as_many_on_three_threads() {
    let target = Target::start(Answer::ok(Duration::ZERO));
    let bench = Bench::start(3, 1.5);
    let pace = Pace { frequency: THREE + 1, phase: 0, arrivals: Arrivals::Poisson, max_catch_up: 1000 };
    let of_type = of_type(&target, 90);
    bench.engine.run(&Assignment {
        test: String::from("a"),
        of_type,
        prepared: Prepared::Nothing,
        pace,
        seed: 5,
        made: Instant::now(),
    });
    expect_to_the_hit(&sum(&bench.intervals(), "a"), THREE + 1, &target);
}

/// The threads of hits of a running program.
fn threads_of_hits(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    names.retain(|name| name.starts_with("engine-"));
    names.sort();
    names
}

#[test]
fn the_runner_starts_threads_as_its_tests_need_them_and_settings_allow() {
    #[track_caller]
    fn check(setting: &str, frequency: u64, overtime: u32, expect: &[&str]) {
        // So slow that a huge frequency is a few hits a second; those that are in flight at the end may end.
        let target = Target::start(Answer::ok(Duration::from_millis(50)));
        let sandbox = sandbox(&target.url("/"), &format!("a|front|{frequency}|out"));
        sandbox.settings(setting);
        sandbox.http("front", &target.url("/"), &format!("overtime = {overtime}\n"));
        let run = sandbox.start(&Clock::at(57.0));
        eventually("hits", BOUND, || (target.requests().len() > 10).then_some(()));
        assert_eq!(threads_of_hits(run.id()), expect, "{setting}");
        run.succeed(12.0);
        let results = sandbox.results();
        results.expect_planned("a", frequency);
        assert_eq!(results.total("a", "ok"), target.requests().len() as u64, "{results}");
    }
    thread::scope(|scope| {
        // 60,000 a second are more than one thread is trusted with.
        scope.spawn(|| check("threads = 2\n", 3_600_000, 4, &["engine-0", "engine-1"]));
        scope.spawn(|| check("threads = 1\n", 3_600_000, 4, &["engine-0"]));
        scope.spawn(|| check("threads = 2\n", 3_600_000, 1, &["engine-0"]));
        scope.spawn(|| check("threads = 2\n", 600, 4, &["engine-0"]));
    });
}
