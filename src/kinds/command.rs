//! What kinds that start a program have in common: which file it is, and whether that can be trusted; what it knows of
//! its environment, and where it runs.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use crate::keys::Keys;
use crate::trust::{self, Distrust};

/// Where programs are looked for, and what a program knows of that, unless its type says otherwise.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where a program runs unless its type says otherwise.
const FOLDER: &str = "/";

/// Why a program isn't executed: what was seen, and what would be right.
#[derive(Debug, Eq, PartialEq)]
struct Refused {
    /// What was seen, after "the program that … names".
    seen: String,
    /// What would be right.
    right: &'static str,
}

/// The key `env`: all that a program is to know of its environment, a `PATH` at the least.
pub fn environment(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    let mut env = keys.texts("env").unwrap_or_default();
    if env.iter().any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')) {
        keys.refuse_key("env", "what \"env\" has", "names that aren't empty and have no =, and no NULs");
    }
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), PATH.to_owned()));
    }
    env
}

/// The key `folder`: where a program is to run.
pub fn folder(keys: &mut Keys<'_>) -> PathBuf {
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

/// The file of `program`, which the key named `key` says, found as by the `PATH` in `env`; `None` when that is
/// refused.
pub fn program(keys: &mut Keys<'_>, key: &'static str, program: &str, env: &[(String, String)]) -> Option<PathBuf> {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(PATH, |(_, path)| path);
    let found = find(program, &keys.folder(), path);
    let found = found.and_then(|file| can_be_executed(&file).map(|()| file));
    accepted(keys, key, found)
}

/// The program whose file is `name`, relative to the type's own, as the key named `key` says; `None` when that is
/// refused.
pub fn program_file(keys: &mut Keys<'_>, key: &'static str, name: &str) -> Option<PathBuf> {
    let file = keys.folder().join(name);
    let file = std::path::absolute(&file).unwrap_or(file);
    let found = can_be_executed(&file).map(|()| file);
    accepted(keys, key, found)
}

fn accepted(keys: &mut Keys<'_>, key: &'static str, found: Result<PathBuf, Refused>) -> Option<PathBuf> {
    found.map_err(|no| keys.refuse_key(key, format!("the program that \"{key}\" names {}", no.seen), no.right)).ok()
}

/// The file of `program`: one with a slash in it is relative to `folder`, another is looked for in the folders of
/// `path`, as a shell does.
fn find(program: &str, folder: &Path, path: &str) -> Result<PathBuf, Refused> {
    let found = if program.contains('/') {
        std::path::absolute(folder.join(program)).ok()
    } else {
        let folders = path.split(':').filter(|folder| folder.starts_with('/'));
        folders.map(|folder| Path::new(folder).join(program)).find(|file| file.is_file() && is_executable(file))
    };
    let (seen, right) = ("is in no folder of PATH", "give its whole path, or a PATH in \"env\"");
    found.ok_or_else(|| Refused { seen: seen.to_owned(), right })
}

/// Refuses what isn't there, can't be executed, or somebody else may have put there.
fn can_be_executed(file: &Path) -> Result<(), Refused> {
    trust::check_file(file).map_err(|distrust| {
        let right = match distrust {
            Distrust::Missing => "a program was expected there",
            _ => distrust.right(),
        };
        Refused { seen: distrust.to_string(), right }
    })?;
    if !is_executable(file) {
        let right = "it must be executable by the user canihaz runs as (chmod +x)";
        return Err(Refused { seen: "cannot be executed".to_owned(), right });
    }
    Ok(())
}

fn is_executable(file: &Path) -> bool {
    eaccess(file, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it_and_trusted_as_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, mode| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        };
        put("one/text", 0o644);
        put("two/text", 0o755);
        put("two/only", 0o711);
        put("writable", 0o757);
        fs::create_dir(folder.path().join("two/folder")).unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name).display().to_string());
        let path = format!("relative:{one}:{two}");
        let check = |program: &str, expect: Result<&str, &str>| {
            let found = find(program, folder.path(), &path).and_then(|file| can_be_executed(&file).map(|()| file));
            let found = found.map_err(|refused| refused.seen);
            assert_eq!(found, expect.map(|file| folder.path().join(file)).map_err(ToOwned::to_owned), "{program}");
        };
        check("text", Ok("two/text"));
        check("only", Ok("two/only"));
        check("two/text", Ok("two/text"));
        check("./two/text", Ok("two/text"));
        check("none", Err("is in no folder of PATH"));
        check("folder", Err("is in no folder of PATH"));
        check("", Err("is in no folder of PATH"));
        check("./none", Err("does not exist"));
        check("./two/folder", Err("is a folder"));
        check("one/text", Err("cannot be executed"));
        check("./writable", Err("may be written by others"));
    }
}
