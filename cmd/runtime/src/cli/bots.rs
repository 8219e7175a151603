//! `runtime bots …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ServerArgs;

/// `runtime bots`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, subcommand_required = true, disable_help_subcommand = true)]
#[command(after_help = crate::exit::HELP)]
pub(crate) struct BotsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) verb: BotsVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BotsVerb {
    /// Uploads a bot's code and runs it; an existing bot gets the new code and restarts
    Deploy(Box<DeployArgs>),
    /// Lists bots
    #[command(visible_alias = "list", after_help = "Example: runtime bots ls --phase running --json")]
    Ls {
        /// Only bots in this phase: pending, starting, running, backing-off, refused, stopping, stopped
        #[arg(long)]
        phase: Option<String>,
    },
    /// Shows a bot: definition, configuration (masked), limits and state
    #[command(after_help = "Example: runtime bots show my-bot")]
    Show {
        /// The bot
        bot: String,
        /// Shows the configuration as it is, keys included
        #[arg(long)]
        show_secrets: bool,
    },
    /// Shows a bot's state
    #[command(after_help = "Example: runtime bots status my-bot --json")]
    Status {
        /// The bot
        bot: String,
    },
    /// Switches a bot on
    #[command(after_help = "Example: runtime bots start my-bot --wait")]
    Start {
        /// The bot
        bot: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Switches a bot off and waits until its process is gone
    #[command(after_help = "Example: runtime bots stop my-bot")]
    Stop {
        /// The bot
        bot: String,
        /// How long to wait, as 30s; by default the bot's grace and ten seconds
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
    /// Restarts a bot at once, without waiting out its backoff
    #[command(after_help = "Example: runtime bots restart my-bot")]
    Restart {
        /// The bot
        bot: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stops a bot and removes it, its logs and its state
    #[command(after_help = "Example: runtime bots rm my-bot --yes")]
    Rm {
        /// The bot
        bot: String,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        /// Keeps logs and state on disk
        #[arg(long)]
        keep_data: bool,
    },
    /// Shows a bot's output
    #[command(
        after_help = "Examples:\n  runtime bots logs -f my-bot\n  runtime bots logs --previous --tail 50 my-bot"
    )]
    Logs(LogsArgs),
    /// Says why a bot is in the state it is in, and what happens next
    #[command(after_help = "Example: runtime bots why my-bot")]
    Why {
        /// The bot
        bot: String,
    },
    /// Shows or changes a bot's configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Shows what happened to a bot, or to all
    #[command(after_help = "Examples:\n  runtime bots events my-bot\n  runtime bots events -f")]
    Events {
        /// The bot; all bots if absent
        bot: Option<String>,
        /// Goes on with new events
        #[arg(long, short)]
        follow: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = concat!(
    "The directory holds bot.yaml: name, version, runtime, type, entrypoints, config, limits, network, env.\n\n",
    "Examples:\n  runtime bots deploy my-bot\n  runtime bots deploy my-bot --set symbol=BTC/USDT --memory 256Mi --wait\n",
    "  runtime bots deploy bundle.zip --id b1 --runtime python3.11 --config @config.json"
))]
pub(crate) struct DeployArgs {
    /// Directory with bot.yaml, or a ZIP or TAR.GZ bundle
    pub(crate) source: PathBuf,
    /// Name of the bot [default: the manifest's name]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Configuration: a JSON object, or @file
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) config: Option<String>,
    /// One key of the configuration; the value is JSON, or else text
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Environment variable of the bot
    #[arg(long = "env", value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// Memory limit, as 128Mi
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// CPU limit in cores, as 0.5
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<String>,
    /// Language, where there is no bot.yaml
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// File to run, where there is no bot.yaml
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// Version, where there is no bot.yaml
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Image in place of the runtime's own
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Fails if the bot exists
    #[arg(long)]
    pub(crate) create_only: bool,
    /// Does not start it
    #[arg(long)]
    pub(crate) disabled: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Waiting for a bot to run.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Waits until the bot runs, or has failed
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, as 60s
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) timeout: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The bot
    pub(crate) bot: String,
    /// Goes on with new lines, over restarts
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Output of the attempt before the newest
    #[arg(long, conflicts_with = "attempt")]
    pub(crate) previous: bool,
    /// Output of this attempt
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u64>,
    /// Only the last so many lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Shows when each line was written
    #[arg(long)]
    pub(crate) timestamps: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Prints the configuration as JSON, masked
    #[command(after_help = "Example: runtime bots config get my-bot --show-secrets > config.json")]
    Get {
        /// The bot
        bot: String,
        /// Shows it as it is, keys included
        #[arg(long)]
        show_secrets: bool,
    },
    /// Replaces the configuration, or merges into it; a change restarts the bot
    #[command(after_help = concat!(
        "Examples:\n  runtime bots config set my-bot symbol=ETH/USDT fast=5\n",
        "  runtime bots config set my-bot @config.json\n",
        "  runtime bots config set my-bot --merge '{\"symbol\": null}'"
    ))]
    Set {
        /// The bot
        bot: String,
        /// A JSON object or @file, which replaces the configuration; or keys with values (JSON, or else text), which are merged
        #[arg(value_name = "JSON|@FILE|KEY=VALUE", required = true)]
        values: Vec<String>,
        /// Merges a JSON object instead of replacing; a null deletes a key
        #[arg(long)]
        merge: bool,
        /// Writes only if the bot still has this revision
        #[arg(long, value_name = "N")]
        revision: Option<i64>,
    },
}
