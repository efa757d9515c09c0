//! A place of its own for the program under test: configuration, state and locks, all in one temporary folder.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::clock::Clock;
use super::results::Results;
use super::run::Run;

/// The host's name in every result.
pub const HOST: &str = "box";

/// A folder with `etc`, `state` and `lock`, gone when dropped.
pub struct Sandbox {
    folder: TempDir,
    started: AtomicUsize,
}

impl Sandbox {
    /// Makes one whose `canihaz.toml` names the host [`HOST`], with no tests, types or destinations.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
        let sandbox = Self { folder, started: AtomicUsize::new(0) };
        for name in ["etc", "etc/tests.d", "etc/types.d", "etc/destinations.d", "state", "lock"] {
            let made = fs::DirBuilder::new().mode(0o700).create(sandbox.path(name));
            made.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        sandbox.settings("");
        sandbox
    }

    /// Where `name` is in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `etc/NAME` so that no reader ever sees half of it.
    #[track_caller]
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path("etc").join(name);
        let half = path.with_file_name(".half-written");
        fs::write(&half, text)
            .and_then(|()| fs::rename(&half, &path))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Replaces a text in `etc/NAME` by another, wherever it is.
    #[track_caller]
    pub fn replace(&self, name: &str, this: &str, by: &str) {
        let text = fs::read_to_string(self.path("etc").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(this), "{this:?} is not in {text}");
        self.write(name, text.replace(this, by));
    }

    /// Removes `etc/NAME`.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path("etc").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Writes `canihaz.toml`: the host's name, and `more`.
    pub fn settings(&self, more: &str) {
        self.write("canihaz.toml", format!("host = \"{HOST}\"\n{more}"));
    }

    /// Writes a file of tests with one line, named after its test.
    pub fn test(&self, line: &str) {
        let name = line.split('|').next().expect("a line begins with a name");
        self.write(&format!("tests.d/{name}.conf"), format!("{line}\n"));
    }

    /// Writes a type of the kind `http`.
    pub fn http(&self, name: &str, url: &str, more: &str) {
        self.write(&format!("types.d/{name}.toml"), format!("kind = \"http\"\nurl = \"{url}\"\n{more}"));
    }

    /// Writes a destination of any kind.
    pub fn destination(&self, name: &str, text: &str) {
        self.write(&format!("destinations.d/{name}.toml"), text);
    }

    /// Writes the destination `out`, a file that [`Sandbox::results`] reads.
    pub fn out(&self) {
        let path = self.path("out.jsonl");
        self.destination("out", &format!("kind = \"file\"\npath = \"{}\"\n", path.display()));
    }

    /// Writes the destination `carbon`, of the kind `graphite`.
    pub fn carbon(&self, port: u16, more: &str) {
        self.destination("carbon", &format!("kind = \"graphite\"\naddress = \"127.0.0.1:{port}\"\n{more}"));
    }

    /// What the destination `out` was given so far.
    #[track_caller]
    pub fn results(&self) -> Results {
        Results::read(&self.path("out.jsonl"))
    }

    /// The runner, ready to be started: its folders, and nothing else, in its environment.
    pub fn runner(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_canihaz"))
    }

    /// `canihazctl`, ready to be started.
    pub fn ctl(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_canihazctl"))
    }

    /// Starts the runner by `clock`.
    pub fn start(&self, clock: &Clock) -> Run {
        self.start_command(self.runner(), clock)
    }

    /// Starts `command` by `clock`, its outputs in the sandbox.
    pub fn start_command(&self, mut command: Command, clock: &Clock) -> Run {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        clock.set(&mut command);
        Run::start(command, self.folder.path(), &format!("run-{number}")).by(clock)
    }

    /// Every file under `name`, at any depth, as paths within that folder, sorted.
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        let top = self.path(name);
        let mut folders = vec![top.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            // What another run takes away meanwhile isn't there.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    _ => files.push(path.strip_prefix(&top).expect("it is below").to_owned()),
                }
            }
        }
        files.sort();
        files
    }

    fn program(&self, path: &str) -> Command {
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("CANIHAZ_ETC", self.path("etc"))
            .env("CANIHAZ_STATE", self.path("state"))
            .env("CANIHAZ_LOCK", self.path("lock"));
        command
    }
}

/// A sandbox with the type `front`, which is `url`, the destination `out`, and the one test `line`.
pub fn sandbox(url: &str, line: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.http("front", url, "");
    sandbox.out();
    sandbox.test(line);
    sandbox
}
