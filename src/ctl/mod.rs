//! The people's program: one verb a file.

mod check;
mod journey;
mod keys;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::logging;
use crate::places::Places;
use crate::run::Exit;

/// Looks after canihaz, the capacity-testing runner.
#[derive(Debug, Parser)]
#[command(name = "canihazctl", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    Journey(journey::Journey),
    Keys(keys::Keys),
}

/// Does what the arguments say.
pub fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nothing can be done about a terminal that is gone.
            let _ = error.print();
            return if asked { Exit::Done } else { Exit::Usage };
        }
    };
    logging::start(None);
    match arguments.verb {
        Verb::Check(check) => check.run(&Places::find()),
        Verb::Journey(journey) => journey.run(&Places::find()),
        Verb::Keys(keys) => keys.run(),
    }
}
