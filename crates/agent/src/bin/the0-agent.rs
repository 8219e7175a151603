//! The agent alone: `the0-agent [--input-dir …]`. Units run it as `runtime execute`; the tests run it as this, because
//! it is small and always as new as they are.

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: the0_agent::ExecuteArgs,
}

fn main() {
    std::process::exit(the0_agent::execute(&Cli::parse().args.paths));
}
