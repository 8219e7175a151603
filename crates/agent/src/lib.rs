//! The agent: PID 1 of every unit, the parent of every bot.
//!
//! `runtime execute` reads what the executor left in the unit's input directory, starts the user's program, keeps its
//! output line by line, passes a stop on to it, ends it when the worker's lease runs out, and writes how it all ended.
//! It is synchronous on purpose: it runs next to every bot, so its memory and its start count a thousand times.
//!
//! ```text
//! unit.json ─▶ launch, environment (pure) ─▶ spawn ─▶ supervisor (pure): signal | child | lease | time ─▶ TERM, KILL, done
//!                                             │ stdout, stderr                                              │
//!                                             ▼                                                             ▼
//!                               output thread ─▶ output.log, output.1.log            judge (pure) ─▶ exit.json, exit code
//! ```
//!
//! Two threads, and the split matters: only the output thread ever waits for the disk while the bot runs, so a slow or
//! full disk cannot keep the dead man's switch from acting.

mod clock;
mod environment;
mod execute;
mod harden;
mod inputs;
mod judge;
mod launch;
mod lines;
mod memory;
mod output;
mod paths;
mod record;
mod rotate;
mod spawn;
mod supervise;
mod watch;

pub mod lease;
pub mod lease_file;
pub mod wrappers;

pub use clock::boottime_ms;
pub use execute::{AGENT_FAULT, FENCED, NOT_STARTED, execute};
pub use paths::{AgentPaths, ExecuteArgs};
