//! What the files say is to run: the good tests, and the list of what is wrong.
//!
//! A plan is read whole, again after each change; comparing it with what runs
//! is the run's affair. One bad line never stops the others.

mod line;
mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use line::{Frequency, Line, MAX_FREQUENCY, Wrong};

use crate::destinations::{self, Post, Takes};
use crate::fault::{Fault, nearest, quote};
use crate::kinds::loadtest::Address;
use crate::kinds::{self, Type};
use read::{Folder, conf_lines};

/// The folder of test files, `NAME.conf`.
pub const TESTS: &str = "tests.d";
/// The folder of type files, `NAME.toml`.
pub const TYPES: &str = "types.d";
/// The folder of destination files, `NAME.toml`.
pub const DESTINATIONS: &str = "destinations.d";

/// What happens while a line is wrong.
const LINE_NOW: &str = "this line does not run";

/// One test that can run.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name, type, frequency and destinations.
    pub line: Line,
    /// What its type says, in each part.
    pub of_type: Vec<Type>,
    /// Those of its destinations that take the requests of its hits in place of summaries.
    pub collectors: Vec<String>,
    /// The file its line is in.
    pub file: PathBuf,
}

/// All that can run, and all that is wrong.
#[derive(Default)]
pub struct Plan {
    /// The tests, by name.
    pub tests: BTreeMap<String, Test>,
    /// The destinations they name, and those that were asked for besides, by name.
    pub posts: BTreeMap<String, Post>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// How many lines are tests, or would be if they weren't wrong.
    pub lines: usize,
    /// A writer may be in the middle of a file: read it again in a second.
    pub unsettled: bool,
    /// The machine is at its limits, so that something could not be read: what was planned before still stands.
    pub unreadable: bool,
}

/// What a plan is read from, and what it has to know.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The configuration folder.
    pub etc: &'a Path,
    /// The wall clock's time, to tell whether a writer is at work.
    pub now: SystemTime,
    /// The run's own interval, of which a destination may want a multiple.
    pub interval: Duration,
    /// The tests that are running, with the file each is in: of two lines with one name, theirs stands.
    pub running: &'a BTreeMap<String, PathBuf>,
    /// Which of them has which port, where only one test can have it: it keeps that.
    pub ports: &'a BTreeMap<Address, String>,
}

impl Test {
    /// The destinations that take summaries of it.
    pub fn destinations(&self) -> Vec<String> {
        let destinations = self.line.destinations.iter().filter(|name| !self.collectors.contains(name));
        destinations.cloned().collect()
    }

    /// What is hit and measured: each part by its own name, with its hits a minute.
    pub fn parts(&self) -> impl Iterator<Item = (String, &Type, u64)> {
        let frequency = self.line.frequency.per_minute();
        let part = move |of_type: &'_ Type| of_type.frequency.unwrap_or(frequency);
        self.of_type.iter().map(move |of_type| (of_type.name_of(&self.line.name), of_type, part(of_type)))
    }
}

impl Plan {
    /// Reads the plan; the destinations in `besides` (those with something left in the spool) are read
    /// whether or not a test names them.
    pub fn read(reader: Reader<'_>, besides: &[String]) -> Self {
        Self::read_with(reader, &[], besides)
    }

    /// Reads everything there is, whether or not a test names it.
    pub fn read_all(reader: Reader<'_>) -> Self {
        Self::read_with(reader, &types(reader).folder.stems(), &posts(reader).folder.stems())
    }

    /// What is wrong with the lines of one test file, whatever its types and destinations are.
    pub fn faults_of_lines(file: &Path, bytes: &[u8]) -> Vec<Fault> {
        let (lines, _) = conf_lines(bytes, true);
        lines.into_iter().filter_map(|(number, text)| parse(file, number, text).err()).collect()
    }

    fn read_with(reader: Reader<'_>, more_types: &[String], more_posts: &[String]) -> Self {
        let mut plan = Self::default();
        let mut types = types(reader);
        let mut posts = posts(reader);
        let mut ports: BTreeMap<Address, String> = BTreeMap::new();
        let lines = plan.read_lines(reader);
        let mut lines = plan.unique(lines, reader.running);
        // Who has the port that it asks for comes before others that want it.
        lines.sort_by_cached_key(|(_, _, line)| {
            let port = match types.get(&line.type_name) {
                Found::Sound(of_type) => of_type.iter().find_map(|part| part.kind.port()),
                Found::Faulty | Found::Unknown(_) => None,
            };
            port.is_none_or(|port| reader.ports.get(port) != Some(&line.name))
        });
        for (file, number, line) in lines {
            let place = |column| Some((number, line.columns[column]));
            let fault =
                |column, seen, right| Fault { file: file.clone(), at: place(column), seen, right, now: LINE_NOW };
            let of_type = match types.get(&line.type_name) {
                Found::Sound(of_type) => of_type.clone(),
                Found::Faulty => continue,
                Found::Unknown(right) => {
                    let seen = format!("unknown type {}", quote(&line.type_name));
                    plan.faults.push(fault(1, seen, right));
                    continue;
                }
            };
            let (mut sound, mut collectors) = (true, Vec::new());
            for name in &line.destinations {
                match posts.get(name) {
                    Found::Sound(post) => match post.destination.takes() {
                        Takes::Summaries => {}
                        Takes::Outputs => collectors.push(name.clone()),
                    },
                    Found::Faulty => sound = false,
                    Found::Unknown(right) => {
                        sound = false;
                        plan.faults.push(fault(3, format!("unknown destination {}", quote(name)), right));
                    }
                }
            }
            let port = of_type.iter().find_map(|part| part.kind.port());
            if let Some(port) = port.filter(|_| sound) {
                let holder = ports.entry(port.clone()).or_insert_with(|| line.name.clone());
                if *holder != line.name {
                    sound = false;
                    let seen = format!("{port} is the `rpc_addr` of test {}, too", quote(holder));
                    plan.faults.push(fault(1, seen, "a type with one of its own, or with none".to_owned()));
                }
            }
            if sound {
                plan.tests.insert(line.name.clone(), Test { line, of_type, collectors, file });
            }
        }
        for name in more_types {
            types.get(name);
        }
        for name in more_posts {
            posts.get(name);
        }
        plan.finish(types, posts)
    }

    fn finish(mut self, types: Named<'_, Vec<Type>>, mut posts: Named<'_, Post>) -> Self {
        self.unsettled |= types.folder.unsettled || posts.folder.unsettled;
        self.unreadable |= types.folder.unreadable || posts.folder.unreadable;
        let read = std::mem::take(&mut posts.read);
        self.posts = read.into_iter().filter_map(|(name, post)| Some((name, post?))).collect();
        self.faults.extend(types.into_faults().chain(posts.into_faults()));
        self.sort_faults();
        self
    }

    /// As a person goes through them: file by file, line by line.
    fn sort_faults(&mut self) {
        self.faults.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
    }

    /// Every sound line of every test file, in reading order.
    fn read_lines(&mut self, reader: Reader<'_>) -> Vec<(PathBuf, usize, Line)> {
        let mut folder = Folder::open(reader, TESTS, "conf", "no test in it runs");
        let mut sound = Vec::new();
        for stem in folder.stems() {
            let Some((file, bytes)) = folder.read(&stem, false) else {
                continue;
            };
            let (lines, unsettled) = conf_lines(&bytes.bytes, bytes.still);
            self.unsettled |= unsettled;
            for (number, text) in lines {
                match parse(&file, number, text) {
                    Ok(None) => {}
                    Ok(Some(line)) => {
                        self.lines += 1;
                        sound.push((file.clone(), number, line));
                    }
                    Err(fault) => {
                        self.lines += 1;
                        self.faults.push(fault);
                    }
                }
            }
        }
        self.lines += folder.faults.len();
        self.unsettled |= folder.unsettled;
        self.unreadable |= folder.unreadable;
        self.faults.append(&mut folder.faults);
        sound
    }

    /// Of lines with one name, the one that runs already, or else the first.
    fn unique(
        &mut self,
        lines: Vec<(PathBuf, usize, Line)>,
        running: &BTreeMap<String, PathBuf>,
    ) -> Vec<(PathBuf, usize, Line)> {
        let mut standing: BTreeMap<String, (PathBuf, usize)> = BTreeMap::new();
        for (file, number, line) in &lines {
            let here = || (file.clone(), *number);
            let stands = standing.entry(line.name.clone()).or_insert_with(here);
            if running.get(&line.name) == Some(file) && stands.0 != *file {
                *stands = here();
            }
        }
        let (stand, fall): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(file, number, line)| {
            standing.get(&line.name).is_some_and(|stands| stands.0 == *file && stands.1 == *number)
        });
        for (file, number, line) in fall {
            let Some((other, at)) = standing.get(&line.name) else { continue };
            self.faults.push(Fault {
                file,
                at: Some((number, line.columns[0])),
                seen: format!("name {} is taken", quote(&line.name)),
                right: format!("a name that no other test has; {}:{at} has this one", other.display()),
                now: LINE_NOW,
            });
        }
        stand
    }
}

fn parse(file: &Path, number: usize, text: Result<&str, Wrong>) -> Result<Option<Line>, Fault> {
    text.and_then(Line::parse).map_err(|Wrong { column, seen, right }| Fault {
        file: file.into(),
        at: Some((number, column)),
        seen,
        right,
        now: LINE_NOW,
    })
}

/// What a name in a test line leads to.
enum Found<T> {
    Sound(T),
    /// Its own file is wrong, which is told once, of that file.
    Faulty,
    /// There is no such thing; what would have been right.
    Unknown(String),
}

/// The types, or the destinations, that tests have named so far.
struct Named<'a, T> {
    what: &'static str,
    folder: Folder<'a>,
    built_in: &'static [(&'static str, &'static str)],
    parse: Parse<'a, T>,
    /// `None` where the file is wrong.
    read: BTreeMap<String, Option<T>>,
    faults: Vec<Fault>,
}

/// Makes something of its name, its file and the text of that.
type Parse<'a, T> = Box<dyn Fn(&str, &Path, &str) -> (Option<T>, Vec<Fault>) + 'a>;

fn types(reader: Reader<'_>) -> Named<'_, Vec<Type>> {
    let folder = Folder::open(reader, TYPES, "toml", kinds::NOW);
    Named::new("type", folder, kinds::BUILT_IN, Box::new(kinds::read))
}

fn posts(reader: Reader<'_>) -> Named<'_, Post> {
    let folder = Folder::open(reader, DESTINATIONS, "toml", destinations::NOW);
    let parse = move |name: &str, file: &Path, text: &str| destinations::read(name, file, text, reader.interval);
    Named::new("destination", folder, destinations::BUILT_IN, Box::new(parse))
}

impl<'a, T> Named<'a, T> {
    fn new(
        what: &'static str,
        folder: Folder<'a>,
        built_in: &'static [(&'static str, &'static str)],
        parse: Parse<'a, T>,
    ) -> Self {
        Self { what, folder, built_in, parse, read: BTreeMap::new(), faults: Vec::new() }
    }

    /// What `name` leads to; read once, when first asked for.
    fn get(&mut self, name: &str) -> Found<&T> {
        if !self.read.contains_key(name) {
            let Some(text) = self.folder.text_of(name, self.built_in) else {
                return Found::Unknown(self.folder.known(self.what, name, self.built_in));
            };
            let (read, faults) = match text {
                Some((file, text)) => (self.parse)(name, &file, &text),
                None => (None, Vec::new()),
            };
            self.faults.extend(faults);
            self.read.insert(name.to_owned(), read);
        }
        self.read.get(name).and_then(Option::as_ref).map_or(Found::Faulty, Found::Sound)
    }

    /// What was wrong with the folder and the files in it that were asked for.
    fn into_faults(self) -> impl Iterator<Item = Fault> {
        self.folder.faults.into_iter().chain(self.faults)
    }
}

/// The nearest known name, or all of them.
fn known(what: &str, name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("the nearest known one is \"{near}\""),
        None => format!("the known {what}s are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_port_is_the_first_tests_or_that_of_the_one_that_has_it() {
        let etc = tempfile::tempdir().unwrap();
        for folder in [TESTS, TYPES] {
            fs::create_dir(etc.path().join(folder)).unwrap();
        }
        let of_type = |port| format!("kind = \"loadtest\"\nbinary = \"/bin/true\"\nrpc_addr = \"127.0.0.1:{port}\"\n");
        fs::write(etc.path().join("types.d/golo.toml"), of_type(9999)).unwrap();
        fs::write(etc.path().join("types.d/other.toml"), of_type(9998)).unwrap();
        fs::write(etc.path().join("tests.d/all.conf"), "a|golo|1|log\nb|golo|1|log\nc|other|1|log\n").unwrap();
        let address = Address::parse("127.0.0.1:9999").unwrap();
        let other = Address::parse("127.0.0.1:9997").unwrap();
        for (holders, expect, fallen) in [
            (vec![], ["a", "c"], "b"),
            (vec![(&address, "b")], ["b", "c"], "a"),
            // It asks for another than it has.
            (vec![(&other, "a"), (&address, "b")], ["b", "c"], "a"),
        ] {
            let ports = holders.into_iter().map(|(port, holder)| (port.clone(), holder.to_owned())).collect();
            let (now, interval) = (SystemTime::now(), Duration::from_secs(10));
            let reader = Reader { etc: etc.path(), now, interval, running: &BTreeMap::new(), ports: &ports };
            let plan = Plan::read(reader, &[]);
            assert_eq!(plan.tests.keys().collect::<Vec<_>>(), expect, "{:?}", plan.faults);
            let [fault] = plan.faults.as_slice() else { panic!("{:?}", plan.faults) };
            let line = if fallen == "a" { 1 } else { 2 };
            assert_eq!(fault.at, Some((line, 3)));
            let expect = format!("127.0.0.1:9999 is the `rpc_addr` of test \"{}\", too", expect[0]);
            assert_eq!(fault.seen, expect);
        }
    }
}
