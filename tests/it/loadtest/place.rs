//! Where a load test runs: what it is told, and who can enter.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::{end, expect_processes, odd, sandbox};
use crate::parts::clock::Clock;
use crate::parts::nginx::Nginx;
use crate::parts::processes::read;

#[test]
fn it_is_told_where_to_listen_and_nothing_else_and_nobody_else_can_enter_there() {
    let (nginx, sandbox) = (Nginx::start(), sandbox());
    odd(&sandbox, "front", &nginx.url(""), "", "open_files = 100\n");
    sandbox.test("a|front|120|out");
    let clock = Clock::at(55.0);
    let mut runner = sandbox.runner();
    runner.env("SECRET", "of the runner's");
    let begun = sandbox.start_command(runner, &clock);
    let [program] = expect_processes(&sandbox, 1)[..] else { unreachable!() };
    let environment = read(program, "environ");
    let variables: BTreeSet<_> = environment.split_terminator('\0').collect();
    let [address, mark, path] = variables.iter().copied().collect::<Vec<_>>()[..] else { panic!("{variables:?}") };
    assert_eq!(path, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert_eq!(mark, format!("MARK={}", sandbox.path("").display()));
    let socket = address.strip_prefix("CANIHAZ_RPC_ADDR=unix:").unwrap();
    let folder = std::path::Path::new(socket).parent().unwrap();
    assert!(folder.starts_with(sandbox.path("state/rpc")), "{socket}");
    for folder in [folder, folder.parent().unwrap()] {
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
    }
    let limits = read(program, "limits");
    let of = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().next();
    assert_eq!((of("Max open files"), of("Max data size")), (Some("100"), Some("1073741824")), "{limits}");
    let (results, ended) = end(&sandbox, begun, &clock, 0.0);
    ended.expect_silence();
    assert!(results.total("a", "ok") > 20, "{results}");
}
