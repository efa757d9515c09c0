//! Mount namespaces: places where a test may mount what it likes without the machine noticing.

use std::process::Command;

use nix::unistd::Uid;

/// A shell that runs `script` as root of a mount namespace of its own. Anybody may have that, where the user's own
/// root is enough.
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !Uid::effective().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script]);
    command
}

/// A shell that runs `script` as the machine's root in mount and process namespaces of its own; all in them ends
/// with the script.
pub fn machine_shell(script: &str) -> Command {
    let mut command = Command::new(if Uid::effective().is_root() { "env" } else { "sudo" });
    if !Uid::effective().is_root() {
        command.arg("--non-interactive");
    }
    command.args(["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-euc", script]);
    command
}
