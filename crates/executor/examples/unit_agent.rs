//! What the tests put into units as `runtime`: the agent, and the step before bubblewrap.

use std::{path::Path, process::exit};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["execute"] => exit(the0_agent::execute(&the0_agent::AgentPaths::default())),
        ["sandbox-launch", order] => {
            let Err(error) = the0_executor::sandbox::launch(Path::new(order));
            eprintln!("{error}");
            exit(125)
        }
        _ => {
            eprintln!("usage: unit_agent execute | sandbox-launch ORDER");
            exit(2)
        }
    }
}
