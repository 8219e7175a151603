//! `runtime execute` and what leads to it: no async runtime, no logging, nothing that takes time.

use std::path::Path;

use crate::{
    cli::Command,
    exit::{Exit, Failure},
};

/// What executors start with every bot, in the very words they use. Building the parser of the whole command line takes
/// most of a millisecond, and a start would pay it twice.
pub(crate) fn plainly_called() -> Option<Command> {
    let mut words = std::env::args_os().skip(1);
    match (words.next()?.to_str()?, words.next(), words.next()) {
        ("execute", None, None) => Some(Command::Execute(the0_agent::ExecuteArgs::default())),
        ("sandbox-launch", Some(file), None) if file == "-" => {
            Some(Command::SandboxLaunch { file: file.into() })
        }
        _ => None,
    }
}

/// Runs one attempt of a bot and ends as it ended.
pub(crate) fn execute(args: &the0_agent::ExecuteArgs) -> Exit {
    // Exit codes have eight bits; one that does not fit is a failure.
    Exit::Code(u8::try_from(the0_agent::execute(&args.paths)).unwrap_or(1))
}

/// Enters a sandbox and becomes the agent. Returns only if that fails.
pub(crate) fn sandbox_launch(file: &Path) -> Result<Exit, Failure> {
    match the0_executor::sandbox::launch(file) {
        Ok(never) => match never {},
        Err(error) => Err(Failure::from(anyhow::Error::new(error))),
    }
}
