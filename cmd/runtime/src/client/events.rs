//! `runtime bots events`.

use std::time::Duration;

use the0_proto::bot::v1::{BotEvent, WatchEventsRequest};

use super::{Client, answer, json};
use crate::{
    exit::{Exit, Failure},
    output::{self, times},
};

/// Silence after which the history is taken to be over: the stream has no mark between history and news.
const HISTORY_QUIET: Duration = Duration::from_millis(300);

pub(super) async fn run(mut client: Client, bot: Option<String>, follow: bool) -> Result<Exit, Failure> {
    let request = WatchEventsRequest { bot_id: bot.unwrap_or_default(), history: true };
    let mut events = answer(client.rpc.watch_events(request).await)?;
    loop {
        let next = if follow {
            events.message().await?
        } else {
            match tokio::time::timeout(HISTORY_QUIET, events.message()).await {
                Ok(event) => event?,
                Err(_) => return Ok(Exit::Ok),
            }
        };
        let Some(event) = next else { return Ok(Exit::Ok) };
        show(&client, &event)?;
    }
}

fn show(client: &Client, event: &BotEvent) -> Result<(), Failure> {
    if client.json {
        return output::json_line(&json::event(event));
    }
    let kind = json::kind(event.kind).replace('_', " ");
    let attempt = if event.attempt == 0 { String::new() } else { format!(" #{}", event.attempt) };
    output::line(format!(
        "{}  {}{attempt}  {kind}: {}",
        times::text(event.at.as_ref()),
        event.bot_id,
        event.reason
    ))
}
