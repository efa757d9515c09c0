//! What a load test writes on its standard error: a few lines of it in the log, however much it is.

use super::lines::{Line, Lines};
use crate::fault::quote_most;

/// How many lines of it are in the log.
pub const MAX_LINES: u64 = 20;
/// How much of a line is in the log, in characters.
const MAX_QUOTED: usize = 200;
/// How many bytes so many characters have, at most, and one more, which shows that there are more.
const LOOKED_AT: usize = (MAX_QUOTED + 1) * 4;

/// What a test's load test complains about.
#[derive(Debug)]
pub struct Stderr {
    test: String,
    lines: Lines,
    count: u64,
}

impl Stderr {
    /// For a test of this name, which log lines bear.
    pub fn new(test: &str) -> Self {
        Self { test: test.to_owned(), lines: Lines::default(), count: 0 }
    }

    /// Takes what was read, in whatever pieces it comes; a warning a line, the first 20 times.
    pub fn take(&mut self, bytes: &[u8]) {
        for line in self.said(bytes) {
            log::warn!("{line}");
        }
    }

    /// The process has ended, and all it had written was read. What comes next is another process's.
    pub fn ended(&mut self) {
        if let Some(line) = self.rest() {
            log::warn!("{line}");
        }
    }

    /// That is all: how much more there was is a warning, too.
    pub fn finish(&mut self) {
        if let Some(more) = self.more() {
            log::warn!("{more}");
        }
    }

    fn said(&mut self, bytes: &[u8]) -> Vec<String> {
        let Self { test, lines, count } = self;
        let mut said = Vec::new();
        lines.take(bytes, |line| said.extend(words(test, count, line)));
        said
    }

    fn rest(&mut self) -> Option<String> {
        let Self { test, lines, count } = self;
        let mut said = None;
        lines.end(|line| said = words(test, count, line));
        said
    }

    fn more(&mut self) -> Option<String> {
        let more = std::mem::take(&mut self.count).saturating_sub(MAX_LINES);
        let lines = if more == 1 { "line" } else { "lines" };
        (more > 0).then(|| format!("test {}: its load test said {more} {lines} more, which are not shown", self.test))
    }
}

/// What is said of a line, if anything.
fn words(test: &str, count: &mut u64, line: Line<'_>) -> Option<String> {
    *count += 1;
    (*count <= MAX_LINES).then(|| {
        let bytes = line.bytes();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LOOKED_AT)]);
        format!("test {test}: its load test says {}", quote_most(&text, MAX_QUOTED))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_the_log_escaped_and_short() {
        #[track_caller]
        fn check(written: &str, expect: &[&str]) {
            let mut stderr = Stderr::new("shop");
            let mut said: Vec<_> = written.as_bytes().chunks(3).flat_map(|piece| stderr.said(piece)).collect();
            said.extend(stderr.rest());
            let expect: Vec<_> =
                expect.iter().map(|text| format!("test shop: its load test says \"{text}\"")).collect();
            assert_eq!((said, stderr.more()), (expect, None));
        }
        check("", &[]);
        check("panic: no\n\n\tat main.go:7\r\n", &["panic: no", "at main.go:7"]);
        check("half", &["half"]);
        check("\x1b[31mred\x07\n", &["\\u{1b}[31mred\\u{7}"]);
        let [fits, long] = [200, 201].map(|length| "é".repeat(length));
        check(&format!("{fits}\n{long}"), &[&fits, &format!("{fits}…")]);
        check(&"x".repeat(100_000), &[&format!("{}…", "x".repeat(200))]);
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let mut stderr = Stderr::new("shop");
        let said: usize = (0..1_000).map(|_| stderr.said("oh no\n".repeat(100).as_bytes()).len()).sum();
        assert_eq!(said, 20);
        let more = "test shop: its load test said 99980 lines more, which are not shown";
        assert_eq!((stderr.more().as_deref(), stderr.more()), (Some(more), None));
    }
}
