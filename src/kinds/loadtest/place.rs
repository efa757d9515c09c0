//! Where a load test listens: a socket that only we can enter, or a port that is ours alone for the while.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fs2::FileExt;
use nix::fcntl::OFlag;

use super::rpc::Address;
use crate::fault::quote;
use crate::minute;

/// The folder of sockets, and of locks of ports, in the state folder.
const FOLDER: &str = "rpc";
/// The longest path of a unix socket, in bytes: Linux has room for no more.
const LONGEST: usize = 107;
/// How often is tried to get a port that another run still has.
const AGAIN: Duration = Duration::from_millis(50);
/// How much is read of who has a port, in bytes.
const HOLDER: u64 = 256;

/// The places of one run.
#[derive(Debug)]
pub struct Places {
    state: PathBuf,
    run: String,
}

/// A place, as long as it is ours.
#[derive(Debug)]
pub enum Place {
    /// The file of a socket.
    Socket(PathBuf),
    /// A port, and what locks it.
    Port(SocketAddr, #[expect(dead_code, reason = "it is unlocked when it is dropped")] File),
}

impl Places {
    /// Those of the run `run` in the folder `state`.
    pub fn new(state: &Path, run: &str) -> Self {
        Self { state: state.to_owned(), run: run.to_owned() }
    }

    /// Where the load test number `number` of the run is told to listen.
    pub fn socket(&self, number: u32) -> Address {
        Address::Unix(self.folder().join(number.to_string()))
    }

    /// Makes a place ours, for `test`. A port that a load test of another run still has is waited for, until `until`, as
    /// long as `goes_on` says so.
    ///
    /// # Errors
    /// What is in the way, and what would help.
    pub fn take(
        &self,
        address: &Address,
        test: &str,
        until: Instant,
        goes_on: impl Fn() -> bool,
    ) -> anyhow::Result<Place> {
        match address {
            Address::Unix(path) => {
                let length = path.as_os_str().len();
                ensure!(
                    length <= LONGEST,
                    "the path of its socket, {}, has {length} bytes: at most {LONGEST} are possible; a shorter state folder \
                     (CANIHAZ_STATE), or `rpc_addr` in its type, would help",
                    path.display()
                );
                make(&self.folder()).with_context(|| format!("{} cannot be made", self.folder().display()))?;
                Ok(Place::Socket(path.clone()))
            }
            Address::Tcp(address) => self.take_port(*address, test, until, goes_on),
        }
    }

    fn take_port(
        &self,
        address: SocketAddr,
        test: &str,
        until: Instant,
        goes_on: impl Fn() -> bool,
    ) -> anyhow::Result<Place> {
        let folder = self.state.join(FOLDER);
        make(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let path = folder.join(format!("{address}.lock"));
        let mut lock = open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
        loop {
            match FileExt::try_lock_exclusive(&lock) {
                Ok(()) => break,
                Err(error) if error.kind() != fs2::lock_contended_error().kind() => return Err(error.into()),
                Err(_) if !goes_on() => bail!("stopped"),
                Err(_) if Instant::now() >= until => {
                    let mut holder = String::new();
                    let _ = (&lock).take(HOLDER).read_to_string(&mut holder);
                    bail!(
                        "the load test of {} has {address}: each needs an `rpc_addr` of its own",
                        if holder.is_empty() { String::from("another run") } else { quote(&holder) }
                    );
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
        // For whoever finds it locked.
        lock.set_len(0)?;
        lock.write_all(format!("test {test}, run {}", self.run).as_bytes())?;
        Ok(Place::Port(address, lock))
    }

    /// Removes the sockets of this run, and of those that aren't alive any more.
    pub fn clear(&self) {
        let entries = fs::read_dir(self.state.join(FOLDER)).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().into_string().unwrap_or_default();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && (name == self.run || !minute::is_alive(&self.state, &name)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn folder(&self) -> PathBuf {
        self.state.join(FOLDER).join(&self.run)
    }
}

impl Place {
    /// Makes room for a program that is about to listen here.
    ///
    /// # Errors
    /// Somebody else does.
    pub fn make_room(&self) -> anyhow::Result<()> {
        match self {
            Self::Socket(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("{} cannot be removed", path.display()))
                }
                _ => Ok(()),
            },
            // Who connects here would be taken for the load test.
            Self::Port(address, _) => match std::net::TcpListener::bind(address) {
                Ok(_) => Ok(()),
                Err(error) => bail!(
                    "{address} is not free ({error}): another program, or another user's load test, has it; another \
                     `rpc_addr`, or none, would help"
                ),
            },
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Socket(path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// A folder that only we can enter.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn places(state: &Path) -> Places {
        Places::new(state, "20261121T0327Z.1")
    }

    #[test]
    fn a_socket_is_where_nobody_else_can_enter_and_gone_afterwards() {
        let state = tempfile::tempdir().unwrap();
        let places = places(state.path());
        let address = places.socket(1);
        let Address::Unix(path) = &address else { panic!("it is a socket") };
        let place = places.take(&address, "a", Instant::now(), || true).unwrap();
        let mode = path.parent().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(UnixListener::bind(path).unwrap());
        place.make_room().unwrap();
        drop(UnixListener::bind(path).unwrap());
        drop(place);
        assert!(!path.exists());
        places.clear();
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn what_killed_runs_have_left_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let left = state.path().join("rpc/20261121T0326Z.1");
        fs::create_dir_all(&left).unwrap();
        drop(UnixListener::bind(left.join("1")).unwrap());
        fs::write(state.path().join("rpc/127.0.0.1:9999.lock"), "test a").unwrap();
        places(state.path()).clear();
        assert!(!left.exists() && state.path().join("rpc/127.0.0.1:9999.lock").exists());
    }

    #[test]
    fn a_port_is_one_load_tests_and_the_other_is_told_whose() {
        let state = tempfile::tempdir().unwrap();
        let places = places(state.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(port.local_addr().unwrap());
        let place = places.take(&address, "a", Instant::now(), || true).unwrap();
        let refused = format!("{:#}", places.take(&address, "b", Instant::now(), || true).unwrap_err());
        assert!(refused.contains("test a, run 20261121T0327Z.1") && refused.contains("`rpc_addr`"), "{refused}");
        let later = Instant::now() + Duration::from_secs(10);
        assert_eq!(places.take(&address, "b", later, || false).unwrap_err().to_string(), "stopped");
        let taken = format!("{:#}", place.make_room().unwrap_err());
        assert!(taken.contains("is not free"), "{taken}");
        drop(port);
        place.make_room().unwrap();
        drop(place);
        places.take(&address, "b", Instant::now(), || true).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_said() {
        let places = Places::new(Path::new(&format!("/{}", "x".repeat(LONGEST))), "M.1");
        let refused = format!("{:#}", places.take(&places.socket(1), "a", Instant::now(), || true).unwrap_err());
        assert!(refused.contains("at most 107") && refused.contains("CANIHAZ_STATE"), "{refused}");
    }
}
