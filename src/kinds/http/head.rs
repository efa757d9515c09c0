//! What an answer's head says, beyond where its body ends.

use bytes::Bytes;

/// A status, and what of the headers matters to whoever asked.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The status, from 100 to 999.
    pub status: u16,
    /// Where to ask instead, as it was said; of a redirect alone.
    pub location: Option<Bytes>,
}

impl Head {
    /// A head of which the status is known.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Takes note of a header, if it matters.
    pub fn note(&mut self, name: &str, value: &[u8]) {
        if matches!(self.status, 300..=399) && name.eq_ignore_ascii_case("location") {
            self.location = Some(Bytes::copy_from_slice(value));
        }
    }
}
