//! Why a verb was refused, with what its caller needs to answer.

use std::time::Duration;

use the0_core::ExecutorError;
use the0_model::{BotId, BotRevision};

use crate::{FieldFault, StoreError};

/// Why a verb was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// What was given is not acceptable. Lists every fault.
    #[error("{}", FieldFault::join(faults))]
    Invalid {
        /// The faults, each with its field.
        faults: Vec<FieldFault>,
    },
    /// There is no such bot.
    #[error("bot {bot} was not found")]
    NotFound {
        /// The bot.
        bot: BotId,
    },
    /// The id of a new bot is taken.
    #[error("bot {bot} exists already")]
    AlreadyExists {
        /// The bot.
        bot: BotId,
    },
    /// The bot was changed since its reader read it.
    #[error("bot {bot} was changed by someone else (revision {}); read it again", found.map_or(0, |found| found.0))]
    Conflict {
        /// The bot.
        bot: BotId,
        /// The revision that is stored; `None` if it is gone.
        found: Option<BotRevision>,
    },
    /// The bot is disabled, but its process is not gone yet.
    #[error("bot {bot} is being stopped and was still there after {}s; it is disabled, so try again", waited.as_secs())]
    StillStopping {
        /// The bot.
        bot: BotId,
        /// How long was waited.
        waited: Duration,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[source] StoreError),
    /// The executor failed.
    #[error("the executor failed: {0}")]
    Executor(#[from] ExecutorError),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::AlreadyExists { bot } => Self::AlreadyExists { bot },
            StoreError::Conflict { bot, found, .. } => Self::Conflict { bot, found },
            StoreError::Stale { .. } | StoreError::Unreadable { .. } | StoreError::Database(_) => {
                Self::Store(error)
            }
        }
    }
}

impl From<FieldFault> for CommandError {
    fn from(fault: FieldFault) -> Self {
        Self::Invalid { faults: vec![fault] }
    }
}
