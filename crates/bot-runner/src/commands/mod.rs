//! What an operator may do: each verb changes the stored bot, records an event and rings. None starts or stops anything.

mod deploy;
mod edit;
mod error;
mod removal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use the0_core::{Clock, Executor, UnitStatus, Wake};
use the0_model::{Bot, BotEvent, BotEventKind, BotId, BotRevision, BotStatus, UnitId};
use tokio::sync::broadcast;

use crate::{
    BotStore, Bots, Explanation, Notice, Notices, SERVICE,
    history::shown,
    progress::Progress,
    why::{self, Facts},
};

pub use deploy::{CheckedDeploy, CodePlace, DeployBot};
pub use edit::ConfigChange;
pub use error::CommandError;

/// Tries of a verb whose bot keeps changing under it, when its caller did not name a revision.
const TRIES: u32 = 5;
/// Longest page of bots.
pub const PAGE_MAX: u32 = 1000;

/// The operator's verbs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BotCommands {
    store: Arc<dyn BotStore>,
    executor: Arc<dyn Executor>,
    wake: Wake,
    clock: Arc<dyn Clock>,
    notices: Notices,
    progress: Progress,
}

/// A bot and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct BotView {
    /// As stored.
    pub bot: Bot,
    /// As people should see it: a status left over from before the bot was switched off, on or changed is corrected.
    pub status: BotStatus,
}

/// What a deployment did.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The bot now.
    pub view: BotView,
    /// Whether it is new.
    pub created: bool,
    /// Whether anything is different from before.
    pub changed: bool,
}

impl BotCommands {
    /// Verbs on `bots`, which `executor` runs. `wake` is the bell of the reconciler that was given the same `bots`.
    pub fn new(bots: &Bots, executor: Arc<dyn Executor>, wake: Wake) -> Self {
        Self {
            store: Arc::clone(bots.store()),
            executor,
            wake,
            clock: Arc::clone(bots.clock()),
            notices: bots.notices().clone(),
            progress: bots.progress().clone(),
        }
    }

    /// The bot and what is known of it.
    pub async fn get(&self, bot: &BotId) -> Result<BotView, CommandError> {
        let stored = self.store.get(bot).await?.ok_or_else(|| CommandError::NotFound { bot: bot.clone() })?;
        self.view(stored).await
    }

    /// At most `limit` (and [`PAGE_MAX`]) bots with ids greater than `after`, ordered by id.
    pub async fn list(&self, after: Option<&BotId>, limit: u32) -> Result<Vec<BotView>, CommandError> {
        let bots = self.store.list(after, limit.clamp(1, PAGE_MAX)).await?;
        let ids: Vec<BotId> = bots.iter().map(|bot| bot.id.clone()).collect();
        let mut statuses = self.store.statuses_of(&ids).await?;
        let view = |bot: Bot| {
            let status = shown(&bot, statuses.remove(&bot.id).unwrap_or_default());
            BotView { bot, status }
        };
        Ok(bots.into_iter().map(view).collect())
    }

    /// Creates a bot, or changes an existing one. Its code, if it is new, was put in place before.
    pub async fn deploy(
        &self,
        deploy: &CheckedDeploy,
        code: Option<&CodePlace>,
    ) -> Result<Deployed, CommandError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let before = self.store.get(&deploy.bot_id).await?;
            if before.is_some() && deploy.create_only {
                return Err(CommandError::AlreadyExists { bot: deploy.bot_id.clone() });
            }
            let wanted =
                deploy.onto(before.as_ref(), code).map_err(|faults| CommandError::Invalid { faults })?;
            if before.as_ref() == Some(&wanted) {
                return Ok(Deployed { view: self.view(wanted).await?, created: false, changed: false });
            }
            match self.store.put(wanted).await.map_err(CommandError::from) {
                Ok(bot) => {
                    let created = before.is_none();
                    let reason = if created { "created" } else { "code or settings changed" };
                    let view = self.done(bot, BotEventKind::Deployed, reason).await?;
                    return Ok(Deployed { view, created, changed: true });
                }
                // Created or changed between our look and our write: look again.
                Err(CommandError::AlreadyExists { .. } | CommandError::Conflict { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Replaces the configuration or merges into it. The state of the bot stays.
    pub async fn set_config(
        &self,
        bot: &BotId,
        change: &ConfigChange,
        expected: Option<BotRevision>,
    ) -> Result<BotView, CommandError> {
        let edit = |bot: &Bot| edit::config(bot, change);
        self.edit(bot, expected, BotEventKind::Configured, "configuration changed", edit).await
    }

    /// Switches a bot on or off.
    pub async fn set_enabled(
        &self,
        bot: &BotId,
        enabled: bool,
        expected: Option<BotRevision>,
    ) -> Result<BotView, CommandError> {
        let (kind, reason) = if enabled {
            (BotEventKind::Enabled, "enabled by an operator")
        } else {
            (BotEventKind::Disabled, "disabled by an operator")
        };
        self.edit(bot, expected, kind, reason, |bot| Ok(edit::enabled(bot, enabled))).await
    }

    /// Restarts a bot that is otherwise unchanged, and with it clears its backoff, which belongs to the old specification.
    pub async fn restart(&self, bot: &BotId, expected: Option<BotRevision>) -> Result<BotView, CommandError> {
        let (kind, reason) = (BotEventKind::RestartRequested, "restart requested by an operator");
        self.edit(bot, expected, kind, reason, |bot| Ok(edit::restart(bot))).await
    }

    /// Says in words why a bot is in the state it is in, and what happens next.
    pub async fn explain(&self, bot: &BotId) -> Result<Explanation, CommandError> {
        let view = self.get(bot).await?;
        let unit = self.unit(bot).await;
        let facts = Facts {
            bot: &view.bot,
            status: &view.status,
            unit: unit.as_ref().map(Option::as_ref).map_err(ToString::to_string),
            executor: &self.executor.describe(),
            now: self.clock.now(),
        };
        Ok(why::explain(&facts))
    }

    /// The unit of a bot, as the executor sees it.
    pub async fn unit(&self, bot: &BotId) -> Result<Option<UnitStatus>, CommandError> {
        let unit = UnitId::bot(bot);
        Ok(self.executor.list(SERVICE).await?.into_iter().find(|status| status.id == unit))
    }

    /// Listens to what changes from now on.
    pub fn watch(&self) -> broadcast::Receiver<Notice> {
        self.notices.listen()
    }

    /// Reads, edits and writes a bot; again, if someone else was faster and the caller did not name a revision.
    async fn edit(
        &self,
        bot: &BotId,
        expected: Option<BotRevision>,
        kind: BotEventKind,
        reason: &str,
        edit: impl Fn(&Bot) -> Result<Bot, CommandError> + Send + Sync,
    ) -> Result<BotView, CommandError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let before = self.get(bot).await?;
            if let Some(expected) = expected.filter(|expected| *expected != before.bot.revision) {
                let (bot, found) = (bot.clone(), Some(before.bot.revision));
                tracing::debug!(%bot, expected = expected.0, "revision differs");
                return Err(CommandError::Conflict { bot, found });
            }
            let wanted = edit(&before.bot)?;
            if wanted == before.bot {
                return Ok(before);
            }
            match self.store.put(wanted).await.map_err(CommandError::from) {
                Ok(stored) => return self.done(stored, kind, reason).await,
                Err(CommandError::Conflict { .. }) if expected.is_none() && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What follows every stored change: the event, the notice and the bell.
    async fn done(&self, bot: Bot, kind: BotEventKind, reason: &str) -> Result<BotView, CommandError> {
        // First the bell: the change is stored and must be acted upon even if its event cannot be recorded.
        self.wake.ring();
        let event = self.event(kind, 0, reason);
        if let Err(error) = self.store.push_event(&bot.id, &event).await {
            tracing::warn!(bot = %bot.id, %error, "event was not recorded");
        }
        let view = self.view(bot).await?;
        let notice = Notice {
            bot: view.bot.id.clone(),
            status: Arc::new(BotStatus { events: Vec::new(), ..view.status.clone() }),
            event: Some(event),
        };
        self.notices.tell(notice);
        Ok(view)
    }

    async fn view(&self, bot: Bot) -> Result<BotView, CommandError> {
        let status = self.store.status(&bot.id).await?.unwrap_or_default();
        Ok(BotView { status: shown(&bot, status), bot })
    }

    fn event(&self, kind: BotEventKind, attempt: u64, reason: &str) -> BotEvent {
        BotEvent { at: self.clock.now(), kind, attempt, reason: reason.to_owned() }
    }
}
