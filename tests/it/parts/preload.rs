//! Small libraries in C that change what a program under test is told by its system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Has `command` load `NAME.c` of this folder, beside what it loads already.
pub fn preload(command: &mut Command, name: &'static str) {
    let mut libraries = library(name).into_os_string();
    let before = command.get_envs().find(|(key, _)| *key == "LD_PRELOAD").and_then(|(_, value)| value);
    if let Some(before) = before {
        libraries.push(":");
        libraries.push(before);
    }
    command.env("LD_PRELOAD", libraries);
}

/// The library, compiled once a process by the compiler that links Rust programs.
fn library(name: &'static str) -> PathBuf {
    static LIBRARIES: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        let source = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/parts/{}.c"), name);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join(format!("{name}.so"));
        let mine = folder.join(format!("{name}-{}.so", std::process::id()));
        let status =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&mine).arg(&source).status();
        assert!(status.expect("cc starts").success(), "cc compiles {source}");
        std::fs::rename(&mine, &library).expect("the library takes its place");
        library
    };
    libraries.entry(name).or_insert_with(compile).clone()
}
