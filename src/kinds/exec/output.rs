//! What a command writes: its beginning is kept, the rest is counted, so that it can write as much as it likes.

use std::borrow::Cow;
use std::io;

use tokio::net::unix::pipe::Receiver;

/// How much is read at once, in bytes: what a pipe holds by default.
pub const CHUNK: usize = 64 << 10;

/// One output of a command.
#[derive(Debug)]
pub struct Output {
    kept: Vec<u8>,
    most: usize,
    total: u64,
    is_open: bool,
}

impl Output {
    /// One of which the first `most` bytes are kept.
    pub fn keeping(most: usize) -> Self {
        Self { kept: Vec::new(), most, total: 0, is_open: true }
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// How much there was, in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What was kept, as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.kept)
    }

    /// Its first line, without spaces around it.
    pub fn first_line(&self) -> String {
        self.text().trim().lines().next().unwrap_or_default().trim_end().to_owned()
    }

    /// Reads once, through `chunk`; false when nothing was there.
    pub fn read(&mut self, pipe: &Receiver, chunk: &mut [u8]) -> bool {
        match pipe.try_read(chunk) {
            Ok(length @ 1..) => {
                self.add(&chunk[..length]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // An end, or what can only be one: the status says how it came.
            Ok(0) | Err(_) => {
                self.is_open = false;
                false
            }
        }
    }

    /// Reads what is there, at most `most` bytes and a chunk.
    pub fn drain(&mut self, pipe: &Receiver, chunk: &mut [u8], most: u64) {
        let before = self.total;
        while self.is_open && self.total - before < most && self.read(pipe, chunk) {}
    }

    /// What was written next.
    pub fn add(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.most - self.kept.len();
        self.kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_and_all_is_counted() {
        let mut output = Output::keeping(5);
        for bytes in ["abc", "", "def", "ghi"] {
            output.add(bytes.as_bytes());
        }
        assert_eq!((&*output.text(), output.total()), ("abcde", 9));
    }

    #[test]
    fn the_first_line_is_one_that_says_something() {
        #[track_caller]
        fn check(text: &[u8], expect: &str) {
            let mut output = Output::keeping(100);
            output.add(text);
            assert_eq!(output.first_line(), expect);
        }
        check(b"", "");
        check(b"\n\n", "");
        check(b"one\ntwo\n", "one");
        check(b"\r\n one \r\ntwo", "one");
        check(b"\xff", "\u{fffd}");
    }
}
