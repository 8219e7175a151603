//! `runtime bots show` and `runtime bots status`.

use the0_core::{Clock, SystemClock};
use the0_proto::bot::v1::{Bot, BotStatusResponse, GetBotRequest, GetBotStatusRequest};

use super::{Client, answer, json, list};
use crate::{
    exit::{Exit, Failure},
    output::{
        self,
        table::{self, Field},
        times,
    },
};

pub(super) async fn bot(mut client: Client, bot_id: String, show_secrets: bool) -> Result<Exit, Failure> {
    let request = GetBotRequest { bot_id, show_secrets, usage: true };
    let bot = answer(client.rpc.get_bot(request).await)?;
    if client.json {
        output::json(&json::bot(&bot))?;
        return Ok(Exit::Ok);
    }
    let mut rows = definition(&bot);
    rows.extend(state(&bot.status.clone().unwrap_or_default()));
    output::line(table::pairs(client.style, rows))?;
    if !bot.config_json.is_empty() {
        output::line(format!(
            "config{}",
            if show_secrets { "" } else { "  (texts masked; --show-secrets shows them)" }
        ))?;
        output::json(&json::config(&bot))?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn status(mut client: Client, bot_id: String) -> Result<Exit, Failure> {
    let status = answer(client.rpc.get_bot_status(GetBotStatusRequest { bot_id }).await)?;
    if client.json {
        output::json(&json::status(&status))?;
    } else {
        let mut rows = vec![("bot", Field::from(status.bot_id.as_str()))];
        rows.extend(state(&status));
        output::line(table::pairs(client.style, rows))?;
    }
    Ok(Exit::Ok)
}

fn definition(bot: &Bot) -> Vec<(&'static str, Field)> {
    let limits = bot.limits.unwrap_or_default();
    vec![
        ("bot", bot.id.as_str().into()),
        ("name", bot.name.as_str().into()),
        ("version", bot.version.as_str().into()),
        ("runtime", bot.runtime.as_str().into()),
        ("entrypoint", bot.entrypoint.as_str().into()),
        ("code", bot.code_location.as_str().into()),
        ("image", bot.image.as_str().into()),
        ("network", bot.network.as_str().into()),
        (
            "limits",
            format!(
                "memory {}, cpu {}.{:03}, pids {}",
                table::mebibytes(limits.memory_bytes),
                limits.cpu_millis / 1000,
                limits.cpu_millis % 1000,
                limits.pids
            )
            .into(),
        ),
        ("stop grace", format!("{}s", bot.stop_grace_ms / 1000).into()),
        ("revision", bot.revision.to_string().into()),
    ]
}

fn state(status: &BotStatusResponse) -> Vec<(&'static str, Field)> {
    let phase = json::phase(status.phase);
    let now = SystemClock.now();
    let unless_zero = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    let since = |at: Option<&prost_types::Timestamp>| match times::text(at) {
        text if text.is_empty() => text,
        text => format!("{text} ({} ago)", times::ago(at, now)),
    };
    let uses = status.usage.as_ref().map_or_else(String::new, |usage| {
        let cpu = usage.cpu_micros / 1000;
        format!("memory {}, cpu {cpu} ms, {} processes", table::mebibytes(usage.memory_bytes), usage.pids)
    });
    let last_exit = status.last_exit.as_ref().map_or_else(String::new, |exit| exit.summary.clone());
    vec![
        ("phase", Field::painted(list::paint(&phase), phase.replace('_', " "))),
        ("reason", status.reason.as_str().into()),
        ("enabled", status.enabled.to_string().into()),
        ("attempt", status.attempt.to_string().into()),
        ("restarts", status.restarts.to_string().into()),
        ("failures in a row", unless_zero(status.failures.into()).into()),
        ("started", since(status.started_at.as_ref()).into()),
        ("next attempt", times::text(status.not_before.as_ref()).into()),
        ("pid", unless_zero(status.pid.into()).into()),
        ("uses", uses.into()),
        ("last exit", last_exit.into()),
    ]
}
