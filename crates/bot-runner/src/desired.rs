//! Pure: from stored bots to the units that should run.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use the0_core::Desired;
use the0_model::{Bot, BotId, BotStatus, UnitId};

/// A bot that is not to be started before some moment, with the specification it failed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Digest in hex. A bot with another one is not held.
    pub digest: String,
    /// The moment.
    pub until: Timestamp,
}

/// What should run.
#[derive(Debug, Default)]
pub struct Built {
    /// Units, complete to the last detail.
    pub wanted: BTreeMap<UnitId, Desired>,
    /// Bots that cannot become a unit, and why.
    pub refused: BTreeMap<BotId, String>,
}

impl Held {
    /// What a status says of when its bot may be started.
    pub fn of(status: &BotStatus) -> Option<Self> {
        Some(Self { digest: status.spec_digest.clone()?, until: status.not_before? })
    }

    /// The moment, for a bot with this specification.
    pub fn not_before(held: Option<&Self>, digest: &str) -> Option<Timestamp> {
        held.filter(|held| held.digest == digest).map(|held| held.until)
    }
}

/// The units of the enabled among `bots`. One that cannot become a unit stops no other.
pub fn build(bots: &[Bot], held: &BTreeMap<BotId, Held>) -> Built {
    let mut built = Built::default();
    for bot in bots.iter().filter(|bot| bot.is_enabled()) {
        match bot.unit_spec() {
            Ok(spec) => {
                let digest = spec.digest();
                let not_before =
                    held.get(&bot.id).and_then(|held| Held::not_before(Some(held), &digest.to_string()));
                let desired = Desired { digest, segment: bot.segment_id, not_before, spec: Arc::new(spec) };
                built.wanted.insert(desired.spec.id.clone(), desired);
            }
            Err(error) => {
                built.refused.insert(bot.id.clone(), error.to_string());
            }
        }
    }
    built
}

#[cfg(test)]
mod tests;
