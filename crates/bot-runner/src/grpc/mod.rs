//! `the0.bot.v1.BotRunner`: the only module that touches its generated types.
//!
//! Each answer is a validated request handed to [`BotCommands`](crate::BotCommands) or to the executor, and converted back.
//! Requests are checked whole: an `INVALID_ARGUMENT` names every field that is wrong.

mod convert;
mod deploy;
mod execute;
mod logs;
mod mask;
mod service;
mod status;
mod validate;
mod watch;

pub use deploy::{BUNDLE_BYTES_MAX, Bundles, CHUNK_BYTES_MAX};
pub use service::{BotRunnerService, ServiceInfo};

/// Largest request message, in bytes: a configuration of the largest size, escaped, with room to spare. Larger ones are cut
/// off before they are held in memory.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
