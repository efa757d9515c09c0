//! The kind `loadtest` as a whole: programs that the runner starts, calls, listens to and ends, counted at the receiver.

mod badly;
mod changes;
mod collected;
mod counted;
mod ends;
mod golo;
mod journeys;
mod place;
mod ports;
mod programs;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::load_test::{example, python_example};
use crate::parts::nginx::Nginx;
use crate::parts::processes::marked;
use crate::parts::results::Results;
use crate::parts::run::{Ended, Run};
use crate::parts::sandbox::Sandbox;

/// How soon nothing of a load test may be left, once it is to end.
const GONE: Duration = Duration::from_secs(1);
/// How long anything may take that only a slow machine makes long.
const BOUND: Duration = Duration::from_secs(20);

/// A sandbox with the destination `out`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.out();
    sandbox
}

/// A program that is an example of this crate.
fn built(name: &str) -> PathBuf {
    PathBuf::from(example(name).get_program())
}

/// Writes a type that runs `program`, told `args`, with `more` keys; [`processes`] finds it.
fn load_test(sandbox: &Sandbox, name: &str, program: &Path, args: &[&str], more: &str) {
    let (program, mark) = (program.display(), sandbox.path("").display().to_string());
    let text =
        format!("kind = \"loadtest\"\nbinary = \"{program}\"\nargs = {args:?}\nenv = {{ MARK = {mark:?} }}\n{more}");
    sandbox.write(&format!("types.d/{name}.toml"), text);
}

/// Writes a type that runs the tests' own load test against `url`, with these habits, separated by spaces.
fn odd(sandbox: &Sandbox, name: &str, url: &str, habits: &str, more: &str) {
    let args: Vec<_> = [url].into_iter().chain(habits.split_whitespace()).collect();
    load_test(sandbox, name, &built("odd_load_test"), &args, more);
}

/// A script in Python, by its path from the folder of these tests, as a program whose first line says what runs it.
fn script(sandbox: &Sandbox, path: &str) -> PathBuf {
    let command = python_example(&format!("../it/loadtest/{path}"));
    let text = fs::read_to_string(command.get_args().next().expect("it is told the script")).unwrap();
    let program = sandbox.path(Path::new(path).file_name().and_then(OsStr::to_str).unwrap());
    fs::write(&program, format!("#!{}\n{text}", command.get_program().display())).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

/// The processes of all load tests of a sandbox, and what they have started.
fn processes(sandbox: &Sandbox) -> Vec<i32> {
    marked(&sandbox.path(""))
}

/// Waits until there are so many of them.
#[track_caller]
fn expect_processes(sandbox: &Sandbox, count: usize) -> Vec<i32> {
    eventually(&format!("{count} processes"), BOUND, || {
        Some(processes(sandbox)).filter(|processes| processes.len() == count)
    })
}

/// Waits until none is left, [`GONE`] after `since` at the latest.
#[track_caller]
fn expect_gone(sandbox: &Sandbox, since: Instant) {
    let bound = (since + GONE).saturating_duration_since(Instant::now());
    eventually("all processes to be gone", bound, || processes(sandbox).is_empty().then_some(()));
}

/// Runs a minute from `second` to its end, which may be `grace` seconds after :59.9, and expects that nothing of it is left.
#[track_caller]
fn run(sandbox: &Sandbox, second: f64, grace: f64) -> (Results, Ended) {
    let clock = Clock::at(second);
    let run = sandbox.start(&clock);
    end(sandbox, run, &clock, grace)
}

/// Waits for the minute's end, and expects that nothing is left.
#[track_caller]
fn end(sandbox: &Sandbox, run: Run, clock: &Clock, grace: f64) -> (Results, Ended) {
    // The end of load tests, and of the sending of what there is.
    let late = 4.0;
    let ended = run.wait(seconds(59.9 - clock.now() + grace + late));
    // They have ended before it has.
    assert_eq!(processes(sandbox), [0; 0]);
    expect_no_socket(sandbox);
    (sandbox.results(), ended)
}

/// Expects that no run has left the folder of its sockets.
#[track_caller]
fn expect_no_socket(sandbox: &Sandbox) {
    let left = sandbox.files("state/rpc");
    let locks = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    assert!(left.iter().all(locks), "{left:?}");
    let folders = sandbox.path("state/rpc").read_dir().into_iter().flatten().flatten();
    let folders: Vec<_> = folders.filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect();
    assert!(folders.is_empty(), "{folders:?}");
}

/// The requests of a test by route, without the method and the server.
fn routes(results: &Results, test: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for summary in results.of(test) {
        for (route, requests) in summary["routes"].as_object().into_iter().flatten() {
            let path = route.splitn(4, '/').nth(3).unwrap_or_else(|| panic!("no path in {route:?}"));
            *sums.entry(format!("/{path}")).or_default() += requests["requests"].as_u64().unwrap();
        }
    }
    sums
}

/// The requests that arrived, by route.
fn arrived(nginx: &Nginx) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for hit in nginx.hits() {
        let path = hit.uri.split('?').next().unwrap_or_default();
        // As the tests' own load test has it: what is behind the step is an ID.
        let route = path.rsplit_once('/').map_or(path.to_owned(), |(step, _)| format!("{step}/:id"));
        *sums.entry(route).or_default() += 1;
    }
    sums
}

/// Expects that each hit of `test` that is ok was one journey, and all that arrived is in the summaries; how many.
#[track_caller]
fn expect_counted(results: &Results, test: &str, planned: u64, nginx: &Nginx) -> u64 {
    results.expect_planned(test, planned);
    let (arrived, ok) = (arrived(nginx), results.total(test, "ok"));
    assert!(arrived.values().all(|count| *count == ok), "{arrived:?}\n{results}");
    assert_eq!(routes(results, test), arrived, "{results}");
    assert_eq!(results.work(test, "requests"), arrived.values().sum::<u64>(), "{results}");
    ok
}
