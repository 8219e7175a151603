//! How far the reconciler has come with what is stored.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use the0_core::Outcome;
use the0_model::BotId;

/// How far the reconciler has come, for those who wait until a unit is gone for good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    version: u64,
    looks: u64,
    starting: BTreeSet<BotId>,
}

impl Progress {
    /// How often the reconciler asked what should run, if it did so at or after `version`.
    pub(crate) fn looks_at(&self, version: u64) -> Option<u64> {
        let seen = self.seen();
        (seen.version >= version).then_some(seen.looks)
    }

    /// Whether a start of this bot is under way.
    pub(crate) fn is_starting(&self, bot: &BotId) -> bool {
        self.seen().starting.contains(bot)
    }

    /// The reconciler was told what should run, as of `version`.
    pub(crate) fn saw(&self, version: u64) {
        let mut seen = self.seen();
        seen.version = seen.version.max(version);
        seen.looks += 1;
    }

    /// Takes note of an outcome, stored or not.
    pub(crate) fn note(&self, bot: &BotId, outcome: &Outcome) {
        let mut seen = self.seen();
        match outcome {
            Outcome::Starting => {
                seen.starting.insert(bot.clone());
            }
            Outcome::Started { .. }
            | Outcome::Stopped { .. }
            | Outcome::Finished { .. }
            | Outcome::Refused { .. } => {
                seen.starting.remove(bot);
            }
            Outcome::Stopping(_) => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
