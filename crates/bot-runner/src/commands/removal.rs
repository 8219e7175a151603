//! The verbs that wait until a bot is gone: stop and delete.

use std::{sync::Arc, time::Duration};

use the0_model::{Bot, BotEventKind, BotId, UnitId, bot::STOP_GRACE_MS_DEFAULT};
use tokio::time::Instant;

use super::{BotCommands, BotView, CommandError};
use crate::Notice;

/// Added to a bot's stop grace when its end is waited for.
const STOP_SLACK: Duration = Duration::from_secs(10);
impl BotCommands {
    /// Disables a bot and waits until its process is gone, for at most `wait` (absent: its stop grace and ten seconds).
    pub async fn stop(&self, bot: &BotId, wait: Option<Duration>) -> Result<BotView, CommandError> {
        let stopped = self.set_enabled(bot, false, None).await?;
        self.gone(&stopped.bot, wait).await?;
        self.get(bot).await
    }

    /// Stops a bot, waits until its process is gone, removes it and, unless `keep_data`, its state and logs.
    ///
    /// In this order a crash in between leaves a disabled bot that can be deleted again, and never state without a bot
    /// that a later bot of the same id would find.
    pub async fn delete(&self, bot: &BotId, keep_data: bool) -> Result<(), CommandError> {
        let unit = UnitId::bot(bot);
        let stopped = match self.set_enabled(bot, false, None).await {
            Ok(stopped) => stopped.bot,
            Err(error @ CommandError::NotFound { .. }) => {
                // What an interrupted deletion may have left.
                if !keep_data && self.unit(bot).await?.is_none() {
                    self.executor.purge(&unit).await?;
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        self.gone(&stopped, None).await?;
        if !self.store.remove(bot, Some(stopped.revision)).await? {
            return Err(CommandError::NotFound { bot: bot.clone() });
        }
        if !keep_data {
            self.executor.purge(&unit).await?;
        }
        let event = self.event(BotEventKind::Deleted, 0, "deleted by an operator");
        self.notices.tell(Notice { bot: bot.clone(), status: Arc::default(), event: Some(event) });
        self.wake.ring();
        Ok(())
    }

    /// Waits until the unit of a disabled bot is gone and nothing decided before can start it any more.
    async fn gone(&self, bot: &Bot, wait: Option<Duration>) -> Result<(), CommandError> {
        let grace = bot.runtime.stop_grace_ms.unwrap_or(STOP_GRACE_MS_DEFAULT);
        let wait = wait.unwrap_or(Duration::from_millis(grace) + STOP_SLACK);
        let version = self.store.version().await?;
        let started = Instant::now();
        // Asked for rather than told: a notice may be lost, and nothing is told while the reconciler is not running.
        let mut pause = Duration::from_millis(5);
        let mut seen_at = None;
        loop {
            self.wake.ring();
            let looks = self.progress.looks_at(version);
            // The reconciler has seen the change, and looked again since: a start that was decided on before has by then
            // been reported as under way, has ended, or will not happen.
            let is_settled =
                seen_at.is_some_and(|seen| looks > Some(seen)) && !self.progress.is_starting(&bot.id);
            if is_settled && self.unit(&bot.id).await?.is_none() {
                return Ok(());
            }
            seen_at = seen_at.or(looks);
            if started.elapsed() >= wait {
                return Err(CommandError::StillStopping { bot: bot.id.clone(), waited: wait });
            }
            tokio::time::sleep(pause.min(wait.saturating_sub(started.elapsed()))).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }
}
