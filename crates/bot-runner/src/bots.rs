//! Live bots as a [`DesiredState`]: says what should run, records what became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use the0_core::{
    Clock, DesiredState, Outcome, Scope,
    reconcile::{Backoff, Wanted},
};
use the0_model::{BotId, BotStatus, Generation, UnitId};
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use crate::{
    BotStore, Notice, Notices, SERVICE, StoreError,
    desired::{Held, build},
    history::{self, Applied, Circumstances},
    progress::Progress,
};

/// Live bots. Shared between the reconciler and whoever shows or commands bots.
#[derive(Debug)]
pub struct Bots {
    store: Arc<dyn BotStore>,
    clock: Arc<dyn Clock>,
    notices: Notices,
    progress: Progress,
    /// One report at a time: each reads a status, applies and writes it. The database does one thing after the other
    /// anyway.
    memory: Mutex<Memory>,
}

/// What was last answered, and what belongs into the next answer.
#[derive(Debug, Default)]
struct Memory {
    answer: Option<Answer>,
    /// Bots that wait, by their stored statuses and by every report since.
    held: BTreeMap<BotId, Held>,
    /// Units whose `not_before` in the answer is outdated.
    moved: BTreeSet<UnitId>,
    /// Bots that cannot become a unit, and why.
    refused: BTreeMap<BotId, String>,
}

#[derive(Debug)]
struct Answer {
    scope: Scope,
    version: u64,
    wanted: Wanted,
}

impl Bots {
    /// Live bots of `store`.
    pub fn new(store: Arc<dyn BotStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            notices: Notices::default(),
            progress: Progress::default(),
            memory: Mutex::default(),
        }
    }

    /// Where they are stored.
    pub fn store(&self) -> &Arc<dyn BotStore> {
        &self.store
    }

    /// Tells watchers what changes.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Reads the bots of a scope anew.
    async fn rebuild(&self, memory: &mut Memory, scope: &Scope, version: u64) -> Result<Wanted, StoreError> {
        if memory.answer.as_ref().is_none_or(|answer| answer.scope != *scope) {
            let statuses = self.store.statuses(scope).await?;
            memory.held =
                statuses.into_iter().filter_map(|(bot, status)| Some((bot, Held::of(&status)?))).collect();
        }
        let bots = self.store.enabled(scope).await?;
        // A bot that was switched off and on again is not held for what happened before.
        let enabled: BTreeSet<&BotId> = bots.iter().map(|bot| &bot.id).collect();
        memory.held.retain(|bot, _| enabled.contains(bot));
        let built = build(&bots, &memory.held);
        memory.refused = built.refused;
        memory.moved.clear();
        let wanted: Wanted = Arc::new(built.wanted);
        memory.answer = Some(Answer { scope: scope.clone(), version, wanted: Arc::clone(&wanted) });
        for bot in &bots {
            if let Some(reason) = memory.refused.get(&bot.id) {
                let generation = scope.generation_of(bot.segment_id).unwrap_or_default();
                self.record_unfit(&bot.id, reason, generation).await?;
            }
        }
        Ok(wanted)
    }

    async fn record_unfit(
        &self,
        bot: &BotId,
        reason: &str,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let before = self.store.status(bot).await?.unwrap_or_default();
        let at = self.circumstances(generation, None);
        self.record(bot, &before, history::unfit(&before, reason, &at)).await.map(|_| ())
    }

    /// Stores what changed and tells watchers. `None` if the bot is gone or someone else answers for it.
    async fn record(
        &self,
        bot: &BotId,
        before: &BotStatus,
        applied: Applied,
    ) -> Result<Option<BotStatus>, StoreError> {
        let Applied { status, event } = applied;
        if status == *before && event.is_none() {
            return Ok(Some(status));
        }
        match self.store.put_status(bot, &status, event.as_ref()).await {
            Ok(true) => {}
            // Deleted meanwhile. Watchers are told all the same: they may wait for its end.
            Ok(false) => debug!(%bot, "status of a deleted bot was not stored"),
            Err(StoreError::Stale { stored, written, .. }) => {
                info!(%bot, %stored, %written, "someone else answers for this bot now; its status was left alone");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let shown = Arc::new(BotStatus { events: Vec::new(), ..status.clone() });
        self.notices.tell(Notice { bot: bot.clone(), status: shown, event });
        Ok(Some(status))
    }

    fn circumstances(
        &self,
        generation: Generation,
        digest: Option<the0_model::SpecDigest>,
    ) -> Circumstances<'_> {
        Circumstances { now: self.clock.now(), generation, digest, backoff: &Backoff::UNITS }
    }
}

#[async_trait]
impl DesiredState for Bots {
    fn service(&self) -> &'static str {
        SERVICE
    }

    async fn desired(&self, scope: &Scope) -> anyhow::Result<Wanted> {
        // Before the bots are read: what changes in between is seen by the next pass, rather than by none.
        let version = self.store.version().await?;
        let mut memory = self.memory.lock().await;
        let wanted = match memory.answer(scope, version) {
            Some(wanted) => wanted,
            None => self.rebuild(&mut memory, scope, version).await?,
        };
        self.progress.saw(version);
        Ok(wanted)
    }

    async fn report(&self, unit: &UnitId, outcome: Outcome) -> anyhow::Result<()> {
        let Some(bot) = unit.as_bot() else {
            warn!(%unit, "a unit that is no live bot was reported to the live bots");
            return Ok(());
        };
        self.progress.note(&bot, &outcome);
        let mut memory = self.memory.lock().await;
        let before = self.store.status(&bot).await?.unwrap_or_default();
        let (generation, digest) = match memory.wanted(unit) {
            Some((generation, digest)) => (generation, Some(digest)),
            None => (self.generation(&memory, &bot).await?, None),
        };
        let at = self.circumstances(generation, digest);
        let Some(after) = self.record(&bot, &before, history::apply(&before, &outcome, &at)).await? else {
            return Ok(());
        };
        memory.hold(unit, &bot, Held::of(&after));
        if matches!(outcome, Outcome::Stopped { .. })
            && let Some(reason) = memory.refused.get(&bot)
        {
            // It was stopped because it cannot run any more as it is configured; that is what people should read.
            self.record_unfit(&bot, reason, generation).await?;
        }
        Ok(())
    }
}

impl Bots {
    /// Generation under which a bot that is not wanted is reported on.
    async fn generation(&self, memory: &Memory, bot: &BotId) -> Result<Generation, StoreError> {
        match memory.answer.as_ref().map(|answer| &answer.scope) {
            Some(Scope::All { generation }) => Ok(*generation),
            Some(scope @ Scope::Segments(_)) => {
                let segment = self.store.get(bot).await?.map(|bot| bot.segment_id);
                Ok(segment.and_then(|segment| scope.generation_of(segment)).unwrap_or_default())
            }
            None => Ok(Generation::default()),
        }
    }
}

impl Memory {
    /// The last answer, if it still holds, with the moments brought up to date.
    fn answer(&mut self, scope: &Scope, version: u64) -> Option<Wanted> {
        let answer = self.answer.as_mut().filter(|a| a.version == version && a.scope == *scope)?;
        if !self.moved.is_empty() {
            let units = Arc::make_mut(&mut answer.wanted);
            for unit in std::mem::take(&mut self.moved) {
                if let (Some(desired), Some(bot)) = (units.get_mut(&unit), unit.as_bot()) {
                    let digest = desired.digest.to_string();
                    desired.not_before = Held::not_before(self.held.get(&bot), &digest);
                }
            }
        }
        Some(Arc::clone(&answer.wanted))
    }

    fn wanted(&self, unit: &UnitId) -> Option<(Generation, the0_model::SpecDigest)> {
        let answer = self.answer.as_ref()?;
        let desired = answer.wanted.get(unit)?;
        Some((answer.scope.generation_of(desired.segment).unwrap_or_default(), desired.digest))
    }

    fn hold(&mut self, unit: &UnitId, bot: &BotId, held: Option<Held>) {
        if self.held.get(bot) == held.as_ref() {
            return;
        }
        match held {
            Some(held) => self.held.insert(bot.clone(), held),
            None => self.held.remove(bot),
        };
        self.moved.insert(unit.clone());
    }
}

#[cfg(test)]
mod tests;
