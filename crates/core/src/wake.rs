//! A bell: tells a loop that something may have changed, never what.

use std::sync::Arc;

use tokio::sync::Notify;

/// A bell that many may ring and one loop hears. Rings while the loop is busy are remembered as one.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A new bell.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rings. Never blocks.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits for a ring; returns at once if one came since the last call. Cancel-safe: a ring is not lost.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}
