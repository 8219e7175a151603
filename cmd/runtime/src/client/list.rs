//! `runtime bots ls`.

use the0_core::{Clock, SystemClock};
use the0_proto::bot::v1::{Bot, ListBotsRequest};

use super::{Client, answer, json};
use crate::{
    exit::{Exit, Failure},
    output::{
        self, Paint,
        table::{self, Field},
        times,
    },
};

/// Bots asked for at a time.
const PAGE: u32 = 500;

pub(super) async fn run(mut client: Client, phase: Option<&str>) -> Result<Exit, Failure> {
    let phase = match phase {
        Some(text) => json::phase_of(text).ok_or_else(|| {
            Failure::usage(format!("--phase {text} is not known; see `runtime bots ls --help`"))
        })?,
        None => the0_proto::bot::v1::Phase::Unspecified,
    };
    let mut bots = vec![];
    let mut page_token = String::new();
    loop {
        let request = ListBotsRequest { page_size: PAGE, page_token, phase: phase.into() };
        let page = answer(client.rpc.list_bots(request).await)?;
        bots.extend(page.bots);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if client.json {
        output::json(&bots.iter().map(json::bot).collect())?;
    } else if bots.is_empty() {
        output::line("no bots; deploy one with `runtime bots deploy DIR`")?;
    } else {
        let now = SystemClock.now();
        let rows = bots.iter().map(|bot| row(bot, now)).collect();
        output::line(table::with_header(
            client.style,
            &["id", "phase", "runtime", "version", "up", "restarts", "reason"],
            rows,
        ))?;
    }
    Ok(Exit::Ok)
}

fn row(bot: &Bot, now: jiff::Timestamp) -> Vec<Field> {
    let status = bot.status.clone().unwrap_or_default();
    let phase = json::phase(status.phase);
    let up = if phase == "running" { times::ago(status.started_at.as_ref(), now) } else { String::new() };
    vec![
        bot.id.as_str().into(),
        Field::painted(paint(&phase), phase.replace('_', " ")),
        bot.runtime.as_str().into(),
        bot.version.as_str().into(),
        up.into(),
        status.restarts.to_string().into(),
        shortened(&status.reason).into(),
    ]
}

/// The colour of a phase.
pub(super) fn paint(phase: &str) -> Paint {
    match phase {
        "running" => Paint::Good,
        "backing_off" | "refused" => Paint::Bad,
        "stopped" => Paint::Dim,
        _ => Paint::Busy,
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 {
        return line.to_owned();
    }
    line.chars().take(59).chain(['…']).collect()
}
