//! Where things are kept when nobody says so: README's first command, as a user with nothing but a home.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::Uid;

use crate::parts::clock::Clock;
use crate::parts::sandbox::Sandbox;

#[test]
fn the_sample_runs_as_readme_says() {
    let sandbox = Sandbox::new();
    let home = sandbox.path("home");
    fs::create_dir(&home).unwrap();
    let mut command = if Uid::effective().is_root() {
        // As somebody who may write nothing but the home.
        fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", env!("CARGO_BIN_EXE_canihaz")]);
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_canihaz"))
    };
    command
        .env_clear()
        .env("HOME", &home)
        .env("CANIHAZ_ETC", concat!(env!("CARGO_MANIFEST_DIR"), "/etc"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let ended = sandbox.start_command(command, &Clock::at(45.0)).succeed(20.0);
    assert!(ended.stdout.lines().filter(|line| line.contains("hello")).count() >= 3, "{}", ended.stdout);
    let files = sandbox.files("home");
    assert!(!files.is_empty());
    assert!(files.iter().all(|file| file.starts_with(".local/state/canihaz")), "{files:?}");
}
