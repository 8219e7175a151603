//! The `runtime` binary: one file that is the service, its command line, and PID 1 of every unit.

mod cli;
mod client;
mod dev;
mod exit;
mod init;
mod output;
mod settings;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failure},
};

fn main() -> ExitCode {
    // Nothing may be set up before this point: the agent is started with every bot, and its start time counts.
    let parsed = match wire::agent::plainly_called() {
        Some(command) => Ok(command),
        None => Cli::try_parse().map(|cli| cli.command),
    };
    match parsed {
        Ok(command) => run(command).unwrap_or_else(Failure::show).into(),
        Err(error) => {
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if asked { Exit::Ok.into() } else { Exit::Usage.into() }
        }
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Execute(args) => Ok(wire::agent::execute(&args)),
        Command::SandboxLaunch { file } => wire::agent::sandbox_launch(&file),
        Command::Dev(args) => dev::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Bots(args) => client::run(args),
        Command::Status(args) => client::run_status(&args),
        Command::Version(args) => output::version::show(args.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "runtime", &mut script);
            output::bytes(&script)
        }
    }
}
