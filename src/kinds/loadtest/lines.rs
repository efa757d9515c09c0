//! The lines of a stream of bytes, in whatever pieces it comes.

/// The longest line, in bytes, without what ends it; of a longer one only this much is seen.
pub const MAX_LINE: usize = 64 * 1024;

/// One line, without the white space around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line<'a> {
    /// All of it, never empty.
    Whole(&'a [u8]),
    /// How one begins that is longer than [`MAX_LINE`]; the rest of it is skipped.
    Beginning(&'a [u8]),
}

/// What is left of a stream between two pieces; at most [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// Whether what comes up to the next newline belongs to a line that was too long.
    skips: bool,
}

impl<'a> Line<'a> {
    /// What there is of it.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Whole(bytes) | Self::Beginning(bytes) => bytes,
        }
    }
}

impl Lines {
    /// Takes a piece, and gives `each` the lines that end in it, and the beginning of one that becomes too long in it.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut from = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let rest = &bytes[from..newline];
            from = newline + 1;
            if std::mem::take(&mut self.skips) {
                continue;
            }
            // Most lines lie in one piece, and are not copied.
            if self.begun.is_empty() {
                give(rest, &mut each);
            } else {
                self.begin(rest, &mut each);
                self.end(&mut each);
            }
        }
        if !self.skips {
            self.begin(&bytes[from..], &mut each);
        }
    }

    /// The stream has ended: what has no newline is a line, too. Whatever comes next begins another.
    pub fn end(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !std::mem::take(&mut self.skips) {
            give(&self.begun, &mut each);
        }
        self.begun.clear();
    }

    /// Keeps the beginning of a line, or more of it.
    fn begin(&mut self, bytes: &[u8], each: &mut impl FnMut(Line<'_>)) {
        let room = MAX_LINE - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            give_long(&self.begun, each);
            self.begun.clear();
            self.skips = true;
        }
    }
}

fn give(line: &[u8], each: &mut impl FnMut(Line<'_>)) {
    if line.len() > MAX_LINE {
        give_long(&line[..MAX_LINE], each);
        return;
    }
    let line = line.trim_ascii();
    if !line.is_empty() {
        each(Line::Whole(line));
    }
}

fn give_long(beginning: &[u8], each: &mut impl FnMut(Line<'_>)) {
    each(Line::Beginning(beginning.trim_ascii()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a stream that comes in these pieces; `…` is behind those that are too long.
    fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |line: Line<'_>| {
            let text = String::from_utf8_lossy(line.bytes());
            found.push(match line {
                Line::Whole(_) => text.into_owned(),
                Line::Beginning(_) => format!("{text}…"),
            });
        };
        let mut lines = Lines::default();
        for piece in pieces {
            lines.take(piece, &mut each);
            assert!(lines.begun.len() <= MAX_LINE);
        }
        lines.end(&mut each);
        lines.end(&mut each);
        found
    }

    #[test]
    fn lines_end_with_newlines_or_the_stream() {
        #[track_caller]
        fn check(stream: &str, expect: &[&str]) {
            assert_eq!(lines([stream.as_bytes()]), expect);
        }
        check("", &[]);
        check("a\nb\n", &["a", "b"]);
        check("a\r\nb\r\n", &["a", "b"]);
        check("\n\r\n \n\na\n\n", &["a"]);
        check("a\ntorn", &["a", "torn"]);
        check(" {\"a\":1}\t\n", &["{\"a\":1}"]);
    }

    #[test]
    fn of_a_line_that_is_too_long_the_rest_is_skipped() {
        #[track_caller]
        fn check(stream: &[u8], expect: &[String]) {
            assert!(lines([stream]) == expect);
            assert!(lines(stream.chunks(1000)) == expect);
        }
        let most = "x".repeat(MAX_LINE);
        check(format!("{most}\na\n").as_bytes(), &[most.clone(), "a".into()]);
        check(format!("{most}\n{most}").as_bytes(), &[most.clone(), most.clone()]);
        check(format!("{most}y\na\n").as_bytes(), &[format!("{most}…"), "a".into()]);
        check(format!("{most}{most}{most}y\n\na").as_bytes(), &[format!("{most}…"), "a".into()]);
        check(format!("a\n{most}y").as_bytes(), &["a".into(), format!("{most}…")]);
        check(&vec![b'\n'; MAX_LINE * 2], &[]);
    }

    #[test]
    fn however_a_stream_is_split_its_lines_are_the_same() {
        let mut random = fastrand::Rng::with_seed(11);
        let long = "l".repeat(MAX_LINE + 1);
        for _ in 0..200 {
            let parts = ["a", "\n", "\r\n", "", " ", "{\"b\": 2}", "é", &long, &long[1..]];
            let stream: String = (0..random.usize(..30)).map(|_| parts[random.usize(..parts.len())]).collect();
            let whole = lines([stream.as_bytes()]);
            let mut pieces = Vec::new();
            let mut rest = stream.as_bytes();
            while !rest.is_empty() {
                let most = if random.bool() { 3 } else { 50_000 };
                let (piece, behind) = rest.split_at(random.usize(1..=most).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            assert!(lines(pieces) == whole);
        }
    }

    #[test]
    fn a_process_after_another_begins_a_line_of_its_own() {
        let mut found = Vec::new();
        let mut each = |line: Line<'_>| found.push(line.bytes().len());
        let mut lines = Lines::default();
        lines.take(b"half", &mut each);
        lines.end(&mut each);
        lines.take(b"a\n", &mut each);
        lines.take(&[b'x'; MAX_LINE + 1], &mut each);
        lines.end(&mut each);
        lines.take(b"ab\n", &mut each);
        assert_eq!(found, [4, 1, MAX_LINE, 2]);
    }
}
