//! Nothing measured is lost, and nothing arrives twice: receivers that are down, runs that are killed, full disks.

use std::fs;
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::parts::carbon::Carbon;
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::namespace;
use crate::parts::nginx::Nginx;
use crate::parts::results::Results;
use crate::parts::run::Ended;
use crate::parts::sandbox::{Sandbox, sandbox};
use crate::parts::server::free_tcp_port;
use crate::parts::sink::Hanging;
use crate::parts::target::{Answer, Target};

/// How long sending may go on after the last hit, in seconds, unless canihaz.toml says otherwise.
const SEND_FOR: f64 = 5.0;

/// The files that wait in the spool, of any destination.
fn spooled(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = sandbox.files("state/spool");
    files.retain(|file| file.iter().any(|folder| folder == "new"));
    files
}

#[test]
fn graphite_round_trip() {
    let nginx = Nginx::start();
    let carbon = Carbon::start("10s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|carbon");
    sandbox.write("canihaz.toml", "host = \"web1.example.com\"\n");
    sandbox.carbon(carbon.port, "every = \"10s\"\n");
    let clock = Clock::at(40.0);
    sandbox.start(&clock).succeed(30.0);
    let arrived = nginx.seconds("/a", &clock);
    assert_eq!(arrived.len(), 300);

    let before = arrived.iter().filter(|second| **second < 50.0).count() as f64;
    let path = "canihaz.web1_example_com.a";
    carbon.expect_sum(&format!("{path}.hits.ok"), &clock, 300.0);
    // A hit that ends as the interval does may be counted in either.
    let points = carbon.points(&format!("{path}.hits.ok"), &clock);
    assert!((points[0].1 - before).abs() <= 1.0, "{points:?}, {before} before second 50");
    carbon.expect_points(&format!("{path}.hits.ok"), &clock, &[(40, points[0].1), (50, 300.0 - points[0].1)]);
    carbon.expect_points(&format!("{path}.hits.failed"), &clock, &[(40, 0.0), (50, 0.0)]);
    carbon.expect_points(&format!("{path}.hits.planned"), &clock, &[(40, points[0].1), (50, 300.0 - points[0].1)]);
    for latency in ["response", "service", "lag", "blocked"] {
        let p99 = carbon.points(&format!("{path}.{latency}.p99"), &clock);
        assert!(p99.len() == 2 && p99.iter().all(|(_, ms)| (0.0..1000.0).contains(ms)), "{latency}: {p99:?}");
    }
    let last_run = carbon.points("canihaz.web1_example_com._runner.last_run", &clock);
    assert_eq!(last_run.last().map(|(_, value)| *value as i64), Some(clock.epoch()), "{last_run:?}");
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn graphite_keeps_one_exact_point_a_minute() {
    let nginx = Nginx::start();
    let carbon = Carbon::start("60s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|carbon");
    sandbox.carbon(carbon.port, "");
    let clock = Clock::at(45.0);
    sandbox.start(&clock).succeed(25.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
    carbon.expect_points("canihaz.box.a.hits.ok", &clock, &[(0, 300.0)]);
}

#[test]
fn graphite_down_for_a_minute_nothing_lost() {
    let nginx = Nginx::start();
    let port = free_tcp_port();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|carbon");
    sandbox.carbon(port, "");
    let first = Clock::at(48.0);
    let ended = sandbox.start(&first).wait(seconds(12.0 + SEND_FOR + 2.0));
    ended.expect_code(0);
    assert_eq!(nginx.seconds("/a", &first).len(), 200, "the tests are unaffected");
    assert!(!spooled(&sandbox).is_empty());

    let carbon = Carbon::start_on(port, "60s");
    let second = Clock::in_minute(1, 48.0);
    sandbox.start(&second).succeed(12.0 + SEND_FOR + 2.0);
    carbon.expect_points("canihaz.box.a.hits.ok", &first, &[(0, 200.0), (60, 200.0)]);
    assert_eq!(nginx.hits().len(), 400);
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn graphite_back_within_the_minute_gets_all() {
    let nginx = Nginx::start();
    let port = free_tcp_port();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|carbon");
    sandbox.settings("interval = \"5s\"\n");
    sandbox.carbon(port, "every = \"5s\"\n");
    let clock = Clock::at(42.0);
    let run = sandbox.start(&clock);
    clock.wait_for(52.0);
    let carbon = Carbon::start_on(port, "5s");
    run.wait(seconds(25.0)).expect_code(0);
    carbon.expect_sum("canihaz.box.a.hits.ok", &clock, 200.0);
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn file_destination_down_for_a_minute_nothing_lost() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|out");
    sandbox.settings("interval = \"5s\"\n");
    sandbox.destination("out", "kind = \"file\"\npath = \"../../not-mounted/out.jsonl\"\n");
    let first = Clock::at(48.0);
    sandbox.start(&first).wait(seconds(12.0 + SEND_FOR + 2.0)).expect_code(0);
    assert_eq!(nginx.seconds("/a", &first).len(), 200, "the tests are unaffected");

    fs::create_dir(sandbox.path("not-mounted")).unwrap();
    sandbox.start(&Clock::in_minute(1, 55.0)).succeed(5.0 + SEND_FOR + 2.0);
    let results = Results::read(&sandbox.path("not-mounted/out.jsonl"));
    results.expect_planned("a", 400);
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64, "{results}");
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn kill_9_between_writing_and_linking_loses_no_interval() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|out");
    sandbox.destination("out", "kind = \"file\"\npath = \"../../not-mounted/out.jsonl\"\n");
    sandbox.start(&Clock::at(55.0)).wait(seconds(5.0 + SEND_FOR + 2.0)).expect_code(0);
    // As if its run had been killed when the interval was written, and not yet linked to its destination.
    let spool = sandbox.path("state/spool");
    for file in spooled(&sandbox) {
        fs::rename(spool.join(&file), spool.join("intervals").join(file.file_name().unwrap())).unwrap();
    }

    fs::create_dir(sandbox.path("not-mounted")).unwrap();
    sandbox.start(&Clock::in_minute(1, 55.0)).succeed(5.0 + SEND_FOR + 2.0);
    let results = Results::read(&sandbox.path("not-mounted/out.jsonl"));
    results.expect_planned("a", 400);
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64, "{results}");
}

#[test]
fn kill_9_closed_intervals_are_delivered_by_the_next_run() {
    let nginx = Nginx::start();
    let carbon = Carbon::start("5s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|carbon,out");
    sandbox.settings("interval = \"5s\"\n");
    // Nobody is there to deliver to while the first run lives.
    sandbox.carbon(free_tcp_port(), "every = \"5s\"\n");
    sandbox.destination("out", "kind = \"file\"\npath = \"../../later/out.jsonl\"\n");
    let first = Clock::at(42.0);
    let run = sandbox.start(&first);
    first.wait_for(56.0);
    run.kill_9();
    let arrived = nginx.seconds("/a", &first);

    fs::create_dir(sandbox.path("later")).unwrap();
    sandbox.carbon(carbon.port, "every = \"5s\"\n");
    let second = Clock::in_minute(1, 57.0);
    sandbox.start(&second).succeed(3.0 + SEND_FOR + 2.0);
    let results = Results::read(&sandbox.path("later/out.jsonl"));
    results.expect_no_twins();
    let ok = results.ok_by_start("a");
    for (index, from) in [40.0, 45.0, 50.0].into_iter().enumerate() {
        let count = arrived.iter().filter(|second| (from..from + 5.0).contains(*second)).count() as u64;
        let told = *ok.values().nth(index).unwrap();
        assert!(told.abs_diff(count) <= 1, "from {from}: nginx saw {count}\n{results}");
    }
    let closed = arrived.iter().filter(|second| **second < 55.0).count() as u64;
    let told: u64 = ok.values().take(3).sum();
    assert!(told.abs_diff(closed) <= 1, "nginx saw {closed} before second 55\n{results}");
    carbon.expect_sum("canihaz.box.a.hits.ok", &first, told as f64);
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn kill_9_closed_intervals_reach_a_destination_that_wants_minutes() {
    let nginx = Nginx::start();
    let carbon = Carbon::start("60s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|carbon,out");
    sandbox.settings("interval = \"5s\"\n");
    sandbox.carbon(carbon.port, "");
    let first = Clock::at(47.0);
    let run = sandbox.start(&first);
    first.wait_for(56.0);
    run.kill_9();
    let second = Clock::in_minute(1, 57.0);
    sandbox.start(&second).succeed(3.0 + SEND_FOR + 2.0);
    let results = sandbox.results();
    results.expect_no_twins();
    let told: u64 = results.ok_by_start("a").values().take(2).sum();
    let both = results.total("a", "ok") as f64;
    carbon.expect_points("canihaz.box.a.hits.ok", &first, &[(0, told as f64), (60, both - told as f64)]);
}

#[test]
fn overlapping_runs_deliver_once() {
    // The first run's last hit is in flight far into the next minute, so that both deliver at the same time.
    let target = Target::start(Answer::ok(seconds(8.0)));
    let nginx = Nginx::start();
    let carbon = Carbon::start("60s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out,carbon");
    sandbox.settings("interval = \"2s\"\n");
    sandbox.carbon(carbon.port, "");
    sandbox.http("slow", &target.url("/"), "timeout = \"20s\"\n");
    sandbox.test("slow|slow|60|out,carbon");
    let clock = Clock::at(50.0);
    let first = sandbox.start(&clock);
    clock.wait_for(60.2);
    let second = sandbox.start(&clock);
    first.succeed(30.0);
    clock.wait_for(73.0);
    sandbox.write("stop", "");
    second.succeed(SEND_FOR + 2.0);

    let results = sandbox.results();
    // Both minutes, 360 hits each, to the hit, and each interval once.
    results.expect_planned("a", 600);
    results.expect_planned("slow", 120);
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64, "{results}");
    let ok = |minute: i64| {
        let within = |start: &String| chrono::DateTime::parse_from_rfc3339(start).unwrap().timestamp() / 60 == minute;
        results.ok_by_start("a").iter().filter(|(start, _)| within(start)).map(|(_, ok)| *ok as f64).sum::<f64>()
    };
    let minute = clock.epoch() / 60;
    carbon.expect_points("canihaz.box.a.hits.ok", &clock, &[(0, ok(minute)), (60, ok(minute + 1))]);
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn hanging_receiver_run_ends_in_time() {
    let nginx = Nginx::start();
    let hanging = Hanging::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|carbon,out");
    sandbox.settings("interval = \"5s\"\n");
    sandbox.carbon(hanging.port, "every = \"5s\"\n");
    let clock = Clock::at(52.0);
    sandbox.start(&clock).wait(seconds(8.0 + SEND_FOR + 2.0)).expect_code(0);
    assert!(clock.now() < 59.9 + SEND_FOR + 1.0, "it ended at second {}", clock.now());
    assert_eq!(nginx.seconds("/a", &clock).len(), 200, "the tests are unaffected");
    sandbox.results().expect_planned("a", 200);

    // What was not taken is delivered by the next run.
    let carbon = Carbon::start("5s");
    sandbox.carbon(carbon.port, "every = \"5s\"\n");
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(3.0 + SEND_FOR + 2.0);
    carbon.expect_sum("canihaz.box.a.hits.ok", &clock, 200.0);
}

#[test]
fn a_receiver_that_hangs_does_not_hold_up_the_others() {
    let nginx = Nginx::start();
    let hanging = Hanging::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|100|carbon,out");
    sandbox.settings("interval = \"5s\"\nsend_for = \"1s\"\n");
    sandbox.carbon(hanging.port, "");
    let clock = Clock::at(52.0);
    sandbox.start(&clock).wait(seconds(12.0)).expect_code(0);
    assert!(clock.now() < 62.0, "it ended at second {}", clock.now());
    sandbox.results().expect_planned("a", 100);
}

/// Runs the last seconds of a minute with a state folder on a file system that `mount` makes and fills.
fn run_on(sandbox: &Sandbox, mount: &str, clock: &Clock) -> Ended {
    let script = format!("cd \"$CANIHAZ_STATE\"; {mount}; exec {}", env!("CARGO_BIN_EXE_canihaz"));
    let mut command = namespace::shell(&script);
    for (name, value) in sandbox.runner().get_envs() {
        command.env(name, value.unwrap());
    }
    sandbox.start_command(command, clock).wait(seconds(20.0))
}

#[test]
fn full_disk_tests_go_on_exit_74() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|out");
    let clock = Clock::at(50.0);
    let mount = "mount -t tmpfs -o size=64k,mode=0700 tmpfs .; cd .; cd \"$CANIHAZ_STATE\"; \
                 head -c 100000 /dev/zero >full 2>/dev/null || true";
    let ended = run_on(&sandbox, mount, &clock);
    ended.expect_code(74);
    assert_eq!(ended.stderr.lines().count(), 1, "one clear line:\n{}", ended.stderr);
    assert!(ended.stderr.contains(&sandbox.path("state").display().to_string()), "{}", ended.stderr);
    assert_eq!(nginx.seconds("/a", &clock).len(), 200, "the tests go on");
    let results = sandbox.results();
    results.expect_planned("a", 200);
    assert_eq!(results.total("a", "ok"), 200, "what can be sent from memory is sent\n{results}");
}

#[test]
fn no_inodes_left_tests_go_on_exit_74() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|out");
    let clock = Clock::at(50.0);
    let mount = "mount -t tmpfs -o nr_inodes=1,mode=0700 tmpfs .; cd \"$CANIHAZ_STATE\"";
    let ended = run_on(&sandbox, mount, &clock);
    ended.expect_code(74);
    assert_eq!(ended.stderr.lines().count(), 1, "one clear line:\n{}", ended.stderr);
    assert_eq!(nginx.seconds("/a", &clock).len(), 200, "the tests go on");
    sandbox.results().expect_planned("a", 200);
}

#[test]
fn a_disk_that_fills_in_mid_minute_loses_nothing_that_can_be_sent() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|200|out");
    sandbox.settings("interval = \"5s\"\n");
    let clock = Clock::at(44.0);
    let mount = "mount -t tmpfs -o size=256k,mode=0700 tmpfs .; cd \"$CANIHAZ_STATE\"; \
                 (sleep 8; head -c 300000 /dev/zero >full 2>/dev/null || true) &";
    let ended = run_on(&sandbox, &mount.replace(" &", " & true"), &clock);
    ended.expect_code(74);
    assert_eq!(ended.stderr.lines().count(), 1, "one clear line:\n{}", ended.stderr);
    let results = sandbox.results();
    results.expect_planned("a", 200);
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64, "{results}");
}

#[test]
fn a_full_spool_drops_the_oldest_and_says_so() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    // Room for a few intervals of one test, not for those of two minutes.
    sandbox.settings("interval = \"1s\"\nspool_max = \"64KiB\"\n");
    sandbox.destination("out", "kind = \"file\"\npath = \"../../later/out.jsonl\"\n");
    for minute in [0, 1] {
        sandbox.start(&Clock::in_minute(minute, 48.0)).wait(seconds(12.0 + SEND_FOR + 2.0)).expect_code(0);
    }
    fs::create_dir(sandbox.path("later")).unwrap();
    sandbox.start(&Clock::in_minute(2, 57.0)).wait(seconds(12.0)).expect_code(0);
    let results = Results::read(&sandbox.path("later/out.jsonl"));
    let dropped = results.total("_runner", "spool_dropped");
    assert!(dropped > 0, "{results}");
    results.expect_no_twins();
    // What was kept is the newest.
    let starts: Vec<String> = results.ok_by_start("a").into_keys().collect();
    let first = &starts[0];
    assert!(!first.ends_with(":48Z"), "the oldest went: {starts:?}");
    assert_eq!(spooled(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn a_file_destination_that_nobody_reads_does_not_hang_the_run() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|100|out,good");
    mkfifo(&sandbox.path("fifo"), Mode::S_IRWXU).unwrap();
    sandbox.destination("out", "kind = \"file\"\npath = \"../../fifo\"\n");
    sandbox.destination("good", "kind = \"file\"\npath = \"../../good.jsonl\"\n");
    let clock = Clock::at(55.0);
    sandbox.start(&clock).wait(seconds(5.0 + SEND_FOR + 2.0)).expect_code(0);
    assert!(clock.now() < 59.9 + SEND_FOR + 1.0, "it ended at second {}", clock.now());
    Results::read(&sandbox.path("good.jsonl")).expect_planned("a", 100);
}

#[test]
fn two_destinations_of_one_test_both_get_all() {
    let nginx = Nginx::start();
    let carbon = Carbon::start("60s");
    let sandbox = sandbox(&nginx.url("/a"), "a|front|100|out,second , carbon");
    sandbox.destination("second", "kind = \"file\"\npath = \"../../second.jsonl\"\nevery = \"60s\"\n");
    sandbox.carbon(carbon.port, "");
    sandbox.settings("interval = \"5s\"\n");
    let clock = Clock::at(48.0);
    sandbox.start(&clock).succeed(20.0);
    sandbox.results().expect_planned("a", 100);
    let second = Results::read(&sandbox.path("second.jsonl"));
    second.expect_planned("a", 100);
    assert_eq!(second.of("a").len(), 1, "an exact merge of the minute\n{second}");
    carbon.expect_points("canihaz.box.a.hits.ok", &clock, &[(0, 100.0)]);
}

#[test]
fn what_was_spooled_for_a_destination_no_test_names_any_more_is_delivered() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|later");
    sandbox.destination("later", "kind = \"file\"\npath = \"../../later/out.jsonl\"\n");
    sandbox.start(&Clock::at(54.0)).wait(seconds(6.0 + SEND_FOR + 2.0)).expect_code(0);
    fs::create_dir(sandbox.path("later")).unwrap();
    sandbox.remove("tests.d/a.conf");
    sandbox.start(&Clock::in_minute(1, 57.0)).succeed(10.0);
    let results = Results::read(&sandbox.path("later/out.jsonl"));
    results.expect_planned("a", 60);
    assert_eq!(results.total("a", "ok"), nginx.hits().len() as u64);
}
