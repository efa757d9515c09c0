//! Which of the machine's cores does what: servers have one, clients another.

use std::process::Command;

use anyhow::{Context, Result};

/// The servers' core.
pub const SERVER: &str = "0";
/// The clients' core.
pub const CLIENT: &str = "1";

/// The bench itself, on `core`; its arguments say in which role.
pub fn pinned(core: &str) -> Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(std::env::current_exe().context("the bench does not find itself")?);
    Ok(command)
}
