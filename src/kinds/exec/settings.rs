//! The keys of the kind `exec`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program;
use crate::guard::{MAX_REQUEST, Request};
use crate::keys::{Keys, integer};
use crate::kinds::timeout;

/// Where programs are looked for, and what a command knows of that, unless its type says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where a command runs unless its type says otherwise.
const FOLDER: &str = "/";
/// The exit statuses that are ok unless the type says otherwise.
const OK: &[u8] = &[0];

/// What to execute, and what to expect of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The command with all that it knows.
    pub request: Request,
    /// The exit statuses that are ok.
    pub ok: Vec<u8>,
    /// How long a hit may take.
    pub timeout: Duration,
}

impl Settings {
    /// Reads the kind's own keys; `None` when one of them is wrong.
    pub fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let timeout = timeout(keys);
        let env = environment(keys);
        let folder = folder(keys);
        let ok = keys.table("expect", |keys| {
            let right = "a list of exit statuses, each from 0 to 255, as in [0, 1]";
            keys.list("status", right, |value| integer(value).and_then(|status| u8::try_from(status).ok()))
        });
        let ok = ok.flatten().unwrap_or_else(|| OK.to_vec());
        let right = "a program and its arguments, each a text, as in [\"psql\", \"-c\", \"select 1\"]";
        let command = keys.list("command", right, |value| value.as_str().map(ToOwned::to_owned));
        let command = keys.required("command", command)?;
        let Some((program, arguments)) = command.split_first() else {
            keys.refuse_key("command", "\"command\" is empty", right);
            return None;
        };
        let path = env.iter().find(|(name, _)| name == "PATH").map_or(PATH, |(_, path)| path);
        let file = match program::find(program, &keys.folder(), path) {
            Ok(file) => file,
            Err(refused) => {
                let seen = format!("the program that \"command\" names {}", refused.seen);
                keys.refuse_key("command", seen, refused.right);
                return None;
            }
        };
        let Some(request) = Request::new(&file, arguments, &env, &folder) else {
            let right = format!("with \"env\", at most {MAX_REQUEST} bytes, and no NUL in them");
            keys.refuse_key("command", "what \"command\" says", right);
            return None;
        };
        keys.is_sound().then_some(Self { request, ok, timeout })
    }
}

/// All that a command is to know of its environment.
fn environment(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    let mut env = keys.texts("env").unwrap_or_default();
    if env.iter().any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')) {
        keys.refuse_key("env", "what \"env\" has", "names that aren't empty and have no =, and no NULs");
    }
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), PATH.to_owned()));
    }
    env
}

/// Where the command is to run.
fn folder(keys: &mut Keys<'_>) -> PathBuf {
    let Some(folder) = keys.path("folder") else { return FOLDER.into() };
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    if !Path::is_dir(&folder) {
        keys.refuse_key(
            "folder",
            "what \"folder\" names is no folder, or can't be looked at",
            "a folder that is there",
        );
    }
    folder
}
