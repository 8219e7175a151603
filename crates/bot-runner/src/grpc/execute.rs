//! `ExecuteBot`: every change of a bot's state, until it has stopped for good.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use the0_core::Clock;
use the0_model::{BotId, BotPhase};
use the0_proto::bot::v1 as pb;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};
use tonic::Status;

use super::{convert, status::of_command, validate::Execution};
use crate::{BotCommands, BotView, CommandError, Notice};

/// Longest execution that is watched. The bot itself goes on.
const WATCHED_FOR: Duration = Duration::from_hours(24);

/// Deploys what is asked for and streams what becomes of it.
pub(super) async fn results(
    commands: BotCommands,
    clock: std::sync::Arc<dyn Clock>,
    execution: Execution,
) -> Result<impl Stream<Item = Result<pb::BotExecutionResult, Status>> + Send + 'static, Status> {
    // Listening comes before acting, so that nothing falls between.
    let notices = commands.watch();
    if let Some((deploy, code)) = &execution.deploy {
        commands.deploy(deploy, code.as_ref()).await.map_err(|error| of_command(&error))?;
    }
    commands.set_enabled(&execution.bot, true, None).await.map_err(|error| of_command(&error))?;
    let watched = Watched {
        commands,
        clock,
        notices,
        bot: execution.bot,
        execution_id: execution.name,
        until: Instant::now() + WATCHED_FOR,
        last: None,
        over: false,
    };
    Ok(stream::unfold(watched, |mut watched| async move {
        let next = watched.next().await?;
        Some((next, watched))
    })
    .boxed())
}

struct Watched {
    commands: BotCommands,
    clock: std::sync::Arc<dyn Clock>,
    notices: Receiver<Notice>,
    bot: BotId,
    execution_id: String,
    until: Instant,
    last: Option<(BotPhase, u64, String)>,
    over: bool,
}

impl Watched {
    async fn next(&mut self) -> Option<Result<pb::BotExecutionResult, Status>> {
        while !self.over {
            // Always the stored state, never the notice's: one that was lost is then no loss.
            match self.commands.get(&self.bot).await {
                Ok(view) => {
                    if let Some(result) = self.news(&view) {
                        return Some(Ok(result));
                    }
                }
                Err(CommandError::NotFound { .. }) => return None,
                Err(error) => {
                    self.over = true;
                    return Some(Err(of_command(&error)));
                }
            }
            if !self.rung().await {
                return None;
            }
        }
        None
    }

    fn news(&mut self, view: &BotView) -> Option<pb::BotExecutionResult> {
        let status = &view.status;
        let now = (status.phase, status.attempt, status.reason.clone());
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now);
        self.over = status.phase == BotPhase::Stopped;
        let ended = matches!(status.phase, BotPhase::BackingOff | BotPhase::Refused | BotPhase::Stopped);
        Some(pb::BotExecutionResult {
            execution_id: self.execution_id.clone(),
            bot_id: self.bot.to_string(),
            phase: convert::phase(status.phase).into(),
            reason: status.reason.clone(),
            attempt: status.attempt,
            exit: status.last_exit.as_ref().filter(|_| ended).map(convert::exit),
            at: Some(convert::time(self.clock.now())),
        })
    }

    /// Waits for a notice of this bot. False when the time is up.
    async fn rung(&mut self) -> bool {
        loop {
            match tokio::time::timeout_at(self.until, self.notices.recv()).await {
                Ok(Ok(notice)) if notice.bot != self.bot => {}
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => return true,
                Ok(Err(RecvError::Closed)) | Err(_) => return false,
            }
        }
    }
}
