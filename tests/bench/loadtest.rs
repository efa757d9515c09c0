//! Measures what journeys cost: the processor's time of the runner and of its guard, by journey, with one load test that
//! is hit 1,000 times a second, a request a journey; counted at nginx. What the load test itself takes is told beside it.

#[path = "../it/parts/mod.rs"]
#[expect(dead_code, reason = "of the tests' parts only some are needed here")]
mod parts;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parts::deadline::{eventually, seconds};
use parts::load_test::example;
use parts::nginx::Nginx;
use parts::processes::{guard, marked, numbers, read};
use parts::run::Run;
use parts::sandbox::Sandbox;

/// Journeys a second.
const RATE: f64 = 1_000.0;
/// For how many seconds they are measured, and what comes before that: a start, and a second that warms up.
const SECONDS: f64 = 20.0;
const BEFORE: f64 = 3.0;
/// Threads that take less, in µs a journey, aren't shown.
const SHOWN: f64 = 0.05;
/// The longest wait for what has to come.
const BOUND: Duration = Duration::from_secs(20);
/// What all hits are for.
const PATH: &str = "/shop/4711";

fn main() {
    wait_for_mid_minute(BEFORE + SECONDS + 1.0);
    let (nginx, sandbox) = (Nginx::start(), Sandbox::new());
    let mark = sandbox.path("").display().to_string();
    let binary = example("magnum_api").get_program().to_owned();
    let text = format!(
        "kind = \"loadtest\"\nbinary = {binary:?}\nargs = [{:?}]\nenv = {{ MARK = {mark:?} }}\novertime = 100\n",
        nginx.url(PATH)
    );
    sandbox.write("types.d/shop.toml", text);
    sandbox.out();
    // Dealt out over what is left of the minute.
    let frequency = (59.9 - second()) * RATE;
    sandbox.test(&format!("a|shop|{frequency:.0}|out"));
    let run = Run::start(sandbox.runner(), &sandbox.path(""), "run");
    eventually("hits", BOUND, || (nginx.count_now(PATH) > 0).then_some(()));
    let program = marked(&sandbox.path(""))[0];
    let guard = guard(&run).expect("it has a guard");
    let runner = run.id() as i32;
    thread::sleep(seconds(1.0));

    let look = || [runner, guard, program].map(used);
    let (begin, before, journeys) = (SystemTime::now(), look(), nginx.count_now(PATH));
    thread::sleep(seconds(SECONDS));
    let (after, journeys) = (look(), nginx.count_now(PATH) - journeys);
    let took = begin.elapsed().expect("the clock goes on").as_secs_f64();
    let ended = run.wait(BOUND + seconds(60.0));

    let each = |used: Duration| used.as_secs_f64() * 1e6 / journeys as f64;
    let sum = |who: usize| after[who].values().sum::<Duration>() - before[who].values().sum::<Duration>();
    let [of_runner, of_guard, of_program] = [0, 1, 2].map(|who| each(sum(who)));
    println!("journeys a second, at nginx                {:>9.0}", journeys as f64 / took);
    println!("the agent, µs of a processor (goal: 100)   {:>9.1}", of_runner + of_guard);
    println!("  of which the guard                       {:>9.1}", of_guard);
    for (name, used) in &after[0] {
        let used = each(*used - before[0].get(name).copied().unwrap_or_default());
        if used > SHOWN {
            println!("  of which the thread {name:<16}     {used:>9.1}");
        }
    }
    println!("the load test itself                       {:>9.1}", of_program);
    let results = sandbox.results();
    for (name, count) in [("ok", results.total("a", "ok")), ("requests", results.work("a", "requests"))] {
        println!("{name:<43}{count:>9}");
    }
    println!("{:<43}{:>9}", "at nginx", nginx.hits().len());
    let [.., last] = results.of("a")[..] else { panic!("no results: {}", ended.stderr) };
    let route =
        &last["routes"].as_object().expect("there are requests").values().next().expect("of one route")["duration"];
    println!("ms                                          median     p99");
    for (name, of) in [("response", &last["response"]), ("service", &last["service"]), ("the request", route)] {
        let ms = |which: &str| of[which].as_f64().expect("it was measured") * 1e3;
        println!("{name:<43}{:>7.3} {:>7.3}", ms("p50"), ms("p99"));
    }
}

/// What the threads of a process have used of processors so far, by name; those that have ended aren't there.
fn used(process: i32) -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    for task in numbers(&format!("/proc/{process}/task")) {
        let name = read(process, &format!("task/{task}/comm")).trim().to_owned();
        // In nanoseconds, where a clock tick is ten milliseconds.
        let used = read(process, &format!("task/{task}/schedstat"));
        let used = used.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        *threads.entry(name).or_default() += Duration::from_nanos(used);
    }
    threads
}

/// Waits, if need be, for a second that leaves `room` seconds before the minute's end.
fn wait_for_mid_minute(room: f64) {
    if second() > 59.0 - room {
        thread::sleep(seconds(60.5 - second()));
    }
}

/// The second of the wall clock's minute.
fn second() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64() % 60.0
}
