//! Which program it is, by its SHA-256.

use std::fmt;

use ring::digest::{Context, SHA256};

/// How many bytes one has.
const LENGTH: usize = 32;

/// A SHA-256, read and shown as `sha256sum` writes it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Sha256([u8; LENGTH]);

/// One that is being made.
pub struct Hasher(Context);

impl Sha256 {
    /// Understands 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * LENGTH {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// That of a text.
    pub fn of(text: &str) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(text.as_bytes());
        hasher.finish()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl Hasher {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// There is no more.
    pub fn finish(self) -> Sha256 {
        let mut bytes = [0; LENGTH];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Sha256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_shown_as_sha256sum_writes_it() {
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256::of("").to_string(), of_nothing);
        #[track_caller]
        fn check(text: &str, expect: bool) {
            assert_eq!(Sha256::parse(text) == Some(Sha256::of("")), expect, "{text}");
        }
        check(of_nothing, true);
        check(&of_nothing.to_uppercase(), true);
        check(&of_nothing[1..], false);
        check(&format!("{of_nothing}0"), false);
        check(&of_nothing.replacen('e', "g", 1), false);
        check(&of_nothing.replacen("e3", "é", 1), false);
        check(&of_nothing.replacen('e', "+", 1), false);
        check("", false);
    }
}
