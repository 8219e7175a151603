//! What watchers are told.

use std::sync::Arc;

use the0_model::{BotEvent, BotId, BotStatus};
use tokio::sync::broadcast;

/// Notices a watcher may be behind before it loses the oldest (it is told how many). A burst of 10,000 bots is a few of
/// these; each is two pointers.
const BEHIND_MAX: usize = 4096;

/// Something changed in what is known of a bot.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The bot.
    pub bot: BotId,
    /// What is known of it now, without its older events.
    pub status: Arc<BotStatus>,
    /// The event that goes with the change, if it is one people care about.
    pub event: Option<BotEvent>,
}

/// Spreads notices to whoever listens. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Notices(broadcast::Sender<Notice>);

impl Default for Notices {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl Notices {
    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }

    /// Tells everyone who listens. Never waits for them.
    pub fn tell(&self, notice: Notice) {
        // An error means that nobody listens.
        let _ = self.0.send(notice);
    }
}
