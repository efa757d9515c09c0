//! How a command ended, as the guard tells it: one byte for the way, four for the number.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What a status is on its way, in bytes.
pub const LENGTH: usize = 5;

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// With an exit status, 0 to 255.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// It was never started; the number is the system's for why.
    NotStarted(i32),
}

impl Status {
    /// As it goes to whoever waits for it.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let (way, number) = match self {
            Self::Exited(number) => (0, number),
            Self::Signaled(number) => (1, number),
            Self::NotStarted(number) => (2, number),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [way, a, b, c, d]
    }

    /// As it comes; `None` for what is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [way, number @ ..] = bytes else { return None };
        let number = i32::from_le_bytes(number.try_into().ok()?);
        Some(match way {
            0 => Self::Exited(number),
            1 => Self::Signaled(number),
            2 => Self::NotStarted(number),
            _ => return None,
        })
    }
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Signaled(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled(signal) => {
                write!(f, "ended by signal {signal}")?;
                match nix::sys::signal::Signal::try_from(*signal) {
                    Ok(signal) => write!(f, " ({signal})"),
                    Err(_) => Ok(()),
                }
            }
            Self::NotStarted(errno) => write!(f, "could not be started: {}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_arrives_as_it_was_sent() {
        for status in [Status::Exited(0), Status::Exited(255), Status::Signaled(9), Status::NotStarted(2)] {
            assert_eq!(Status::from_bytes(&status.to_bytes()), Some(status));
        }
        for bytes in [&[][..], &[0; LENGTH - 1], &[0; LENGTH + 1], &[3; LENGTH]] {
            assert_eq!(Status::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_status_is_told_in_words() {
        assert_eq!(Status::Exited(3).to_string(), "exit status 3");
        assert_eq!(Status::Signaled(9).to_string(), "ended by signal 9 (SIGKILL)");
        assert_eq!(Status::Signaled(40).to_string(), "ended by signal 40");
        assert_eq!(Status::NotStarted(2).to_string(), "could not be started: No such file or directory (os error 2)");
    }
}
