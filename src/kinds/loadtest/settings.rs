//! The keys of the kind `loadtest`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::binary::{self, Binary};
use super::rpc::Address;
use crate::guard::{LEAST_MEMORY, Limits, MAX_REQUEST, Request};
use crate::keys::Keys;
use crate::kinds::command::{environment, folder};
use crate::kinds::{MAX_GRACE, timeout};
use crate::page::Key;

/// Where a load test is told to listen.
pub const RPC_ADDR: &str = "CANIHAZ_RPC_ADDR";
/// How long a load test may take until it answers, unless its type says otherwise.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time that it can be given.
const MIN_STARTUP_TIMEOUT: Duration = Duration::from_millis(10);
/// The memory that a load test may have unless its type says otherwise, in bytes.
const MEMORY: u64 = 1 << 30;
/// The most, in bytes.
const MAX_MEMORY: u64 = 1 << 40;
/// The files that a load test may have open unless its type says otherwise.
const OPEN_FILES: u64 = 1024;
/// The fewest that it can be given: less, and no program begins.
const MIN_OPEN_FILES: u64 = 16;
/// The most.
const MAX_OPEN_FILES: u64 = 1 << 20;
/// What a request may need besides what its type says, in bytes: the address, and where the program is.
const BESIDES: usize = 8 << 10;

/// What [`Settings::read`] reads.
pub const KEYS: &[&[Key]] = &[
    binary::KEYS,
    &[
        Key { name: "args", meaning: "what it is told; with `env`, up to 56 KiB", default: "nothing" },
        Key {
            name: "env",
            meaning: "all of its environment, beside `CANIHAZ_RPC_ADDR` and, unless it has one, a `PATH`; nothing is inherited",
            default: "`PATH`, as for `exec`",
        },
        Key { name: "folder", meaning: "the folder that it runs in", default: "`\"/\"`" },
        Key { name: "memory", meaning: "the memory that it may have, for data (`RLIMIT_DATA`)", default: "`\"1GiB\"`" },
        Key { name: "open_files", meaning: "how many files and sockets it may have open", default: "`1024`" },
        Key {
            name: "startup_timeout",
            meaning: "how long it may take from its start until it answers",
            default: "`\"10s\"`",
        },
        Key {
            name: "rpc_addr",
            meaning: "where it listens, if it can't listen where it is told to; no two tests can have the same",
            default: "a unix socket, which it is told",
        },
    ],
];

/// The least that a type of this kind says.
pub const LEAST: &str = "kind = \"loadtest\"\nbinary = \"/bin/true\"";

/// A load test, and how it is to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The program, and where it comes from.
    pub binary: Binary,
    /// What it is told.
    pub args: Vec<String>,
    /// All of its environment but for [`RPC_ADDR`].
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub folder: PathBuf,
    /// What it may have of the machine.
    pub limits: Limits,
    /// How long it may take from its start until it answers.
    pub startup_timeout: Duration,
    /// Where it listens, unless it is told where.
    pub rpc_addr: Option<Address>,
    /// How long a hit may take.
    pub timeout: Duration,
}

impl Settings {
    /// Reads the kind's own keys; `None` when one of them is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let timeout = timeout(keys);
        let binary = Binary::read(keys);
        let right = "texts, as in [\"--user\", \"alice\"]";
        let args = keys.list("args", right, |value| value.as_str().map(ToOwned::to_owned)).unwrap_or_default();
        let env = environment(keys);
        if env.iter().any(|(name, _)| name == RPC_ADDR) {
            keys.refuse_key("env", "what \"env\" has", "anything but CANIHAZ_RPC_ADDR, which canihaz sets");
        }
        let folder = folder(keys);
        let memory = keys.bytes("memory", MAX_MEMORY).unwrap_or(MEMORY);
        if memory < LEAST_MEMORY {
            keys.refuse_key("memory", "\"memory\" is too little for any program", "at least \"16MiB\"");
        }
        let open_files = keys.integer("open_files", MIN_OPEN_FILES, MAX_OPEN_FILES).unwrap_or(OPEN_FILES);
        let startup_timeout =
            keys.duration("startup_timeout", MIN_STARTUP_TIMEOUT, MAX_GRACE).unwrap_or(STARTUP_TIMEOUT);
        let rpc_addr = keys.parsed("rpc_addr", Address::RIGHT, Address::parse);
        if !fits(&args, &env, &folder) {
            let right = format!("with \"env\", at most {} bytes, and no NUL in them", MAX_REQUEST - BESIDES);
            keys.refuse_key("args", "what \"args\" says", right);
        }
        let limits = Limits { memory: Some(memory), open_files: Some(open_files) };
        let binary = keys.required("binary", binary)?;
        let settings = Self { binary, args, env, folder, limits, startup_timeout, rpc_addr, timeout };
        keys.is_sound().then_some(settings)
    }

    /// The command that runs `program` and tells it to listen at `address`; `None` when that is too much to be asked for.
    pub fn request(&self, program: &Path, address: &Address) -> Option<Request> {
        let mut env = self.env.clone();
        env.push((RPC_ADDR.to_owned(), address.to_string()));
        Some(Request::new(program, &self.args, &env, &self.folder)?.limited(self.limits))
    }
}

/// Whether a request has room for all of it.
fn fits(args: &[String], env: &[(String, String)], folder: &Path) -> bool {
    let longest = PathBuf::from("x".repeat(BESIDES));
    Request::new(&longest, args, env, folder).is_some()
}
