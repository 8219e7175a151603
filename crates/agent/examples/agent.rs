//! The agent alone, as the tests run it: `agent [--input-dir …]`.

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: the0_agent::ExecuteArgs,
}

fn main() {
    std::process::exit(the0_agent::execute(&Cli::parse().args.paths));
}
