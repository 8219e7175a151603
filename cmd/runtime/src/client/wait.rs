//! Waits until a bot runs, by its events.

use std::time::{Duration, Instant};

use the0_proto::bot::v1::{BotStatusResponse, GetBotStatusRequest, Phase, WatchEventsRequest};
use tonic::Code;

use super::{Client, answer, json};
use crate::{
    exit::{Exit, Failure},
    output,
};

/// How long a bot must have been seen running to count as one that runs: most mistakes show at once.
const STEADY: Duration = Duration::from_secs(1);

/// Where a bot was before something was asked of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    /// Its last attempt; 0 if there is no such bot.
    pub(super) attempt: u64,
    running: bool,
}

impl Position {
    /// The attempt that a start must go beyond: none, where it runs already.
    pub(super) fn if_running(self) -> u64 {
        if self.running { self.attempt.saturating_sub(1) } else { self.attempt }
    }
}

pub(super) async fn position(client: &mut Client, bot_id: &str) -> Result<Position, Failure> {
    match client.rpc.get_bot_status(GetBotStatusRequest { bot_id: bot_id.to_owned() }).await {
        Ok(status) => {
            let status = status.into_inner();
            Ok(Position { attempt: status.attempt, running: status.phase() == Phase::Running })
        }
        Err(status) if status.code() == Code::NotFound => Ok(Position::default()),
        Err(status) => Err(status.into()),
    }
}

/// Waits until an attempt after `attempt` runs, and goes on doing so for a moment, or has failed.
pub(super) async fn until_running(
    mut client: Client,
    bot_id: &str,
    attempt: u64,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let settled = tokio::time::timeout(timeout, settled(&mut client, bot_id, attempt)).await;
    let Ok(status) = settled else {
        let text =
            format!("{bot_id} does not run after {}s; see `runtime bots why {bot_id}`", timeout.as_secs());
        return Err(Failure::new(Exit::Timeout, text));
    };
    let status = status?;
    if client.json {
        output::json(&json::status(&status))?;
    }
    if status.phase() == Phase::Running {
        if !client.json {
            output::line(format!("{bot_id} runs (attempt {}, pid {})", status.attempt, status.pid))?;
        }
        return Ok(Exit::Ok);
    }
    let phase = json::phase(status.phase).replace('_', " ");
    Err(Failure::failed(format!("{bot_id} is {phase}: {}", status.reason))
        .and(format!("see `runtime bots why {bot_id}` and `runtime bots logs {bot_id}`")))
}

async fn settled(client: &mut Client, bot_id: &str, attempt: u64) -> Result<BotStatusResponse, Failure> {
    // Listening comes before looking, so that nothing can happen in between unseen.
    let watch = WatchEventsRequest { bot_id: bot_id.to_owned(), history: false };
    let mut events = answer(client.rpc.watch_events(watch).await)?;
    let mut running: Option<(u64, Instant)> = None;
    loop {
        let status =
            answer(client.rpc.get_bot_status(GetBotStatusRequest { bot_id: bot_id.to_owned() }).await)?;
        running = running.filter(|(since, _)| *since == status.attempt);
        let final_phase = match status.phase() {
            Phase::Running if status.attempt > attempt => {
                let (_, since) = running.get_or_insert((status.attempt, Instant::now()));
                since.elapsed() >= STEADY
            }
            // Pending after an attempt: it has ended without an error, and waits to be started again.
            Phase::BackingOff | Phase::Pending => status.attempt > attempt,
            Phase::Refused => true,
            Phase::Stopped => !status.enabled || status.attempt > attempt,
            Phase::Running | Phase::Unspecified | Phase::Starting | Phase::Stopping => false,
        };
        if final_phase {
            return Ok(status);
        }
        // A second look after a second in any case: phases change without an event too.
        let look = running.map_or(STEADY, |(_, since)| STEADY.saturating_sub(since.elapsed()));
        let next = tokio::time::timeout(look, events.message()).await;
        if let Ok(Ok(None)) = next {
            return Err(Failure::new(Exit::Unavailable, "the service is shutting down"));
        }
        if let Ok(Err(status)) = next {
            return Err(status.into());
        }
    }
}
