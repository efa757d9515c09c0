//! Files that change while a run goes: obeyed within a second, counts right, nothing twice.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use crate::parts::arrivals::{earliest, expect_even, latest};
use crate::parts::clock::Clock;
use crate::parts::nginx::Nginx;
use crate::parts::results::Results;
use crate::parts::sandbox::sandbox;

/// How soon a change is obeyed, in seconds; and a little, as it takes time to arrive.
const OBEYED: f64 = 1.05;

#[test]
fn created_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    sandbox.http("back", &nginx.url("/b"), "");
    let clock = Clock::at(47.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    sandbox.test("b|back|300|out");
    run.succeed(20.0);

    let arrived = nginx.seconds("/b", &clock);
    assert_eq!(arrived.len(), 300);
    assert!((50.0..50.0 + OBEYED).contains(&earliest(&arrived)), "the first at {}", earliest(&arrived));
    expect_even(&arrived, 59.9, 4);
    assert_eq!(nginx.seconds("/a", &clock).len(), 60, "the other is not disturbed");
    sandbox.results().expect_planned("a", 60);
    sandbox.results().expect_planned("b", 300);
}

#[test]
fn created_where_nothing_ran_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    sandbox.remove("tests.d/a.conf");
    let clock = Clock::at(51.0);
    let run = sandbox.start(&clock);
    clock.wait_for(54.0);
    sandbox.test("a|front|100|out");
    run.succeed(15.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), sandbox.results().total("a", "ok") as usize);
    sandbox.results().expect_planned("a", 100);
    // 10 × 100 a minute for the 5.9 s that are left, not more.
    let ok = sandbox.results().total("a", "ok");
    assert!((75..=99).contains(&ok), "{}", sandbox.results());
}

#[test]
fn raised_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    sandbox.test("a|front|450|out");
    run.succeed(20.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 450);
    sandbox.results().expect_planned("a", 450);
    assert_eq!(sandbox.results().total("a", "ok"), 450);
}

#[test]
fn lowered_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    sandbox.test("a|front|10|out");
    run.succeed(20.0);
    // About 200 were sent: more than is asked for now, so it is over.
    let arrived = nginx.seconds("/a", &clock);
    assert!(latest(&arrived) < 50.0 + OBEYED, "the last at {}", latest(&arrived));
    assert!((190..=250).contains(&arrived.len()), "{}", arrived.len());
    let results = sandbox.results();
    results.expect_planned("a", results.total("a", "planned"));
    assert_eq!(results.total("a", "ok"), arrived.len() as u64, "{results}");
    assert_eq!(results.total("a", "missed"), 0, "{results}");
}

#[test]
fn removed_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    sandbox.remove("tests.d/a.conf");
    run.succeed(20.0);
    let arrived = nginx.seconds("/a", &clock);
    assert!(latest(&arrived) < 50.0 + OBEYED, "the last at {}", latest(&arrived));
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.total("a", "ok"), arrived.len() as u64, "{results}");
    assert_eq!(results.total("a", "stopped"), 600 - arrived.len() as u64, "{results}");
}

#[test]
fn replaced_by_unlink_and_create_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    for second in [48.0, 50.0, 52.0] {
        clock.wait_for(second);
        sandbox.remove("tests.d/a.conf");
        // As slow as somebody's editor, and as fast as Puppet.
        clock.wait_for(second + (second - 48.0) / 4.0);
        sandbox.test("a|front|300|out");
    }
    run.succeed(20.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
    sandbox.results().expect_planned("a", 300);
    assert_eq!(sandbox.results().total("a", "ok"), 300);
}

#[test]
fn replaced_by_rename_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    // The same line with other words around it.
    sandbox.write("tests.d/a.conf", "# by Puppet\n\na | front | 5/s | out\r\n");
    run.succeed(20.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
    sandbox.results().expect_planned("a", 300);
}

#[test]
fn moved_to_another_file_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    fs::rename(sandbox.path("etc/tests.d/a.conf"), sandbox.path("etc/tests.d/z.conf")).unwrap();
    run.succeed(20.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
    sandbox.results().expect_planned("a", 300);
    assert_eq!(sandbox.results().total("a", "ok"), 300);
}

#[test]
fn its_type_changed_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    sandbox.http("front", &nginx.url("/b"), "");
    run.succeed(20.0);
    let (old, new) = (nginx.seconds("/a", &clock), nginx.seconds("/b", &clock));
    assert_eq!(old.len() + new.len(), 300);
    assert!(latest(&old) < 50.0 + OBEYED, "the last at the old place at {}", latest(&old));
    assert!(earliest(&new) < 50.0 + OBEYED, "the first at the new place at {}", earliest(&new));
    sandbox.results().expect_planned("a", 300);
    assert_eq!(sandbox.results().total("a", "ok"), 300);
}

#[test]
fn its_destination_changed_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    sandbox.settings("interval = \"5s\"\n");
    let clock = Clock::at(42.0);
    let run = sandbox.start(&clock);
    clock.wait_for(51.0);
    sandbox.destination("out", "kind = \"file\"\npath = \"../../second.jsonl\"\n");
    run.succeed(25.0);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
    let (first, second) = (sandbox.results(), Results::read(&sandbox.path("second.jsonl")));
    assert!(first.total("a", "ok") > 0 && second.total("a", "ok") > 0, "first:\n{first}second:\n{second}");
    assert_eq!(first.total("a", "ok") + second.total("a", "ok"), 300, "first:\n{first}second:\n{second}");
}

#[test]
fn a_line_being_written_is_never_half_read() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    sandbox.http("back", &nginx.url("/b"), "");
    sandbox.http("ba", &nginx.url("/half"), "");
    sandbox.destination("o", "kind = \"file\"\npath = \"../../half.jsonl\"\n");
    // The real clock, as a file's age is told by it; and enough of the minute left.
    let mut clock = Clock::real();
    if clock.now() > 45.0 {
        clock.wait_for(60.1);
        clock = Clock::real();
    }
    let run = sandbox.start(&clock);
    clock.wait_for(clock.now() + 1.0);
    let mut file = fs::File::create(sandbox.path("etc/tests.d/b.conf")).unwrap();
    for half in ["b|back|6", "0|o", "ut"] {
        file.write_all(half.as_bytes()).unwrap();
        clock.wait_for(clock.now() + 0.6);
    }
    let written = clock.now();
    assert_eq!(nginx.count_now("/b"), 0, "nobody has ended the line, and it isn't still yet");
    // No newline comes: once still for a second it is believed.
    clock.wait_for(written + 5.0);
    assert!(nginx.count_now("/b") > 0, "a last line without newline is believed");
    run.terminate();
    run.succeed(5.0);
    let half = Results::read(&sandbox.path("half.jsonl"));
    assert_eq!(half.of("b").len(), 0, "{half}");
    assert_eq!(nginx.seconds("/half", &clock).len(), 0);
    assert_eq!(sandbox.results().total("b", "ok"), nginx.seconds("/b", &clock).len() as u64);
}

#[test]
fn its_folder_replaced_in_mid_minute() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    fs::create_dir(sandbox.path("etc/new")).unwrap();
    sandbox.write("new/a.conf", "a|front|300|out\n");
    sandbox.write("new/b.conf", "b|front|60|out\n");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    fs::rename(sandbox.path("etc/tests.d"), sandbox.path("etc/old")).unwrap();
    fs::rename(sandbox.path("etc/new"), sandbox.path("etc/tests.d")).unwrap();
    // And the new one is watched as the old one was.
    clock.wait_for(53.0);
    sandbox.http("back", &nginx.url("/c"), "");
    sandbox.test("c|back|60|out");
    run.succeed(20.0);
    let results = sandbox.results();
    for (test, planned) in [("a", 300), ("b", 60), ("c", 60)] {
        results.expect_planned(test, planned);
        assert_eq!(results.total(test, "ok"), planned, "{results}");
    }
    let arrived = nginx.seconds("/c", &clock);
    assert!(earliest(&arrived) < 53.0 + OBEYED, "the first at {}", earliest(&arrived));
}

#[test]
fn the_whole_configuration_replaced_in_mid_minute() {
    // A link that is turned to the next release, as some tools deploy.
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    fs::rename(sandbox.path("etc"), sandbox.path("release-1")).unwrap();
    let mut copy = std::process::Command::new("cp");
    copy.arg("-a").arg(sandbox.path("release-1")).arg(sandbox.path("release-2"));
    assert!(copy.status().unwrap().success());
    symlink("release-1", sandbox.path("etc")).unwrap();
    symlink("release-2", sandbox.path("next")).unwrap();
    fs::write(sandbox.path("release-2/tests.d/a.conf"), "a|front|450|out\n").unwrap();
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    clock.wait_for(50.0);
    fs::rename(sandbox.path("next"), sandbox.path("etc")).unwrap();
    clock.wait_for(54.0);
    let before = nginx.count_now("/a");
    assert!(before > 155 && before < 450, "{before}");
    // And a stop is noticed where it is now.
    sandbox.write("stop", "");
    run.succeed(3.0);
    let arrived = nginx.seconds("/a", &clock);
    assert!(latest(&arrived) < 54.101, "the last at {}", latest(&arrived));
    sandbox.results().expect_planned("a", 450);
}

#[test]
fn its_type_comes_after_it() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|60|out");
    let clock = Clock::at(48.0);
    let run = sandbox.start(&clock);
    clock.wait_for(49.0);
    sandbox.test("b|back|300|out");
    clock.wait_for(51.0);
    sandbox.http("back", &nginx.url("/b"), "");
    let ended = run.wait(std::time::Duration::from_secs(20));
    ended.expect_code(0);
    let arrived = nginx.seconds("/b", &clock);
    assert_eq!(arrived.len(), 300);
    assert!((51.0..51.0 + OBEYED).contains(&earliest(&arrived)), "the first at {}", earliest(&arrived));
    // Told while it was wrong; mended, it counts no more.
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(sandbox.results().total("_runner", "config_errors"), 0);
}

#[test]
fn files_that_change_all_the_time_disturb_nothing() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    let clock = Clock::at(45.0);
    let run = sandbox.start(&clock);
    let mut number = 0;
    while clock.now() < 58.0 {
        number += 1;
        sandbox.write("tests.d/other.conf", format!("# {number}\n"));
        clock.wait_for(clock.now() + 0.01);
    }
    run.succeed(10.0);
    let arrived = nginx.seconds("/a", &clock);
    assert_eq!(arrived.len(), 600);
    expect_even(&arrived, 59.9, 4);
    sandbox.results().expect_planned("a", 600);
}
