//! A program in memory that nobody can change any more, not even we.
//!
//! It is read for every check from where it is executed from. What was read
//! before it was sealed counts for nothing.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::patience::Patience;
use super::sha256::{Hasher, Sha256};

/// How much is read at once, in bytes; between two of them is looked whether it is over.
const CHUNK: usize = 256 << 10;
/// Says that it is to be executed, to kernels (since 6.3) of which `vm.memfd_noexec` asks for that; nix has no name for it.
const MFD_EXEC: MFdFlags = MFdFlags::from_bits_retain(0x10);
/// What the kernel calls it, in `/proc`.
const NAME: &str = "canihaz-loadtest";
/// It is only to be read and executed, and by nobody else.
const MODE: u32 = 0o500;

/// What a program is made of in memory, before it is sealed.
#[derive(Debug)]
pub struct Draft {
    file: File,
    length: u64,
}

/// A program in memory. Executing it takes an open descriptor: it is gone when the last one is closed.
#[derive(Debug)]
pub struct Sealed {
    file: File,
}

impl Draft {
    /// An empty one.
    ///
    /// # Errors
    /// The kernel makes none that can be executed.
    pub fn new() -> anyhow::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let made = match memfd_create(NAME, flags | MFD_EXEC) {
            // A kernel that doesn't know it needs none.
            Err(Errno::EINVAL) => memfd_create(NAME, flags),
            Err(Errno::EACCES) => bail!("the sysctl vm.memfd_noexec = 2 forbids to execute programs from memory"),
            made => made,
        };
        let file = File::from(made.context("a file in memory cannot be made")?);
        Ok(Self { file, length: 0 })
    }

    /// Goes on with these bytes; at most `most` in all.
    ///
    /// # Errors
    /// There is no memory for them, or they are too many.
    pub fn write(&mut self, bytes: &[u8], most: u64) -> anyhow::Result<()> {
        self.length += bytes.len() as u64;
        if self.length > most {
            bail!("it is larger than {most} bytes");
        }
        self.file.write_all(bytes).context("it cannot be taken into memory")
    }

    /// Goes on with all that `from` has; at most `most` bytes in all.
    ///
    /// # Errors
    /// As [`Draft::write`]; or it can't be read, or `patience` is over.
    pub fn fill(&mut self, mut from: impl Read, most: u64, patience: &Patience<'_>) -> anyhow::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            patience.check()?;
            match from.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => self.write(&chunk[..length], most)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("it cannot be read"),
            }
        }
    }

    /// Seals it as it is.
    ///
    /// # Errors
    /// The kernel doesn't do it.
    pub fn seal(self) -> anyhow::Result<Sealed> {
        self.file.set_permissions(Permissions::from_mode(MODE)).context("it cannot be made executable")?;
        let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&self.file, FcntlArg::F_ADD_SEALS(seals)).context("it cannot be sealed in memory")?;
        Ok(Sealed { file: self.file })
    }
}

impl Sealed {
    /// Its SHA-256.
    ///
    /// # Errors
    /// As [`Sealed::each`].
    pub fn sha256(&self, patience: &Patience<'_>) -> anyhow::Result<Sha256> {
        let mut hasher = Hasher::new();
        self.each(patience, |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// Has `take` see all of it, chunk by chunk.
    ///
    /// # Errors
    /// `take`'s own; or it can't be read, or `patience` is over.
    pub fn each(
        &self,
        patience: &Patience<'_>,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut offset = 0;
        loop {
            patience.check()?;
            match self.file.read_at(&mut chunk, offset) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    take(&chunk[..length])?;
                    offset += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("it cannot be read from memory"),
            }
        }
    }

    /// Its descriptor, which is closed on exec.
    pub fn into_fd(self) -> OwnedFd {
        self.file.into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::kinds::loadtest::binary::patience::Over;

    fn sealed(bytes: &[u8]) -> Sealed {
        let mut draft = Draft::new().unwrap();
        draft.write(bytes, 100).unwrap();
        draft.seal().unwrap()
    }

    #[test]
    fn what_is_sealed_cannot_be_changed_by_anybody() {
        let sealed = sealed(b"#!/bin/sh\nexit 7\n");
        let refused =
            |done: std::io::Result<()>| assert_eq!(done.unwrap_err().raw_os_error(), Some(Errno::EPERM as i32));
        refused(sealed.file.write_at(b"x", 0).map(drop));
        refused(sealed.file.write_at(b"x", 100).map(drop));
        refused(sealed.file.set_len(0));
        refused(sealed.file.set_len(1000));
        // Nor with another descriptor of it.
        let path = format!("/proc/self/fd/{}", sealed.file.as_raw_fd());
        sealed.file.set_permissions(Permissions::from_mode(0o700)).unwrap();
        let other = OpenOptions::new().write(true).open(path).unwrap();
        refused(other.write_at(b"x", 0).map(drop));
        // And nothing is unsealed.
        let more = fcntl(&sealed.file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_FUTURE_WRITE));
        assert_eq!(more, Err(Errno::EPERM));
    }

    #[test]
    fn what_is_sealed_is_executed_program_or_script() {
        let run = |sealed: &Sealed| {
            let path = format!("/proc/{}/fd/{}", std::process::id(), sealed.file.as_raw_fd());
            Command::new(path).arg("-c").arg("exit 7").status().unwrap().code()
        };
        assert_eq!(run(&sealed(b"#!/bin/sh\nexit 7\n")), Some(7));
        let patience = Patience::new(Instant::now() + Duration::from_secs(60), &|| false);
        let mut draft = Draft::new().unwrap();
        draft.fill(File::open("/bin/sh").unwrap(), 1 << 30, &patience).unwrap();
        assert_eq!(run(&draft.seal().unwrap()), Some(7));
    }

    #[test]
    fn reading_it_ends_when_nobody_waits_any_more() {
        let over = |patience: &Patience<'_>| sealed(b"x").sha256(patience).unwrap_err().downcast::<Over>().unwrap();
        let soon = Instant::now() + Duration::from_secs(60);
        assert_eq!(over(&Patience::new(soon, &|| true)), Over::Stopped);
        assert_eq!(over(&Patience::new(Instant::now(), &|| false)), Over::Late);
        let patience = Patience::new(soon, &|| false);
        assert_eq!(sealed(b"abc").sha256(&patience).unwrap(), Sha256::of("abc"));
    }

    #[test]
    fn nothing_is_taken_that_is_too_large() {
        let patience = Patience::new(Instant::now() + Duration::from_secs(60), &|| false);
        Draft::new().unwrap().fill(&[0; 100][..], 100, &patience).unwrap();
        let error = Draft::new().unwrap().fill(std::io::repeat(0), 100, &patience).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 100 bytes");
    }
}
