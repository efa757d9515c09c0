//! Rows of values from a CSV file, of which every hit has one.
//!
//! As in RFC 4180, in UTF-8: the first line names the columns, every other one
//! has as many values, and a value with commas, quotes or line ends stands in
//! quotes. Blank lines are skipped. All that is asked is checked at the door;
//! what is kept is the values, one after the other, and where each ends.

use std::borrow::Cow;

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::template::Wrong;

/// The values of a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rows {
    columns: Vec<String>,
    /// All values, row by row.
    values: Values,
}

#[derive(Clone, Default, Eq, PartialEq)]
struct Values {
    text: Vec<u8>,
    /// Where in the text each ends.
    ends: Vec<u32>,
}

/// Somebody's names and passwords are nobody else's.
impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.ends.len())
    }
}

impl Rows {
    /// Reads what a file holds, of which there are less than 4 GiB.
    ///
    /// # Errors
    /// What is wrong with it, with the line, but without what is in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Wrong> {
        let quotes = "quotes around values with quotes in them, and those doubled, as in \"a \"\"b\"\" c\"";
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if std::str::from_utf8(bytes).is_err() {
            return Err(Wrong::new("is not UTF-8", "CSV in UTF-8"));
        }
        // The reader would take all that follows for one value.
        if memchr::memchr_iter(b'"', bytes).count() % 2 == 1 {
            return Err(Wrong::new("has a quote that is not closed", quotes));
        }
        let mut reader = ReaderBuilder::new().from_reader(bytes);
        let columns = Self::columns_of(&mut reader)?;
        let mut values = Values::default();
        let mut row = ByteRecord::new();
        while reader.read_byte_record(&mut row).map_err(|error| uneven(&error))? {
            for value in &row {
                values.text.extend_from_slice(value);
                values.ends.push(u32::try_from(values.text.len()).unwrap_or(u32::MAX));
            }
        }
        if values.ends.is_empty() {
            return Err(Wrong::new("has no rows", "a line that names the columns, and at least one more"));
        }
        Ok(Self { columns, values })
    }

    /// How many rows there are; not 0 in what was read.
    pub fn count(&self) -> usize {
        self.values.ends.len() / self.columns.len().max(1)
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// The value in a row and column, both counted from 0; empty where there is none.
    pub fn value(&self, row: usize, column: usize) -> &[u8] {
        let Values { text, ends } = &self.values;
        let index = row * self.columns.len() + column;
        let begin = index.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
        let end = ends.get(index).map_or(begin, |end| *end as usize);
        text.get(begin..end).unwrap_or_default()
    }

    fn columns_of(reader: &mut Reader<&[u8]>) -> Result<Vec<String>, Wrong> {
        let headers = reader.byte_headers().map_err(|error| uneven(&error))?;
        let columns: Vec<String> = headers.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let twice = |(index, name): (usize, &String)| !name.is_empty() && columns[..index].contains(name);
        if columns.iter().enumerate().any(twice) {
            return Err(Wrong::new("has two columns of one name in its first line", "a name of its own for each"));
        }
        Ok(columns)
    }
}

/// What the reader has to complain about, without quoting any of it.
fn uneven(error: &csv::Error) -> Wrong {
    let line = error.position().map_or_else(String::new, |position| format!(" in line {}", position.line()));
    let seen: Cow<'static, str> = match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} values{line} and {expected_len} columns").into()
        }
        _ => "cannot be read as CSV".into(),
    };
    Wrong::new(seen, "as many values in each line as the first one names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_row_and_column() {
        #[track_caller]
        fn check(text: impl AsRef<[u8]>, columns: &[&str], expect: &[&[&str]]) {
            let rows = Rows::parse(text.as_ref()).unwrap();
            assert_eq!(rows.columns().collect::<Vec<_>>(), columns);
            assert_eq!(rows.count(), expect.len());
            for (row, values) in expect.iter().enumerate() {
                for (column, value) in values.iter().enumerate() {
                    let seen = std::str::from_utf8(rows.value(row, column)).unwrap();
                    assert_eq!(seen, *value, "{row} {column} in {:?}", String::from_utf8_lossy(text.as_ref()));
                }
            }
        }
        let two: &[&[&str]] = &[&["1", "ann"], &["2", "bob"]];
        check("id,name\n1,ann\n2,bob\n", &["id", "name"], two);
        check("id,name\n1,ann\n2,bob", &["id", "name"], two);
        check("id,name\r\n1,ann\r\n2,bob\r\n", &["id", "name"], two);
        check("\u{feff}id,name\n1,ann\n2,bob\n", &["id", "name"], two);
        check("id, name \n1,ann\n\n\n2,bob\n\n", &["id", "name"], two);
        check(
            "a\n\"x, y\"\n\"say \"\"x\"\"\"\n\"two\r\nlines\"\n",
            &["a"],
            &[&["x, y"], &["say \"x\""], &["two\r\nlines"]],
        );
        check("a,b,c\n,,\n ,é,\"\"\n", &["a", "b", "c"], &[&["", "", ""], &[" ", "é", ""]]);
        check("a,,\n1,2,3\n", &["a", "", ""], &[&["1", "2", "3"]]);
    }

    #[test]
    fn nothing_lies_outside() {
        let rows = Rows::parse(b"a,b\n1,2\n").unwrap();
        assert_eq!([rows.value(1, 0), rows.value(0, 2), rows.value(9, 9)], [b""; 3]);
        assert_eq!(Rows::default().value(0, 0), b"");
    }

    #[test]
    fn what_is_wrong_is_told_without_its_values() {
        #[track_caller]
        fn check(text: impl AsRef<[u8]>, expect: &str) {
            let wrong = Rows::parse(text.as_ref()).unwrap_err();
            assert_eq!(wrong.seen, expect, "{}", wrong.right);
            assert!(!wrong.seen.contains("secret") && !wrong.right.contains("secret"));
        }
        check("", "has no rows");
        check("\u{feff}", "has no rows");
        check("a,b\n", "has no rows");
        check("a,b\n\n\n", "has no rows");
        check("a,b\n1,2\n3\n", "has 1 values in line 3 and 2 columns");
        check("a,b\n1,2,secret\n", "has 3 values in line 2 and 2 columns");
        check("a,b\n\"1\n\n\",2\nsecret\n", "has 1 values in line 5 and 2 columns");
        check("a,b\n\"secret,2\n3,4\n", "has a quote that is not closed");
        check("secret,b,secret\n1,2,3\n", "has two columns of one name in its first line");
        check(b"a\n\xff\n", "is not UTF-8");
        check(b"\xff\xfea\0", "is not UTF-8");
    }
}
