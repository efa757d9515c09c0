//! Programs that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{load_test, run, sandbox};
use crate::parts::sandbox::Sandbox;

/// A test `a` whose program is the file `program` in the sandbox, and a test `b` that is as it should be.
fn of_program(make: impl FnOnce(&Sandbox)) -> Sandbox {
    let sandbox = sandbox();
    make(&sandbox);
    load_test(&sandbox, "none", &sandbox.path("program"), &[], "startup_timeout = \"1s\"\n");
    sandbox.test("a|none|120|out");
    sandbox.test("b|loopback|120|out");
    sandbox
}

fn write(sandbox: &Sandbox, text: &str, mode: u32) {
    fs::write(sandbox.path("program"), text).unwrap();
    fs::set_permissions(sandbox.path("program"), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_program_that_is_none_is_a_fault_and_others_run() {
    #[track_caller]
    fn check(expected: &str, make: impl FnOnce(&Sandbox)) {
        let sandbox = of_program(make);
        let checked = Command::output(sandbox.ctl().arg("check")).unwrap();
        let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        assert!(!checked.status.success() && said.contains(expected), "{said}");
        let (results, ended) = run(&sandbox, 58.0, 0.0);
        ended.expect_code(0);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert_eq!(results.of("a").len(), 0, "{results}");
        assert!(results.total("b", "ok") > 0, "{results}");
    }
    check("the program that \"binary\" names does not exist", |_| {});
    check("the program that \"binary\" names cannot be executed", |sandbox| write(sandbox, "#!/bin/sh\n", 0o644));
    check("the program that \"binary\" names is a folder", |sandbox| fs::create_dir(sandbox.path("program")).unwrap());
    check("the program that \"binary\" names is writable by others", |sandbox| write(sandbox, "#!/bin/sh\n", 0o757));
}

#[test]
fn a_program_that_the_system_cannot_start_is_a_clear_error() {
    for (text, expected) in [("no program", "Exec format error"), ("#!/no/such/interpreter\n", "No such file")] {
        let sandbox = of_program(|sandbox| write(sandbox, text, 0o755));
        let (results, ended) = run(&sandbox, 56.0, 0.0);
        ended.expect_code(0);
        let told = ended.stderr.lines().filter(|line| line.contains("test a: its load test could not be started")).count();
        assert!(told > 0 && ended.stderr.contains(expected), "{}", ended.stderr);
        results.expect_planned("a", 120);
        assert_eq!(results.total("a", "missed"), 120, "{results}");
        assert!(results.total("b", "ok") > 0, "{results}");
    }
}
