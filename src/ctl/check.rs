//! `canihazctl check`: says what is wrong with the configuration, before a run does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};

use crate::destinations;
use crate::fault::Fault;
use crate::kinds;
use crate::places::Places;
use crate::plan::{DESTINATIONS, Plan, Reader, TESTS, TYPES, Test};
use crate::run::Exit;
use crate::settings::{self, Settings};
use crate::trust::{self, MAX_FILE, STILL};

/// Says what is wrong with the configuration, a line each, and exits 78 if anything is
///
/// Without FILE, all of the configuration folder is read: /etc/canihaz, or
/// CANIHAZ_ETC. With FILE, that file alone, whatever it is called, as for Puppet's
/// validate_cmd; the names of types and destinations are not looked up then, as
/// their files may come later.
#[derive(Args, Debug)]
pub struct Check {
    /// The file to check; what it is is told by its folder, or by --as
    file: Option<PathBuf>,
    /// What FILE is
    #[arg(long = "as", value_name = "WHAT", requires = "file")]
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Tests,
    Type,
    Destination,
    Settings,
}

impl Check {
    /// Checks, and prints what is wrong, or that nothing is.
    pub fn run(self, places: &Places) -> Exit {
        let (faults, sound) = match &self.file {
            None => all(&places.etc),
            Some(file) => match self.what.or_else(|| What::of(file)) {
                Some(what) => (one(file, what), format!("{}: nothing wrong", file.display())),
                None => {
                    let words = format!("canihazctl: what {} is can't be told by its folder: say --as", file.display());
                    let _ = writeln!(std::io::stderr(), "{words}");
                    return Exit::Usage;
                }
            },
        };
        let mut text = String::new();
        for fault in &faults {
            let _ = writeln!(text, "{fault}");
        }
        if faults.is_empty() {
            let _ = writeln!(text, "{sound}");
        }
        // A closed pipe is no error: the exit status says it as well.
        let _ = std::io::stdout().write_all(text.as_bytes());
        if faults.is_empty() { Exit::Done } else { Exit::Config }
    }
}

impl What {
    fn of(file: &Path) -> Option<Self> {
        let folder = std::path::absolute(file).ok()?;
        match folder.parent()?.file_name()?.to_str()? {
            TESTS => Some(Self::Tests),
            TYPES => Some(Self::Type),
            DESTINATIONS => Some(Self::Destination),
            _ => file.file_name()?.to_str()?.starts_with(settings::FILE).then_some(Self::Settings),
        }
    }
}

/// Everything in the folder `etc`.
fn all(etc: &Path) -> (Vec<Fault>, String) {
    if let Err(distrust) = trust::check_folder(etc) {
        let right = String::from("a configuration folder was expected");
        let fault = Fault { file: etc.into(), at: None, seen: distrust.to_string(), right, now: "nothing runs" };
        return (vec![fault], String::new());
    }
    let (settings, mut faults) = match Settings::read(etc) {
        Ok(read) => read,
        Err(fault) => (Settings::default(), vec![fault]),
    };
    // A file is judged as it stands, also one whose last line, without a newline, a run would not believe yet.
    let (now, interval) = (SystemTime::now() + STILL, settings.interval);
    let plan = Plan::read_all(Reader { etc, now, interval, running: &BTreeMap::new(), ports: &BTreeMap::new() });
    faults.extend(plan.faults);
    let hits: u64 = plan.tests.values().flat_map(Test::parts).map(|(_, _, frequency)| frequency).sum();
    let tests = plan.tests.len();
    let noun = if tests == 1 { "test" } else { "tests" };
    (faults, format!("{}: {tests} {noun}, {hits} hits a minute; nothing wrong", etc.display()))
}

/// One file, as what it is.
fn one(file: &Path, what: What) -> Vec<Fault> {
    let now = "nothing in it is used";
    let fault = |seen: String, right: &str| vec![Fault { file: file.into(), at: None, seen, right: right.into(), now }];
    let contents = match trust::read(file, MAX_FILE, SystemTime::now()) {
        Ok(contents) => contents,
        Err(distrust) => return fault(distrust.to_string(), distrust.right()),
    };
    if let What::Tests = what {
        return Plan::faults_of_lines(file, &contents.bytes);
    }
    let Ok(text) = String::from_utf8(contents.bytes) else {
        return fault("is not UTF-8".into(), "text in UTF-8 was expected");
    };
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    match what {
        What::Tests => Vec::new(),
        What::Type => kinds::read(name, file, &text).1,
        // Of which interval `every` has to be a multiple is not known here: any whole second will do.
        What::Destination => destinations::read(name, file, &text, Duration::from_secs(1)).1,
        What::Settings => match Settings::parse(file, &text) {
            Ok((_, faults)) => faults,
            Err(fault) => vec![fault],
        },
    }
}
