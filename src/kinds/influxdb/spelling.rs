//! How names stand in lines: in those of the line protocol, and in Graphite's.

/// What ends a measurement's name in the line protocol.
const ENDS_MEASUREMENT: &str = ", ";
/// What ends a tag's key or value, or a field's key.
const ENDS_KEY: &str = ",= ";

/// A measurement's name, as the line protocol has it.
pub fn measurement(text: &str) -> String {
    escaped(text, ENDS_MEASUREMENT)
}

/// A tag's key or value, or a field's key, as the line protocol has it.
pub fn key(text: &str) -> String {
    escaped(text, ENDS_KEY)
}

/// One part of a metric's path, as Graphite has it: letters, digits, `_` and `-`, and `_` for all else and for nothing.
pub fn node(text: &str) -> String {
    let text = if text.is_empty() { "_" } else { text };
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// `text` with a backslash before whatever is in `ends`.
///
/// The protocol knows no way to write a backslash before one of these, or as the last character: servers differ in
/// what it then escapes. It becomes `_` there, as does what ends a line.
fn escaped(text: &str, ends: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_control() || c == '\\' && rest.peek().is_none_or(|next| ends.contains(*next)) {
            escaped.push('_');
            continue;
        }
        if ends.contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_line_protocol() {
        #[track_caller]
        fn check(text: &str, as_measurement: &str, as_key: &str) {
            assert_eq!((measurement(text).as_str(), key(text).as_str()), (as_measurement, as_key), "{text}");
        }
        check("cpu", "cpu", "cpu");
        check("", "", "");
        check("a b,c", r"a\ b\,c", r"a\ b\,c");
        check("a=b", "a=b", r"a\=b");
        check(" a ", r"\ a\ ", r"\ a\ ");
        check("é \"x\"", "é\\ \"x\"", "é\\ \"x\"");
        check(r"C:\x\\y", r"C:\x\\y", r"C:\x\\y");
        check(r"C:\", "C:_", "C:_");
        check(r"C:\\", r"C:\_", r"C:\_");
        check(r"a\ b", r"a_\ b", r"a_\ b");
        check(r"a\=b", r"a\=b", r"a_\=b");
        check("a\nb\tc\0", "a_b_c_", "a_b_c_");
    }

    #[test]
    fn names_in_graphites_paths() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(node(text), expect, "{text}");
        }
        check("us-west_2", "us-west_2");
        check("", "_");
        check("a.b c/d", "a_b_c_d");
        check("é\n\\{}*", "______");
    }
}
