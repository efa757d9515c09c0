//! How a run ends, and what it says: words and exits.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::nginx::Nginx;
use crate::parts::run::Ended;
use crate::parts::sandbox::{Sandbox, sandbox};

/// A run of a minute's last three seconds.
#[track_caller]
fn run(sandbox: &Sandbox) -> Ended {
    sandbox.start(&Clock::at(57.0)).wait(seconds(10.0))
}

#[test]
fn an_argument_is_refused_with_64() {
    let sandbox = Sandbox::new();
    for argument in ["--help", "-v", "x", ""] {
        let mut command = sandbox.runner();
        command.arg(argument);
        let ended = sandbox.start_command(command, &Clock::at(57.0)).wait(seconds(1.0));
        ended.expect_code(64);
        assert_eq!(ended.stdout, "");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("argument"), "{}", ended.stderr);
    }
}

#[test]
fn nothing_to_do_is_no_error() {
    let sandbox = Sandbox::new();
    run(&sandbox).expect_silence();
    // Not even a folder of tests, or settings.
    for name in ["etc/tests.d", "etc/types.d", "etc/destinations.d"] {
        fs::remove_dir(sandbox.path(name)).unwrap();
    }
    sandbox.remove("canihaz.toml");
    run(&sandbox).expect_silence();
}

#[test]
fn no_configuration_folder_is_78() {
    let sandbox = Sandbox::new();
    fs::remove_dir_all(sandbox.path("etc")).unwrap();
    let ended = run(&sandbox);
    ended.expect_code(78);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(&sandbox.path("etc").display().to_string()), "{}", ended.stderr);
}

#[test]
fn a_canihaz_toml_that_does_not_parse_is_78() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    sandbox.write("canihaz.toml", "interval = \n");
    let ended = run(&sandbox);
    ended.expect_code(78);
    assert!(ended.stderr.contains("canihaz.toml:1:"), "{}", ended.stderr);
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn a_canihaz_toml_that_others_may_write_is_78() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    fs::set_permissions(sandbox.path("etc/canihaz.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    let ended = run(&sandbox);
    ended.expect_code(78);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn a_configuration_folder_that_others_may_write_is_78() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    fs::set_permissions(sandbox.path("etc"), fs::Permissions::from_mode(0o777)).unwrap();
    run(&sandbox).expect_code(78);
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn test_lines_of_which_none_can_run_are_78() {
    let sandbox = Sandbox::new();
    sandbox.test("a|no-such-type|600|log");
    let ended = run(&sandbox);
    ended.expect_code(78);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn one_bad_setting_is_reported_and_its_default_used() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    sandbox.settings("intervall = \"5s\"\n");
    let ended = run(&sandbox);
    ended.expect_code(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("canihaz.toml:2:1") && ended.stderr.contains("interval"), "{}", ended.stderr);
    assert!(!nginx.hits().is_empty());
    assert_eq!(sandbox.results().total("_runner", "config_errors"), 1);
}

#[test]
fn a_state_or_lock_folder_that_others_may_write_is_74() {
    let nginx = Nginx::start();
    for name in ["state", "lock"] {
        let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o777)).unwrap();
        let ended = run(&sandbox);
        ended.expect_code(74);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(&sandbox.path(name).display().to_string()), "{}", ended.stderr);
    }
    assert_eq!(nginx.hits().len(), 0);
}

#[test]
fn a_slot_that_is_a_link_is_refused() {
    let sandbox = Sandbox::new();
    let elsewhere = sandbox.path("elsewhere");
    for slot in ["slot-1", "slot-2", "slot-3"] {
        std::os::unix::fs::symlink(&elsewhere, sandbox.path("lock").join(slot)).unwrap();
    }
    run(&sandbox).expect_code(74);
    assert!(!elsewhere.exists(), "a link was followed");
}

#[test]
fn locks_are_kept_private_and_never_removed() {
    let sandbox = Sandbox::new();
    run(&sandbox).expect_silence();
    let lock = sandbox.path("lock/slot-1");
    assert_eq!(fs::metadata(lock).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn why_a_run_was_frozen_is_told_at_info() {
    let sandbox = Sandbox::new();
    sandbox.settings("log_level = \"info\"\n");
    sandbox.write("stop", "the database is being moved\n");
    let ended = run(&sandbox);
    ended.expect_code(0);
    assert!(ended.stderr.contains("the database is being moved"), "{}", ended.stderr);
}
