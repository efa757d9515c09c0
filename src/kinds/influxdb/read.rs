//! The hits of a reader.

use std::rc::Rc;
use std::sync::Arc;

use super::session::Session;
use crate::target::{Outcome, Target};
use crate::wakeups::Wakeups;

/// A database that is asked.
#[derive(Debug)]
pub struct ReadTarget {}

impl ReadTarget {
    /// Prepares what hits have in common.
    ///
    /// # Errors
    /// The system has no root certificates.
    pub fn new(_session: &Arc<Session>, _wakeups: &Rc<Wakeups>) -> anyhow::Result<Self> {
        Ok(Self {})
    }
}

impl Target for ReadTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        Outcome::default()
    }
}
