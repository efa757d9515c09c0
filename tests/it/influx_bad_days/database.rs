//! A database that takes some, or nothing, or is gone: each is counted for what it is, and nothing is left out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::posts::Posts;
use super::{Stress, expect_first, load, provision, sandbox};
use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::influx::{Influx, Options};
use crate::parts::points::{SERIES, START, TICK, numbers, numbers_of};
use crate::parts::sandbox::Sandbox;

/// Runs the end of a minute; a database that refuses is nothing that a run has to say.
#[track_caller]
fn run(sandbox: &Sandbox, minute: i64) {
    sandbox.start(&Clock::in_minute(minute, 57.0)).succeed(12.0);
}

/// Points that were written, and rejected.
fn points(sandbox: &Sandbox) -> (u64, u64) {
    (sandbox.results().work("load.write", "points"), sandbox.results().work("load.write", "rejected"))
}

/// Expects that all hits so far are ok, or failed for `reason`; how many failed.
#[track_caller]
fn failed(sandbox: &Sandbox, planned: u64, reason: &str) -> u64 {
    let results = sandbox.results();
    results.expect_planned("load.write", planned);
    let failed = results.failures("load.write", reason);
    assert_eq!(results.total("load.write", "ok") + failed, planned, "{results}");
    failed
}

#[test]
fn what_conflicts_with_a_fields_type_is_rejected_and_never_sent_again() {
    let influx = Influx::start();
    influx.create("lab");
    // A shard is a week: in the second one, whose points are those of 168 hours, the field is a text.
    let hour = 3600 * 1_000_000_000;
    let week = START + 7 * 24 * hour;
    assert_eq!(influx.write("lab", &format!("cpu value=\"a text\" {week}")).0, 204);
    let sandbox =
        load(&Stress { points: "start_date = \"2006-Jan-02\"\ntick = \"1h\"", ..Stress::to(&influx.port) }, 50);
    run(&sandbox, 0);
    // 1,670 points are in the first week, as the first of them is an hour later than its beginning.
    let rejected: BTreeSet<u64> = (1670..3350).collect();
    let expect = (0..5000).filter(|number| !rejected.contains(number)).collect();
    assert_eq!(points(&sandbox), (5000 - 1680, 1680));
    assert_eq!(numbers_of(&influx, "lab", "cpu", hour), expect);
    // One of them held both.
    assert_eq!(failed(&sandbox, 50, "status"), 18);
    run(&sandbox, 1);
    assert_eq!(points(&sandbox), (10_000 - 1680, 1680));
    assert_eq!(numbers_of(&influx, "lab", "cpu", hour).len(), 10_000 - 1680);
}

#[test]
fn values_that_are_too_many_for_a_tag_are_rejected() {
    partly("max-values-per-tag = 5");
}

#[test]
fn series_that_are_too_many_are_rejected() {
    partly("max-series-per-database = 5");
}

/// Half of the series are too many for a database that has the others.
#[track_caller]
fn partly(data: &'static str) {
    let influx = Influx::with(Options { data, ..Options::default() });
    influx.create("lab");
    let first: String =
        (0..5).map(|host| format!("cpu,host=server-{host},location=us-west value=1 {}\n", START + TICK)).collect();
    assert_eq!(influx.write("lab", &first).0, 204);
    let sandbox = load(&Stress::to(&influx.port), 30);
    for minute in 0..2 {
        run(&sandbox, minute);
    }
    assert_eq!(points(&sandbox), (3000, 3000));
    assert_eq!(failed(&sandbox, 60, "status"), 60);
    // This version loses more than it says, of the series that it has: what it says is all that can be counted.
    let held = numbers(&influx, "lab");
    assert!((0..3000).contains(&held.len()) && held.iter().all(|number| number % SERIES < 5), "{}", held.len());
}

#[test]
fn bodies_that_are_too_large_are_rejected() {
    let influx = Influx::with(Options { http: "max-body-size = 1000", ..Options::default() });
    influx.create("lab");
    let sandbox = load(&Stress::to(&influx.port), 30);
    run(&sandbox, 0);
    assert_eq!((points(&sandbox), failed(&sandbox, 30, "status")), ((0, 3000), 30));
    // Smaller ones are taken, from there on.
    sandbox.replace("types.d/stress.toml", "batch_size = 100", "batch_size = 10");
    run(&sandbox, 1);
    assert_eq!((points(&sandbox), influx.count("lab", "cpu", "value")), ((300, 3000), 300));
    assert_eq!(numbers(&influx, "lab"), (3000..3300).collect());
}

#[test]
fn what_is_refused_for_now_is_sent_again() {
    let influx = Influx::with(Options { admin: Some(("root", "s3cret")), ..Options::default() });
    influx.create("lab");
    let sandbox = load(&Stress::to(&influx.port), 30);
    // 401, and then 5xx and 429, by servers that others stand in front of.
    run(&sandbox, 0);
    let mut port = influx.port;
    for (minute, status) in ["500 No", "503 No", "429 No", "403 No"].into_iter().enumerate() {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno");
        let other = Posts::answering(answer, Duration::ZERO);
        sandbox.replace("types.d/stress.toml", &format!(":{port}"), &format!(":{}", other.port()));
        port = other.port();
        run(&sandbox, minute as i64 + 1);
        // The same batch again and again, byte for byte.
        let bodies: BTreeSet<_> = other.all().into_iter().map(|post| post.body).collect();
        assert_eq!((bodies.len(), other.all().len()), (1, 30));
    }
    assert_eq!((points(&sandbox), failed(&sandbox, 150, "status")), ((0, 0), 150));
    sandbox.write("password", "s3cret\n");
    let password = sandbox.path("etc/password");
    let top = format!("user = \"root\"\npassword_file = \"{}\"", password.display());
    Stress { top: &top, ..Stress::to(&influx.port) }.write(&sandbox, "stress");
    run(&sandbox, 5);
    assert_eq!(points(&sandbox), (3000, 0));
    expect_first(&influx, "lab", 3000);
}

#[test]
fn points_of_the_present_are_sent_again_as_they_were() {
    let influx = Influx::start();
    influx.create("lab");
    let other = Posts::answering("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Duration::ZERO);
    let port = other.port();
    let sandbox = load(&Stress { points: "", client: "concurrency = 4", ..Stress::to(&port) }, 60);
    run(&sandbox, 0);
    sandbox.test("load|stress|90|out");
    run(&sandbox, 1);
    let refused: BTreeSet<_> = other.all().into_iter().map(|post| post.body).collect();
    // What was in flight at once, again and again, the second time as well.
    assert!((1..=4).contains(&refused.len()) && other.all().len() == 150, "{}", refused.len());
    sandbox.replace("types.d/stress.toml", &format!(":{port}"), &format!(":{}", influx.port));
    run(&sandbox, 2);
    assert_eq!((points(&sandbox), influx.count("lab", "cpu", "value")), ((9000, 0), 9000));
    for body in refused {
        for line in String::from_utf8(body).unwrap().lines() {
            let (_, stamp) = line.rsplit_once(' ').unwrap();
            let (_, host) = line.split_once("host=").unwrap();
            let host = host.split(',').next().unwrap();
            let query = format!("SELECT value FROM cpu WHERE host = '{host}' AND time = {stamp}");
            assert_eq!(influx.rows("lab", &query).len(), 1, "{line}");
        }
    }
}

#[test]
fn a_server_that_goes_away_and_comes_back_has_every_point() {
    let mut influx = Influx::start();
    influx.create("lab");
    let sandbox = load(&Stress { client: "concurrency = 4", ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(52.0);
    let first = sandbox.start(&clock);
    clock.wait_for(54.0);
    influx.kill();
    clock.wait_for(55.5);
    influx.start_again();
    first.succeed(15.0);
    let results = sandbox.results();
    results.expect_planned("load.write", 240);
    let (ok, connect) = (results.total("load.write", "ok"), results.failures("load.write", "connect"));
    let other = results.failures("load.write", "other") + results.failures("load.write", "status");
    // Those that were in flight have broken off; one that comes back says 404 before it knows its databases.
    assert!(connect > 20 && other < 30 && ok + connect + other == 240, "{results}");
    assert_eq!(points(&sandbox), (ok * 100, 0));
    expect_first(&influx, "lab", ok * 100);
    run(&sandbox, 1);
    expect_first(&influx, "lab", ok * 100 + 24_000);
}

#[test]
fn a_database_that_is_dropped_under_load_is_made_again_by_the_next_run() {
    let influx = Influx::start();
    let rest = provision(influx.port, "");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 240);
    let clock = Clock::at(54.0);
    let first = sandbox.start(&clock);
    clock.wait_for(57.0);
    influx.query("", "DROP DATABASE lab");
    first.succeed(12.0);
    let lost = failed(&sandbox, 240, "status");
    assert!(lost > 40, "{lost}");
    let (gone, rejected) = points(&sandbox);
    assert_eq!((gone, rejected), ((240 - lost) * 100, 0));
    run(&sandbox, 1);
    // What was acknowledged is gone; what wasn't is sent, and what comes after it.
    assert_eq!(points(&sandbox).0, gone + 24_000);
    assert_eq!(numbers(&influx, "lab"), (gone..gone + 24_000).collect());
}

#[test]
fn a_full_disk_rejects_nothing_and_what_it_refused_is_sent_again() {
    let mut influx = Influx::with(Options { disk: Some(16 << 20), ..Options::default() });
    influx.create("lab");
    let sandbox = load(&Stress::to(&influx.port), 240);
    let clock = Clock::at(54.0);
    let first = sandbox.start(&clock);
    clock.wait_for(56.0);
    influx.fill_disk();
    first.succeed(12.0);
    let refused = failed(&sandbox, 240, "status");
    let taken = (240 - refused) * 100;
    assert!(refused > 40, "{refused}");
    assert_eq!(points(&sandbox), (taken, 0));
    // It may show what it has refused, until it ends.
    let held = numbers(&influx, "lab");
    assert!((0..taken).all(|number| held.contains(&number)) && held.len() as u64 <= taken + 100, "{}", held.len());
    // Its disk is as long-lived as itself.
    influx.kill();
    influx.start_again();
    run(&sandbox, 1);
    assert_eq!(points(&sandbox), (taken + 24_000, 0));
    assert_eq!(numbers(&influx, "lab"), (taken..taken + 24_000).collect());
}

#[test]
fn a_full_disk_that_knows_no_series_yet_rejects_nothing_either() {
    let mut influx = Influx::with(Options { disk: Some(16 << 20), ..Options::default() });
    influx.create("lab");
    assert_eq!(influx.write("lab", "other value=1 1").0, 204);
    influx.fill_disk();
    let sandbox = load(&Stress::to(&influx.port), 100);
    run(&sandbox, 0);
    assert_eq!((points(&sandbox), failed(&sandbox, 100, "status")), ((0, 0), 100));
    influx.kill();
    influx.start_again();
    run(&sandbox, 1);
    expect_first(&influx, "lab", 10_000);
}

#[test]
fn points_that_are_too_old_for_a_retention_policy_are_rejected() {
    let influx = Influx::start();
    let rest = provision(influx.port, "retention_policy = [{ name = \"day\", duration = \"1d\", default = true }]");
    let sandbox = load(&Stress { rest: &rest, ..Stress::to(&influx.port) }, 30);
    run(&sandbox, 0);
    assert_eq!((points(&sandbox), failed(&sandbox, 30, "status")), ((0, 3000), 30));
}

#[test]
fn a_writer_whose_time_stamps_end_is_done_then() {
    let influx = Influx::start();
    let sandbox = sandbox();
    let points = "start_date = \"2006-Jan-02\"\ntick = \"8760h\"";
    for precision in ["n", "s"] {
        influx.create(precision);
        let client = format!("precision = \"{precision}\"");
        Stress { points, client: &client, database: precision, ..Stress::to(&influx.port) }.write(&sandbox, precision);
        sandbox.test(&format!("{precision}|{precision}|30|out"));
    }
    let ended = sandbox.start(&Clock::at(57.0)).wait(seconds(12.0));
    ended.expect_code(0);
    for precision in ["n", "s"] {
        // 2261, of ten series.
        let said = format!("test {precision}: all 2550 points of type {precision} are written: the writer is done");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        let test = format!("{precision}.write");
        let results = sandbox.results();
        assert_eq!((results.total(&test, "ok"), results.total(&test, "stopped")), (26, 4), "{results}");
        assert_eq!((results.work(&test, "points"), results.work(&test, "rejected")), (2550, 0), "{results}");
        let held = numbers_of(&influx, precision, "cpu", 8760 * 3600 * 1_000_000_000);
        assert_eq!(held, (0..2550).collect(), "{precision}");
    }
}
