//! The rate that one thread of hits holds, and the rate that two hold, side by side, alternating in one run.
//!
//! - *nothing*: shares of one test whose target does nothing, so that only what is ours is measured: pacer, shift,
//!   recorder, wake-ups. Nothing but the threads needs a core.
//! - *http*: the engine against a server on this machine, which needs a core as well: on two cores, two threads of hits
//!   have less than one each, and that is what the row shows.
//!
//! Asked for are ten million hits a second, which is more than is held, and what a thread is trusted with.

mod served;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use canihaz::engine::{Assignment, Engine, Limits, RATE_OF_A_THREAD, Window};
use canihaz::kinds::{self, Prepared};
use canihaz::pacer::{Arrivals, Pace, Pacer, Share};
use canihaz::recorder::Recorder;
use canihaz::shift::{Shift, Terms, WhenBusy};
use canihaz::summary::Tally;
use canihaz::target::{Outcome, Target};
use canihaz::wakeups::{SLACK, Wakeups};
use tokio::task::LocalSet;

/// Hits a second that nothing here holds.
const TOO_MUCH: u64 = 10_000_000;
/// How long each measurement takes, and how many there are of each.
const WINDOW: Duration = Duration::from_secs(2);
const REPETITIONS: usize = 5;
/// The most hits in flight, over all threads.
const OVERTIME: u32 = 64;
/// How long hits in flight may go on afterwards.
const GRACE: Duration = Duration::from_secs(1);

/// What a hit costs where it does nothing.
struct Nothing;

impl Target for Nothing {
    async fn hit(&self, _: u64) -> Outcome {
        Outcome::default()
    }
}

fn main() {
    let address = served::serve();
    println!("hits a second, median of {REPETITIONS}       1 thread            2 threads       ratio");
    println!("target       asked    held  lag p99       held  lag p99   (of held)");
    row("nothing", TOO_MUCH, at_nothing);
    row("nothing", RATE_OF_A_THREAD, at_nothing);
    row("http", TOO_MUCH, |threads, rate| at_http(address, threads, rate));
    row("http", RATE_OF_A_THREAD, |threads, rate| at_http(address, threads, rate));
}

/// Asks each of one and two threads for `rate` hits a second, in turns.
fn row(target: &str, rate: u64, measure: impl Fn(u32, u64) -> Tally) {
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..REPETITIONS {
        for (threads, tallies) in (1..).zip(&mut measured) {
            let asked = if rate == TOO_MUCH { rate } else { rate * u64::from(threads) };
            tallies.push(measure(threads, asked));
        }
    }
    let [one, two] = measured.map(|mut tallies| {
        tallies.sort_by_key(|tally| tally.ok);
        let median = &tallies[REPETITIONS / 2];
        assert_eq!(median.failed, 0, "{:?}", median.failures);
        (median.ok as f64 / WINDOW.as_secs_f64(), median.lag.quantile(0.99).as_secs_f64() * 1e3)
    });
    println!(
        "{target:<8} {:>9} {:>7.0} {:>6.2} ms {:>10.0} {:>6.2} ms   {:>6.2}",
        if rate == TOO_MUCH { format!("{rate}") } else { format!("{rate} each") },
        one.0,
        one.1,
        two.0,
        two.1,
        two.0 / one.0
    );
}

/// So many hits a second for the length of the window.
fn pace(rate: u64) -> Pace {
    // So short a minute is all catching up.
    Pace { frequency: rate * WINDOW.as_secs(), phase: 1 << 31, arrivals: Arrivals::Even, max_catch_up: 1000 }
}

/// Shares of a test that does nothing, each on a thread as the engine has it.
fn at_nothing(threads: u32, rate: u64) -> Tally {
    let begin = Instant::now();
    let end = begin + WINDOW;
    let work = |share: Share| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are descriptors");
        LocalSet::new().block_on(&runtime, async {
            let wakeups = Wakeups::new(SLACK).expect("there are descriptors");
            let overtime = share.part_of(OVERTIME.into()) as usize;
            let terms = Terms { overtime, when_busy: WhenBusy::Wait, grace: GRACE };
            let pacer = Pacer::of_share(share, pace(rate), begin, end, 1);
            let recorder = Rc::new(RefCell::new(Recorder::default()));
            let shift = Shift::new(Rc::new(Nothing), terms, pacer, end, Rc::clone(&recorder), wakeups.sleeper());
            tokio::task::spawn_local(async move { wakeups.keep().await });
            let (_orders, receiver) = tokio::sync::mpsc::unbounded_channel();
            shift.work(receiver).await.expect("the timer rings");
            recorder.borrow_mut().close(Instant::now())
        })
    };
    let mut sum = Tally::default();
    thread::scope(|scope| {
        let working: Vec<_> = Share::all(threads).map(|share| scope.spawn(move || work(share))).collect();
        working.into_iter().for_each(|thread| sum.merge(&thread.join().expect("no thread panics")));
    });
    sum
}

/// The engine with so many threads, and a test that has a share on each.
fn at_http(address: SocketAddr, threads: u32, rate: u64) -> Tally {
    let begin = Instant::now();
    let window = Window { begin, end: begin + WINDOW, interval: WINDOW, slack: SLACK };
    // It counts by the minute, of which this is a part.
    let limits = Limits { threads: threads as usize, rate_of_a_thread: 1 };
    let (told, reported) = mpsc::channel();
    let engine = Engine::start(window, limits, move |interval| _ = told.send(interval)).expect("there are threads");
    let text = format!("kind = \"http\"\nurl = \"http://{address}/\"\novertime = {OVERTIME}\ngrace = \"1s\"\n");
    let of_type = kinds::read("front", Path::new("front.toml"), &text).0.expect("it is a type").remove(0);
    engine.run(&Assignment {
        test: String::from("a"),
        of_type,
        prepared: Prepared::Nothing,
        pace: pace(rate),
        seed: 1,
        made: begin,
    });
    assert_eq!(engine.threads(), threads as usize);
    let mut sum = Tally::default();
    loop {
        let interval = reported.recv_timeout(WINDOW + 2 * GRACE).expect("the engine ends in time");
        interval.tallies.values().for_each(|tally| sum.merge(tally));
        if interval.last {
            return sum;
        }
    }
}
