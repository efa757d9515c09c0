//! The guard as kinds use it: what a program may have, which file it is, and how it ends, as itself and `/proc` say.

use std::fs::{self, File};
use std::future::Future;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use canihaz::guard::{Client, Guard, LEAST_MEMORY, Limits, Request, Running, Status};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::runtime;

use crate::parts::deadline::eventually;

/// How long anything may take here.
const LONG: Duration = Duration::from_secs(10);

/// How soon nothing of a program may be left, once nobody waits for it any more.
const GONE: Duration = Duration::from_secs(1);

/// Does what it is about with a guard of its own.
#[track_caller]
fn with_a_guard<T>(about: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = Guard::start(Path::new(env!("CARGO_BIN_EXE_canihaz"))).unwrap();
    runtime.block_on(soon("all of it", about(Client::new(guard))))
}

/// What a future gives, which isn't to take long.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("waited {LONG:?} for {what}"))
}

/// A request for a shell that executes `script`.
fn shell(script: &str) -> Request {
    let arguments = ["-c", script].map(ToOwned::to_owned);
    let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    Request::new(Path::new("/bin/sh"), &arguments, &env, Path::new("/")).unwrap()
}

/// Reads what a program says until `enough`, or until nobody has its output any more.
async fn read(running: &Running, enough: impl Fn(&str) -> bool) -> String {
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&said);
        if enough(&text) {
            return text.into_owned();
        }
        soon("an output", running.stdout.readable()).await.unwrap();
        match running.stdout.try_read(&mut chunk) {
            Ok(0) => return String::from_utf8(said).unwrap(),
            Ok(length) => said.extend_from_slice(&chunk[..length]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}

/// Has a command executed to its end: how that was, and what it said.
async fn execute(client: &Client, request: &Request) -> (Status, String) {
    execute_file(client, request, None).await
}

/// The same, of a program that is a file without a name.
async fn execute_file(client: &Client, request: &Request, file: Option<BorrowedFd<'_>>) -> (Status, String) {
    let running = client.run(request, file).await.unwrap();
    let said = read(&running, |_| false).await;
    (soon("the end", running.ended()).await.unwrap(), said)
}

/// What a process has had of processors, in hundredths of a second.
fn processor_time(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Whether a process has ended, be it waited for or not.
fn is_over(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.is_empty() || status.contains("\nState:\tZ")
}

/// What the kernel says of a process's limit, as it may have now and at the most.
fn limit(process: &str, what: &str) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().take(2).map(ToOwned::to_owned).collect()
}

#[test]
fn a_program_that_wants_more_memory_than_it_may_have_fails_and_the_guard_goes_on() {
    with_a_guard(async |client| {
        // `dd` asks for a buffer as large as its block.
        let hog = shell("echo $PPID; dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null || echo refused");
        let limited = |memory| hog.clone().limited(Limits { memory: Some(memory), open_files: None });
        let (_, free) = execute(&client, &hog).await;
        let guard = free.lines().next().unwrap();
        assert_eq!(free, format!("{guard}\n"));
        let of_guard = limit(guard, "Max data size");
        for (memory, expect) in [(LEAST_MEMORY, "refused\n"), (32 << 20, "refused\n"), (80 << 20, "")] {
            let (status, said) = execute(&client, &limited(memory)).await;
            assert_eq!((status, said), (Status::Exited(0), format!("{guard}\n{expect}")), "{memory}");
            assert_eq!(limit(guard, "Max data size"), of_guard, "{memory}");
        }
        assert_eq!(execute(&client, &hog).await, (Status::Exited(0), free.clone()));
    });
}

#[test]
fn a_limit_is_one_for_good_and_nobody_elses() {
    with_a_guard(async |client| {
        let wait = shell("echo $PPID $$; exec sleep 300");
        let limits = Limits { memory: Some(32 << 20), open_files: Some(64) };
        let limited = client.run(&wait.clone().limited(limits), None).await.unwrap();
        let said = read(&limited, |text| text.ends_with('\n')).await;
        let [guard, program] = said.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        // The guard makes them final just after the start.
        let is_bound = || {
            let [files, memory] = [("Max open files", "64"), ("Max data size", "33554432")]
                .map(|(what, expect)| limit(program, what) == [expect, expect]);
            (files && memory).then_some(())
        };
        eventually("limits that can't be raised", LONG, is_bound);
        let free = client.run(&wait, None).await.unwrap();
        let said = read(&free, |text| text.ends_with('\n')).await;
        let program = said.split_whitespace().last().unwrap();
        let most = &limit(guard, "Max open files")[1];
        assert_eq!(limit(program, "Max open files"), ["1024", most]);
        assert_eq!(limit(program, "Max data size"), limit(guard, "Max data size"));
        assert_eq!(execute(&client, &shell("exit 3")).await.0, Status::Exited(3));
    });
}

#[test]
fn a_program_may_have_fewer_open_files_than_there_are_others() {
    with_a_guard(async |client| {
        let wait = shell("echo $$; exec sleep 300");
        let mut others = Vec::new();
        for _ in 0..20 {
            let other = client.run(&wait, None).await.unwrap();
            read(&other, |text| text.ends_with('\n')).await;
            others.push(other);
        }
        let few = Limits { memory: None, open_files: Some(16) };
        let limited = client.run(&wait.clone().limited(few), None).await.unwrap();
        let said = read(&limited, |text| text.ends_with('\n')).await;
        assert_ne!(said, "", "{:?}", soon("the end", limited.ended()).await);
        let is_bound = || (limit(said.trim(), "Max open files") == ["16", "16"]).then_some(());
        eventually("its own limit", LONG, is_bound);
    });
}

#[test]
fn a_program_that_is_asked_to_end_can_take_its_leave() {
    with_a_guard(async |client| {
        let polite = shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        let running = client.run(&polite, None).await.unwrap();
        read(&running, |text| text == "ready\n").await;
        running.ask_to_end();
        assert_eq!(read(&running, |_| false).await, "bye\n");
        assert_eq!(soon("the end", running.ended()).await.unwrap(), Status::Exited(7));
        // It is too late to matter, and harmless.
        running.ask_to_end();
    });
}

#[test]
fn all_of_a_programs_group_is_asked_to_end_and_no_other() {
    with_a_guard(async |client| {
        // The shell waits for its child, and says how that ended. Ready is who has let go of the shell's own trap.
        let parent = shell("trap : TERM; sh -c 'echo ready; exec sleep 300' & wait; wait $!; echo $?");
        let [asked, other] = [client.run(&parent, None).await.unwrap(), client.run(&parent, None).await.unwrap()];
        for running in [&asked, &other] {
            read(running, |text| text == "ready\n").await;
        }
        asked.ask_to_end();
        assert_eq!(read(&asked, |_| false).await, "143\n");
        assert_eq!(soon("the end", asked.ended()).await.unwrap(), Status::Exited(0));
        // A turn of the guard's later.
        assert_eq!(execute(&client, &shell("exit 3")).await.0, Status::Exited(3));
        let mut chunk = [0; 1];
        assert!(other.stdout.try_read(&mut chunk).is_err(), "it says nothing, as it wasn't asked");
    });
}

#[test]
fn a_program_that_does_not_care_is_killed_when_it_is_dropped_and_the_guard_rests_meanwhile() {
    with_a_guard(async |client| {
        let deaf = shell("trap '' TERM; echo $PPID $$; while :; do sleep 300; done");
        let running = client.run(&deaf, None).await.unwrap();
        let said = read(&running, |text| text.ends_with('\n')).await;
        let [guard, program] = said.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let before = processor_time(guard);
        for _ in 0..1000 {
            running.ask_to_end();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let spent = processor_time(guard) - before;
        assert!(spent < 20, "{spent} hundredths of a second");
        assert!(!is_over(program));
        drop(running);
        eventually("its end", GONE, || is_over(program).then_some(()));
    });
}

#[test]
fn asked_before_it_began_a_program_ends_as_soon_as_it_has() {
    with_a_guard(async |client| {
        let running = client.run(&shell("exec sleep 300"), None).await.unwrap();
        running.ask_to_end();
        let ended = soon("the end", running.ended()).await.unwrap();
        assert_eq!(ended, Status::Signaled(15));
    });
}

/// A file without a name that nobody can change any more.
fn sealed(contents: &[u8]) -> File {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("program", flags).unwrap());
    file.write_all(contents).unwrap();
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file
}

/// A request for `/bin/false`, which fails wherever it is executed itself.
fn instead_of_false(arguments: &[&str]) -> Request {
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    Request::new(Path::new("/bin/false"), &arguments, &env, Path::new("/")).unwrap()
}

#[test]
fn a_sealed_file_is_executed_itself_and_called_by_its_name() {
    with_a_guard(async |client| {
        let shell = sealed(&fs::read("/bin/sh").unwrap());
        let request = instead_of_false(&["-c", "tr '\\0' ' ' </proc/$$/cmdline; readlink /proc/$$/exe"]);
        let (status, said) = execute_file(&client, &request, Some(shell.as_fd())).await;
        assert_eq!(status, Status::Exited(0));
        assert!(said.starts_with("/bin/false -c "), "{said}");
        assert!(said.ends_with("/memfd:program (deleted)\n"), "{said}");
        assert_eq!(execute(&client, &request).await.0, Status::Exited(1));
    });
}

#[test]
fn a_sealed_file_may_be_a_script() {
    with_a_guard(async |client| {
        let script = sealed(b"#!/bin/sh\necho \"$1\" \"$0\"\nexit 5\n");
        let (status, said) = execute_file(&client, &instead_of_false(&["one"]), Some(script.as_fd())).await;
        assert_eq!(status, Status::Exited(5));
        // Its interpreter has no other name for it.
        assert!(said.starts_with("one /proc/self/fd/"), "{said}");
    });
}

#[test]
fn a_sealed_file_that_is_no_program_is_not_started_nor_is_another() {
    with_a_guard(async |client| {
        let text = sealed(b"no program");
        let (status, said) = execute_file(&client, &shell("echo executed"), Some(text.as_fd())).await;
        assert_eq!((status, said.as_str()), (Status::NotStarted(Errno::ENOEXEC as i32), ""));
    });
}

#[test]
fn nobody_else_inherits_a_sealed_file() {
    with_a_guard(async |client| {
        let program = sealed(&fs::read("/bin/sh").unwrap());
        let tell = ["-c", "echo $PPID; readlink /proc/$$/fd/* | grep -c memfd; sleep 300 & wait"];
        let all_told = |text: &str| text.lines().count() == 2;
        // Several are there at once, and each has its own alone.
        let mut running = Vec::new();
        for _ in 0..3 {
            running.push(client.run(&instead_of_false(&tell), Some(program.as_fd())).await.unwrap());
        }
        let mut guard = String::new();
        for running in &running {
            let said = read(running, all_told).await;
            let (id, count) = said.split_once('\n').unwrap();
            assert_eq!(count, "1\n");
            guard = id.to_owned();
        }
        let unnamed = client.run(&shell(tell[1]), None).await.unwrap();
        assert_eq!(read(&unnamed, all_told).await, format!("{guard}\n0\n"));
        let open = fs::read_dir(format!("/proc/{guard}/fd")).unwrap().flatten();
        let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        assert!(open.iter().all(|leads_to| !leads_to.display().to_string().contains("memfd")), "{open:?}");
    });
}

/// What has a child in a session of its own, which has one again, and so on; each says its number.
const CHAIN: &str = r#"export LEFT="${LEFT:-5}"; echo $$
test $LEFT = 0 || LEFT=$((LEFT - 1)) setsid sh -c "$CHAIN" &
trap '' TERM; sleep 300; sleep 300"#;

/// Starts a program with descendants that are deaf and in sessions of their own: it, and the numbers of all of them.
async fn chain(client: &Client) -> (Running, Vec<String>) {
    let env = [("PATH", "/usr/bin:/bin"), ("CHAIN", CHAIN)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let arguments = ["-c", CHAIN].map(ToOwned::to_owned);
    let request = Request::new(Path::new("/bin/sh"), &arguments, &env, Path::new("/")).unwrap();
    let running = client.run(&request, None).await.unwrap();
    let said = read(&running, |text| text.lines().count() == 6).await;
    (running, said.lines().map(ToOwned::to_owned).collect())
}

#[test]
fn all_descendants_are_gone_within_a_second_though_another_program_lives_on() {
    with_a_guard(async |client| {
        let other = client.run(&shell("echo $$; exec sleep 300"), None).await.unwrap();
        let id = read(&other, |text| text.ends_with('\n')).await;
        let (running, processes) = chain(&client).await;
        drop(running);
        eventually("their end", GONE, || processes.iter().all(|id| is_over(id)).then_some(()));
        assert!(!is_over(id.trim()));
    });
}

#[test]
fn when_the_runner_is_gone_so_are_its_programs_and_their_descendants_within_a_second() {
    with_a_guard(async |client| {
        let (mut running, mut processes) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (one, its) = chain(&client).await;
            one.ask_to_end();
            running.push(one);
            processes.extend(its);
        }
        // Nobody has given them up; only the guard's own socket is closed, as `kill -9` closes it.
        drop(client);
        eventually("their end", GONE, || processes.iter().all(|id| is_over(id)).then_some(()));
    });
}
