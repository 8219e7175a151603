//! A clock that follows tokio's, which tests may pause and advance, and that can be stepped.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::clock::Clock;

/// Follows tokio's clock from a fixed moment on. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock {
    began: Instant,
    epoch: Timestamp,
    steps: Arc<Mutex<SignedDuration>>,
}

impl ManualClock {
    /// A clock that shows `epoch` now.
    pub fn new(epoch: Timestamp) -> Self {
        Self { began: Instant::now(), epoch, steps: Arc::default() }
    }

    /// Steps the clock, forth or back, as an operator or a time server would. Timers do not notice.
    pub fn step(&self, by: SignedDuration) {
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX);
        let steps = *self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.checked_add(passed.saturating_add(steps)).unwrap_or(Timestamp::MAX)
    }
}
