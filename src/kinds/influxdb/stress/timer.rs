//! When one half of a stress test began and ended.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::time;

/// Tells how long something takes. Clones are one.
///
/// ```
/// use canihaz::influxdb::Timer;
///
/// let timer = Timer::start_now();
/// assert_eq!(timer.end(), None);
/// timer.stop();
/// assert_eq!(timer.elapsed(), timer.end().unwrap() - timer.start());
/// ```
#[derive(Clone, Debug)]
pub struct Timer {
    start: Instant,
    end: Arc<OnceLock<Instant>>,
}

impl Timer {
    /// One that runs from now on.
    pub fn start_now() -> Self {
        Self { start: now(), end: Arc::default() }
    }

    /// Stops it; one that was stopped stays so.
    pub fn stop(&self) {
        self.end.get_or_init(now);
    }

    /// Stops it as of a moment that is over.
    pub(super) fn stop_at(&self, end: time::Instant) {
        self.end.get_or_init(|| end.into_std());
    }

    /// When it was started.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// When it was stopped; `None` while it runs.
    pub fn end(&self) -> Option<Instant> {
        self.end.get().copied()
    }

    /// From its start to its end; to the present while it runs.
    pub fn elapsed(&self) -> Duration {
        self.end().unwrap_or_else(now).saturating_duration_since(self.start)
    }
}

/// The present, as the runtime's clock has it.
fn now() -> Instant {
    time::Instant::now().into_std()
}
