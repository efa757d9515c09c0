//! `canihazctl journey`: the requests of one journey of a load test, as they were kept.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use chrono::NaiveDateTime;
use clap::Args;

use crate::fault::quote;
use crate::kinds::loadtest::journeys::{self, name_of};
use crate::places::Places;
use crate::run::Exit;

/// The longest line of a journey that is looked at, in bytes; none that was written is longer.
const MAX_LINE: u64 = 4 << 20;
/// How a line begins: what follows is the sequence ID, as a string of JSON.
const BEGINNING: &[u8] = b"{\"sequenceID\":";

/// Prints the requests of a journey, by its sequence ID, as a line of JSON
///
/// Looked through are the slowest journeys of each minute and load test on this
/// server, the newest first. A journey that went on for very long may be several
/// lines. Exits 1 if there is none.
#[derive(Args, Debug)]
pub struct Journey {
    /// What all requests of the journey have in common
    #[arg(allow_hyphen_values = true)]
    sequence_id: String,
}

impl Journey {
    /// Looks for the journey, and prints it.
    pub fn run(self, places: &Places) -> Exit {
        let id = self.sequence_id.trim();
        let (exit, words) = match find(&places.state, id, &mut io::stdout().lock()) {
            Ok(Found::Some) => return Exit::Done,
            Ok(Found::Nothing(words)) => (Exit::Missing, words),
            Err(error) => (Exit::State, error.to_string()),
        };
        let _ = writeln!(io::stderr(), "canihazctl: {words}");
        exit
    }
}

enum Found {
    Some,
    /// Nothing, and how far back was looked.
    Nothing(String),
}

/// Writes all lines of a journey `to` somewhere, the newest first.
fn find(state: &Path, id: &str, to: &mut impl Write) -> io::Result<Found> {
    let in_folder = |error| io::Error::other(format!("the journeys in {} can't be read: {error}", state.display()));
    let files = journeys::files(state).map_err(in_folder)?;
    let mut is_found = false;
    let mut line = Vec::new();
    for path in &files {
        // One that was removed meanwhile was too old.
        let Ok(file) = File::open(path) else { continue };
        let mut file = BufReader::new(file);
        while next(&mut file, &mut line)? {
            if !is_of(&line, id) {
                continue;
            }
            is_found = true;
            // A closed pipe is no error: whoever reads has seen enough.
            if to.write_all(&line).is_err() {
                return Ok(Found::Some);
            }
        }
    }
    if is_found {
        return Ok(Found::Some);
    }
    let Some(since) = files.last().and_then(|path| minute(path)) else {
        let words = format!("no journeys were kept in {} yet: tests of the kind loadtest have them", state.display());
        return Ok(Found::Nothing(words));
    };
    Ok(Found::Nothing(format!(
        "no journey {}: it is not among the slowest {} of any minute and load test since {since}",
        quote(id),
        journeys::SLOWEST
    )))
}

/// Reads a line, with its newline; a longer one than there can be is passed over. False at the end.
fn next(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        line.clear();
        let read = file.by_ref().take(MAX_LINE).read_until(b'\n', line)?;
        if line.ends_with(b"\n") || read == 0 {
            return Ok(read > 0);
        }
        if (read as u64) < MAX_LINE {
            // Its last line has no newline: it isn't ours.
            return Ok(false);
        }
        file.skip_until(b'\n')?;
    }
}

/// Whether a line is a journey of this sequence ID. Of one that is a UUID, upper and lower case are the same.
fn is_of(line: &[u8], id: &str) -> bool {
    let Some(rest) = line.strip_prefix(BEGINNING) else { return false };
    let mut strings = serde_json::Deserializer::from_slice(rest).into_iter::<Cow<'_, str>>();
    let Some(Ok(found)) = strings.next() else { return false };
    let (found, id) = (found.trim(), name_of(id).trim());
    found == id || (is_like_a_uuid(id) && found.eq_ignore_ascii_case(id))
}

fn is_like_a_uuid(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Which minute the journeys of a file are of, for people.
fn minute(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (minute, _) = NaiveDateTime::parse_and_remainder(name, "%Y%m%dT%H%M").ok()?;
    Some(minute.format("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "c276c8c7-6fec-4aa9-b6bd-4de12a49a9bb";

    /// What is printed of a journey, and what is said where there is none.
    fn found(state: &Path, id: &str) -> (String, String) {
        let mut printed = Vec::new();
        let words = match find(state, id, &mut printed).unwrap() {
            Found::Some => String::new(),
            Found::Nothing(words) => words,
        };
        (String::from_utf8(printed).unwrap(), words)
    }

    fn journey(id: &str, test: &str) -> String {
        format!("{{\"sequenceID\":{},\"test\":\"{test}\"}}\n", serde_json::to_string(id).unwrap())
    }

    #[test]
    fn a_journey_is_found_from_the_newest_file_back() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("journeys");
        let words = found(state.path(), ID).1;
        assert!(words.starts_with("no journeys were kept in "), "{words}");
        fs::create_dir(&folder).unwrap();
        let [old, new] = ["old", "new"].map(|test| journey(ID, test));
        let far = "x".repeat(MAX_LINE as usize);
        let others = [journey("Ab\"é", "quoted"), journey(&"i".repeat(128), "long")].concat();
        fs::write(folder.join("20261121T0327Z.1.a.jsonl"), format!("{far}{far}\n{others}{new}torn")).unwrap();
        fs::write(folder.join("20261120T2359Z.1.a.jsonl"), format!("nothing\n\n{}{old}", journey("x", ID))).unwrap();
        fs::write(folder.join("20261121T0328Z.1.a.jsonl.partial"), journey(ID, "half")).unwrap();

        #[track_caller]
        fn check(state: &Path, id: &str, expect: &str) {
            assert_eq!(found(state, id), (expect.to_owned(), String::new()));
        }
        check(state.path(), ID, &format!("{new}{old}"));
        check(state.path(), &ID.to_uppercase(), &format!("{new}{old}"));
        check(state.path(), "Ab\"é", &journey("Ab\"é", "quoted"));
        check(state.path(), &"i".repeat(200), &journey(&"i".repeat(128), "long"));
        for id in ["ab\"é", "", "new", &ID[1..]] {
            let (printed, words) = found(state.path(), id);
            assert_eq!(printed, "");
            let expect = "it is not among the slowest 100 of any minute and load test since 2026-11-20 23:59 UTC";
            assert!(words.starts_with(&format!("no journey {}: ", quote(id))) && words.ends_with(expect), "{words}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join("journeys")).unwrap();
        fs::write(state.path().join("journeys/20261121T0327Z.1.a.jsonl"), journey(ID, "a")).unwrap();
        assert!(matches!(find(state.path(), ID, &mut Closed), Ok(Found::Some)));
    }
}
