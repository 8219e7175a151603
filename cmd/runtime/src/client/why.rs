//! `runtime bots why`.

use serde_json::json;
use the0_proto::bot::v1::{BotEvent, ExplainBotRequest};

use super::{Client, answer, json};
use crate::{
    exit::{Exit, Failure},
    output::{self, Paint, table, times},
};

/// Events shown below the explanation.
const EVENTS_SHOWN: usize = 8;

pub(super) async fn run(mut client: Client, bot_id: String) -> Result<Exit, Failure> {
    let why = answer(client.rpc.explain_bot(ExplainBotRequest { bot_id }).await)?;
    if client.json {
        output::json(&json!({
            "summary": why.summary, "details": why.details, "advice": why.advice,
            "status": why.status.as_ref().map(json::status),
            "events": why.events.iter().map(json::event).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    output::line(&why.summary)?;
    for detail in &why.details {
        output::line(format!("  {detail}"))?;
    }
    for advice in &why.advice {
        output::line(client.style.paint(Paint::Busy, &format!("  → {advice}")))?;
    }
    if !why.events.is_empty() {
        let newest = &why.events[why.events.len().saturating_sub(EVENTS_SHOWN)..];
        output::line("")?;
        output::line(events(&client, newest))?;
    }
    Ok(Exit::Ok)
}

fn events(client: &Client, events: &[BotEvent]) -> String {
    let rows = events
        .iter()
        .map(|event| {
            let attempt = if event.attempt == 0 { String::new() } else { event.attempt.to_string() };
            vec![
                times::text(event.at.as_ref()).into(),
                json::kind(event.kind).replace('_', " ").into(),
                attempt.into(),
                event.reason.as_str().into(),
            ]
        })
        .collect();
    table::with_header(client.style, &["at", "event", "attempt", "reason"], rows)
}
