//! How long a program is waited for.

use std::time::{Duration, Instant};

use thiserror::Error;

/// How often is looked whether it is over.
pub const LOOK: Duration = Duration::from_millis(50);

/// Until when, unless somebody says stop.
pub struct Patience<'a> {
    until: Instant,
    is_stopped: &'a dyn Fn() -> bool,
}

/// Why it is over.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Over {
    /// Somebody said stop.
    #[error("it was stopped")]
    Stopped,
    /// The time is up.
    #[error("it was not there in time")]
    Late,
}

impl<'a> Patience<'a> {
    /// Lasts until then, or until `is_stopped`.
    pub fn new(until: Instant, is_stopped: &'a dyn Fn() -> bool) -> Self {
        Self { until, is_stopped }
    }

    /// Looks whether it is over.
    ///
    /// # Errors
    /// Why it is.
    pub fn check(&self) -> Result<(), Over> {
        if (self.is_stopped)() {
            return Err(Over::Stopped);
        }
        if Instant::now() >= self.until { Err(Over::Late) } else { Ok(()) }
    }

    /// How long to wait before the next look.
    pub fn pause(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).min(LOOK)
    }

    /// Waits until it is over. In a tokio runtime that has time.
    pub async fn over(&self) -> Over {
        loop {
            if let Err(over) = self.check() {
                return over;
            }
            tokio::time::sleep(self.pause()).await;
        }
    }
}
