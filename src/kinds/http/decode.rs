//! Compressed bodies, decoded while they come in, so that a text can be looked for in them.
//!
//! Nothing is kept: what comes out goes on at once, in parts of at most 32 KiB,
//! to a writer that ends the decoding by refusing one. A decoder for gzip takes
//! some 80 KiB, one for brotli as much as the server's window asks for, at most
//! 16 MiB (RFC 7932's own bound; the larger windows of later inventions are
//! refused). What works here has frames of its own on the stack, large ones: who
//! doesn't decode would touch their pages with every answer.

use std::fmt;
use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::MultiGzDecoder;

/// How much is decoded from brotli at once, in bytes.
const PART: usize = 16 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// In a way that can't be looked into, or in several.
    Other,
}

/// Decodes what comes in parts, into `W`.
pub struct Decoder<W: Write>(Form<W>);

enum Form<W: Write> {
    Gzip(MultiGzDecoder<W>),
    Brotli(Box<Brotli>, W),
}

/// What is known of a body in brotli.
struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    part: [u8; PART],
    over: bool,
}

impl Coding {
    /// The coding after another value of `Content-Encoding`; `None` while there is none.
    pub fn and_then(before: Option<Self>, value: &[u8]) -> Option<Self> {
        value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).fold(before, |before, name| {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let this = match () {
                () if name.is_empty() || is("identity") => return before,
                () if is("gzip") || is("x-gzip") => Self::Gzip,
                () if is("br") => Self::Brotli,
                () => Self::Other,
            };
            Some(if before.is_none() { this } else { Self::Other })
        })
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Other => "something else",
        })
    }
}

impl<W: Write> Decoder<W> {
    /// A decoder of which nothing has come; `None` where the coding isn't known.
    #[inline(never)]
    pub fn new(coding: Coding, writer: W) -> Option<Self> {
        Some(Self(match coding {
            Coding::Gzip => Form::Gzip(MultiGzDecoder::new(writer)),
            Coding::Brotli => Form::Brotli(Box::new(Brotli::new()), writer),
            Coding::Other => return None,
        }))
    }

    /// Takes what came next.
    ///
    /// # Errors
    /// It isn't so compressed, or the writer has had enough. There is no going on then.
    #[inline(never)]
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Form::Gzip(decoder) => decoder.write_all(bytes),
            Form::Brotli(decoder, writer) => decoder.take(bytes, writer),
        }
    }

    /// That was all.
    ///
    /// # Errors
    /// There should be more, its checksum isn't right, or the writer has had enough.
    #[inline(never)]
    pub fn end(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Form::Gzip(decoder) => decoder.try_finish(),
            Form::Brotli(decoder, _) if decoder.over => Ok(()),
            Form::Brotli(..) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// What it is written to.
    pub fn writer(&self) -> &W {
        match &self.0 {
            Form::Gzip(decoder) => decoder.get_ref(),
            Form::Brotli(_, writer) => writer,
        }
    }
}

impl<W: Write> fmt::Debug for Decoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), part: [0; PART], over: false }
    }

    fn take(&mut self, bytes: &[u8], writer: &mut impl Write) -> io::Result<()> {
        let (mut left, mut at, mut total) = (bytes.len(), 0, 0);
        while left > 0 || !self.over {
            if self.over {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "more follows its end"));
            }
            let (mut room, mut made) = (PART, 0);
            let (input, output) = (bytes, &mut self.part);
            let state = &mut self.state;
            let result =
                BrotliDecompressStream(&mut left, &mut at, input, &mut room, &mut made, output, &mut total, state);
            writer.write_all(&self.part[..made])?;
            match result {
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultSuccess => self.over = true,
                BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// `TEXT` in brotli, by another implementation.
    const IN_BROTLI: &str = "G8ID+AWybake/WsZ/kBRVrRYmlQYJ7RYEbuPWUFM/fs0dsFp";
    /// The same, with the window of 1 GiB that RFC 7932 doesn't know.
    const IN_LARGE_BROTLI: &str = "EV4ID+AXyLalevSvZfgDRVnRYmlSYZygxYrYfcwKYurfp7ELTgM=";

    fn text() -> String {
        "a needle in a haystack, ".repeat(40) + "end"
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bodies() -> [(Coding, Vec<u8>); 2] {
        [(Coding::Gzip, gzip(text().as_bytes())), (Coding::Brotli, STANDARD.decode(IN_BROTLI).unwrap())]
    }

    fn decode(coding: Coding, parts: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(coding, Vec::new()).unwrap();
        for part in parts {
            decoder.take(part)?;
        }
        decoder.end()?;
        Ok(decoder.writer().clone())
    }

    #[test]
    fn codings_by_name() {
        #[track_caller]
        fn check(values: &[&str], expect: Option<Coding>) {
            let coding = values.iter().fold(None, |before, value| Coding::and_then(before, value.as_bytes()));
            assert_eq!(coding, expect, "{values:?}");
        }
        check(&[], None);
        check(&["gzip"], Some(Coding::Gzip));
        check(&["X-GZIP"], Some(Coding::Gzip));
        check(&[" br "], Some(Coding::Brotli));
        check(&["identity"], None);
        check(&[""], None);
        check(&["identity, gzip"], Some(Coding::Gzip));
        check(&["gzip, br"], Some(Coding::Other));
        check(&["gzip", "gzip"], Some(Coding::Other));
        for other in ["deflate", "zstd", "compress", "gzip;q=1", "gzi", "brr"] {
            check(&[other], Some(Coding::Other));
        }
    }

    #[test]
    fn bodies_are_decoded_in_whatever_parts_they_come() {
        for (coding, body) in bodies() {
            let every: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(decode(coding, &every).unwrap(), text().as_bytes(), "{coding}");
            for at in 0..=body.len() {
                let (one, two) = body.split_at(at);
                assert_eq!(decode(coding, &[one, two]).unwrap(), text().as_bytes(), "{coding} {at}");
            }
        }
    }

    #[test]
    fn bodies_that_end_early_or_late_are_none() {
        for (coding, body) in bodies() {
            for length in 0..body.len() {
                assert!(decode(coding, &[&body[..length]]).is_err(), "{coding} {length}");
            }
            for more in ["x", "\0", "\x1f", "more and more"] {
                assert!(decode(coding, &[&body, more.as_bytes()]).is_err(), "{coding} {more:?}");
            }
        }
    }

    #[test]
    fn gzip_may_come_in_several_members() {
        let twice = [gzip(b"one, "), gzip(b"two")].concat();
        for at in 0..=twice.len() {
            assert_eq!(decode(Coding::Gzip, &[&twice[..at], &twice[at..]]).unwrap(), b"one, two", "{at}");
        }
    }

    #[test]
    fn a_window_larger_than_the_standards_is_refused() {
        assert!(decode(Coding::Brotli, &[&STANDARD.decode(IN_LARGE_BROTLI).unwrap()]).is_err());
    }

    #[test]
    fn what_is_damaged_is_no_other_text() {
        let mut random = fastrand::Rng::with_seed(5);
        for (coding, body) in bodies() {
            for _ in 0..5_000 {
                let mut damaged = body.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(0..damaged.len());
                    damaged[at] = random.u8(..);
                }
                let at = random.usize(0..=damaged.len());
                let decoded = decode(coding, &[&damaged[..at], &damaged[at..]]);
                // Brotli has no checksum.
                if let (Coding::Gzip, Ok(decoded)) = (coding, decoded) {
                    assert_eq!(decoded, text().as_bytes());
                }
            }
        }
    }
}
