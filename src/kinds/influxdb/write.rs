//! The hits of a writer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::session::Session;
use crate::target::{Outcome, Target};
use crate::wakeups::Wakeups;

/// A database that takes points.
#[derive(Debug)]
pub struct WriteTarget {}

impl WriteTarget {
    /// Prepares what hits have in common.
    ///
    /// # Errors
    /// The system has no root certificates.
    pub fn new(_session: &Arc<Session>, _wakeups: &Rc<Wakeups>) -> anyhow::Result<Self> {
        Ok(Self {})
    }
}

impl Target for WriteTarget {
    async fn hit(&self, _number: u64) -> Outcome {
        Outcome::default()
    }

    fn claim(&self) -> bool {
        false
    }

    fn rest(&self) -> Duration {
        Duration::ZERO
    }
}
