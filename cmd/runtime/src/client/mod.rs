//! The operator's side: each verb is one file, all over gRPC.

mod bundle;
mod change;
mod config;
mod connect;
mod deploy;
mod events;
mod json;
mod list;
mod logs;
mod manifest;
mod service;
mod show;
mod wait;
mod why;

use std::future::Future;

use the0_proto::bot::v1::bot_runner_client::BotRunnerClient;
use tonic::transport::Channel;

use crate::{
    cli::{BotsArgs, BotsVerb, ConfigVerb, ServerArgs, StatusArgs},
    exit::{Exit, Failure},
    output::Style,
    settings::quantity,
};

/// A connection and how to answer.
#[derive(Debug)]
pub(crate) struct Client {
    rpc: BotRunnerClient<Channel>,
    json: bool,
    style: Style,
}

/// `runtime bots …`.
pub(crate) fn run(args: BotsArgs) -> Result<Exit, Failure> {
    block_on(async move {
        // What can be refused without the service is refused first.
        let verb = args.verb;
        if let BotsVerb::Deploy(deploy) = verb {
            let bundle = deploy::prepare(&deploy)?;
            return deploy::run(Client::connect(&args.server).await?, &deploy, bundle).await;
        }
        dispatch(Client::connect(&args.server).await?, verb).await
    })
}

/// `runtime status`.
pub(crate) fn run_status(args: &StatusArgs) -> Result<Exit, Failure> {
    block_on(async { service::run(Client::connect(&args.server).await?).await })
}

async fn dispatch(client: Client, verb: BotsVerb) -> Result<Exit, Failure> {
    match verb {
        BotsVerb::Deploy(_) => Err(Failure::failed("deploy is prepared before connecting")),
        BotsVerb::Ls { phase } => list::run(client, phase.as_deref()).await,
        BotsVerb::Show { bot, show_secrets } => show::bot(client, bot, show_secrets).await,
        BotsVerb::Status { bot } => show::status(client, bot).await,
        BotsVerb::Start { bot, wait } => change::start(client, bot, &wait).await,
        BotsVerb::Stop { bot, timeout } => {
            let timeout = timeout.as_deref().map(quantity::duration).transpose().map_err(Failure::usage)?;
            change::stop(client, bot, timeout).await
        }
        BotsVerb::Restart { bot, wait } => change::restart(client, bot, &wait).await,
        BotsVerb::Rm { bot, yes, keep_data } => change::remove(client, bot, yes, keep_data).await,
        BotsVerb::Logs(args) => logs::run(client, args).await,
        BotsVerb::Why { bot } => why::run(client, bot).await,
        BotsVerb::Config(ConfigVerb::Get { bot, show_secrets }) => {
            config::get(client, bot, show_secrets).await
        }
        BotsVerb::Config(ConfigVerb::Set { bot, values, merge, revision }) => {
            config::set(client, bot, &values, merge, revision).await
        }
        BotsVerb::Events { bot, follow } => events::run(client, bot, follow).await,
    }
}

/// Runs a verb on one thread, until it is done or Ctrl-C comes.
fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = verb => done,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        }
    });
    // A question on standard input may still be waiting for its answer in a thread.
    runtime.shutdown_background();
    done
}

/// The server's answer without its wrapping, or why there is none.
fn answer<T>(response: Result<tonic::Response<T>, tonic::Status>) -> Result<T, Failure> {
    Ok(response?.into_inner())
}

/// The connection is the caller's own until the verb ends.
impl Client {
    async fn connect(server: &ServerArgs) -> Result<Self, Failure> {
        let channel = connect::channel(&server.server).await?;
        Ok(Self { rpc: connect::client(channel), json: server.json, style: Style::detect() })
    }
}
