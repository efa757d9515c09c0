//! Every key that is read is told of, and README tells of them as they are.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::{kinds, settings};

/// What makes README's tables anew.
const RENEW: &str = "BLESS=1 cargo test --lib page";
/// A key that nobody asks for, nor one that looks like it.
const UNKNOWN: &str = "no_reader_asks_for_this";

/// Every key that the reader of `page` asks for in the table `table` (`` or `expect.`), and in the tables within.
fn asked(page: &Page, table: &str) -> Vec<String> {
    let fault = page.wrong(&format!("{table}{UNKNOWN}"), "0");
    let known = fault.as_ref().and_then(|fault| fault.right.strip_prefix("the known ones are "));
    let mut names = Vec::new();
    for key in known.into_iter().flat_map(|known| known.split(", ")) {
        let name = format!("{table}{key}");
        let within = asked(page, &format!("{name}."));
        names.extend(if within.is_empty() { vec![name] } else { within });
    }
    names
}

fn is_told_by(name: &str, key: &Key) -> bool {
    key.name.strip_suffix('*').map_or(name == key.name, |table| name.starts_with(table))
}

#[test]
fn every_key_that_is_read_is_on_its_page_and_no_other() {
    let [common, pages @ ..] = kinds::PAGES else { panic!("a page of what all kinds share, and one a kind") };
    let pages = pages.iter().map(|page| (page, common.keys().chain(page.keys()).collect::<Vec<_>>()));
    let settings = &settings::PAGE;
    let mut wrong = Vec::new();
    for (page, told) in pages.chain([(settings, settings.keys().collect())]) {
        let asked = asked(page, "");
        for name in &asked {
            match told.iter().filter(|key| is_told_by(name, key)).count() {
                0 => wrong.push(format!("`{name}` of {} is read, but stands in no `KEYS`", page.name)),
                1 => {}
                _ => wrong.push(format!("`{name}` of {} stands in `KEYS` twice", page.name)),
            }
        }
        let is_read = |key: &Key| {
            // A table may be told of itself, too.
            asked.iter().any(|name| is_told_by(name, key) || name.starts_with(&format!("{}.", key.name)))
        };
        for key in told.iter().filter(|key| !is_read(key)) {
            wrong.push(format!("`{}` stands in the `KEYS` of {}, but is not read", key.name, page.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_key_takes_is_what_the_reader_says() {
    let page = kinds::PAGES.iter().find(|page| page.name == "http").unwrap();
    #[track_caller]
    fn check(page: &Page, name: &'static str, expect: &str) {
        let key = Key { name, meaning: "", default: "" };
        assert!(page.takes(&key).contains(expect), "{name}: {}", page.takes(&key));
    }
    check(page, "timeout", "from 1ms to 50s");
    check(page, "keep_alive", "true or false");
    check(page, "expect.status", "from 100 to 599");
    check(page, "kind", "\"loopback\"");
}

#[test]
fn nothing_in_a_message_is_a_mark() {
    assert_eq!(escape("a|b*c `d`"), "a\\|b\\*c \\`d\\`");
}

/// README, its path, and the part of it that tells of types.
fn readme() -> (PathBuf, String, std::ops::Range<usize>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let [begin, end] = ["\n### Types\n", "\n### Destinations\n"].map(|heading| text.find(heading).unwrap());
    (path, text, begin..end)
}

#[test]
fn readmes_tables_are_made_from_the_code() {
    let (path, text, _) = readme();
    let mut renewed = text.clone();
    for page in kinds::PAGES.iter().chain([&settings::PAGE]) {
        let marker = format!("<!-- keys of {} -->\n", page.name);
        let begin = renewed.find(&marker).unwrap_or_else(|| panic!("README has no {marker}")) + marker.len();
        let length = renewed[begin..].find("<!-- end -->").unwrap_or_else(|| panic!("no end of {marker}"));
        renewed.replace_range(begin..begin + length, &format!("\n{}\n", page.table()));
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, renewed).unwrap();
    } else {
        let stale: Vec<_> = renewed.lines().filter(|line| !text.lines().any(|other| other == *line)).collect();
        assert!(
            renewed == text,
            "README's tables are not what the code says; renew them: {RENEW}\n{}",
            stale.join("\n")
        );
    }
}

/// The examples of types in a part of README.
fn examples(part: &str) -> Vec<&str> {
    part.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Whether an example is of the kind that `page` tells of; of any kind, if it tells of all.
fn is_of(example: &str, page: &Page) -> bool {
    page.name == kinds::PAGES[0].name || example.contains(&format!("kind = \"{}\"\n", page.name))
}

#[test]
fn readme_has_a_page_a_kind() {
    let (_, text, types) = readme();
    for page in &kinds::PAGES[1..] {
        let name = page.name;
        let heading = format!("\n#### The kind `{name}`\n");
        let begin = text[types.clone()].find(&heading).unwrap_or_else(|| panic!("README has no{heading}"));
        let rest = &text[types.clone()][begin + heading.len()..];
        let own = rest.split("\n#### ").next().unwrap();
        assert!(text[types.clone()].contains(&format!("(#the-kind-{name})")), "nothing leads to{heading}");
        assert!(own.contains(&format!("<!-- keys of {name} -->")), "no table of keys below{heading}");
        let of_it = examples(own).into_iter().filter(|example| is_of(example, page)).count();
        assert!(of_it >= 2, "a smallest and a fuller example below{heading}");
    }
}

/// Makes the files that the values of an example name: as `tests/data/pages` has them, else a certificate, its key, or
/// some line.
fn make_files(folder: &Path, value: &toml::Value, key: &str, identity: &(String, String)) {
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| make_files(folder, value, key, identity)),
        toml::Value::Array(values) => values.iter().for_each(|value| make_files(folder, value, key, identity)),
        toml::Value::String(name) if !name.contains('/') => {
            let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pages").join(name);
            if sample.is_file() {
                fs::copy(sample, folder.join(name)).unwrap();
            } else if key.ends_with("file") {
                let text = match key {
                    "ca_file" | "certificate_file" => identity.0.as_str(),
                    "key_file" => &identity.1,
                    _ => "sesame\n",
                };
                fs::write(folder.join(name), text).unwrap();
            }
        }
        _ => {}
    }
}

/// A folder with the files that an example names.
fn folder_for(example: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let value = example.parse().map(toml::Value::Table).unwrap_or_else(|error| panic!("{error}\n{example}"));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["host".to_owned()]).unwrap().self_signed(&key).unwrap();
    make_files(folder.path(), &value, "", &(certificate.pem(), key.serialize_pem()));
    folder
}

#[test]
fn readmes_examples_of_types_are_sound() {
    let (_, text, types) = readme();
    for example in examples(&text[types]) {
        let folder = folder_for(example);
        let (_, faults) = kinds::read("example", &folder.path().join("example.toml"), example);
        let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert!(faults.is_empty(), "{}\nin the example of README\n{example}", faults.join("\n"));
    }
}

/// The default of `key`, where a file could have it.
fn default_value(key: &Key) -> Option<&'static str> {
    let value = key.default.strip_prefix('`')?.strip_suffix('`')?;
    format!("{} = {value}\n", key.name).parse::<toml::Table>().is_ok().then_some(value)
}

/// The example, with a key in it: below the heading of its table, or else first of all; `None` where it has the key.
fn with(example: &str, key: &Key, value: &str) -> Option<String> {
    let heading = key.name.rsplit_once('.').map(|(table, name)| (format!("\n[{table}]\n"), name));
    let text = match heading.filter(|(heading, _)| example.contains(heading)) {
        Some((heading, name)) => example.replacen(&heading, &format!("{heading}{name} = {value}\n"), 1),
        None => format!("{} = {value}\n{example}", key.name),
    };
    text.parse::<toml::Table>().is_ok().then_some(text)
}

#[test]
fn a_default_is_what_holds_without_the_key() {
    let (_, text, types) = readme();
    let mut tried = 0;
    for page in kinds::PAGES {
        let example = examples(&text[types.clone()]).into_iter().find(|example| is_of(example, page)).unwrap();
        let folder = folder_for(example);
        let read = |text: &str| kinds::read("x", &folder.path().join("x.toml"), text);
        let without = read(example);
        assert_eq!(without.1, [], "{example}");
        for (key, value) in page.keys().filter_map(|key| Some((key, default_value(key)?))) {
            let Some(with) = with(example, key, value) else { continue };
            assert_eq!(read(&with), without, "of {}, {} = {value}", page.name, key.name);
            tried += 1;
        }
    }
    for (key, value) in settings::PAGE.keys().filter_map(|key| Some((key, default_value(key)?))) {
        let line = format!("{} = {value}\n", key.name);
        let (with, faults) = settings::Settings::parse(Path::new("x"), &line).unwrap();
        assert_eq!((with, faults.as_slice()), (settings::Settings::default(), [].as_slice()), "{line}");
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
}
