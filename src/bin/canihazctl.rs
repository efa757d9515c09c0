//! canihazctl: for people, and for what writes canihaz's files. See `ctl/`.

use std::process::ExitCode;

fn main() -> ExitCode {
    canihaz::ctl::main().into()
}
