//! Settings of the loop.

use std::time::Duration;

/// Settings of a [`Reconciler`](super::Reconciler).
#[derive(Debug, Clone)]
pub struct ReconcilerConfig {
    /// Time between passes while nothing rings; `None` for no pass at all then.
    pub resync: Option<Duration>,
    /// Rings within this time are one. Keep it at a few milliseconds.
    pub debounce: Duration,
    /// Most units being started at once, and as many again being stopped or reported.
    pub width: usize,
    /// A pass over more running units than this does not stop most of them as not wanted before a second look.
    pub guard_more_than: usize,
    /// Time from the first look to the second.
    pub guard_wait: Duration,
    /// How long running actions may take to end after cancellation.
    pub drain: Duration,
    /// Longest waits for others.
    pub timeouts: Timeouts,
}

/// Longest waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// [`DesiredState::desired`](super::DesiredState::desired).
    pub desired: Duration,
    /// [`DesiredState::report`](super::DesiredState::report).
    pub report: Duration,
    /// [`Executor::list`](crate::Executor::list).
    pub list: Duration,
    /// [`Executor::start`](crate::Executor::start): an image may have to be pulled.
    pub start: Duration,
    /// [`Executor::stop`](crate::Executor::stop), in addition to the unit's grace.
    pub stop_beyond_grace: Duration,
}

impl Default for ReconcilerConfig {
    fn default() -> Self {
        Self {
            resync: Some(Duration::from_secs(30)),
            debounce: Duration::from_millis(2),
            width: 64,
            guard_more_than: 10,
            guard_wait: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            desired: Duration::from_secs(10),
            report: Duration::from_secs(10),
            list: Duration::from_secs(30),
            start: Duration::from_mins(10),
            stop_beyond_grace: Duration::from_mins(1),
        }
    }
}
