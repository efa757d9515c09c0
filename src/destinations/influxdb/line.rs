//! A line of InfluxDB's protocol: `MEASUREMENT,TAG=VALUE FIELD=VALUE NANOSECONDS`.

use std::fmt::Write as _;

use crate::line_protocol;

/// A line that fields are added to.
#[derive(Debug)]
pub(super) struct Line {
    text: String,
    /// What stands before the next field.
    separator: char,
}

impl Line {
    /// One with its tags, in the order of their names, which is what InfluxDB takes fastest; one whose value is empty
    /// is left out.
    pub(super) fn new(measurement: &str, mut tags: Vec<(&str, &str)>) -> Self {
        let mut text = line_protocol::measurement(measurement);
        tags.sort_unstable();
        for (name, value) in tags.into_iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(text, ",{}={}", line_protocol::key(name), line_protocol::key(value));
        }
        Self { text, separator: ' ' }
    }

    /// Adds a whole number; InfluxDB's have 63 bits and a sign.
    pub(super) fn whole(&mut self, name: &str, number: i64) {
        self.field(name);
        let _ = write!(self.text, "{number}i");
    }

    /// Adds a count: at most the largest whole number.
    pub(super) fn count(&mut self, name: &str, count: u64) {
        self.whole(name, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Adds a number with a fraction; one that is not finite, which no summary has, is left out.
    pub(super) fn float(&mut self, name: &str, number: f64) {
        if number.is_finite() {
            self.field(name);
            // With a point or an exponent, whatever the number.
            let _ = write!(self.text, "{number:?}");
        }
    }

    /// Ends it with its time, and a newline.
    pub(super) fn at(mut self, ns: i64) -> String {
        let _ = writeln!(self.text, " {ns}");
        self.text
    }

    fn field(&mut self, name: &str) {
        let _ = write!(self.text, "{}{}=", self.separator, line_protocol::key(name));
        self.separator = ',';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_each_as_what_it_is() {
        let mut line = Line::new("a measure,ment=x", vec![("the key=1", "a value,2"), ("empty", "")]);
        line.whole("a field,b=c", 2);
        assert_eq!(line.at(0), "a\\ measure\\,ment=x,the\\ key\\=1=a\\ value\\,2 a\\ field\\,b\\=c=2i 0\n");
    }

    #[test]
    fn tags_stand_in_the_order_of_their_names() {
        let mut line = Line::new("m", vec![("type", "x"), ("host", "h"), ("dc", "")]);
        line.whole("f", 1);
        assert_eq!(line.at(1), "m,host=h,type=x f=1i 1\n");
    }

    #[test]
    fn a_number_keeps_its_type() {
        #[track_caller]
        fn check(add: impl FnOnce(&mut Line), expect: &str) {
            let mut line = Line::new("m", Vec::new());
            add(&mut line);
            assert_eq!(line.at(-1), format!("m {expect} -1\n"));
        }
        check(|line| line.count("f", 0), "f=0i");
        check(|line| line.count("f", u64::MAX), "f=9223372036854775807i");
        check(|line| line.whole("f", -3), "f=-3i");
        check(|line| line.float("f", 0.0), "f=0.0");
        check(|line| line.float("f", 3.0), "f=3.0");
        check(|line| line.float("f", 0.050_102_271), "f=0.050102271");
        check(|line| line.float("f", 1e-7), "f=1e-7");
        check(|line| line.float("f", -1e100), "f=-1e100");
        check(
            |line| {
                line.float("nan", f64::NAN);
                line.float("f", 1.5);
                line.count("g", 2);
            },
            "f=1.5,g=2i",
        );
    }
}
