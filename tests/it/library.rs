//! The library: what a worker, a farm and a force do, and what gossipers hear of it; and the examples.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use canihaz::{
    Arrivals, Config, Error, Failure, Gossip, Gossiper, Gossips, Outcome, Rate, Reason, Tally, Target, WhenBusy,
    Worker, farm, force, numbered, work,
};
use tokio::sync::Notify;

/// Hits at distances of 50 ms, none of which a busy machine misses.
const RATE: Rate = Rate::per_second(20);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The time of so many hits at [`RATE`].
fn hits(hits: u64) -> Duration {
    ms(50 * hits)
}

/// Waits for what has to be over soon; a test that hangs tells nothing.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it is over soon")
}

async fn pong() -> Result<&'static str, String> {
    Ok("pong")
}

/// Hits that never end by themselves; each counts itself when it begins, and when it is dropped.
#[derive(Clone, Default)]
struct Endless {
    begun: Rc<Cell<u64>>,
    dropped: Rc<Cell<u64>>,
}

/// Counts when it is dropped.
struct Dropped(Rc<Cell<u64>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Target for Endless {
    async fn hit(&self, _number: u64) -> Outcome {
        self.begun.set(self.begun.get() + 1);
        let _dropped = Dropped(Rc::clone(&self.dropped));
        pending().await
    }
}

/// Writes down all it hears.
#[derive(Default)]
struct Notes {
    heard: Mutex<Vec<Gossip>>,
    workers: Mutex<Vec<Config>>,
    /// Whether nothing more came when it was stopped.
    stopped: AtomicU64,
}

impl Notes {
    fn heard(&self) -> Vec<Gossip> {
        self.heard.lock().unwrap().clone()
    }

    /// What it heard, as text, sorted, as hits end in any order.
    fn said(&self) -> Vec<String> {
        let mut said: Vec<_> = self.heard().iter().map(ToString::to_string).collect();
        said.sort();
        said
    }

    fn stops(&self) -> u64 {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl Gossiper for Notes {
    async fn listen(&self, worker: Config, mut gossips: Gossips) {
        self.workers.lock().unwrap().push(worker);
        while let Some(gossip) = gossips.next().await {
            self.heard.lock().unwrap().push(gossip);
        }
    }

    async fn stop(&self) {
        self.stopped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Panics at the first that it hears.
struct Nervous;

impl Gossiper for Nervous {
    async fn listen(&self, _worker: Config, mut gossips: Gossips) {
        gossips.next().await;
        resume_unwind(Box::new("a gossiper that panics, on purpose"));
    }
}

fn counts(tally: &Tally) -> [u64; 5] {
    tally.results().map(|(_, count)| count)
}

#[tokio::test]
async fn an_async_closure_is_a_target() {
    let seen = Rc::new(Cell::new(0));
    let target = {
        let seen = Rc::clone(&seen);
        async move || {
            // Keeps something that is not Send across an await, and lends from the closure.
            let seen = &seen;
            tokio::task::yield_now().await;
            seen.set(seen.get() + 1);
            if seen.get() == 3 { Err("three is too much") } else { Ok(seen.get()) }
        }
    };
    let tally = work(RATE, hits(4), target).await.unwrap();
    assert_eq!((counts(&tally), seen.get()), ([3, 1, 0, 0, 0], 4));
    assert_eq!(tally.failures.get(&Reason::Other), Some(&1));
}

#[tokio::test]
async fn a_closure_may_ask_for_the_number_and_give_a_reason() {
    let numbers = Rc::new(RefCell::new(Vec::new()));
    let target = {
        let numbers = Rc::clone(&numbers);
        numbered(async move |number| {
            numbers.borrow_mut().push(number);
            if number == 1 { Err(Failure::new(Reason::Timeout, "too late")) } else { Ok(number) }
        })
    };
    let tally = work(RATE, hits(3), target).await.unwrap();
    assert_eq!(*numbers.borrow(), [0, 1, 2]);
    assert_eq!((tally.ok, tally.failures.get(&Reason::Timeout)), (2, Some(&1)));
}

#[tokio::test]
async fn rates_are_a_seconds_or_a_minutes() {
    assert_eq!(work(Rate::per_second(20), ms(200), pong).await.unwrap().planned(), 4);
    assert_eq!(work(Rate::per_minute(1200), ms(200), pong).await.unwrap().planned(), 4);
    assert_ne!(Rate::per_second(1), Rate::per_minute(60), "what was said is kept");
}

#[tokio::test]
async fn hits_are_due_at_equal_distances_and_the_first_at_once() {
    let notes = Arc::new(Notes::default());
    let begin = Instant::now();
    // A rate that doesn't divide the duration: four hits fit, and the rate is kept.
    Worker::hire("even", pong).gossips(Arc::clone(&notes)).work(RATE, ms(249)).await.unwrap();
    assert!(begin.elapsed() >= ms(249), "it works for the whole duration");
    let dues: Vec<_> = notes
        .heard()
        .iter()
        .filter_map(|gossip| if let Gossip::BeforeTarget(due) = gossip { Some(due.at) } else { None })
        .collect();
    assert_eq!(dues.len(), 4);
    assert!(dues[0] - begin < ms(50));
    assert!(dues.windows(2).all(|pair| pair[1] - pair[0] == ms(50)), "{dues:?}");
}

#[tokio::test]
async fn what_is_invalid_is_refused() {
    #[track_caller]
    fn check(refused: Result<Tally, Error>, expect: &str, is: impl Fn(&Error) -> bool) {
        let error = refused.unwrap_err();
        assert!(is(&error), "{error:?}");
        assert_eq!(error.to_string(), expect);
    }
    let hired = Worker::hire("joe", async || -> Result<&str, &str> { panic!("it was hit") });
    check(
        hired.work(Rate::per_second(0), hits(1)).await,
        "invalid rate: 0 a second: from 1 a minute to 1000000 a second",
        |error| matches!(error, Error::InvalidRate { .. }),
    );
    check(
        hired.work(Rate::per_minute(u64::MAX), hits(1)).await,
        "invalid rate: 18446744073709551615 a minute: from 1 a minute to 1000000 a second",
        |error| matches!(error, Error::InvalidRate { .. }),
    );
    check(
        hired.work(RATE, ms(49)).await,
        "invalid duration: 49ms at 20 a second: long enough for one hit, and at most 30 days",
        |error| matches!(error, Error::InvalidDuration { .. }),
    );
    for duration in [Duration::ZERO, Duration::MAX] {
        assert!(matches!(hired.work(RATE, duration).await, Err(Error::InvalidDuration { .. })));
    }
    check(
        Worker::new("joe").work(RATE, hits(1)).await,
        "target is missing: the worker joe needs something to hit",
        |error| matches!(error, Error::MissingTarget { worker } if worker == "joe"),
    );
    check(
        Worker::hire("joe", pong).overtime(0).work(RATE, hits(1)).await,
        "invalid overtime: 0 of the worker joe: at least 1 hit has to be let into flight",
        |error| matches!(error, Error::InvalidOvertime { worker } if worker == "joe"),
    );
    assert!(!hired.config().busy, "who did not begin is not busy");
}

#[tokio::test]
async fn a_worker_that_works_is_busy_until_its_gossipers_have_stopped() {
    /// Looks, when it stops, whether the second call was refused.
    struct Slow(Arc<AtomicBool>, Notify);
    impl Gossiper for Slow {
        async fn listen(&self, _worker: Config, mut gossips: Gossips) {
            while gossips.next().await.is_some() {}
            self.1.notified().await;
        }
        async fn stop(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let stopped = Arc::new(AtomicBool::new(false));
    let slow = Arc::new(Slow(Arc::clone(&stopped), Notify::new()));
    let worker = Worker::hire("joe", pong).gossips(Arc::clone(&slow));
    let (worked, ()) = tokio::join!(worker.work(RATE, hits(1)), async {
        assert!(worker.config().busy);
        // Once the work is done, and only the gossiper is not.
        tokio::time::sleep(ms(100)).await;
        let refused = soon(worker.work(RATE, hits(1))).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "worker is busy: joe works already: hire another, or wait until it has finished"
        );
        assert!(matches!(refused, Error::WorkerIsBusy { worker } if worker == "joe"));
        assert!(!stopped.load(Ordering::SeqCst));
        slow.1.notify_one();
    });
    worked.unwrap();
    assert!(stopped.load(Ordering::SeqCst));
    assert!(!worker.config().busy);
    slow.1.notify_one();
    assert_eq!(worker.work(RATE, hits(1)).await.unwrap().ok, 1, "it works again");
}

#[tokio::test]
async fn a_config_is_a_copy_of_the_settings() {
    let plain = Config {
        name: String::from("joe"),
        overtime: 1_000_000,
        when_busy: WhenBusy::Cancel,
        arrivals: Arrivals::Even,
        grace: Duration::from_secs(10),
        gossipers: 0,
        busy: false,
    };
    assert_eq!(Worker::hire("joe", pong).config(), plain);
    let worker = Worker::hire("joe", pong)
        .overtime(7)
        .when_busy(WhenBusy::Wait)
        .arrivals(Arrivals::Poisson)
        .grace(ms(5))
        .gossips(Notes::default())
        .gossips(Notes::default());
    let config = worker.config();
    let expect = Config {
        overtime: 7,
        when_busy: WhenBusy::Wait,
        arrivals: Arrivals::Poisson,
        grace: ms(5),
        gossipers: 2,
        ..plain
    };
    assert_eq!(config, expect);
    worker.work(RATE, hits(1)).await.unwrap();
    assert_eq!(config, expect);
}

#[tokio::test]
async fn hits_beyond_overtime_are_canceled_counted_and_told() {
    let notes = Arc::new(Notes::default());
    let slow = async || {
        tokio::time::sleep(hits(20)).await;
        Ok::<_, String>("done")
    };
    let worker = Worker::hire("joe", slow).overtime(2).gossips(Arc::clone(&notes));
    let tally = worker.work(RATE, hits(6)).await.unwrap();
    assert_eq!(counts(&tally), [2, 0, 4, 0, 0]);
    assert_eq!(
        notes.said(),
        [["after-target: done"; 2], ["before-target"; 2], ["canceled"; 2], ["canceled"; 2]].concat()
    );
}

#[tokio::test]
async fn hits_that_wait_are_blocked_and_catch_up() {
    let target = numbered(async |number| {
        tokio::time::sleep(if number == 0 { hits(3) } else { Duration::ZERO }).await;
        Ok::<_, String>(number)
    });
    let worker = Worker::hire("joe", target).overtime(1).when_busy(WhenBusy::Wait);
    let tally = worker.work(RATE, hits(12)).await.unwrap();
    assert_eq!(counts(&tally), [12, 0, 0, 0, 0]);
    assert!((hits(1)..hits(4)).contains(&tally.blocked.max()), "{:?}", tally.blocked.max());
}

#[tokio::test]
async fn a_panicking_target_is_a_failed_hit() {
    /// Panics before there is a future.
    struct Rash;
    impl Target for Rash {
        fn hit(&self, number: u64) -> impl Future<Output = Outcome> {
            if number == 0 {
                // Without a word, as a backtrace takes longer than there is between hits.
                resume_unwind(Box::new("a target that panics, on purpose"));
            }
            async { Outcome::default() }
        }
    }
    let notes = Arc::new(Notes::default());
    let alone = Worker::hire("alone", Rash).work(RATE, hits(2)).await.unwrap();
    let overheard = Worker::hire("overheard", Rash).gossips(Arc::clone(&notes)).work(RATE, hits(2)).await.unwrap();
    for tally in [alone, overheard] {
        assert_eq!((counts(&tally), tally.failures.get(&Reason::Panic)), ([1, 1, 0, 0, 0], Some(&1)));
    }
    assert_eq!(
        notes.said(),
        ["after-target", "after-target: panic: the target panicked", "before-target", "before-target"]
    );
}

#[tokio::test]
async fn cancellation_reaches_the_target_when_grace_is_over() {
    let endless = Endless::default();
    let notes = Arc::new(Notes::default());
    let worker = Worker::hire("joe", endless.clone()).grace(ms(20)).gossips(Arc::clone(&notes));
    let tally = worker.work(RATE, hits(3)).await.unwrap();
    assert_eq!((counts(&tally), tally.failures.get(&Reason::Deadline)), ([0, 3, 0, 0, 0], Some(&3)));
    assert_eq!((endless.begun.get(), endless.dropped.get()), (3, 3));
    // The end of a hit that is cut is told as well.
    let cut = "after-target: deadline: still in flight when grace was over";
    assert_eq!(notes.said(), [[cut; 3], ["before-target"; 3]].concat());
    assert_eq!(notes.stops(), 1);
}

#[tokio::test]
async fn cancellation_reaches_the_target_when_the_work_is_dropped() {
    let endless = Endless::default();
    let (ended, heard) = tokio::sync::oneshot::channel();
    /// Says what it has heard when it is stopped.
    struct Last(Notes, Mutex<Option<tokio::sync::oneshot::Sender<Vec<String>>>>);
    impl Gossiper for Last {
        async fn listen(&self, worker: Config, gossips: Gossips) {
            self.0.listen(worker, gossips).await;
        }
        async fn stop(&self) {
            let ended = self.1.lock().unwrap().take();
            ended.unwrap().send(self.0.said()).unwrap();
        }
    }
    let worker = Worker::hire("joe", endless.clone()).gossips(Last(Notes::default(), Mutex::new(Some(ended))));
    let dropped = tokio::time::timeout(ms(75), worker.work(RATE, Duration::from_secs(600))).await;
    assert!(dropped.is_err());
    assert!(endless.begun.get() > 0);
    assert_eq!(endless.begun.get(), endless.dropped.get());
    assert!(!worker.config().busy);
    let heard = heard.await.unwrap();
    let begun = endless.begun.get() as usize;
    assert_eq!(heard[..begun], vec!["after-target: other: stopped in flight"; begun]);
    assert_eq!(heard[begun..], vec!["before-target"; begun]);
}

#[tokio::test]
async fn gossip_tells_of_each_hit_before_and_after_with_result_or_error() {
    let notes = Arc::new(Notes::default());
    let target = numbered(async |number| {
        tokio::time::sleep(ms(10)).await;
        if number == 1 { Err(String::from("out of stock")) } else { Ok(format!("sold {number}")) }
    });
    let worker = Worker::hire("shop", target).gossips(Arc::clone(&notes));
    let tally = worker.work(RATE, hits(3)).await.unwrap();
    assert_eq!(counts(&tally), [2, 1, 0, 0, 0]);
    let mut begun = Vec::new();
    let mut ends = Vec::new();
    for gossip in notes.heard() {
        match gossip {
            Gossip::BeforeTarget(due) => begun.push(due),
            Gossip::AfterTarget { number, ended } => {
                let due = begun.iter().find(|due| due.number == number).expect("its beginning was told before");
                assert_eq!(ended.due, due.at);
                assert!(ended.due <= ended.start && ended.start < ended.end);
                assert!(ended.service() >= ms(10) && ended.response() >= ended.service());
                ends.push((number, ended.outcome));
            }
            Gossip::Canceled(_) => panic!("none is canceled"),
        }
    }
    assert_eq!((begun.len(), ends.len()), (3, 3));
    ends.sort_by_key(|(number, _)| *number);
    assert_eq!(ends[0].1.answer.as_ref().map(ToString::to_string).as_deref(), Some("sold 0"));
    assert_eq!(ends[1].1.failure, Some(Failure::new(Reason::Other, "out of stock")));
    assert_eq!(ends[2].1.answer.as_ref().map(ToString::to_string).as_deref(), Some("sold 2"));
    let config = notes.workers.lock().unwrap().pop().unwrap();
    assert_eq!(config, Config { busy: true, ..worker.config() });
}

#[tokio::test]
async fn a_gossiper_that_falls_behind_slows_the_worker_and_loses_nothing() {
    /// Hears nothing until it may.
    struct Late(Notes, Notify);
    impl Gossiper for Late {
        async fn listen(&self, worker: Config, gossips: Gossips) {
            self.1.notified().await;
            self.0.listen(worker, gossips).await;
        }
    }
    let late = Arc::new(Late(Notes::default(), Notify::new()));
    let begun = Rc::new(Cell::new(0));
    let target = {
        let begun = Rc::clone(&begun);
        async move || {
            begun.set(begun.get() + 1);
            Ok::<_, String>("pong")
        }
    };
    // There is room for two seconds of hits, and for 64 at the least.
    let worker = Worker::hire("joe", target).gossips(Arc::clone(&late));
    let (tally, ()) = tokio::join!(worker.work(Rate::per_second(40), ms(2250)), async {
        tokio::time::sleep(ms(2400)).await;
        assert_eq!(begun.get(), 80, "no hit begins that could not be told");
        late.1.notify_one();
    });
    assert_eq!((tally.unwrap().planned(), late.0.heard().len()), (90, 180));
    begun.set(0);

    let (tally, ()) = tokio::join!(worker.work(Rate::per_second(20), ms(4000)), async {
        tokio::time::sleep(ms(4200)).await;
        assert_eq!(begun.get(), 64, "no hit begins that could not be told");
        late.1.notify_one();
    });
    let tally = tally.unwrap();
    assert_eq!((counts(&tally), begun.get()), ([80, 0, 0, 0, 0], 80));
    assert_eq!(late.0.heard().len(), 180 + 160);
    assert!(tally.service.max() < ms(100), "the target is not blamed: {:?}", tally.service.max());
    assert!(tally.lag.max() > ms(200), "the generator is: {:?}", tally.lag.max());
}

#[tokio::test]
async fn a_gossiper_that_leaves_stops_nothing() {
    struct Bored;
    impl Gossiper for Bored {
        async fn listen(&self, _worker: Config, _gossips: Gossips) {}
    }
    let notes = Arc::new(Notes::default());
    let worker = Worker::hire("joe", pong).gossips(Bored).gossips(Arc::clone(&notes));
    assert_eq!(worker.work(RATE, hits(2)).await.unwrap().ok, 2);
    assert_eq!((notes.heard().len(), notes.stops()), (4, 1));
}

#[tokio::test]
async fn a_gossiper_that_panics_stops_its_worker() {
    let endless = Endless::default();
    let worker = Worker::hire("joe", endless.clone()).gossips(Nervous);
    let error = soon(worker.work(RATE, Duration::from_secs(600))).await.unwrap_err();
    assert_eq!(error.to_string(), "a gossiper of the worker joe panicked");
    assert!(endless.begun.get() > 0);
    assert_eq!(endless.begun.get(), endless.dropped.get());
}

#[tokio::test]
async fn each_worker_of_a_farm_has_the_whole_rate_and_they_take_turns() {
    let notes = Arc::new(Notes::default());
    let workers: Vec<_> =
        (0..5).map(|number| Worker::hire(format!("#{number}"), pong).gossips(Arc::clone(&notes))).collect();
    let tallies = farm(RATE, hits(3), &workers).await.unwrap();
    assert_eq!(tallies.iter().map(|tally| tally.ok).collect::<Vec<_>>(), [3; 5]);
    let heard = notes.heard();
    let mut dues: Vec<_> =
        heard.iter().filter_map(|g| if let Gossip::BeforeTarget(due) = g { Some(due.at) } else { None }).collect();
    dues.sort();
    let gaps: Vec<_> = dues.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // To the nanosecond that phases are rounded to.
    assert!(gaps.iter().all(|gap| gap.abs_diff(ms(10)) <= Duration::from_nanos(100)), "{gaps:?}");
    assert_eq!(notes.stops(), 5);
}

#[tokio::test]
async fn of_a_farm_none_begins_when_one_cannot() {
    let workers = [Worker::hire("able", async || -> Result<&str, &str> { panic!("it was hit") }), Worker::new("idle")];
    let error = soon(farm(RATE, Duration::from_secs(600), &workers)).await.unwrap_err();
    assert!(matches!(error, Error::MissingTarget { worker } if worker == "idle"));
    assert!(!workers[0].config().busy);
}

#[tokio::test]
async fn when_one_of_a_farm_fails_all_are_canceled() {
    let endless = Endless::default();
    let notes = Arc::new(Notes::default());
    let workers = [
        Worker::hire("steady", endless.clone()).gossips(Arc::clone(&notes)),
        Worker::hire("nervous", numbered(async |_| Ok::<_, String>("pong"))).gossips(Nervous),
    ];
    let error = soon(farm(RATE, Duration::from_secs(600), &workers)).await.unwrap_err();
    assert!(matches!(error, Error::GossiperPanicked { worker } if worker == "nervous"));
    assert!(endless.begun.get() > 0);
    assert_eq!(endless.begun.get(), endless.dropped.get());
    let begun = endless.begun.get() as usize;
    assert_eq!(notes.said()[..begun], vec!["after-target: other: stopped in flight"; begun]);
    assert_eq!(notes.stops(), 1, "gossipers of the others are stopped in order");
    assert!(workers.iter().all(|worker| !worker.config().busy));
}

#[tokio::test]
async fn a_force_farms_as_many_workers_as_it_is_told() {
    let notes = Arc::new(Notes::default());
    let endless = Endless::default();
    let offer = |worker: Worker| worker.overtime(2).grace(Duration::ZERO).gossips(Arc::clone(&notes));
    let force = force(RATE, hits(3), endless.clone()).offers(offer);
    let tally = force.of(3).await.unwrap();
    // Overtime is each worker's own.
    assert_eq!((counts(&tally), endless.begun.get()), ([0, 6, 3, 0, 0], 6));
    let mut names: Vec<_> = notes.workers.lock().unwrap().iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["force #0", "force #1", "force #2"]);
    assert_eq!(force.of(0).await.unwrap().planned(), 0);
}

/// Runs an example, and gives back what it said.
#[track_caller]
fn example(name: &str) -> String {
    let built = Path::new(env!("CARGO_BIN_EXE_canihaz")).with_file_name("examples").join(name);
    let output = Command::new(&built)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --examples` makes it", built.display()));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_first_worker_says_what_it_found() {
    let said = example("first_worker");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("baker: ") && lines[0].ends_with(" 1 failed, 0 canceled"), "{said}");
    assert_eq!(lines[1], "  1 failed: other");
    assert!(lines[2].starts_with("  half took at most ") && lines[5].starts_with("  the longest took "), "{said}");
}

#[test]
fn the_example_farm_with_gossips_tells_what_was_heard() {
    let said = example("farm_with_gossips");
    for line in ["browse: 10 ok, 0 failed, 0 canceled", "10 × browse: after-target: a page"] {
        assert!(said.lines().any(|l| l == line), "{said}");
    }
    assert!(said.contains("× pay: after-target: other: card declined") && said.contains("× pay: canceled"), "{said}");
}

#[test]
fn the_example_http_target_counts_failures_and_bytes() {
    let said = example("http_target");
    for line in ["40 requests: 30 ok, 10 failed", "  10 failed: status"] {
        assert!(said.lines().any(|l| l == line), "{said}");
    }
    assert!(said.contains(" bytes received, "), "{said}");
}
