//! Programs that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{load_test, run, sandbox};
use crate::parts::sandbox::Sandbox;

/// A program that is a file of this text, with these permissions.
fn write(sandbox: &Sandbox, name: &str, text: &str, mode: u32) {
    fs::write(sandbox.path(name), text).unwrap();
    fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// A test for each of these programs, of which none is one, and a test `b` that is as it should be.
fn tests(sandbox: &Sandbox, names: &[&str]) {
    for name in names {
        load_test(sandbox, name, &sandbox.path(name), &[], "startup_timeout = \"1s\"\n");
        sandbox.test(&format!("{name}|{name}|120|out"));
    }
    sandbox.test("b|loopback|120|out");
}

#[test]
fn a_program_that_is_none_is_a_fault_and_others_run() {
    let sandbox = sandbox();
    write(&sandbox, "not-executable", "#!/bin/sh\n", 0o644);
    write(&sandbox, "not-trusted", "#!/bin/sh\n", 0o757);
    fs::create_dir(sandbox.path("folder")).unwrap();
    let cases = [
        ("missing", "does not exist"),
        ("not-executable", "cannot be executed"),
        ("not-trusted", "may be written by others"),
        ("folder", "is a folder"),
    ];
    let names = cases.map(|(name, _)| name);
    tests(&sandbox, &names);
    let checked = Command::output(sandbox.ctl().arg("check")).unwrap();
    assert!(!checked.status.success());
    let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    let (results, ended) = run(&sandbox, 56.0, 0.0);
    ended.expect_code(0);
    for (name, expected) in cases {
        for said in [&said, &ended.stderr] {
            let fault = said.lines().find(|line| line.contains(&format!("types.d/{name}.toml:2:")));
            let fault = fault.unwrap_or_else(|| panic!("nothing about {name} in {said}"));
            assert!(fault.contains(&format!("the program that \"binary\" names {expected}")), "{fault}");
        }
        assert_eq!(results.of(name).len(), 0, "{results}");
    }
    assert!(results.total("b", "ok") > 0, "{results}");
}

#[test]
fn a_program_that_the_system_cannot_start_is_a_clear_error() {
    let sandbox = sandbox();
    write(&sandbox, "text", "no program", 0o755);
    write(&sandbox, "script", "#!/no/such/interpreter\n", 0o755);
    tests(&sandbox, &["text", "script"]);
    let (results, ended) = run(&sandbox, 55.0, 0.0);
    ended.expect_code(0);
    for (name, expected) in [("text", "Exec format error"), ("script", "No such file or directory")] {
        let begin = format!("error: test {name} cannot run: its load test could not be started: {expected}");
        assert!(ended.stderr.contains(&begin), "{}", ended.stderr);
        results.expect_planned(name, 120);
        assert_eq!(results.total(name, "missed"), 120, "{results}");
    }
    assert!(results.total("b", "ok") > 0, "{results}");
}
