//! Where bots and what is known of them are kept.

#[cfg(test)]
mod contract;
mod sqlite;

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use the0_backends::sqlite::DatabaseError;
use the0_core::Scope;
use the0_model::{Bot, BotEvent, BotId, BotRevision, BotStatus, Generation, SegmentId};

pub use sqlite::SqliteBotStore;

/// Keeps bots, their statuses and the events of each.
///
/// Every implementation passes one suite (`store::contract`).
#[async_trait]
pub trait BotStore: Send + Sync + fmt::Debug + 'static {
    /// The bot, or `None`.
    async fn get(&self, bot: &BotId) -> Result<Option<Bot>, StoreError>;

    /// Every enabled bot of the scope, ordered by id.
    async fn enabled(&self, scope: &Scope) -> Result<Vec<Bot>, StoreError>;

    /// At most `limit` bots whose ids are greater than `after`, ordered by id.
    async fn list(&self, after: Option<&BotId>, limit: u32) -> Result<Vec<Bot>, StoreError>;

    /// Stores the bot and returns it as stored, with its new revision.
    ///
    /// At revision 0 it is new: it is given a segment, and a taken id is [`StoreError::AlreadyExists`]. Otherwise it
    /// replaces the stored bot of that revision; any other is [`StoreError::Conflict`]. The segment of a stored bot never
    /// changes.
    async fn put(&self, bot: Bot) -> Result<Bot, StoreError>;

    /// Removes the bot with its status and gives its place in the segment back. False if it was absent; with a
    /// `revision`, a bot of another one is [`StoreError::Conflict`].
    async fn remove(&self, bot: &BotId, revision: Option<BotRevision>) -> Result<bool, StoreError>;

    /// What is known of a bot; `None` if nothing was written yet or the bot is absent.
    async fn status(&self, bot: &BotId) -> Result<Option<BotStatus>, StoreError>;

    /// What is known of these bots. Bots of which nothing is known are left out.
    async fn statuses_of(&self, bots: &[BotId]) -> Result<BTreeMap<BotId, BotStatus>, StoreError>;

    /// What is known of the bots of a scope, enabled or not, without their events.
    async fn statuses(&self, scope: &Scope) -> Result<BTreeMap<BotId, BotStatus>, StoreError>;

    /// Stores a status, except for its events, and appends `event`. False, and nothing is written, if the bot is absent:
    /// a deleted bot is not brought back by a late report. Refused with [`StoreError::Stale`] if what is stored was
    /// written under a newer generation.
    async fn put_status(
        &self,
        bot: &BotId,
        status: &BotStatus,
        event: Option<&BotEvent>,
    ) -> Result<bool, StoreError>;

    /// Appends an event and leaves the rest of the status alone. False if the bot is absent.
    ///
    /// Apart from [`put_status`](Self::put_status), so that an operator's verb on one machine and a report on another
    /// do not overwrite each other.
    async fn push_event(&self, bot: &BotId, event: &BotEvent) -> Result<bool, StoreError>;

    /// A number that changes with every change of any bot, whoever made it, and not with statuses. Cheap.
    async fn version(&self) -> Result<u64, StoreError>;

    /// Recounts the places taken in every segment from the bots themselves, and returns the segments that were wrong.
    async fn repair(&self) -> Result<Vec<SegmentId>, StoreError>;
}

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The id of a new bot is taken.
    #[error("bot {bot} exists already")]
    AlreadyExists {
        /// The bot.
        bot: BotId,
    },
    /// The bot was changed since it was read.
    #[error("bot {bot} was changed by someone else: revision {} was expected, {} found; read it again",
        expected.0, found.map_or_else(|| "none".to_owned(), |found| found.0.to_string()))]
    Conflict {
        /// The bot.
        bot: BotId,
        /// The revision that was to be replaced.
        expected: BotRevision,
        /// The revision that is stored; `None` if the bot is gone.
        found: Option<BotRevision>,
    },
    /// The status is older than the stored one: someone else answers for the bot now.
    #[error("status of bot {bot} under generation {written} is older than the stored one under {stored}")]
    Stale {
        /// The bot.
        bot: BotId,
        /// Generation of the refused status.
        written: Generation,
        /// Generation of the stored one.
        stored: Generation,
    },
    /// A stored document cannot be read.
    #[error("the stored {what} of bot {bot} cannot be read: {reason}; correct or remove the document")]
    Unreadable {
        /// What was read: `bot`, `status`.
        what: &'static str,
        /// The id in the store, which need not be a valid one.
        bot: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl StoreError {
    /// Whether the same call would fail again until someone mends something.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::AlreadyExists { .. }
            | Self::Conflict { .. }
            | Self::Stale { .. }
            | Self::Unreadable { .. } => true,
            Self::Database(error) => error.is_permanent(),
        }
    }
}
