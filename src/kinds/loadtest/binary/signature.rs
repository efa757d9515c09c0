//! Who has signed a program, as minisign does it.

use anyhow::{Context, anyhow, bail};
use minisign_verify::{Error, Signature as Signed, StreamVerifier};

use super::patience::Patience;
use super::sealed::Sealed;

/// The most of a signature, in bytes: a few hundred, and the comments.
pub const MAX_SIGNATURE: u64 = 4 << 10;

/// Whose programs are executed: a public key of minisign's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey(Option<minisign_verify::PublicKey>);

/// A signature that claims to be made with a certain key.
pub struct Signature<'a> {
    key: &'a minisign_verify::PublicKey,
    signed: Signed,
}

impl PublicKey {
    /// What [`PublicKey::parse`] takes.
    pub const RIGHT: &str = "a public key of minisign's, the second line of its file: 56 characters that begin with RW";

    /// Nobody's, which no signature is made with: what holds where a key can't be read.
    pub const OF_NOBODY: Self = Self(None);

    /// Understands a key as it is in minisign's own file.
    pub fn parse(text: &str) -> Option<Self> {
        minisign_verify::PublicKey::from_base64(text).ok().map(|key| Self(Some(key)))
    }

    /// Understands a signature: at least it says that it is made with this key.
    ///
    /// # Errors
    /// It is none, or made with another key.
    pub fn signature(&self, bytes: &[u8]) -> anyhow::Result<Signature<'_>> {
        let key = self.0.as_ref().context("which key it has to be signed with can't be read (\"minisign_key\")")?;
        let signed = str::from_utf8(bytes).ok().and_then(|text| Signed::decode(text).ok());
        let signature = Signature { key, signed: signed.context("its signature is none of minisign's")? };
        signature.verifier()?;
        Ok(signature)
    }
}

impl Signature<'_> {
    /// Checks that it is of this program.
    ///
    /// # Errors
    /// It isn't; or the program can't be read, or `patience` is over.
    pub fn verify(&self, program: &Sealed, patience: &Patience<'_>) -> anyhow::Result<()> {
        let mut verifier = self.verifier()?;
        program.each(patience, |chunk| {
            verifier.update(chunk);
            Ok(())
        })?;
        verifier.finalize().map_err(|_| anyhow!("its signature is not of this program"))
    }

    fn verifier(&self) -> anyhow::Result<StreamVerifier<'_>> {
        Ok(match self.key.verify_stream(&self.signed) {
            Ok(verifier) => verifier,
            Err(Error::UnexpectedKeyId) => bail!("it is signed with another key than \"minisign_key\""),
            Err(Error::UnsupportedLegacyMode) => {
                bail!("its signature is of the old form; sign with minisign 0.10 or later")
            }
            Err(error) => bail!("its signature is none ({error})"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::kinds::loadtest::binary::sealed::Draft;

    const PROGRAM: &str = include_str!("../../../../tests/data/minisign/program");
    const OURS: &str = include_str!("../../../../tests/data/minisign/ours.pub");
    const THEIRS: &str = include_str!("../../../../tests/data/minisign/theirs.pub");
    const BY_US: &str = include_str!("../../../../tests/data/minisign/ours.minisig");

    #[track_caller]
    fn check(key: &PublicKey, signature: &str, program: &str, expect: Result<(), &str>) {
        let patience = Patience::new(Instant::now() + Duration::from_secs(60), &|| false);
        let mut draft = Draft::new().unwrap();
        draft.write(program.as_bytes(), 1 << 20).unwrap();
        let sealed = draft.seal().unwrap();
        let checked = key.signature(signature.as_bytes()).and_then(|signature| signature.verify(&sealed, &patience));
        assert_eq!(checked.map_err(|error| error.to_string()), expect.map_err(ToOwned::to_owned));
    }

    #[test]
    fn only_what_the_key_has_signed_is_taken() {
        let [ours, theirs] = [OURS, THEIRS].map(|key| PublicKey::parse(key.trim_end()).unwrap());
        check(&ours, BY_US, PROGRAM, Ok(()));
        check(&ours, BY_US, &format!("{PROGRAM} "), Err("its signature is not of this program"));
        check(&ours, BY_US, "", Err("its signature is not of this program"));
        check(&theirs, BY_US, PROGRAM, Err("it is signed with another key than \"minisign_key\""));
        let unreadable = "which key it has to be signed with can't be read (\"minisign_key\")";
        check(&PublicKey::OF_NOBODY, BY_US, PROGRAM, Err(unreadable));
        for none in ["", "\n\n\n\n", "é", &BY_US[..BY_US.len() / 2]] {
            check(&ours, none, PROGRAM, Err("its signature is none of minisign's"));
        }
        // The trusted comment is signed, too.
        let commented = BY_US.replace("trusted comment: canihaz's", "trusted comment: your");
        assert_ne!(commented, BY_US);
        check(&ours, &commented, PROGRAM, Err("its signature is not of this program"));
    }

    #[test]
    fn a_signature_of_the_old_form_is_refused() {
        // Of minisign's own documentation: it signs "test".
        let key = PublicKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").unwrap();
        let old = "untrusted comment: signature from minisign secret key\n\
                   RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
                   trusted comment: timestamp:1555779966\tfile:test\n\
                   QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n";
        check(&key, old, "test", Err("its signature is of the old form; sign with minisign 0.10 or later"));
    }

    #[test]
    fn a_key_is_the_line_of_its_file() {
        for none in ["", "RW", &OURS[1..], "untrusted comment: minisign public key", &OURS.replace("RW", "XX")] {
            assert_eq!(PublicKey::parse(none.trim_end()), None, "{none}");
        }
    }
}
