//! What a file can say, key by key: README's tables, and what `canihazctl keys` prints.
//!
//! A key's name, meaning and default stand in a table beside the code that reads it. What it takes is written down
//! only where it is read: a page has it from what the reader says of a value that no key takes. So `timeout` is
//! "from 1ms to 50s" in README for as long as it is that for a file.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::fault::Fault;

/// The value that no key takes: a date.
const NOTHING: &str = "0001-01-01";

/// One key that a file can have.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, behind those of the tables that it stands in: `expect.status`. A `*` at the end stands for all keys
    /// of a table that are told elsewhere: `request.expect.*`.
    pub name: &'static str,
    /// What it says, in a few words, with `code` as in README.
    pub meaning: &'static str,
    /// What holds without it, likewise: a value as a file would have it, in backticks, where there is one; "none", or
    /// "needed" where a file must have it.
    pub default: &'static str,
}

/// All keys of one kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// What the keys are of, as in `<!-- keys of http -->`.
    pub name: &'static str,
    /// The least that such a file says, a key a line: `kind = "loopback"`.
    pub least: &'static str,
    /// The keys, in parts, each of which stands where it is read.
    pub parts: &'static [&'static [Key]],
    /// Reads a text as such a file, and gives back what is wrong with it.
    pub read: fn(&str) -> Vec<Fault>,
}

impl Page {
    /// Its keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.parts.iter().copied().flatten()
    }

    /// What `key` takes, in the reader's words; nothing where it is told elsewhere.
    pub fn takes(&self, key: &Key) -> String {
        let known = self.wrong(key.name, NOTHING).filter(|fault| !fault.seen.starts_with("unknown"));
        known.map(|fault| fault.right).unwrap_or_default()
    }

    /// The keys as README's table.
    pub fn table(&self) -> String {
        let mut table = String::from("| key | meaning | default | takes |\n|---|---|---|---|\n");
        for key in self.keys() {
            let Key { name, meaning, default } = key;
            let _ = writeln!(table, "| `{name}` | {meaning} | {default} | {} |", escape(&self.takes(key)));
        }
        table
    }

    /// What is wrong with a file in which the key `name` has this value; `None` when nothing is, or something else.
    fn wrong(&self, name: &str, value: &str) -> Option<Fault> {
        // No file says the same twice, nor a table as a whole and then a key of it.
        let is_said = |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let others = self.least.lines().filter(|line| !line.split_once(" = ").is_some_and(|(key, _)| is_said(key)));
        let others = others.collect::<Vec<_>>().join("\n");
        let last = name.rsplit('.').next().unwrap_or(name);
        let names = [format!("\"{last}\""), format!(".{last}\"")];
        // Whether a table it stands in is one or a list of them is for the reader to say.
        let one = format!("{name} = {value}\n{others}");
        let lists = name.match_indices('.').map(|(at, _)| {
            let (table, name) = (&name[..at], &name[at + 1..]);
            format!("{table} = [{{ {name} = {value} }}]\n{others}")
        });
        let faults = std::iter::once(one).chain(lists).flat_map(|text| (self.read)(&text));
        faults
            .into_iter()
            .find(|fault| fault.at.is_some_and(|at| at.0 == 1) && names.iter().any(|name| fault.seen.contains(name)))
    }
}

/// A message as it stands in a table of README: nothing in it is a mark.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '<' | '*' | '`' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
