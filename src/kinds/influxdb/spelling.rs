//! How names stand in lines: in those of the line protocol, and in Graphite's.

pub use crate::line_protocol::{key, measurement};

/// One part of a metric's path, as Graphite has it: letters, digits, `_` and `-`, and `_` for all else and for nothing.
pub fn node(text: &str) -> String {
    let text = if text.is_empty() { "_" } else { text };
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
