//! Journeys and requests, to the hit, and how long they took.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{arrived, built, end, expect_counted, expect_processes, load_test, odd, routes, run, sandbox, script};
use crate::parts::clock::Clock;
use crate::parts::nginx::Nginx;
use crate::parts::odd::{Odd, read_request};
use crate::parts::processes::is_over;
use crate::parts::results::Results;
use crate::parts::sandbox::Sandbox;

/// The example in Python.
const EXAMPLE: &str = "../../examples/magnum_api.py";
/// How long the slow backend takes.
const SLOW: Duration = Duration::from_millis(200);
/// In how many minutes they are looked at, at most.
const MINUTES: usize = 3;
/// How long a call may take in programs that are not optimized, in seconds.
const UNOPTIMIZED: f64 = 0.01;

/// Runs the type `front` against nginx, and expects that what arrived is what was counted.
#[track_caller]
fn is_counted_at(nginx: &Nginx, sandbox: &Sandbox) {
    sandbox.test("a|front|240|out");
    let (results, ended) = run(sandbox, 54.0, 0.0);
    ended.expect_silence();
    let ok = expect_counted(&results, "a", 240, nginx);
    assert!(ok > 40, "{results}");
    assert_eq!(results.total("a", "failed"), 0, "{results}");
    assert_eq!((results.work("a", "request_errors"), results.work("a", "restarts")), (0, 0), "{results}");
}

/// A backend that takes 200 ms, where it is, and how long it has taken for each request.
fn slow() -> (Odd, String, Arc<Mutex<Vec<Duration>>>) {
    let took = Arc::<Mutex<Vec<Duration>>>::default();
    let kept = Arc::clone(&took);
    let odd = Odd::start(move |stream| {
        loop {
            read_request(stream)?;
            let begin = Instant::now();
            thread::sleep(SLOW);
            kept.lock().unwrap().push(begin.elapsed());
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").ok()?;
        }
    });
    let url = format!("http://127.0.0.1:{}/slow/1", odd.port());
    (odd, url, took)
}

/// The median of `field` of a test, in seconds.
#[track_caller]
fn median(results: &Results, test: &str, field: &str) -> f64 {
    let [summary] = results.of(test)[..] else { panic!("one interval\n{results}") };
    let median = match field {
        "routes" => &summary["routes"].as_object().unwrap().values().next().unwrap()["duration"]["p50"],
        field => &summary[field]["p50"],
    };
    median.as_f64().unwrap()
}

#[test]
fn the_example_in_rust_is_counted_to_the_hit() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    load_test(&sandbox, "front", &built("magnum_api"), &[&nginx.url("/shop/4711?q=1")], "overtime = 4\n");
    is_counted_at(&nginx, &sandbox);
}

#[test]
fn the_example_in_python_is_counted_to_the_hit() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    load_test(&sandbox, "front", &script(&sandbox, EXAMPLE), &[&nginx.url("/shop/4711?q=1")], "overtime = 4\n");
    is_counted_at(&nginx, &sandbox);
}

#[test]
fn each_step_of_a_journey_is_a_route_and_no_id_is_in_a_summary() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "front", &nginx.url(""), "steps=3", "overtime = 4\n");
    is_counted_at(&nginx, &sandbox);
    let names: Vec<_> = routes(&sandbox.results(), "a").into_keys().collect();
    assert_eq!(names, ["/a/:id", "/b/:id", "/c/:id"]);
    let told = std::fs::read_to_string(sandbox.path("out.jsonl")).unwrap();
    for hit in nginx.hits() {
        let id = hit.uri.split(['/', '?']).nth(2).unwrap();
        assert!(id.len() == 36 && !told.contains(id), "{id}");
    }
}

#[test]
fn medians_are_those_of_a_backend_that_takes_200_ms() {
    // What else the machine does makes them longer, never shorter: of several minutes one is enough.
    let off: Vec<_> = (0..MINUTES).map_while(|_| medians_that_are_off()).collect();
    assert!(off.len() < MINUTES, "{off:?}");
}

/// Runs the examples in Rust and in Python against a slow backend; tells of medians that aren't the backend's.
#[track_caller]
fn medians_that_are_off() -> Option<String> {
    let sandbox = sandbox();
    let programs = [("a", built("magnum_api"), slow()), ("b", script(&sandbox, EXAMPLE), slow())];
    for (test, program, (_, url, _)) in &programs {
        load_test(&sandbox, test, program, &[url], "overtime = 3\n");
        sandbox.test(&format!("{test}|{test}|60|out"));
    }
    let (results, ended) = run(&sandbox, 55.0, 1.0);
    ended.expect_silence();
    let mut off = String::new();
    for (test, _, (_, _, took)) in &programs {
        let mut took = took.lock().unwrap().clone();
        took.sort();
        results.expect_planned(test, 60);
        let (ok, asked) = (results.total(test, "ok"), took.len() as u64);
        assert!(ok > 20 && ok == asked && routes(&results, test)["/slow/:id"] == asked, "{asked} {results}");
        // By its own clock: what sleeps is woken late where others work.
        let expected = took[took.len() / 2].as_secs_f64();
        // Of a hit it is also the call; what is not optimized, as the tests aren't, takes some milliseconds for that.
        for (field, call) in [("routes", 0.0), ("service", UNOPTIMIZED), ("response", UNOPTIMIZED)] {
            let median = median(&results, test, field);
            if !(expected * 0.99 - 0.001..=expected * 1.01 + 0.001 + call).contains(&median) {
                off += &format!("{field} of {test} {median}, and the backend took {expected}; ");
            }
        }
    }
    (!off.is_empty()).then_some(off)
}

#[test]
fn two_hundred_journeys_a_second_through_one_program_are_all_counted() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    load_test(&sandbox, "front", &built("magnum_api"), &[&nginx.url("/shop/1")], "overtime = 100\n");
    // Ten times as much, once there are but seconds left.
    sandbox.test("a|front|20/s|out");
    let clock = Clock::at(54.0);
    let begun = sandbox.start(&clock);
    let [program] = expect_processes(&sandbox, 1)[..] else { unreachable!() };
    let (results, ended) = end(&sandbox, begun, &clock, 1.0);
    ended.expect_silence();
    let ok = expect_counted(&results, "a", 1200, &nginx);
    assert!(ok > 500, "{results}");
    assert_eq!(results.total("a", "failed"), 0, "{results}");
    assert!(is_over(program));
}

#[test]
fn two_load_tests_at_once_are_two_programs() {
    let (one, other, sandbox) = (Nginx::start(), Nginx::start(), sandbox());
    odd(&sandbox, "one", &one.url(""), "steps=2", "");
    odd(&sandbox, "other", &other.url(""), "", "");
    sandbox.test("a|one|120|out");
    sandbox.test("b|other|240|out");
    let clock = Clock::at(54.0);
    let begun = sandbox.start(&clock);
    expect_processes(&sandbox, 2);
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_silence();
    for (test, planned, nginx) in [("a", 120, &one), ("b", 240, &other)] {
        assert!(expect_counted(&results, test, planned, nginx) > 20, "{results}");
    }
}

#[test]
fn two_tests_of_one_type_are_two_programs() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "front", &nginx.url(""), "", "");
    for test in ["a", "b"] {
        sandbox.test(&format!("{test}|front|120|out"));
    }
    let clock = Clock::at(54.0);
    let begun = sandbox.start(&clock);
    expect_processes(&sandbox, 2);
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_silence();
    let counts = ["a", "b"].map(|test| {
        results.expect_planned(test, 120);
        let ok = results.total(test, "ok");
        assert_eq!(results.work(test, "requests"), ok, "{results}");
        assert!(ok > 20, "{results}");
        ok
    });
    assert_eq!(arrived(&nginx).values().sum::<u64>(), counts.iter().sum::<u64>());
}

#[test]
fn journeys_that_fail_or_panic_are_failed_hits_and_their_requests_count() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "panics", &nginx.url("/p"), "panic_at=3", "");
    odd(&sandbox, "fails", &nginx.url("/f"), "fail_at=2", "");
    odd(&sandbox, "refused", &nginx.url("/500?"), "", "");
    for (test, of_type) in [("a", "panics"), ("b", "fails"), ("c", "refused")] {
        sandbox.test(&format!("{test}|{of_type}|120|out"));
    }
    let (results, ended) = run(&sandbox, 54.0, 0.0);
    ended.expect_code(0);
    for (test, reason, each) in [("a", "panic", 3), ("b", "other", 2), ("c", "status", 1)] {
        results.expect_planned(test, 120);
        let [ok, failed] = ["ok", "failed"].map(|count| results.total(test, count));
        assert!(ok + failed > 20, "{results}");
        assert_eq!(failed, (ok + failed) / each, "{results}");
        assert_eq!(results.failures(test, reason), failed, "{results}");
        assert_eq!(results.work(test, "requests"), ok + failed, "{results}");
        assert_eq!(results.work(test, "restarts"), 0, "{results}");
    }
    let requests: u64 = ["a", "b", "c"].iter().map(|test| results.work(test, "requests")).sum();
    assert_eq!(nginx.hits().len() as u64, requests);
    assert!(ended.stderr.contains("on purpose"), "{}", ended.stderr);
}
