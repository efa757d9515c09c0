//! What a run has of one test of this kind.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Settings;
use crate::ranges::Ranges;

/// One test: its settings, its points, and those of them that were lent.
#[derive(Debug)]
pub struct Session {}

/// All tests of a run.
#[derive(Debug)]
pub struct Sessions {}

impl Sessions {
    /// None yet.
    pub fn new(_state: &Path, _run: &str, _host: &str) -> Self {
        Self {}
    }

    /// Gets a test ready that writes so many batches a minute.
    ///
    /// # Errors
    /// Why it can't.
    pub fn to_write(&self, _test: &str, _settings: &Arc<Settings>, _frequency: u64) -> anyhow::Result<Arc<Session>> {
        anyhow::bail!("it can't be written yet")
    }

    /// Gets a test ready that reads.
    ///
    /// # Errors
    /// Why it can't.
    pub fn to_read(&self, _test: &str, _settings: &Arc<Settings>) -> anyhow::Result<Arc<Session>> {
        anyhow::bail!("it can't be read yet")
    }

    /// Files which points are done.
    ///
    /// # Errors
    /// What couldn't be written.
    pub fn file(&self, _done: &BTreeMap<u64, Ranges>) -> io::Result<()> {
        Ok(())
    }

    /// What was not done is for others.
    ///
    /// # Errors
    /// What couldn't be written.
    pub fn close(&self) -> io::Result<()> {
        Ok(())
    }

    /// Begins no further statement.
    pub fn stop(&self) {}
}
