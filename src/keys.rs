//! Reading a TOML file key by key: what is good is given back, what isn't becomes a list of faults.
//!
//! A reader asks for each key by name and type; a key that nobody asked for is
//! refused at the end, with the nearest known one named. Nothing is read twice
//! and the first fault does not hide the others.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, nearest, position, quote};
use crate::trust;

/// The most bytes of a secret; tokens are far shorter.
const MAX_SECRET: u64 = 16 << 10;

/// What a file of TOML is read as: where it stands and how faults in it are told.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file, as messages name it; relative paths in it are relative to its folder.
    pub file: &'a Path,
    /// All of its text.
    pub text: &'a str,
    /// Whether messages may quote values; never those of types and destinations.
    pub quotes_values: bool,
    /// What happens when something in it is wrong.
    pub now: &'static str,
    /// What happens when it has a key that nobody knows.
    pub now_unknown: &'static str,
}

/// A table that is being read.
#[derive(Debug)]
pub struct Keys<'a> {
    source: Source<'a>,
    /// What stands before the table's own keys in a message: `` or `expect.`.
    prefix: String,
    table: DeTable<'a>,
    /// Where the table itself stands in the text, for keys that are missing.
    offset: Option<usize>,
    known: Vec<&'static str>,
    /// Where the values of the keys read so far stand in the text.
    places: Vec<(&'static str, usize)>,
    faults: Vec<Fault>,
}

impl<'a> Source<'a> {
    /// Parses the text, hands its table to `read`, and gives back what that made of it,
    /// `None` when the text is not TOML at all; with all that was wrong.
    pub fn read<T>(self, read: impl FnOnce(&mut Keys<'a>) -> T) -> (Option<T>, Vec<Fault>) {
        let table = match DeTable::parse(self.text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let at = error.span().map(|span| position(self.text, span.start));
                let seen = String::from("not TOML");
                let right = error.message().trim().replace('\n', ", ");
                return (None, vec![Fault { file: self.file.into(), at, seen, right, now: self.now }]);
            }
        };
        let mut keys = Keys {
            source: self,
            prefix: String::new(),
            table,
            offset: None,
            known: Vec::new(),
            places: Vec::new(),
            faults: Vec::new(),
        };
        let read = read(&mut keys);
        (Some(read), keys.finish())
    }
}

impl<'a> Keys<'a> {
    /// True while nothing was wrong with what has been read.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether `key` is there, and has not been read.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether what has not been read has a table in it.
    pub fn has_tables(&self) -> bool {
        self.table.values().any(|value| has_table(value.get_ref()))
    }

    /// Whether `key` is there, and has been read.
    pub fn was_read(&self, key: &str) -> bool {
        self.places.iter().any(|(name, _)| *name == key)
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "a text in quotes", |text| Some(text.to_owned()))
    }

    /// What `parse` makes of a text; `right` says what that takes.
    pub fn parsed<T>(&mut self, key: &'static str, right: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.value(key, right, |value| value.as_str().and_then(parse))
    }

    /// What `parse` makes of a text, or else says would be right; `right` says what it takes at all.
    pub fn explained<T>(
        &mut self,
        key: &'static str,
        right: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = self.parsed(key, right, |text| Some(parse(text)))?;
        parsed.map_err(|right| self.refuse_key(key, format!("{} can't be this string", self.name(key)), right)).ok()
    }

    /// A length of time with its unit, as in `"250ms"`, from `least` to `most`.
    pub fn duration(&mut self, key: &'static str, least: Duration, most: Duration) -> Option<Duration> {
        let right =
            format!("a time with its unit, as in \"250ms\" or \"5s\", from {} to {}", plain(least), plain(most));
        self.parsed(key, &right, |text| parse_duration(text).filter(|d| (least..=most).contains(d)))
    }

    /// A whole number from `least` to `most`.
    pub fn integer(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let right = format!("a whole number from {least} to {most}");
        self.value(key, &right, |value| integer(value).filter(|n| (least..=most).contains(n)))
    }

    /// A number of bytes: a whole number, or a text with its unit, as in `"64KiB"`.
    pub fn bytes(&mut self, key: &'static str, most: u64) -> Option<u64> {
        // What TOML has no larger numbers for is no limit to tell of.
        let limit = if most < i64::MAX as u64 { format!(", up to {}", plain_bytes(most)) } else { String::new() };
        let right = format!("a number of bytes, as in 512 or \"64KiB\"{limit}");
        self.value(key, &right, |value| {
            integer(value).or_else(|| value.as_str().and_then(parse_bytes)).filter(|n| *n <= most)
        })
    }

    /// A share from 0.0 to 1.0.
    pub fn share(&mut self, key: &'static str) -> Option<f64> {
        self.value(key, "a number from 0.0 to 1.0", |value| {
            let share = match value {
                DeValue::Float(float) => float.as_str().parse().ok()?,
                other => f64::from(u32::try_from(integer(other)?).ok()?),
            };
            (0.0..=1.0).contains(&share).then_some(share)
        })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false", DeValue::as_bool)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.parsed(key, &words.join(" or "), |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
        })
    }

    /// The path of a file, relative to the folder of the one it is named in.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let folder = self.folder();
        self.parsed(key, "the path of a file, in quotes", |text| {
            (!text.is_empty() && !text.contains('\0')).then(|| folder.join(text))
        })
    }

    /// The folder that the file stands in: paths in it are relative to that.
    pub fn folder(&self) -> PathBuf {
        self.source.file.parent().unwrap_or(Path::new("")).to_owned()
    }

    /// What the file named by `key` holds, at most `limit` bytes; a file that can't be trusted is a fault.
    pub fn contents(&mut self, key: &'static str, limit: u64) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        // Whether a writer is still at work on it is not asked: a change of it is noticed like any other.
        match trust::read(&path, limit, SystemTime::now()) {
            Ok(contents) => Some(contents.bytes),
            Err(distrust) => {
                self.refuse_key(key, format!("the file \"{}{key}\" names {distrust}", self.prefix), distrust.right());
                None
            }
        }
    }

    /// The one line that the file named by `key` holds, at most 16 KiB, without its newline.
    pub fn secret(&mut self, key: &'static str) -> Option<Vec<u8>> {
        let mut secret = self.contents(key, MAX_SECRET)?;
        if secret.last() == Some(&b'\n') {
            secret.pop();
            secret.pop_if(|last| *last == b'\r');
        }
        if secret.is_empty() || secret.iter().any(u8::is_ascii_control) {
            self.refuse_key(key, "what is in the file", "one line, not empty, without control characters");
            return None;
        }
        Some(secret)
    }

    /// A `host:port`.
    pub fn address(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "an address as host:port", |text| {
            let (host, port) = text.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let sound = match bare {
                Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && !host.contains([':', '/', ' ', '\0']),
            };
            (sound && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0))
                .then(|| text.to_owned())
        })
    }

    /// A list, each item of which `item` understands; `right` says what the list takes.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        right: &str,
        mut item: impl FnMut(&DeValue<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.value(key, right, |value| value.as_array()?.iter().map(|value| item(value.get_ref())).collect())
    }

    /// One value, or a list of them, each of which `item` understands; `right` says what that takes.
    pub fn one_or_list<T>(
        &mut self,
        key: &'static str,
        right: &str,
        mut item: impl FnMut(&DeValue<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.value(key, right, |value| match value.as_array() {
            Some(list) => list.iter().map(|value| item(value.get_ref())).collect(),
            None => item(value).map(|item| vec![item]),
        })
    }

    /// A table of texts under names that aren't known beforehand, as for headers, in the order of the file.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<(String, String)>> {
        self.value(key, "a table of texts, as in { NAME = \"text\" }", |value| {
            let mut entries: Vec<_> = value.as_table()?.iter().collect();
            entries.sort_by_key(|(name, _)| name.span().start);
            entries
                .into_iter()
                .map(|(name, value)| Some((name.get_ref().to_string(), value.get_ref().as_str()?.to_owned())))
                .collect()
        })
    }

    /// A table with keys of its own, read by `read`.
    pub fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Keys<'a>) -> T) -> Option<T> {
        let (name, value) = self.take(key)?;
        let DeValue::Table(table) = value.into_inner() else {
            self.fault(Some(name.start), format!("key \"{}{key}\"", self.prefix), format!("a table, as in [{key}]"));
            return None;
        };
        let mut keys = Keys {
            source: self.source,
            prefix: format!("{}{key}.", self.prefix),
            table,
            offset: Some(name.start),
            known: Vec::new(),
            places: Vec::new(),
            faults: Vec::new(),
        };
        let read = read(&mut keys);
        self.faults.extend(keys.finish());
        Some(read)
    }

    /// A list of tables with keys of their own, as in `[[request]]`, at least one and at most `most`, each read by `read`;
    /// messages count them from 1, as in `request[2].url`.
    pub fn tables<T>(
        &mut self,
        key: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Keys<'a>) -> T,
    ) -> Option<Vec<T>> {
        let (name, value) = self.take(key)?;
        let as_in = format!("[[{}{key}]]", self.prefix);
        let right = || format!("tables, as in {as_in}, from 1 to {most}");
        let tables = match value.into_inner() {
            DeValue::Array(tables) if (1..=most).contains(&tables.len()) => tables,
            DeValue::Array(tables) => {
                self.fault(Some(name.start), format!("{} has {} tables", self.name(key), tables.len()), right());
                return None;
            }
            _ => {
                self.fault(Some(name.start), format!("key {}", self.name(key)), right());
                return None;
            }
        };
        let mut all = Vec::with_capacity(tables.len());
        for (number, table) in (1..).zip(tables) {
            let offset = table.span().start;
            let DeValue::Table(table) = table.into_inner() else {
                self.fault(Some(offset), format!("\"{}{key}[{number}]\"", self.prefix), right());
                continue;
            };
            let mut keys = Keys {
                source: self.source,
                prefix: format!("{}{key}[{number}].", self.prefix),
                table,
                offset: Some(offset),
                known: Vec::new(),
                places: Vec::new(),
                faults: Vec::new(),
            };
            all.push(read(&mut keys));
            self.faults.extend(keys.finish());
        }
        Some(all)
    }

    /// A key as messages name it: in quotes, with the tables that it stands in.
    pub fn name(&self, key: &str) -> String {
        format!("\"{}{key}\"", self.prefix)
    }

    /// Says that a key which can't be left out isn't there, unless what was there is already faulted.
    pub fn required<T>(&mut self, key: &'static str, value: Option<T>) -> Option<T> {
        let name = self.name(key);
        if value.is_none() && !self.faults.iter().any(|fault| fault.seen.contains(&name)) {
            self.fault(self.offset, format!("no key {name}"), String::from("it can't be left out"));
        }
        value
    }

    /// Adds a fault of the file as a whole, or of what two keys say together.
    pub fn refuse(&mut self, seen: impl Into<String>, right: impl Into<String>) {
        self.fault(self.offset, seen.into(), right.into());
    }

    /// Adds a fault of the value of `key`, which was read before.
    pub fn refuse_key(&mut self, key: &'static str, seen: impl Into<String>, right: impl Into<String>) {
        let place = self.places.iter().find(|(name, _)| *name == key).map(|(_, offset)| *offset);
        self.fault(place.or(self.offset), seen.into(), right.into());
    }

    /// Lets keys that nobody asked for pass, when it isn't known who would have asked; unless they look like a
    /// misspelling of one that was asked for.
    pub fn skip_rest(&mut self) {
        let known = &self.known;
        let kept = |name: &str| nearest(name, known.iter().copied()).is_some();
        self.table = std::mem::take(&mut self.table).into_iter().filter(|(name, _)| kept(name.get_ref())).collect();
    }

    /// Has `read` read keys that have a consequence of their own where they are wrong: `now`.
    pub fn meanwhile<T>(&mut self, now: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let usual = std::mem::replace(&mut self.source.now, now);
        let read = read(self);
        self.source.now = usual;
        read
    }

    /// Refuses now, of the keys that nobody has asked for, those that `is_it` finds by their values and the nearest key
    /// that was asked for; whether there are any.
    pub fn refuse_unknown(&mut self, is_it: impl Fn(&DeValue<'a>, Option<&str>) -> bool) -> bool {
        let near = |name: &str| nearest(name, self.known.iter().copied());
        let table = std::mem::take(&mut self.table);
        let (unknown, rest): (Vec<_>, Vec<_>) =
            table.into_iter().partition(|(name, value)| is_it(value.get_ref(), near(name.get_ref())));
        self.table = rest.into_iter().collect();
        for (name, _) in &unknown {
            let known = self.known.iter().copied();
            let right = match nearest(name.get_ref(), known.clone()) {
                Some(known) => format!("the nearest known one is \"{known}\""),
                None => format!("the known ones are {}", known.collect::<Vec<_>>().join(", ")),
            };
            let seen = format!("unknown key {}", quote(&format!("{}{}", self.prefix, name.get_ref())));
            self.fault(Some(name.span().start), seen, right);
        }
        !unknown.is_empty()
    }

    /// Takes `key`, and says what is wrong unless `read` understands its value.
    fn value<T>(&mut self, key: &'static str, right: &str, read: impl FnOnce(&DeValue<'a>) -> Option<T>) -> Option<T> {
        let (_, value) = self.take(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            let span = value.span();
            let seen = match (self.source.quotes_values, self.source.text.get(span.clone())) {
                (true, Some(text)) => {
                    let text = value.get_ref().as_str().unwrap_or(text);
                    format!("\"{}{key}\" is {}", self.prefix, quote(text))
                }
                _ => format!("\"{}{key}\" can't be this {}", self.prefix, value.get_ref().type_str()),
            };
            self.fault(Some(span.start), seen, right.to_owned());
        }
        read
    }

    fn take(&mut self, key: &'static str) -> Option<(std::ops::Range<usize>, Spanned<DeValue<'a>>)> {
        self.known.push(key);
        let (name, value) = self.table.remove_entry(key)?;
        self.places.push((key, value.span().start));
        Some((name.span(), value))
    }

    fn finish(mut self) -> Vec<Fault> {
        self.meanwhile(self.source.now_unknown, |keys| keys.refuse_unknown(|_, _| true));
        self.faults.sort_by_key(|fault| fault.at);
        self.faults
    }

    fn fault(&mut self, offset: Option<usize>, seen: String, right: String) {
        let at = offset.map(|offset| position(self.source.text, offset));
        self.faults.push(Fault { file: self.source.file.into(), at, seen, right, now: self.source.now });
    }
}

/// Whether a value is a table, or a list that has one.
pub fn has_table(value: &DeValue<'_>) -> bool {
    value.is_table() || value.as_array().is_some_and(|items| items.iter().any(|item| has_table(item.get_ref())))
}

/// Reads `"250ms"`, `"1.5s"`, `"5s"`, `"1m"`, `"1h"`, `"20us"`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim_start() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// Reads `"512B"`, `"64KiB"`, `"256MiB"`, `"1GiB"`.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A whole number that is not negative.
pub fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A duration as one would write it in a file.
fn plain(duration: Duration) -> String {
    let us = duration.as_micros();
    match us {
        0 => String::from("0s"),
        _ if us.is_multiple_of(3_600_000_000) => format!("{}h", us / 3_600_000_000),
        _ if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        _ if us.is_multiple_of(1_000) => format!("{}ms", us / 1_000),
        _ => format!("{us}us"),
    }
}

/// A number of bytes as one would write it in a file.
fn plain_bytes(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(unit, size)| format!("{}{unit}", bytes / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source {
            file: Path::new("x.toml"),
            text,
            quotes_values: true,
            now: "its default is used",
            now_unknown: "it is ignored",
        }
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        #[track_caller]
        fn check(text: &str, expect: &[&str]) {
            let (_, faults) = source(text).read(|keys| {
                keys.duration("timeout", Duration::from_millis(1), Duration::from_secs(50));
                keys.integer("overtime", 1, 100);
                keys.choice("mode", &[("wait", 1), ("cancel", 2)]);
                keys.table("expect", |keys| keys.text("body"));
            });
            assert_eq!(faults.iter().map(Fault::to_string).collect::<Vec<_>>(), expect);
        }
        check("timeout = \"5s\"\novertime = 20\nmode = \"wait\"\n[expect]\nbody = \"x\"\n", &[]);
        check(
            "tiemout = \"5s\"",
            &["x.toml:1:1: unknown key \"tiemout\": the nearest known one is \"timeout\"; it is ignored"],
        );
        check(
            "\novertime = 101",
            &["x.toml:2:12: \"overtime\" is \"101\": a whole number from 1 to 100; its default is used"],
        );
        check("mode = \"wat\"", &["x.toml:1:8: \"mode\" is \"wat\": \"wait\" or \"cancel\"; its default is used"]);
        check(
            "[expect]\nbdy = 1",
            &["x.toml:2:1: unknown key \"expect.bdy\": the nearest known one is \"body\"; it is ignored"],
        );
        check(
            "timeout = 5",
            &["x.toml:1:11: \"timeout\" is \"5\": a time with its unit, as in \"250ms\" or \"5s\", from 1ms to 50s; \
               its default is used"],
        );
    }

    #[test]
    fn each_table_of_a_list_is_read_and_its_faults_are_named() {
        #[track_caller]
        fn check(text: &str, expect: Option<&[Option<u64>]>, faults: &[&str]) {
            let (read, found) = source(text).read(|keys| {
                keys.tables("request", 2, |keys| {
                    let weight = keys.integer("weight", 1, 9);
                    keys.required("weight", weight)
                })
            });
            let found: Vec<_> = found.iter().map(Fault::to_string).collect();
            let found: Vec<_> = found.iter().map(|fault| fault.split_once("; its default").unwrap().0).collect();
            assert_eq!((read.unwrap().as_deref(), found.as_slice()), (expect, faults), "{text}");
        }
        check("", None, &[]);
        check("[[request]]\nweight = 1\n[[request]]\nweight = 2", Some(&[Some(1), Some(2)]), &[]);
        check("request = [{ weight = 1 }]", Some(&[Some(1)]), &[]);
        check(
            "[[request]]\nweight = 1\n\n  [[request]]\n",
            Some(&[Some(1), None]),
            &["x.toml:4:3: no key \"request[2].weight\": it can't be left out"],
        );
        check(
            "[[request]]\nweight = 1\n[[request]]\nweight = 0",
            Some(&[Some(1), None]),
            &["x.toml:4:10: \"request[2].weight\" is \"0\": a whole number from 1 to 9"],
        );
        let right = "tables, as in [[request]], from 1 to 2";
        check("request = []", None, &[&format!("x.toml:1:1: \"request\" has 0 tables: {right}")]);
        check("request = [{}, {}, {}]", None, &[&format!("x.toml:1:1: \"request\" has 3 tables: {right}")]);
        check("[request]", None, &[&format!("x.toml:1:2: key \"request\": {right}")]);
        check("request = [1, { weight = 1 }]", Some(&[Some(1)]), &[&format!("x.toml:1:12: \"request[1]\": {right}")]);
        let (_, unknown) = source("[[request]]\nweigth = 1").read(|keys| {
            keys.tables("request", 2, |keys| keys.integer("weight", 1, 9));
        });
        let expect =
            "x.toml:2:1: unknown key \"request[1].weigth\": the nearest known one is \"weight\"; it is ignored";
        assert_eq!(unknown[0].to_string(), expect);
    }

    #[test]
    fn values_of_types_are_never_quoted() {
        let source = Source { quotes_values: false, ..source("overtime = \"secret\"") };
        let (_, faults) = source.read(|keys| keys.integer("overtime", 1, 100));
        assert!(!faults[0].to_string().contains("secret"), "{}", faults[0]);
    }

    #[test]
    fn files_that_are_named_are_read_with_their_faults() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            std::fs::write(folder.path().join(name), text).unwrap();
            std::fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        write("good", "1234", 0o600);
        write("writable", "1234", 0o666);
        write("large", "12345", 0o600);
        let file = folder.path().join("x.toml");
        let check = |name: &str, expect: Result<&str, &str>| {
            let text = format!("\nbody_file = \"{name}\"");
            let source = Source { file: &file, quotes_values: false, ..source(&text) };
            let (read, faults) = source.read(|keys| keys.contents("body_file", 4));
            let faults: Vec<_> = faults.iter().map(|fault| format!("{:?} {}", fault.at.unwrap(), fault.seen)).collect();
            match expect {
                Ok(text) => assert_eq!((read, faults), (Some(Some(text.into())), vec![])),
                Err(seen) => assert_eq!((read, faults), (Some(None), vec![seen.to_owned()])),
            }
        };
        check("good", Ok("1234"));
        check("writable", Err("(2, 13) the file \"body_file\" names may be written by others"));
        check("large", Err("(2, 13) the file \"body_file\" names is larger than 4 bytes"));
        check("none", Err("(2, 13) the file \"body_file\" names does not exist"));
    }

    #[test]
    fn durations() {
        #[track_caller]
        fn check(text: &str, expect: Option<Duration>) {
            assert_eq!(parse_duration(text), expect, "{text}");
        }
        check("250ms", Some(Duration::from_millis(250)));
        check("1.5s", Some(Duration::from_millis(1500)));
        check("5 s", Some(Duration::from_secs(5)));
        check("5", None);
        check("s", None);
        check("-5s", None);
        check("1e9s", None);
        check("99999999999999999999h", None);
    }
}
