//! Pure: what is known of how a bot fares. Written by whoever runs it, read by people.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Exit, Generation};

/// Most events kept per bot; the oldest go first.
pub const EVENTS_MAX: usize = 50;

/// Where a bot is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BotPhase {
    /// Wanted, not started yet.
    #[default]
    Pending,
    /// Being started: code fetched, container created.
    Starting,
    /// Its process runs.
    Running,
    /// Ended in failure; waits for its next attempt.
    BackingOff,
    /// Cannot be started as it is configured; waits for its next attempt or for a change.
    Refused,
    /// Being stopped.
    Stopping,
    /// Not wanted and not running.
    Stopped,
}

impl fmt::Display for BotPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing off",
            Self::Refused => "refused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        })
    }
}

/// What is known of a bot's runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BotStatus {
    /// Where it is.
    pub phase: BotPhase,
    /// One sentence on why it is there.
    pub reason: String,
    /// Number of the current or last attempt; 0 before the first.
    pub attempt: u64,
    /// Failures in a row since it was last healthy or changed: the exponent of the backoff.
    pub failures: u32,
    /// Digest in hex of the specification that `failures` and `not_before` belong to. With another one they do not
    /// count: a bot that was changed is tried at once.
    pub spec_digest: Option<String>,
    /// Restarts after an end of any kind, ever.
    pub restarts: u64,
    /// Earliest moment of the next attempt, while backing off.
    pub not_before: Option<Timestamp>,
    /// When the current attempt started.
    pub started_at: Option<Timestamp>,
    /// How the last attempt ended.
    pub last_exit: Option<Exit>,
    /// Grant under which this was written.
    pub generation: Generation,
    /// What happened, oldest first, at most [`EVENTS_MAX`].
    pub events: Vec<BotEvent>,
}

impl BotStatus {
    /// Adds an event and drops the oldest beyond [`EVENTS_MAX`].
    pub fn push(&mut self, event: BotEvent) {
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
    }
}

/// Something that happened to a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: BotEventKind,
    /// Attempt it belongs to; 0 if none.
    pub attempt: u64,
    /// One sentence for people.
    pub reason: String,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BotEventKind {
    /// A new bot, or new code.
    Deployed,
    /// Its configuration was changed.
    Configured,
    /// Switched on.
    Enabled,
    /// Switched off.
    Disabled,
    /// A restart was asked for.
    RestartRequested,
    /// An attempt started.
    Started,
    /// An attempt was stopped by us.
    Stopped,
    /// An attempt ended by itself.
    Exited,
    /// An attempt could not be started.
    Refused,
    /// Removed from the store.
    Deleted,
}

impl fmt::Display for BotEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployed => "deployed",
            Self::Configured => "configured",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::RestartRequested => "restart requested",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::Refused => "refused",
            Self::Deleted => "deleted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_events_are_kept() {
        let mut status = BotStatus::default();
        for attempt in 0..EVENTS_MAX as u64 + 7 {
            status.push(BotEvent {
                at: Timestamp::UNIX_EPOCH,
                kind: BotEventKind::Started,
                attempt,
                reason: String::new(),
            });
        }
        assert_eq!(status.events.len(), EVENTS_MAX);
        assert_eq!(status.events[0].attempt, 7);
    }
}
