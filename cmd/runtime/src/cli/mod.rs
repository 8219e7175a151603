//! The command line and nothing else: what may be typed, and its help.

mod bots;
mod dev;

pub(crate) use bots::*;
pub(crate) use dev::{DevArgs, OPTIONS};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Runs trading bots in isolation, on a laptop or a fleet.
#[derive(Debug, Parser)]
#[command(
    name = "runtime",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 110,
    after_help = crate::exit::HELP,
    after_long_help = concat!(
        "Examples:\n  runtime dev                       start a service on this machine\n",
        "  runtime init my-bot               write a sample bot\n",
        "  runtime bots deploy my-bot        run it\n",
        "  runtime bots logs -f my-bot       see what it says\n\n",
        "Exit codes: 0 ok, 1 failed, 2 wrong usage or configuration, 3 not found, 4 conflict or already exists, ",
        "5 service unavailable, 6 timeout, 130 interrupted"
    )
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a service on this machine: store, executor and API in one process
    Dev(Box<DevArgs>),
    /// Writes a sample bot
    Init(InitArgs),
    /// Deploys, shows and changes bots
    Bots(BotsArgs),
    /// Describes the service: store, objects, executor, protections, last pass
    Status(StatusArgs),
    /// Shows the version
    Version(VersionArgs),
    /// Prints a completion script for a shell
    #[command(after_help = "Example: runtime completions bash > /etc/bash_completion.d/runtime")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Runs one attempt of a bot, as PID 1 of its unit; ends as the bot ended
    Execute(the0_agent::ExecuteArgs),
    /// Enters a sandbox and becomes the agent
    #[command(hide = true)]
    SandboxLaunch {
        /// What to enter
        file: PathBuf,
    },
}

/// Where the service is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Address of the service
    #[arg(
        long,
        global = true,
        env = "THE0_SERVER",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    pub(crate) server: String,
    /// Prints JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: runtime status --json")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  runtime init my-bot\n  runtime init --runtime nodejs20 alerts")]
pub(crate) struct InitArgs {
    /// Directory to write to; created if it is not there
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Language of the sample: python3.11 or nodejs20
    #[arg(long, default_value = "python3.11")]
    pub(crate) runtime: String,
}
