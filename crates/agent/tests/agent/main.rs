//! The agent with real bots: every test starts it as a process of its own.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach their helpers")]

mod ends;
mod lease;
mod node;
mod output;
mod pid1;
mod python;
mod rig;
mod stops;
