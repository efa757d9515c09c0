//! Texts in which values change by hit: `{{n}}`, `{{uuid}}`, `{{now}}`, a column of a CSV file.
//!
//! Understood once, at the door, and written for each hit straight to where it
//! is sent from. `{{{{` stands for two braces; a single one, and two that
//! close, are what they are, so JSON needs no care. A name that isn't known is
//! a fault: nothing is sent that somebody meant otherwise.

use std::borrow::Cow;
use std::fmt;

use bytes::{Bytes, BytesMut};

use super::rows::Rows;
use super::values::{Form, Hit, Value};
use crate::fault::nearest;

/// The longest name that a message has in it, in bytes; what is longer is no name that was misspelled.
const MAX_NAME: usize = 60;
/// What begins the name of a column.
const CSV: &str = "csv.";
/// The names that need no file.
const NAMES: &[(&str, Value)] = &[
    ("n", Value::Number),
    ("uuid", Value::Uuid),
    ("now", Value::Seconds),
    ("now_ms", Value::Millis),
    ("now_ns", Value::Nanos),
    ("now_rfc3339", Value::Rfc3339),
];

/// A text with places for values.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Template {
    /// No two texts one after the other, and no empty ones.
    parts: Vec<Part>,
}

#[derive(Clone, Eq, PartialEq)]
enum Part {
    Text(Bytes),
    Value(Value),
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a URL, where values are percent-encoded.
    Url,
    /// In a header.
    Header,
    /// In a body, where values are as they are, or as JSON has them.
    Body,
}

/// The columns that a text may name.
#[derive(Clone, Copy, Debug)]
pub enum Columns<'a> {
    /// There is no file.
    None,
    /// There is one that can't be read, which was said: any name will do.
    Any,
    /// Those of a file.
    Of(&'a Rows),
}

/// What is wrong with a text, to be said behind the name of the key that has it; never quotes a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// What was seen, a verb first.
    pub seen: Cow<'static, str>,
    /// What would be right.
    pub right: Cow<'static, str>,
}

impl Wrong {
    /// Something wrong.
    pub fn new(seen: impl Into<Cow<'static, str>>, right: impl Into<Cow<'static, str>>) -> Self {
        Self { seen: seen.into(), right: right.into() }
    }
}

impl Template {
    /// A text that is always the same.
    pub fn same(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] } }
    }

    /// Understands a text.
    ///
    /// # Errors
    /// Braces that are not closed, and names that aren't known.
    pub fn parse(text: &str, place: Place, columns: Columns<'_>) -> Result<Self, Wrong> {
        let mut template = Self::default();
        let mut plain = BytesMut::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            plain.extend_from_slice(before.as_bytes());
            if let Some(after) = after.strip_prefix("{{") {
                plain.extend_from_slice(b"{{");
                rest = after;
                continue;
            }
            // Of three braces, the last two open.
            let opened = after.strip_prefix('{').inspect(|_| plain.extend_from_slice(b"{")).unwrap_or(after);
            let Some((name, after)) = opened.split_once("}}") else {
                return Err(Wrong::new("has {{ without }}", "{{{{ for two braces that are to be sent"));
            };
            template.push(&plain.split());
            template.push_value(value(name.trim(), place, columns)?);
            rest = after;
        }
        plain.extend_from_slice(rest.as_bytes());
        template.push(&plain);
        Ok(template)
    }

    /// Adds a text.
    pub fn push(&mut self, text: &[u8]) {
        if let Some(Part::Text(last)) = self.parts.last_mut() {
            let mut joined = BytesMut::from(std::mem::take(last));
            joined.extend_from_slice(text);
            *last = joined.freeze();
        } else if !text.is_empty() {
            self.parts.push(Part::Text(Bytes::copy_from_slice(text)));
        }
    }

    /// Adds a place for a value.
    pub fn push_value(&mut self, value: Value) {
        self.parts.push(Part::Value(value));
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: &Self) {
        for part in &other.parts {
            match part {
                Part::Text(text) => self.push(text),
                Part::Value(value) => self.push_value(*value),
            }
        }
    }

    /// The text, where it is always the same.
    pub fn as_same(&self) -> Option<Bytes> {
        match self.parts.as_slice() {
            [] => Some(Bytes::new()),
            [Part::Text(text)] => Some(text.clone()),
            _ => None,
        }
    }

    /// The text with a `0` for each value: as good as any, to see what the whole is.
    pub fn example(&self) -> String {
        let mut example = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => example.extend_from_slice(text),
                Part::Value(_) => example.push(b'0'),
            }
        }
        String::from_utf8_lossy(&example).into_owned()
    }

    /// What is left when so many bytes are taken from its beginning; `None` when a value is among them.
    pub fn without(&self, bytes: usize) -> Option<Self> {
        let mut rest = self.clone();
        match rest.parts.first_mut() {
            _ if bytes == 0 => {}
            Some(Part::Text(text)) if text.len() > bytes => *text = text.split_off(bytes),
            Some(Part::Text(text)) if text.len() == bytes => _ = rest.parts.remove(0),
            _ => return None,
        }
        Some(rest)
    }

    /// The columns that are in it.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(Value::Column(column, _)) => Some(*column),
            _ => None,
        })
    }

    /// Writes the text as it is for a hit.
    pub fn write(&self, hit: &mut Hit<'_>, into: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => into.extend_from_slice(text),
                Part::Value(value) => hit.write(*value, into),
            }
        }
    }
}

/// Bodies and headers hold secrets.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of {} parts", self.parts.len())
    }
}

/// The value of a name.
fn value(name: &str, place: Place, columns: Columns<'_>) -> Result<Value, Wrong> {
    if let Some((_, value)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*value);
    }
    let (column, form) = match (place, name.rsplit_once('|')) {
        (Place::Body, Some((column, form))) if form.trim() == "json" => (column.trim_end(), Form::Json),
        (Place::Body | Place::Header, _) => (name, Form::Plain),
        (Place::Url, _) => (name, Form::Percent),
    };
    if let Some(column) = column.strip_prefix(CSV) {
        match columns {
            Columns::None => {
                return Err(Wrong::new("has a column and there is no key \"csv\"", "the file to take it from"));
            }
            Columns::Any => return Ok(Value::Column(0, form)),
            Columns::Of(rows) => {
                if let Some(index) = rows.columns().position(|known| known == column) {
                    return Ok(Value::Column(index, form));
                }
            }
        }
    }
    Err(unknown(name, columns))
}

/// Says that a name isn't known. What the columns are called is not told, but for one that is meant: in a file that has
/// no line of names, they are values.
fn unknown(name: &str, columns: Columns<'_>) -> Wrong {
    let like_a_name = |c: char| c.is_alphanumeric() || "_-.| ".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(like_a_name) {
        return Wrong::new("has {{ before what is no name", "{{{{ for two braces that are to be sent");
    }
    let of_file = match columns {
        Columns::Of(rows) => {
            rows.columns().filter(|name| !name.is_empty()).map(|name| format!("{CSV}{name}")).collect()
        }
        Columns::None | Columns::Any => Vec::new(),
    };
    let known = NAMES.iter().map(|(known, _)| *known).chain(of_file.iter().map(String::as_str));
    let right = match nearest(name, known) {
        Some(known) => format!("the nearest known one is {{{{{known}}}}}"),
        None => {
            let names: Vec<_> = NAMES.iter().map(|(known, _)| format!("{{{{{known}}}}}")).collect();
            format!("the known ones are {} and {{{{csv.COLUMN}}}}; {{{{{{{{ stands for two braces", names.join(", "))
        }
    };
    Wrong::new(format!("has {{{{{name}}}}}, which is not known"), right)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kinds::http::values::{RowOrder, Source, Table};

    const CSV_TEXT: &str = "id,full name,a|b\n7,\"A \"\"é\"\"\",x\n";

    #[track_caller]
    fn written(text: &str, place: Place) -> String {
        let rows = Arc::new(Rows::parse(CSV_TEXT.as_bytes()).unwrap());
        let template = Template::parse(text, place, Columns::Of(&rows)).unwrap();
        let source = Source::new(Some(Table { rows, order: RowOrder::Turn }));
        let mut written = Vec::new();
        template.write(&mut source.hit(42), &mut written);
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn values_stand_where_their_names_stood() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(written(text, Place::Body), expect, "{text}");
        }
        check("", "");
        check("plain", "plain");
        check("{{n}}", "42");
        check("a{{n}}b{{ n }}c", "a42b42c");
        check("{{n}}{{n}}", "4242");
        check("{{csv.id}}", "7");
        check("{{csv.full name}}", "A \"é\"");
        check("{{csv.full name|json}} {{ csv.id | json }}", "A \\\"é\\\" 7");
        check("{{csv.a|b}}{{csv.a|b|json}}", "xx");
        check("{\"a\":{\"b\":{{n}}}}", "{\"a\":{\"b\":42}}");
        check("{{{n}}}", "{42}");
        check("{ {n} } }}", "{ {n} } }}");
        check("{{{{n}}", "{{n}}");
        check("{{{{{n}}", "{{{n}}");
        check("{{{{{{n}}", "{{42");
        check("{{{{", "{{");
        check("é{{n}}é", "é42é");
    }

    #[test]
    fn values_are_encoded_as_their_place_needs() {
        assert_eq!(written("/{{csv.full name}}?n={{n}}", Place::Url), "/A%20%22%C3%A9%22?n=42");
        assert_eq!(written("{{csv.full name}}", Place::Header), "A \"é\"");
        let rows = Rows::parse(CSV_TEXT.as_bytes()).unwrap();
        for place in [Place::Url, Place::Header] {
            assert!(Template::parse("{{csv.id|json}}", place, Columns::Of(&rows)).is_err());
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        #[track_caller]
        fn check(text: &str, seen: &str, right: &str) {
            let rows = Rows::parse(CSV_TEXT.as_bytes()).unwrap();
            let wrong = Template::parse(text, Place::Body, Columns::Of(&rows)).unwrap_err();
            assert_eq!((wrong.seen.as_ref(), wrong.right.as_ref()), (seen, right), "{text}");
        }
        let all = "the known ones are {{n}}, {{uuid}}, {{now}}, {{now_ms}}, {{now_ns}}, {{now_rfc3339}} and \
                   {{csv.COLUMN}}; {{{{ stands for two braces";
        let braces = "{{{{ for two braces that are to be sent";
        check("{{nwo}}", "has {{nwo}}, which is not known", "the nearest known one is {{now}}");
        check("{{csv.di}}", "has {{csv.di}}, which is not known", "the nearest known one is {{csv.id}}");
        check("{{customer}}", "has {{customer}}, which is not known", all);
        check("{{N}}", "has {{N}}, which is not known", "the nearest known one is {{n}}");
        check("{{n", "has {{ without }}", braces);
        check("{{n}", "has {{ without }}", braces);
        check("{{}}", "has {{ before what is no name", braces);
        check("{{ \"secret\" }}", "has {{ before what is no name", braces);
        check(&format!("{{{{{}}}}}", "x".repeat(61)), "has {{ before what is no name", braces);
        let none = Template::parse("{{csv.id}}", Place::Body, Columns::None).unwrap_err();
        assert_eq!(none.seen, "has a column and there is no key \"csv\"");
    }

    #[test]
    fn a_text_without_values_is_the_same_bytes() {
        let text = Bytes::from(vec![b'x'; 1000]);
        let same = Template::same(text.clone()).as_same().unwrap();
        assert_eq!((same.as_ptr(), same.len()), (text.as_ptr(), text.len()));
        let mut both = Template::same("a");
        both.extend(&Template::same("b"));
        assert_eq!(both, Template::same("ab"));
        assert_eq!(Template::parse("{{n}}", Place::Body, Columns::None).unwrap().as_same(), None);
        assert!(!format!("{:?}", Template::same("secret")).contains("secret"));
    }

    #[test]
    fn what_stands_first_can_be_taken_away() {
        let parse = |text| Template::parse(text, Place::Url, Columns::None).unwrap();
        assert_eq!(parse("http://h/{{n}}").without(8), Some(parse("/{{n}}")));
        assert_eq!(parse("http://h").without(8), Some(parse("")));
        assert_eq!(parse("http://{{n}}/").without(8), None);
        assert_eq!(parse("http://{{n}}/").without(7), Some(parse("{{n}}/")));
        assert_eq!(parse("x{{n}}{{n}}").example(), "x00");
    }
}
