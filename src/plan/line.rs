//! One line of a test file: `name|type|frequency|destination`.

use std::num::NonZeroU64;

use crate::fault::quote;

/// Hits a minute may be at most this.
pub const MAX_FREQUENCY: u64 = 60_000_000;
/// A test's name has at most this many characters.
const MAX_NAME: usize = 64;
/// The most destinations one test may name.
const MAX_DESTINATIONS: usize = 16;

/// Hits per minute on this server, from 1 to 60,000,000.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frequency(NonZeroU64);

impl Frequency {
    /// Reads `600`, or `10/s`, which is the same; `None` when it is neither or out of range.
    ///
    /// ```
    /// use canihaz::plan::Frequency;
    ///
    /// assert_eq!(Frequency::parse("10/s"), Frequency::parse("600"));
    /// assert_eq!(Frequency::parse("0"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (number, factor) = match text.strip_suffix("/s") {
            Some(number) => (number.trim_end(), 60),
            None => (text, 1),
        };
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let hits = number.parse::<u64>().ok()?.checked_mul(factor)?;
        NonZeroU64::new(hits).filter(|hits| hits.get() <= MAX_FREQUENCY).map(Self)
    }

    /// The hits per minute.
    pub fn per_minute(self) -> u64 {
        self.0.get()
    }
}

/// A test as its line says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Unique over all files.
    pub name: String,
    /// What to hit.
    pub type_name: String,
    /// How often.
    pub frequency: Frequency,
    /// Where the results go, at least one.
    pub destinations: Vec<String>,
    /// The columns, from 1, of name, type, frequency and destination.
    pub columns: [usize; 4],
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// Where in the line, from 1, in characters.
    pub column: usize,
    /// What was seen.
    pub seen: String,
    /// What would have been right.
    pub right: String,
}

impl Line {
    /// Reads a line; `None` for a blank one or a comment.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Option<Self>, Wrong> {
        if text.trim().is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let fields = fields(text);
        let Ok([name, type_name, frequency, destination]) = <[(usize, &str); 4]>::try_from(fields.as_slice()) else {
            return Err(Wrong {
                column: fields.get(4).map_or(text.chars().count() + 1, |(column, _)| *column),
                seen: format!("{} {} in {}", fields.len(), plural(fields.len()), quote(text.trim())),
                right: String::from("a test has 4, name|type|frequency|destination"),
            });
        };
        let destinations = names(destination)?;
        Ok(Some(Self {
            name: test_name(name)?,
            type_name: word(type_name, "type")?,
            frequency: Frequency::parse(frequency.1).ok_or_else(|| Wrong {
                column: frequency.0,
                seen: format!("frequency {}", quote(frequency.1)),
                right: format!(
                    "hits per minute, a whole number from 1 to {MAX_FREQUENCY}, or hits per second as in 10/s"
                ),
            })?,
            destinations,
            columns: [name.0, type_name.0, frequency.0, destination.0],
        }))
    }
}

/// The trimmed fields of a line, each with its column.
fn fields(text: &str) -> Vec<(usize, &str)> {
    let mut column = 1;
    text.split('|')
        .map(|field| {
            let lead = field.chars().take_while(|c| c.is_whitespace()).count();
            let trimmed = field.trim();
            let at = if trimmed.is_empty() { column } else { column + lead };
            column += field.chars().count() + 1;
            (at, trimmed)
        })
        .collect()
}

fn test_name((column, text): (usize, &str)) -> Result<String, Wrong> {
    let wrong = |right: &str| Wrong { column, seen: format!("name {}", quote(text)), right: right.to_owned() };
    if text.len() > MAX_NAME || !is_word(text) {
        return Err(wrong("1 to 64 of A-Z a-z 0-9 _ -"));
    }
    if text.starts_with('_') {
        return Err(wrong("names that begin with _ are reserved"));
    }
    Ok(text.to_owned())
}

fn names((column, text): (usize, &str)) -> Result<Vec<String>, Wrong> {
    let mut names = Vec::new();
    for (offset, name) in fields_of_list(text) {
        let name = word((column + offset, name), "destination")?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > MAX_DESTINATIONS {
        let seen = format!("{} destinations", names.len());
        return Err(Wrong { column, seen, right: format!("at most {MAX_DESTINATIONS}") });
    }
    Ok(names)
}

/// The trimmed items of a list with commas, each with its offset in characters.
fn fields_of_list(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut offset = 0;
    text.split(',').map(move |item| {
        let at = offset + item.chars().take_while(|c| c.is_whitespace()).count();
        offset += item.chars().count() + 1;
        (at, item.trim())
    })
}

fn word((column, text): (usize, &str), what: &str) -> Result<String, Wrong> {
    if is_word(text) {
        return Ok(text.to_owned());
    }
    Err(Wrong {
        column,
        seen: format!("{what} {}", quote(text)),
        right: format!("the name of a {what}, of A-Z a-z 0-9 _ -"),
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn plural(fields: usize) -> &'static str {
    if fields == 1 { "field" } else { "fields" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines() {
        #[track_caller]
        fn check(text: &str, name: &str, type_name: &str, hits: u64, destinations: &[&str]) {
            let line = Line::parse(text).expect("it is sound").expect("it is a test");
            assert_eq!((line.name.as_str(), line.type_name.as_str()), (name, type_name));
            assert_eq!(line.frequency.per_minute(), hits);
            assert_eq!(line.destinations, destinations);
        }
        check("hello|loopback|60|log", "hello", "loopback", 60, &["log"]);
        check("  hello | loopback |\t60 | log\r", "hello", "loopback", 60, &["log"]);
        check("a-b_C9|x|10/s|log,graphite, log", "a-b_C9", "x", 600, &["log", "graphite"]);
        check("a|x|60000000|log", "a", "x", 60_000_000, &["log"]);
        check(&format!("{}|x|1|log", "n".repeat(64)), &"n".repeat(64), "x", 1, &["log"]);
    }

    #[test]
    fn blank_lines_and_comments_are_no_tests() {
        for text in ["", "   ", "\r", "#a|b|c", "# anything"] {
            assert_eq!(Line::parse(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn bad_lines_say_where_and_what() {
        #[track_caller]
        fn check(text: &str, column: usize, seen: &str) {
            let wrong = Line::parse(text).expect_err("it is wrong");
            assert_eq!((wrong.column, wrong.seen.as_str()), (column, seen));
        }
        check("hello|loopback|60", 18, "3 fields in \"hello|loopback|60\"");
        check("a|b|1|log|x", 11, "5 fields in \"a|b|1|log|x\"");
        check("|b|1|log", 1, "name \"\"");
        check(" # no comment|b|1|log", 2, "name \"# no comment\"");
        check("_runner|b|1|log", 1, "name \"_runner\"");
        check("a|b|zero|log", 5, "frequency \"zero\"");
        check("a|b|0|log", 5, "frequency \"0\"");
        check("a|b|-1|log", 5, "frequency \"-1\"");
        check("a|b|+1|log", 5, "frequency \"+1\"");
        check("a|b||log", 5, "frequency \"\"");
        check("a|b|60000001|log", 5, "frequency \"60000001\"");
        check("a|b|1000001/s|log", 5, "frequency \"1000001/s\"");
        check("a|b|99999999999999999999999|log", 5, "frequency \"99999999999999999999999\"");
        check("é|b|1|log", 1, "name \"é\"");
        check("a|b\0|1|log", 3, "type \"b\\u{0}\"");
        check("a|b|1|log,", 11, "destination \"\"");
        check("a|../x|1|log", 3, "type \"../x\"");
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        let mut random = fastrand::Rng::with_seed(3);
        let alphabet: Vec<char> = "a|,# \t\r\0é_-0159/s…\u{feff}".chars().collect();
        for _ in 0..20_000 {
            let text: String = (0..random.usize(0..40)).filter_map(|_| random.choice(&alphabet)).collect();
            if let Err(wrong) = Line::parse(&text) {
                assert!((1..=text.chars().count() + 1).contains(&wrong.column), "{text:?}: {wrong:?}");
            }
        }
    }
}
