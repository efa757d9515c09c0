//! The files of one configuration folder: which of them count, and what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Reader, Wrong};
use crate::fault::Fault;
use crate::trust::{self, Contents, Distrust, MAX_FILE};

/// The most a line of a test file may hold, in bytes.
const MAX_LINE: usize = 4 << 10;

/// One of the three folders, looked at as a whole.
pub(super) struct Folder<'a> {
    /// What it is read for.
    pub reader: Reader<'a>,
    path: PathBuf,
    extension: &'static str,
    /// What happens while a file in it is wrong.
    now: &'static str,
    stems: Vec<String>,
    /// What is wrong with the folder, and with files in it as a whole.
    pub faults: Vec<Fault>,
    /// A writer may be at work on one of the files that were read.
    pub unsettled: bool,
    /// The machine is at its limits, so that something could not be read.
    pub unreadable: bool,
}

impl<'a> Folder<'a> {
    /// Lists the folder's files, in byte order of their names; one that isn't there has none.
    pub fn open(reader: Reader<'a>, name: &str, extension: &'static str, now: &'static str) -> Self {
        let path = reader.etc.join(name);
        let (stems, faults) = (Vec::new(), Vec::new());
        let mut folder = Self { reader, path, extension, now, stems, faults, unsettled: false, unreadable: false };
        match trust::check_folder(&folder.path) {
            Ok(()) => folder.list(),
            Err(Distrust::Missing) if folder.path.symlink_metadata().is_err() => {}
            Err(distrust) => folder.refuse(&folder.path.clone(), &distrust),
        }
        folder
    }

    /// The names of the files that count, without extension, in byte order.
    pub fn stems(&self) -> Vec<String> {
        self.stems.clone()
    }

    /// Reads a file; `None` when that failed, which is a fault then, or when it has gone meanwhile.
    /// Where `whole`, a file that a writer may be in the middle of is not given back either.
    pub fn read(&mut self, stem: &str, whole: bool) -> Option<(PathBuf, Contents)> {
        let path = self.path.join(format!("{stem}.{}", self.extension));
        match trust::read(&path, MAX_FILE, self.reader.now) {
            Ok(contents) if whole && !contents.still && contents.bytes.last() != Some(&b'\n') => {
                self.unsettled = true;
                None
            }
            Ok(contents) => Some((path, contents)),
            Err(Distrust::Missing) if path.symlink_metadata().is_err() => None,
            Err(distrust) => {
                self.refuse(&path, &distrust);
                None
            }
        }
    }

    /// The text of the file `name`, or of what is built in under that name.
    /// `None`: there is no such thing. `Some(None)`: there is, but it can't be used now.
    pub fn text_of(&mut self, name: &str, built_in: &[(&str, &str)]) -> Option<Option<(PathBuf, String)>> {
        if !self.stems.iter().any(|stem| stem == name) {
            let (_, text) = built_in.iter().find(|(known, _)| *known == name)?;
            return Some(Some((self.path.join(name), (*text).to_owned())));
        }
        let Some((path, contents)) = self.read(name, true) else {
            return Some(None);
        };
        match String::from_utf8(contents.bytes) {
            Ok(text) => Some(Some((path, text))),
            Err(_) => {
                let right = String::from("text in UTF-8 was expected");
                self.faults.push(Fault { file: path, at: None, seen: "is not UTF-8".into(), right, now: self.now });
                Some(None)
            }
        }
    }

    /// What would have been right where `name` is unknown.
    pub fn known(&self, what: &str, name: &str, built_in: &[(&str, &str)]) -> String {
        let mut names: Vec<String> = built_in.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(self.stems.iter().cloned());
        names.sort();
        names.dedup();
        super::known(what, name, &names)
    }

    fn list(&mut self) {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(&self.path.clone(), &Distrust::Io(error)),
        };
        let extension = self.extension;
        self.stems = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
                let counts =
                    !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                counts.then(|| stem.to_owned())
            })
            .collect();
        // By the whole file name: "a-b.conf" comes before "a.conf", as `ls` in the C locale has it.
        self.stems.sort_by_key(|stem| format!("{stem}.{extension}"));
    }

    fn refuse(&mut self, path: &Path, distrust: &Distrust) {
        self.unreadable |= distrust.is_passing();
        self.faults.push(Fault {
            file: path.to_owned(),
            at: None,
            seen: distrust.to_string(),
            right: distrust.right().into(),
            now: self.now,
        });
    }
}

/// The text of a line, with its number from 1.
pub(super) type Numbered<'a> = (usize, Result<&'a str, Wrong>);

/// The lines of a test file with their numbers, and whether a writer may be in
/// the middle of the last one, which is left out then.
pub(super) fn conf_lines(bytes: &[u8], still: bool) -> (Vec<Numbered<'_>>, bool) {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    // What stands behind the last newline: nothing, or a line without its own.
    let last = lines.pop().unwrap_or_default();
    let unsettled = !last.is_empty() && !still;
    if !last.is_empty() && still {
        lines.push(last);
    }
    let checked = lines.into_iter().enumerate().map(|(index, line)| (index + 1, text(line))).collect();
    (checked, unsettled)
}

fn text(line: &[u8]) -> Result<&str, Wrong> {
    if line.len() > MAX_LINE {
        let seen = format!("a line of {} bytes", line.len());
        return Err(Wrong { column: 1, seen, right: format!("a line has at most {MAX_LINE}") });
    }
    std::str::from_utf8(line).map_err(|error| {
        let sound = String::from_utf8_lossy(&line[..error.valid_up_to()]);
        Wrong {
            column: sound.chars().count() + 1,
            seen: format!("the byte 0x{:02x} is not UTF-8", line[error.valid_up_to()]),
            right: String::from("text in UTF-8 was expected"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_without_its_newline_is_believed_once_the_file_is_still() {
        #[track_caller]
        fn check(bytes: &str, still: bool, lines: &[&str], unsettled: bool) {
            let (read, torn) = conf_lines(bytes.as_bytes(), still);
            let read: Vec<_> = read.into_iter().map(|(_, line)| line.expect("it is UTF-8")).collect();
            assert_eq!((read.as_slice(), torn), (lines, unsettled));
        }
        check("", false, &[], false);
        check("a\nb\n", false, &["a", "b"], false);
        check("a\nb", false, &["a"], true);
        check("a\nb", true, &["a", "b"], false);
    }

    #[test]
    fn what_is_not_utf_8_or_too_long_is_a_fault_of_its_line_alone() {
        let mut bytes = b"a\n\xc3\xa9\xffx\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', MAX_LINE + 1));
        bytes.extend(b"\nb\n");
        let (lines, _) = conf_lines(&bytes, true);
        let wrong = |index: usize| lines[index].1.as_ref().expect_err("it is wrong").clone();
        assert_eq!((lines[0].1.as_ref(), lines[3].1.as_ref()), (Ok(&"a"), Ok(&"b")));
        assert_eq!((wrong(1).column, wrong(1).seen.as_str()), (2, "the byte 0xff is not UTF-8"));
        assert_eq!(wrong(2).seen, "a line of 4097 bytes");
    }
}
