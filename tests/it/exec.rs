//! The kind `exec`: what commands are given and what becomes of them, as the files they write and `/proc` say.

use std::fs;
use std::io::{IoSlice, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use canihaz::guard::{NAME, Request, Status};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::unistd::Pid;

use crate::parts::clock::Clock;
use crate::parts::deadline::{eventually, seconds};
use crate::parts::processes::{guard, is_over, marked, numbers, peak, read};
use crate::parts::results::Results;
use crate::parts::run::Run;
use crate::parts::sandbox::Sandbox;

/// How soon nothing of a command may be left, once nobody waits for it any more.
const GONE: Duration = Duration::from_secs(1);
/// What leaves processes in every way: in the background, in a session of its own, orphaned, deaf to signals, and
/// holding the outputs open. `ready` in the command's folder has a line when all of them are there.
const UNRULY: &str = "trap '' TERM HUP INT
sleep 300 &
setsid sleep 300 &
(setsid sh -c 'trap \"\" TERM; sleep 300 & setsid sleep 300 & sleep 300' &)
(sleep 300 &)
sleep 0.1
echo ready >>ready
";
/// How many processes that makes, at the least.
const MANY: usize = 6;

/// A sandbox with the destination `out`, and a folder for what commands write.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.out();
    fs::create_dir(sandbox.path("work")).unwrap();
    sandbox
}

/// Writes a type that has a shell execute `script`, in the folder `work`, and can be told by its environment.
fn script(sandbox: &Sandbox, name: &str, script: &str, more: &str) {
    let work = sandbox.path("work");
    let text = format!(
        "kind = \"exec\"\ncommand = [\"sh\", \"-c\", '''\n{script}''']\nfolder = \"{work}\"\nenv = {{ MARK = \"{work}\" }}\n{more}",
        work = work.display()
    );
    sandbox.write(&format!("types.d/{name}.toml"), text);
}

/// What commands wrote into `work`.
fn written(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path("work").join(name)).unwrap_or_default()
}

/// Runs a minute's last three seconds.
#[track_caller]
fn run(sandbox: &Sandbox) -> Results {
    sandbox.start(&Clock::at(57.0)).succeed(12.0);
    sandbox.results()
}

/// The processes that a sandbox's commands have become and started.
fn processes(sandbox: &Sandbox) -> Vec<i32> {
    marked(&sandbox.path("work"))
}

/// What the descriptors of a process lead to.
fn descriptors(process: i32) -> Vec<(i32, String)> {
    let folder = format!("/proc/{process}/fd");
    let lead = |fd: &i32| fs::read_link(format!("{folder}/{fd}")).map(|path| path.display().to_string());
    let mut all: Vec<_> = numbers(&folder).into_iter().filter_map(|fd| Some((fd, lead(&fd).ok()?))).collect();
    all.sort();
    all
}

#[track_caller]
fn expect_gone(sandbox: &Sandbox, since: Instant) {
    let bound = (since + GONE).saturating_duration_since(Instant::now());
    eventually("all processes to be gone", bound, || processes(sandbox).is_empty().then_some(()));
}

/// Starts a minute of hits that leave processes in every way, and waits until they are there.
fn unruly() -> (Sandbox, Clock, Run) {
    let sandbox = sandbox();
    script(&sandbox, "unruly", &format!("{UNRULY}sleep 300\n"), "timeout = \"50s\"\novertime = 3\n");
    sandbox.test("a|unruly|600|out");
    let clock = Clock::at(10.0);
    let run = sandbox.start(&clock);
    eventually("three hits in flight", seconds(10.0), || {
        (written(&sandbox, "ready").lines().count() == 3).then_some(())
    });
    assert!(processes(&sandbox).len() >= 3 * MANY, "{:?}", processes(&sandbox));
    (sandbox, clock, run)
}

#[test]
fn commands_are_executed_to_the_hit() {
    let sandbox = sandbox();
    script(&sandbox, "count", "echo hit >>hits\n", "overtime = 4\n");
    sandbox.test("a|count|1200|out");
    let results = run(&sandbox);
    let hits = written(&sandbox, "hits").lines().count() as u64;
    results.expect_planned("a", 1200);
    assert!(hits > 40, "{hits}\n{results}");
    assert_eq!(results.total("a", "ok"), hits, "{results}");
    assert_eq!(results.total("a", "failed"), 0, "{results}");
}

#[test]
fn a_command_ends_with_its_reason() {
    let sandbox = sandbox();
    let cases = [
        ("zero", "exit 0", "", None),
        ("one", "exit 1", "", Some("exit")),
        ("last", "exit 255", "", Some("exit")),
        ("signal", "kill -9 $$", "", Some("exit")),
        ("nameless-signal", "kill -40 $$", "", Some("exit")),
        ("warning", "exit 1", "expect.status = [0, 1]", None),
        ("critical", "exit 2", "expect.status = [0, 1]", Some("exit")),
        ("zero-refused", "exit 0", "expect.status = [3]", Some("exit")),
        ("slow", "sleep 60", "timeout = \"300ms\"", Some("timeout")),
        ("deaf", "trap '' TERM; sleep 60", "timeout = \"300ms\"", Some("timeout")),
        ("stopped", "kill -STOP $$", "timeout = \"300ms\"", Some("timeout")),
        ("replaced", "exec false", "", Some("exit")),
        ("no-output", "exec >&- 2>&-; sleep 0.05; exit 0", "", None),
        ("no-reader", "read line; test -z \"$line\"", "", None),
    ];
    for (name, text, more, _) in cases {
        script(&sandbox, name, &format!("{text}\n"), more);
        sandbox.test(&format!("{name}|{name}|60|out"));
    }
    let results = run(&sandbox);
    for (name, _, _, reason) in cases {
        let [ok, failed] = ["ok", "failed"].map(|count| results.total(name, count));
        assert!(ok + failed > 0, "{name}\n{results}");
        match reason {
            None => assert_eq!(failed, 0, "{name}\n{results}"),
            Some(reason) => assert_eq!((ok, results.failures(name, reason)), (0, failed), "{name}\n{results}"),
        }
    }
    expect_gone(&sandbox, Instant::now());
}

#[test]
fn a_program_that_is_gone_since_the_file_was_read_is_other() {
    let sandbox = sandbox();
    let program = sandbox.path("work/program");
    fs::copy("/bin/true", &program).unwrap();
    sandbox.write("types.d/x.toml", "kind = \"exec\"\ncommand = [\"../../work/program\"]\n");
    sandbox.test("a|x|600|out");
    let clock = Clock::at(55.0);
    let run = sandbox.start(&clock);
    clock.wait_for(57.0);
    fs::remove_file(program).unwrap();
    run.succeed(10.0);
    let results = sandbox.results();
    assert!(results.total("a", "ok") > 5 && results.total("a", "failed") > 5, "{results}");
    assert_eq!(results.failures("a", "other"), results.total("a", "failed"), "{results}");
}

#[test]
fn a_command_knows_nothing_but_what_its_type_says() {
    let sandbox = sandbox();
    let text = "{ env; echo \"in $(pwd)\"; echo \"files $(ulimit -n)\"; grep -E '^Sig(Ign|Blk)' /proc/self/status
ls -l /proc/$$/fd | sed 's/.* \\([0-9]* ->\\)/fd \\1/'; } >told.$$ 2>&1; mv told.$$ told\n";
    script(&sandbox, "tell", text, "");
    sandbox.test("a|tell|60|out");
    let mut runner = sandbox.runner();
    // As under nohup, with a limit as the runner finds it.
    runner.env("SECRET", "of the runner's");
    let through: Vec<String> = ["-c", "trap '' HUP TERM USR1; exec \"$0\""].map(Into::into).into();
    let mut shell = Command::new("sh");
    shell.args(through).arg(env!("CARGO_BIN_EXE_canihaz"));
    for (name, value) in runner.get_envs() {
        shell.env(name, value.unwrap());
    }
    sandbox.start_command(shell, &Clock::at(57.0)).succeed(12.0);
    let told = written(&sandbox, "told");
    let work = fs::canonicalize(sandbox.path("work")).unwrap();
    let fds: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("fd ")).collect();
    let leads = |fd: &str, to: &str| fds.iter().any(|line| line.starts_with(&format!("{fd} -> {to}")));
    // 1 and 2 are the group's own file by then, 10 and such are where the shell keeps its own meanwhile.
    assert!(leads("0", "/dev/null"), "{told}");
    assert!(fds.iter().all(|line| !line.contains("slot-") && !line.contains("socket:")), "{told}");
    let env: Vec<_> = told.lines().filter(|line| line.contains('=')).collect();
    let known = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MARK=", "PWD=", "_="];
    assert!(env.iter().all(|line| known.iter().any(|known| line.starts_with(known))), "{told}");
    assert!(env.contains(&known[0]), "{told}");
    assert!(told.contains(&format!("\nin {}\n", work.display())), "{told}");
    assert!(told.contains("\nfiles 1024\n"), "{told}");
    assert!(told.contains("\nSigBlk:\t0000000000000000\n"), "{told}");
    // Those of the C library's own, 32 and 33, are ignored by every process that it starts.
    let ignored = told.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !(0b11 << 31), 0, "{told}");
}

#[test]
fn the_guard_and_its_commands_inherit_no_lock_and_no_stray_descriptor() {
    let sandbox = sandbox();
    script(&sandbox, "wait", "echo ready >>ready; exec sleep 300\n", "overtime = 3\ntimeout = \"50s\"\n");
    sandbox.test("a|wait|600|out");
    // Everything that a runner may have open: hits over connections, destinations, a log.
    sandbox.settings(&format!("log_file = \"{}\"\n", sandbox.path("log").display()));
    sandbox.test("b|loopback|600|out");
    let run = sandbox.start(&Clock::at(10.0));
    eventually("hits in flight", seconds(10.0), || (written(&sandbox, "ready").lines().count() == 3).then_some(()));
    let id = guard(&run).unwrap();
    // Input, outputs, the pipe that tells of children, /dev/null, and a socket a command; more only while it starts one.
    let of_guard = eventually("the guard to be at rest", GONE, || {
        let all = descriptors(id);
        (all.len() == 3 + 2 + 1 + 3).then_some(all)
    });
    let place = sandbox.path("").display().to_string();
    assert!(of_guard.iter().all(|(_, to)| !to.starts_with(&place) && !to.contains("inotify")), "{of_guard:?}");
    assert_eq!(read(id, "environ"), "");
    for command in processes(&sandbox) {
        let of_command = descriptors(command);
        let [null, stdout, stderr] = &of_command[..] else { panic!("{of_command:?}") };
        assert_eq!(null, &(0, "/dev/null".to_owned()));
        assert!([stdout, stderr].iter().all(|(_, to)| to.starts_with("pipe:")), "{of_command:?}");
    }
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let flocks =
        |id: u32| locks.lines().filter(|line| line.contains("FLOCK") && line.contains(&format!(" {id} "))).count();
    assert!(flocks(run.id()) > 0 && flocks(id as u32) == 0, "{locks}");
}

#[test]
fn no_guard_without_a_command() {
    let sandbox = sandbox();
    sandbox.test("a|loopback|600|out");
    let clock = Clock::at(56.0);
    let run = sandbox.start(&clock);
    clock.wait_for(58.0);
    assert_eq!(guard(&run), None);
    run.succeed(10.0);
}

#[test]
fn one_guard_for_all_commands_which_leaves_with_the_runner() {
    let sandbox = sandbox();
    for name in ["a", "b", "c"] {
        script(&sandbox, name, "echo $PPID >>parents\n", "");
        sandbox.test(&format!("{name}|{name}|120|out"));
    }
    let clock = Clock::at(56.0);
    let run = sandbox.start(&clock);
    clock.wait_for(58.0);
    let id = guard(&run).unwrap();
    run.succeed(10.0);
    eventually("the guard to leave", GONE, || is_over(id).then_some(()));
    let parents = written(&sandbox, "parents");
    assert!(parents.lines().count() > 6 && parents.lines().all(|line| line == id.to_string()), "{id}: {parents}");
}

#[test]
fn a_flood_on_either_output_ends_with_its_time_out() {
    let sandbox = sandbox();
    script(&sandbox, "flood", "exec yes\n", "timeout = \"1s\"\n");
    script(&sandbox, "complain", "exec yes >&2\n", "timeout = \"1s\"\n");
    sandbox.test("a|flood|60|out");
    sandbox.test("b|complain|60|out");
    sandbox.test("c|loopback|600|out");
    let clock = Clock::at(55.0);
    let run = sandbox.start(&clock);
    clock.wait_for(59.0);
    let peak = peak(run.id() as i32);
    run.succeed(12.0);
    assert!(peak < 64 << 10, "{peak} KiB");
    let results = sandbox.results();
    for test in ["a", "b"] {
        assert!(results.total(test, "failed") > 0, "{results}");
        assert_eq!(results.failures(test, "timeout"), results.total(test, "failed"), "{results}");
    }
    assert!(results.total("a", "bytes_in") > 1 << 20, "{results}");
    assert_eq!(results.total("b", "bytes_in"), 0, "{results}");
    // Others are not kept from being hit.
    assert!(results.total("c", "ok") > 30, "{results}");
    expect_gone(&sandbox, Instant::now());
}

#[test]
fn an_output_is_counted_to_the_byte() {
    let sandbox = sandbox();
    // It is there together with the end, and is read after that.
    sandbox.write("types.d/small.toml", "kind = \"exec\"\ncommand = [\"echo\", \"hello\"]\novertime = 20\n");
    sandbox.test("b|small|6000|out");
    script(&sandbox, "large", "head -c 3000001 /dev/zero; head -c 100001 /dev/zero >&2\n", "");
    sandbox.test("a|large|60|out");
    let results = run(&sandbox);
    assert!(results.total("a", "ok") > 0, "{results}");
    assert_eq!(results.total("a", "bytes_in"), 3_000_001 * results.total("a", "ok"), "{results}");
    assert_eq!(results.total("b", "bytes_in"), 6 * results.total("b", "ok"), "{results}");
}

#[test]
fn a_hit_is_over_with_its_command_and_nothing_is_left_of_it() {
    let sandbox = sandbox();
    script(&sandbox, "unruly", UNRULY, "timeout = \"20s\"\n");
    sandbox.test("a|unruly|120|out");
    let clock = Clock::at(54.0);
    let mut run = sandbox.start(&clock);
    eventually("a hit", seconds(5.0), || (!written(&sandbox, "ready").is_empty()).then_some(()));
    let mut first = Vec::new();
    eventually("its processes", seconds(1.0), || {
        first = processes(&sandbox);
        (!first.is_empty()).then_some(())
    });
    // Others come meanwhile, but of these nothing stays.
    eventually("they are gone", GONE, || first.iter().all(|id| is_over(*id)).then_some(()));
    assert!(run.is_running());
    run.succeed(12.0);
    let results = sandbox.results();
    let hits = written(&sandbox, "ready").lines().count() as u64;
    assert!(hits > 3, "{results}");
    assert_eq!((results.total("a", "ok"), results.total("a", "failed")), (hits, 0), "{results}");
    expect_gone(&sandbox, Instant::now());
}

#[test]
fn a_time_out_kills_everything_that_a_command_has_started() {
    let sandbox = sandbox();
    script(&sandbox, "unruly", &format!("{UNRULY}sleep 300\n"), "timeout = \"1s\"\n");
    sandbox.test("a|unruly|60|out");
    let run = sandbox.start(&Clock::at(54.0));
    eventually("a hit", seconds(5.0), || (!written(&sandbox, "ready").is_empty()).then_some(()));
    let first = processes(&sandbox);
    assert!(first.len() >= MANY, "{first:?}");
    eventually("they are gone", seconds(1.0) + GONE, || first.iter().all(|id| is_over(*id)).then_some(()));
    run.succeed(12.0);
    let results = sandbox.results();
    assert!(results.total("a", "failed") > 1, "{results}");
    assert_eq!(results.failures("a", "timeout"), results.total("a", "failed"), "{results}");
}

#[test]
fn a_stop_leaves_no_process() {
    let (sandbox, clock, run) = unruly();
    sandbox.write("stop", "");
    expect_gone(&sandbox, Instant::now());
    run.succeed(3.0);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert_eq!(results.total("a", "stopped"), 600, "{results}");
    assert_eq!(written(&sandbox, "ready").lines().count(), 3, "at {}", clock.now());
}

#[test]
fn kill_9_of_the_runner_leaves_no_process() {
    let (sandbox, _, run) = unruly();
    let id = guard(&run).unwrap();
    let before = processes(&sandbox);
    run.kill_9();
    let killed = Instant::now();
    expect_gone(&sandbox, killed);
    eventually("the guard to leave", GONE, || is_over(id).then_some(()));
    assert!(before.len() >= 3 * MANY);
}

#[test]
fn kill_9_of_the_guard_leaves_no_process_and_another_takes_its_place() {
    let (sandbox, _, run) = unruly();
    let first = guard(&run).unwrap();
    let before = processes(&sandbox);
    // What comes then is quick.
    script(&sandbox, "unruly", "echo hit >>hits\n", "");
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    eventually("all to be gone", GONE, || before.iter().all(|id| is_over(*id)).then_some(()));
    let second = eventually("another guard", seconds(3.0), || guard(&run).filter(|id| *id != first));
    eventually("hits by it", seconds(5.0), || (written(&sandbox, "hits").lines().count() > 5).then_some(()));
    assert_eq!(guard(&run), Some(second));
    run.terminate();
    let ended = run.wait(seconds(3.0));
    ended.expect_code(0);
    assert!(ended.stderr.contains("the guard of commands was ended (signal: 9 (SIGKILL))"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let results = sandbox.results();
    results.expect_planned("a", 600);
    assert!(results.failures("a", "other") >= 3, "{results}");
    assert_eq!(results.failures("a", "other"), results.total("a", "failed"), "{results}");
    // The last one may have been stopped.
    assert!(results.total("a", "ok") >= 5, "{results}");
}

#[test]
fn a_command_that_nobody_waits_for_any_more_never_begins() {
    let sandbox = sandbox();
    let work = sandbox.path("work");
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let ask = |bytes: &[u8], descriptors: &[RawFd]| {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &[][..] } else { &rights };
        sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(bytes)], rights, MsgFlags::MSG_NOSIGNAL, None).unwrap();
    };
    let touch = |name: &str| Request::new(Path::new("/usr/bin/touch"), &[name.to_owned()], &[], &work).unwrap();
    // All of it is there before the guard is.
    let file = fs::File::open("/dev/null").unwrap();
    let null = file.as_raw_fd();
    let (given_up, theirs_given_up) = UnixStream::pair().unwrap();
    ask(touch("given-up").as_bytes(), &[null, null, theirs_given_up.as_raw_fd()]);
    drop((given_up, theirs_given_up));
    // What the guard starts before it looks for closed sockets again, so that what began would have the time.
    let others: Vec<_> = (0..7).map(|_| UnixStream::pair().unwrap()).collect();
    for (_, theirs) in &others {
        ask(touch("meanwhile").as_bytes(), &[null, null, theirs.as_raw_fd()]);
    }
    let (mut confused, theirs_confused) = UnixStream::pair().unwrap();
    ask(b"no request", &[null, null, theirs_confused.as_raw_fd()]);
    ask(touch("without-a-socket").as_bytes(), &[null, null]);
    ask(touch("without-anything").as_bytes(), &[]);
    drop(theirs_confused);
    let (mut waiting, theirs_waiting) = UnixStream::pair().unwrap();
    ask(touch("waited-for").as_bytes(), &[null, null, theirs_waiting.as_raw_fd()]);
    drop(theirs_waiting);
    let mut command = Command::new(env!("CARGO_BIN_EXE_canihaz"));
    let mut guard = command.arg0(NAME).stdin(Stdio::from(theirs)).spawn().unwrap();
    drop(command);

    let mut status = Vec::new();
    waiting.read_to_end(&mut status).unwrap();
    assert_eq!(Status::from_bytes(&status), Some(Status::Exited(0)));
    assert_eq!(confused.read(&mut [0]).unwrap(), 0, "what is no request has no status");
    assert_eq!(sandbox.files("work"), ["meanwhile", "waited-for"].map(Path::new));
    drop(ours);
    let ended = eventually("the guard to leave", GONE, || guard.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

#[test]
fn called_by_a_person_the_guard_says_what_it_is_and_exits_64() {
    let sandbox = sandbox();
    let link = sandbox.path("canihaz-guard");
    symlink(env!("CARGO_BIN_EXE_canihaz"), &link).unwrap();
    for arguments in [&[][..], &["--help"]] {
        let mut command = Command::new(&link);
        command.args(arguments);
        let ended = sandbox.start_command(command, &Clock::real()).wait(seconds(1.0));
        ended.expect_code(64);
        assert_eq!(ended.stdout, "");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("to run tests, call it canihaz"), "{}", ended.stderr);
    }
    assert!(Path::new(&link).exists());
}
