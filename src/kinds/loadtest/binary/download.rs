//! A program that an HTTPS server has: fetched once, checked, and kept.
//!
//! Once it is kept, and signed where it has to be, nobody is asked for it any
//! more. What can't be fetched is asked for again after a while only: every
//! server that has the test asks the same one.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use log::warn;
use thiserror::Error;

use super::fetch::fetch;
use super::kept::{Found, Kept, Note, Turn};
use super::location::Location;
use super::patience::{Over, Patience};
use super::sealed::{Draft, Sealed};
use super::sha256::Sha256;
use super::signature::{MAX_SIGNATURE, PublicKey};
use crate::kinds::dial;

/// How long after a fetch that failed began the next one begins at the soonest: the next minute's run asks again.
const REST: Duration = Duration::from_secs(50);
/// The same where all of a program was fetched, and for nothing: that was much to ask of a server.
const LONG_REST: Duration = Duration::from_secs(590);

/// Where a program is, and which one it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Download {
    /// Where it is.
    pub location: Location,
    /// Which one it is.
    pub sha256: Sha256,
    /// The most that is fetched, in bytes.
    pub max_size: u64,
    /// How TLS is spoken with who has it.
    pub dial: dial::Settings,
}

/// What has come is another program.
#[derive(Debug, Error)]
#[error("what was fetched has the SHA-256 {found}, and \"sha256\" says {expected}")]
struct Another {
    found: Sha256,
    expected: Sha256,
}

impl Download {
    /// The program: from the folder `state`, or else from its server, and kept there.
    ///
    /// # Errors
    /// Why there is none that is right.
    pub fn get(&self, state: &Path, key: Option<&PublicKey>, patience: &Patience<'_>) -> anyhow::Result<Sealed> {
        let kept = Kept::of(state, self.sha256)?;
        if let Found::All(program) = kept.look(key, patience)? {
            return Ok(program);
        }
        let turn = kept.turn(patience)?;
        // Somebody may have fetched it while we waited.
        let program = match kept.look(key, patience)? {
            Found::All(program) => return Ok(program),
            Found::Unsigned(program) => Some(program),
            Found::Another(found) => {
                turn.discard(&found);
                None
            }
            Found::Nothing => None,
        };
        let asked = self.asked(key);
        let began = now();
        if let Some(note) = turn.note().filter(|note| note.asked == asked) {
            let again = note.at.saturating_add(note.rest);
            if (note.at..again).contains(&began) {
                bail!("{}; it is asked for again in {} s", note.why, again - began);
            }
        }
        let fetched = self.fetch(program, &turn, key, patience);
        match &fetched {
            Ok(_) => turn.remember(None),
            // That says nothing of who was asked.
            Err(error) if error.downcast_ref() == Some(&Over::Stopped) => {}
            Err(error) => {
                let rest = if error.is::<Another>() { LONG_REST } else { REST };
                let note = Note { asked, at: began, rest: rest.as_secs(), why: format!("{error:#}") };
                turn.remember(Some(&note));
            }
        }
        fetched
    }

    /// Fetches what is missing: the signature first, as it is small, and without it the program is nothing.
    fn fetch(
        &self,
        program: Option<Sealed>,
        turn: &Turn<'_>,
        key: Option<&PublicKey>,
        patience: &Patience<'_>,
    ) -> anyhow::Result<Sealed> {
        let bytes = match key {
            Some(_) => self.fetch_signature(patience).context("its signature is not there")?,
            None => Vec::new(),
        };
        let signature = key.map(|key| key.signature(&bytes)).transpose()?;
        let program = match program {
            Some(program) => program,
            None => self.fetch_program(turn, patience)?,
        };
        if let Some(signature) = signature {
            signature.verify(&program, patience)?;
            if let Err(error) = turn.keep_signature(&bytes) {
                warn!(
                    "the signature of {} cannot be kept ({error}): it is fetched again by the next run",
                    self.location
                );
            }
        }
        Ok(program)
    }

    fn fetch_program(&self, turn: &Turn<'_>, patience: &Patience<'_>) -> anyhow::Result<Sealed> {
        let mut draft = Draft::new()?;
        fetch(&self.location, &self.dial, self.max_size, patience, |piece| draft.write(piece, self.max_size))?;
        let program = draft.seal()?;
        let (found, expected) = (program.sha256(patience)?, self.sha256);
        if found != expected {
            return Err(Another { found, expected }.into());
        }
        if let Err(error) = turn.keep(&program, patience) {
            warn!("{} cannot be kept ({error:#}): it is fetched again by the next run", self.location);
        }
        Ok(program)
    }

    fn fetch_signature(&self, patience: &Patience<'_>) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fetch(&self.location.signature(), &self.dial, MAX_SIGNATURE, patience, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// What is asked for: what failed says nothing of what is asked for otherwise.
    fn asked(&self, key: Option<&PublicKey>) -> String {
        Sha256::of(&format!("{} {} {key:?}", self.location.url(), self.max_size)).to_string()
    }
}

/// The wall clock, in seconds since 1970: runs have no other clock in common.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
