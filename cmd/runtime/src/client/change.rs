//! `runtime bots start`, `stop`, `restart`, `rm`.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use the0_proto::bot::v1::{DeleteBotRequest, RestartBotRequest, SetBotEnabledRequest, StopBotRequest};

use super::{Client, answer, json, wait};
use crate::{
    cli::WaitArgs,
    exit::{Exit, Failure},
    output,
    settings::quantity,
};

pub(super) async fn start(mut client: Client, bot_id: String, args: &WaitArgs) -> Result<Exit, Failure> {
    let timeout = quantity::duration(&args.timeout).map_err(Failure::usage)?;
    let before = wait::position(&mut client, &bot_id).await?;
    let bot = answer(client.rpc.set_bot_enabled(SetBotEnabledRequest { bot_id, enabled: true }).await)?;
    if args.wait {
        return wait::until_running(client, &bot.id, before.if_running(), timeout).await;
    }
    done(&client, &json::bot(&bot), &format!("{} is switched on", bot.id))
}

pub(super) async fn restart(mut client: Client, bot_id: String, args: &WaitArgs) -> Result<Exit, Failure> {
    let timeout = quantity::duration(&args.timeout).map_err(Failure::usage)?;
    let before = wait::position(&mut client, &bot_id).await?;
    let bot = answer(client.rpc.restart_bot(RestartBotRequest { bot_id }).await)?;
    if args.wait {
        return wait::until_running(client, &bot.id, before.attempt, timeout).await;
    }
    done(&client, &json::bot(&bot), &format!("{} is being restarted", bot.id))
}

pub(super) async fn stop(
    mut client: Client,
    bot_id: String,
    timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    let wait_ms = timeout.map_or(0, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let answer = answer(client.rpc.stop_bot(StopBotRequest { bot_id: bot_id.clone(), wait_ms }).await)?;
    let status = answer.status.unwrap_or_default();
    let how = status.last_exit.as_ref().map_or_else(String::new, |exit| format!(": {}", exit.summary));
    done(&client, &json::status(&status), &format!("{bot_id} is stopped{how}"))
}

pub(super) async fn remove(
    mut client: Client,
    bot_id: String,
    yes: bool,
    keep_data: bool,
) -> Result<Exit, Failure> {
    let what = if keep_data { "" } else { ", its logs and its state" };
    if !yes && !confirmed(&format!("remove bot {bot_id}{what}?"))? {
        return Err(Failure::failed("nothing was removed"));
    }
    answer(client.rpc.delete_bot(DeleteBotRequest { bot_id: bot_id.clone(), keep_data }).await)?;
    done(&client, &serde_json::json!({"bot_id": bot_id, "removed": true}), &format!("{bot_id} is removed"))
}

fn done(client: &Client, value: &serde_json::Value, text: &str) -> Result<Exit, Failure> {
    if client.json {
        output::json(value)?;
    } else {
        output::line(text)?;
    }
    Ok(Exit::Ok)
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} there is no terminal to ask on; say --yes")));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
