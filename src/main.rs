//! canihaz: one minute of capacity tests, as the files say. See `run.rs`.

use std::io::Write;
use std::process::ExitCode;

use canihaz::guard;
use canihaz::places::Places;
use canihaz::run::{Exit, run};

fn main() -> ExitCode {
    if guard::is_meant(std::env::args_os()) {
        return match guard::serve() {
            Ok(()) => Exit::Done,
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "{}: {why}", guard::NAME);
                Exit::Usage
            }
        }
        .into();
    }
    if std::env::args_os().len() > 1 {
        // There may be nobody to tell: the exit status says it as well.
        let _ = writeln!(
            std::io::stderr(),
            "canihaz takes no arguments: all that it does is said in files, by default in /etc/canihaz \
             (for people there is canihazctl)"
        );
        return Exit::Usage.into();
    }
    run(&Places::find()).into()
}
