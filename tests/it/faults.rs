//! Bad input: one fault a file in `tests/data/bad`, each beside its exact message, and what a file can't show.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::parts::clock::Clock;
use crate::parts::deadline::seconds;
use crate::parts::nginx::Nginx;
use crate::parts::run::Ended;
use crate::parts::sandbox::{Sandbox, sandbox};

/// What everything bad stands beside.
const GOOD: &str = "good|loopback|60|log";
/// Somebody who is neither root nor the one who runs the tests.
const NOBODY: u32 = 65_534;

fn beside_good() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.test(GOOD);
    sandbox
}

/// What `canihazctl check` says of a sandbox, whose configuration folder is `ETC` in it.
#[track_caller]
fn check(sandbox: &Sandbox) -> Ended {
    check_by(sandbox, sandbox.ctl())
}

#[track_caller]
fn check_by(sandbox: &Sandbox, mut command: Command) -> Ended {
    command.arg("check");
    let mut ended = sandbox.start_command(command, &Clock::real()).wait(seconds(10.0));
    let etc = sandbox.path("etc").display().to_string();
    ended.stdout = ended.stdout.replace(&etc, "ETC");
    assert_eq!(ended.stderr, "", "what is wrong is what was asked for: it goes to stdout");
    ended
}

#[track_caller]
fn expect_fault(sandbox: &Sandbox, expect: &str) {
    let ended = check(sandbox);
    assert_eq!(ended.stdout, format!("{expect}\n"));
    ended.expect_code(78);
}

/// Checks every case of a folder of `tests/data/bad`, beside something good. With `BLESS` in the environment the
/// expectations are written instead; read each before you believe it.
fn cases(folder: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad").join(folder);
    let mut files: Vec<_> = fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension != "expect"));
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let sandbox = beside_good();
        match folder {
            "settings" => sandbox.write("canihaz.toml", fs::read(file).unwrap()),
            _ => {
                let name = file.file_name().unwrap().to_str().unwrap();
                sandbox.write(&format!("{folder}/{name}"), fs::read(file).unwrap());
            }
        }
        let expect = fs::read_to_string(file.with_extension("expect")).unwrap_or_default();
        let ended = check(&sandbox);
        if std::env::var_os("BLESS").is_some() {
            fs::write(file.with_extension("expect"), &ended.stdout).unwrap();
        }
        if (ended.code, &*ended.stdout) != (Some(78), &*expect) {
            wrong.push(format!(
                "{}\nexpect: {expect}seen:   {}exit:   {:?}\n",
                file.display(),
                ended.stdout,
                ended.code
            ));
        }
    }
    assert!(files.len() > 5, "{}: {files:?}", here.display());
    assert!(wrong.is_empty(), "{} of {} are otherwise:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn bad_lines_are_told_exactly() {
    cases("tests.d");
}

#[test]
fn bad_types_are_told_exactly() {
    cases("types.d");
}

#[test]
fn bad_destinations_are_told_exactly() {
    cases("destinations.d");
}

#[test]
fn bad_settings_are_told_exactly() {
    cases("settings");
}

#[test]
fn nothing_wrong_is_0() {
    let ended = check(&beside_good());
    ended.expect_code(0);
    assert_eq!(ended.stdout, "ETC: 1 test, 60 hits a minute; nothing wrong\n");
}

#[test]
fn a_100_mib_line() {
    let sandbox = beside_good();
    let file = fs::File::create(sandbox.path("etc/tests.d/x.conf")).unwrap();
    // Sparse: NULs without end, and no newline.
    file.set_len(100 << 20).unwrap();
    expect_fault(&sandbox, "ETC/tests.d/x.conf: is larger than 1048576 bytes: keep it smaller; no test in it runs");
}

#[test]
fn a_folder_named_as_a_file() {
    let sandbox = beside_good();
    fs::create_dir(sandbox.path("etc/tests.d/x.conf")).unwrap();
    expect_fault(&sandbox, "ETC/tests.d/x.conf: is a folder: a regular file was expected; no test in it runs");
}

#[test]
fn a_fifo_without_a_writer() {
    let sandbox = beside_good();
    mkfifo(&sandbox.path("etc/tests.d/x.conf"), Mode::S_IRWXU).unwrap();
    expect_fault(&sandbox, "ETC/tests.d/x.conf: is a FIFO: a regular file was expected; no test in it runs");
}

#[test]
fn a_socket() {
    let sandbox = beside_good();
    let _socket = UnixListener::bind(sandbox.path("etc/tests.d/x.conf")).unwrap();
    expect_fault(&sandbox, "ETC/tests.d/x.conf: is a socket: a regular file was expected; no test in it runs");
}

#[test]
fn a_device() {
    let sandbox = beside_good();
    symlink("/dev/zero", sandbox.path("etc/tests.d/x.conf")).unwrap();
    expect_fault(&sandbox, "ETC/tests.d/x.conf: is a device: a regular file was expected; no test in it runs");
}

#[test]
fn a_dangling_link() {
    let sandbox = beside_good();
    symlink("nowhere", sandbox.path("etc/tests.d/x.conf")).unwrap();
    expect_fault(&sandbox, "ETC/tests.d/x.conf: does not exist: a file was expected here; no test in it runs");
}

#[test]
fn a_link_to_itself() {
    let sandbox = beside_good();
    symlink("x.conf", sandbox.path("etc/tests.d/x.conf")).unwrap();
    let ended = check(&sandbox);
    ended.expect_code(78);
    assert!(ended.stdout.starts_with("ETC/tests.d/x.conf: cannot be read (Too many levels"), "{}", ended.stdout);
}

#[test]
fn a_link_to_somebody_elses_file() {
    if !Uid::effective().is_root() {
        // Only root can give a file away.
        return;
    }
    let sandbox = beside_good();
    let elsewhere = sandbox.path("elsewhere");
    fs::write(&elsewhere, "x|loopback|60|log\n").unwrap();
    chown(&elsewhere, Some(NOBODY), None).unwrap();
    symlink(&elsewhere, sandbox.path("etc/tests.d/x.conf")).unwrap();
    expect_fault(
        &sandbox,
        "ETC/tests.d/x.conf: is owned by user 65534: it must be owned by root or by the user canihaz runs as; \
         no test in it runs",
    );
}

#[test]
fn a_link_to_our_own_file_is_fine() {
    let sandbox = beside_good();
    fs::write(sandbox.path("elsewhere"), "x|loopback|60|log\n").unwrap();
    symlink("../../elsewhere", sandbox.path("etc/tests.d/x.conf")).unwrap();
    check(&sandbox).expect_code(0);
}

#[test]
fn a_file_that_others_may_write() {
    let sandbox = beside_good();
    sandbox.test("x|loopback|60|log");
    fs::set_permissions(sandbox.path("etc/tests.d/x.conf"), fs::Permissions::from_mode(0o666)).unwrap();
    expect_fault(
        &sandbox,
        "ETC/tests.d/x.conf: may be written by others: take the right to write from others (chmod o-w); \
         no test in it runs",
    );
}

#[test]
fn a_folder_that_others_may_write() {
    let sandbox = beside_good();
    fs::set_permissions(sandbox.path("etc/tests.d"), fs::Permissions::from_mode(0o777)).unwrap();
    expect_fault(
        &sandbox,
        "ETC/tests.d: may be written by others: take the right to write from others (chmod o-w); no test in it runs",
    );
}

#[test]
fn a_file_where_a_folder_should_be() {
    let sandbox = beside_good();
    fs::remove_dir(sandbox.path("etc/types.d")).unwrap();
    sandbox.write("types.d", "");
    expect_fault(&sandbox, "ETC/types.d: is not a folder: a folder was expected; tests of this type do not run");
}

#[test]
fn an_unreadable_file() {
    let sandbox = beside_good();
    sandbox.test("x|loopback|60|log");
    fs::set_permissions(sandbox.path("etc/tests.d/x.conf"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = sandbox.ctl();
    if Uid::effective().is_root() {
        // Root can read anything; somebody else can't.
        for path in ["", "etc", "etc/tests.d", "etc/types.d", "etc/destinations.d"].map(|name| sandbox.path(name)) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut other = Command::new("setpriv");
        other.args(["--reuid", "65534", "--clear-groups"]).arg(command.get_program());
        for (name, value) in command.get_envs() {
            other.env(name, value.unwrap());
        }
        command = other;
    }
    let ended = check_by(&sandbox, command);
    ended.expect_code(78);
    assert!(
        ended.stdout.starts_with("ETC/tests.d/x.conf: cannot be read (Permission denied")
            && ended.stdout.ends_with(": it must be readable by the user canihaz runs as; no test in it runs\n"),
        "{}",
        ended.stdout
    );
}

#[test]
fn no_last_newline_is_no_fault() {
    let sandbox = beside_good();
    sandbox.write("tests.d/x.conf", "x|loopback|60|log\ny|loopback|60|log");
    let ended = check(&sandbox);
    ended.expect_code(0);
    // Whoever checks has finished writing.
    assert_eq!(ended.stdout, "ETC: 3 tests, 180 hits a minute; nothing wrong\n");
}

#[test]
fn a_fault_in_a_last_line_without_newline() {
    let sandbox = beside_good();
    sandbox.write("tests.d/x.conf", "x|loopback|60|log\ny|loopback|60");
    expect_fault(
        &sandbox,
        "ETC/tests.d/x.conf:2:14: 3 fields in \"y|loopback|60\": a test has 4, name|type|frequency|destination; \
         this line does not run",
    );
}

#[test]
fn files_of_editors_and_packagers_do_not_count() {
    let sandbox = beside_good();
    for name in [".x.conf", "x.conf~", "x.conf.dpkg-dist", "x.conf.rpmsave", ".x.conf.swp", "x", "x y.conf", "#x.conf#"]
    {
        sandbox.write(&format!("tests.d/{name}"), "nonsense\n");
    }
    check(&sandbox).expect_code(0);
}

#[test]
fn everything_bad_at_once_stops_nothing_good() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "aaa|front|600|out");
    let bad = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad");
    let mut faults = 0;
    for folder in ["tests.d", "types.d", "destinations.d"] {
        for entry in fs::read_dir(bad.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.ends_with(".expect") {
                sandbox.write(&format!("{folder}/{name}"), fs::read(&path).unwrap());
                faults += usize::from(folder == "tests.d");
            }
        }
    }
    mkfifo(&sandbox.path("etc/tests.d/fifo.conf"), Mode::S_IRWXU).unwrap();
    fs::create_dir(sandbox.path("etc/tests.d/folder.conf")).unwrap();
    let ended = sandbox.start(&Clock::at(50.0)).wait(seconds(20.0));
    ended.expect_code(0);
    assert_eq!(nginx.seconds("/a", &Clock::at(0.0)).len(), 600);
    sandbox.results().expect_planned("aaa", 600);
    assert!(ended.stderr.lines().count() >= faults, "{}", ended.stderr);
    // Whatever was in the files, a terminal or a log is not harmed by it.
    assert!(ended.stderr.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", ended.stderr);
    assert!(ended.stderr.lines().all(|line| line.len() < 1000), "{}", ended.stderr);
}

#[test]
fn a_bad_line_is_reported_once_a_change() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|600|out");
    sandbox.write("tests.d/b.conf", "b|front|often|out\nc|front|600|out\n");
    let mut minute = 0;
    let mut run = || {
        minute += 1;
        let ended = sandbox.start(&Clock::in_minute(minute, 57.0)).wait(seconds(10.0));
        ended.expect_code(0);
        ended.stderr
    };
    let fault = sandbox.path("etc/tests.d/b.conf:1:9").display().to_string();
    let first = run();
    assert_eq!(first.matches(&fault).count(), 1, "{first}");
    assert_eq!(run(), "", "told already");
    sandbox.write("tests.d/b.conf", "b|front|often|out\nc|front|600|out\n\n");
    let third = run();
    assert_eq!(third.matches(&fault).count(), 1, "the file has changed, its fault hasn't: {third:?}");
    assert_eq!(run(), "", "told again");

    let results = sandbox.results();
    assert_eq!(results.total("_runner", "config_errors"), 4, "counted each minute");
    // The good lines beside it run.
    assert!(results.total("c", "ok") > 0 && results.total("a", "ok") > 0, "{results}");
    assert_eq!(results.of("b").len(), 0);
}

#[test]
fn a_bad_line_in_mid_minute_is_reported_and_the_rest_goes_on() {
    let nginx = Nginx::start();
    let sandbox = sandbox(&nginx.url("/a"), "a|front|300|out");
    let clock = Clock::at(50.0);
    let run = sandbox.start(&clock);
    clock.wait_for(53.0);
    sandbox.write("tests.d/b.conf", "b|front|often|out\n");
    clock.wait_for(55.0);
    assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    let ended = run.wait(seconds(15.0));
    ended.expect_code(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(nginx.seconds("/a", &clock).len(), 300);
}
