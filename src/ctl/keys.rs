//! `canihazctl keys`: says what a file of types.d can say, as README's tables do.

use std::io::Write as _;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::kinds::PAGES;
use crate::page::Page;
use crate::run::Exit;

/// The width of a line, in characters: the customary terminal's.
const WIDTH: usize = 80;
/// Where what is said of a key begins, at most, in characters; a longer name has a line of its own.
const MAX_COLUMN: usize = 36;

/// Says what a file of types.d can say, key by key
///
/// Of each key what it means, what it takes, and what holds without it. With KIND,
/// the keys of that kind, and then those that all kinds have; else the latter alone.
#[derive(Args, Debug)]
pub struct Keys {
    /// What a hit is, as a file's key "kind" has it
    #[arg(value_parser = PossibleValuesParser::new(PAGES[1..].iter().map(|page| page.name)))]
    kind: Option<String>,
}

impl Keys {
    /// Prints the keys.
    pub fn run(self) -> Exit {
        let own = PAGES[1..].iter().filter(|page| self.kind.as_deref() == Some(page.name));
        let pages: Vec<&Page> = own.chain(&PAGES[..1]).collect();
        // A closed pipe is no error.
        let _ = std::io::stdout().write_all(text(&pages).as_bytes());
        Exit::Done
    }
}

/// The keys of some pages: beside each what it means, and below that what it takes.
fn text(pages: &[&Page]) -> String {
    let longest = pages.iter().flat_map(|page| page.keys()).map(|key| key.name.len()).max().unwrap_or_default();
    let column = (longest + 4).min(MAX_COLUMN);
    let mut text = String::new();
    for (number, page) in pages.iter().enumerate() {
        text.push_str(if number == 0 { "" } else { "\n" });
        text.push_str(&format!("keys of {}:\n", page.name));
        for key in page.keys() {
            let takes = match key.default {
                "none" => page.takes(key),
                "needed" => format!("{}; needed", page.takes(key)),
                default => format!("{}; default {default}", page.takes(key)),
            };
            let mut name = format!("  {}", key.name);
            if name.len() + 2 > column {
                text.push_str(&format!("{}\n", std::mem::take(&mut name)));
            }
            for (said, column) in [(key.meaning, column), (&takes, column + 2)] {
                for line in wrapped(&said.replace('`', ""), WIDTH - column) {
                    text.push_str(format!("{name:column$}{line}").trim_end());
                    text.push('\n');
                    name.clear();
                }
            }
        }
    }
    text
}

/// The words of a text in lines of at most `width` characters; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fit_a_terminal() {
        for page in PAGES {
            let text = text(&[page]);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            let has = |name: &str| [' ', '\n'].iter().any(|behind| text.contains(&format!("\n  {name}{behind}")));
            assert!(page.keys().all(|key| has(key.name)), "{text}");
        }
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("a bc def ghijklmnop q", 6), ["a bc", "def", "ghijklmnop", "q"]);
        assert_eq!(wrapped("", 6), [""]);
    }
}
