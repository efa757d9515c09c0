//! The keys of the kind `exec`.

use std::time::Duration;

use crate::guard::{MAX_REQUEST, Request};
use crate::keys::{Keys, integer};
use crate::kinds::{command, timeout};
use crate::page::Key;

/// The exit statuses that are ok unless the type says otherwise.
const OK: &[u8] = &[0];

/// What [`Settings::read`] reads.
pub const KEYS: &[Key] = &[
    Key { name: "command", meaning: "what is executed; with `env`, up to 64 KiB", default: "needed" },
    Key { name: "env", meaning: "all of its environment; nothing is inherited", default: "`PATH`, as below" },
    Key { name: "folder", meaning: "the folder that it runs in", default: "`\"/\"`" },
    Key { name: "expect.status", meaning: "exit statuses that are ok", default: "`[0]`" },
];

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
        let env = command::environment(keys);
        let folder = command::folder(keys);
        let ok = keys.table("expect", expected_statuses).flatten().unwrap_or_else(|| OK.to_vec());
        let right = "a program and its arguments, each a text, as in [\"psql\", \"-c\", \"select 1\"]";
        let words = keys.list("command", right, |value| value.as_str().map(ToOwned::to_owned));
        let words = keys.required("command", words)?;
        let Some((program, arguments)) = words.split_first() else {
            keys.refuse_key("command", "\"command\" is empty", right);
            return None;
        };
        let file = command::program(keys, "command", program, &env)?;
        let Some(request) = Request::new(&file, arguments, &env, &folder) else {
            let right = format!("with \"env\", at most {MAX_REQUEST} bytes, and no NUL in them");
            keys.refuse_key("command", "what \"command\" says", right);
            return None;
        };
        keys.is_sound().then_some(Self { request, ok, timeout })
    }

    /// Whether an exit status is ok.
    pub fn is_ok(&self, status: i32) -> bool {
        self.ok.iter().any(|ok| i32::from(*ok) == status)
    }
}

fn expected_statuses(keys: &mut Keys<'_>) -> Option<Vec<u8>> {
    let right = "a list of exit statuses, each from 0 to 255, as in [0, 1]";
    let statuses = keys.list("status", right, |value| integer(value).and_then(|status| u8::try_from(status).ok()));
    if statuses.as_ref().is_some_and(Vec::is_empty) {
        keys.refuse_key("status", "\"expect.status\" is empty", right);
    }
    statuses
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fault::Fault;
    use crate::keys::Source;
    use crate::kinds::NOW;
    use crate::kinds::command::PATH;

    fn read(text: &str) -> (Option<Settings>, Vec<String>) {
        let source = Source { file: Path::new("/etc/x.toml"), text, quotes_values: false, now: NOW, now_unknown: NOW };
        let (settings, faults) = source.read(Settings::read);
        (settings.flatten(), faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn a_command_has_defaults_for_all_else() {
        let (settings, faults) = read("command = [\"/bin/sh\", \"-c\", \"exit\"]");
        assert_eq!(faults, [""; 0]);
        let arguments = ["-c", "exit"].map(ToOwned::to_owned);
        let env = [("PATH".to_owned(), PATH.to_owned())];
        let request = Request::new(Path::new("/bin/sh"), &arguments, &env, Path::new("/")).unwrap();
        assert_eq!(settings.unwrap(), Settings { request, ok: vec![0], timeout: Duration::from_secs(10) });
    }

    #[test]
    fn a_program_is_looked_for_in_the_path_that_it_will_have() {
        let (settings, _) = read("command = [\"sh\"]\nenv = { PATH = \"/bin\" }");
        assert!(settings.is_some());
        let (settings, faults) = read("command = [\"sh\"]\nenv = { PATH = \"/etc\" }");
        assert!(settings.is_none());
        assert!(faults[0].contains("is in no folder of PATH"), "{faults:?}");
    }

    #[test]
    fn what_is_too_large_to_be_asked_for_is_told_before() {
        let (settings, faults) = read(&format!("command = [\"/bin/sh\", \"{}\"]", "x".repeat(MAX_REQUEST)));
        assert!(settings.is_none());
        let expect = "/etc/x.toml:1:11: what \"command\" says: with \"env\", at most 65536 bytes, and no NUL in them";
        assert_eq!(faults, [format!("{expect}; {NOW}")]);
    }
}
