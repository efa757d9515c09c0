//! InfluxDB's line protocol, as the kind and the destination of that name both speak it: how names are spelled, how
//! lines are compressed, and whether an answer tells of a full disk.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use memchr::memmem;

/// What ends a measurement's name.
const ENDS_MEASUREMENT: &str = ", ";
/// What ends a tag's key or value, or a field's key.
const ENDS_KEY: &str = ",= ";
/// What a server says whose disk is full.
const FULL: &[u8] = b"no space left on device";

/// A measurement's name.
pub fn measurement(text: &str) -> String {
    escaped(text, ENDS_MEASUREMENT)
}

/// A tag's key or value, or a field's key.
pub fn key(text: &str) -> String {
    escaped(text, ENDS_KEY)
}

/// Lines, compressed for `Content-Encoding: gzip`.
pub fn gzipped(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    encoder.write_all(lines).and_then(|()| encoder.finish()).expect("a Vec takes whatever is written to it")
}

/// Whether the answer to a write says that the server's disk is full: that is no fault of the points, which are to be
/// sent again. Where a series would be new, its status is the one for points that are refused for good.
pub fn is_disk_full(answer: &[u8]) -> bool {
    memmem::find(answer, FULL).is_some()
}

/// `text` with a backslash before whatever is in `ends`.
///
/// The protocol knows no way to write a backslash before one of these, before another one, or as the last character:
/// servers differ in what it then escapes. It becomes `_` there, as does what ends a line.
fn escaped(text: &str, ends: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek();
        match c {
            _ if ends.contains(c) => escaped.extend(['\\', c]),
            '\\' if next.is_none_or(|next| *next == '\\' || ends.contains(*next)) => escaped.push('_'),
            _ if c.is_control() => escaped.push('_'),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_so_that_every_reader_reads_them_alike() {
        #[track_caller]
        fn check(text: &str, as_measurement: &str, as_key: &str) {
            assert_eq!((measurement(text).as_str(), key(text).as_str()), (as_measurement, as_key), "{text}");
        }
        check("plain-1_a.b", "plain-1_a.b", "plain-1_a.b");
        check("", "", "");
        check("a b,c", r"a\ b\,c", r"a\ b\,c");
        check("a=b", "a=b", r"a\=b");
        check(" a ", r"\ a\ ", r"\ a\ ");
        check("é \"x\"", "é\\ \"x\"", "é\\ \"x\"");
        check("it's ü", r"it's\ ü", r"it's\ ü");
        check(r"C:\new", r"C:\new", r"C:\new");
        check(r"C:\x\\y", r"C:\x_\y", r"C:\x_\y");
        check(r"C:\", "C:_", "C:_");
        check(r"C:\\", "C:__", "C:__");
        check(r"a\ b", r"a_\ b", r"a_\ b");
        check(r"a\,", r"a_\,", r"a_\,");
        check(r"a\=b", r"a\=b", r"a_\=b");
        check("a\nb\tc\0\r\u{7f}", "a_b_c___", "a_b_c___");
    }

    #[test]
    fn a_full_disk_is_told_of_in_words() {
        #[track_caller]
        fn check(answer: &str, expect: bool) {
            assert_eq!(is_disk_full(answer.as_bytes()), expect, "{answer}");
        }
        check("{\"error\":\"partial write: write /data/wal: no space left on device dropped=100\"}", true);
        check("no space left on device", true);
        check("{\"error\":\"partial write: points beyond retention policy dropped=3\"}", false);
        check("", false);
    }
}
