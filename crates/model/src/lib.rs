//! The vocabulary of the runtime: what a bot, a unit, a segment and an exit *are*.
//!
//! Everything here is a plain value. There is no IO, no clock and no async runtime among the dependencies, so what is
//! written here is pure by construction. Read this crate first.
//!
//! ```text
//! Bot (a stored document) ──▶ UnitSpec (all there is to know to run it) ──▶ Start (unit + attempt, handed to the agent)
//!                                   │ digest()                                        │
//!                                   ▼                                                 ▼
//!                              SpecDigest (a label; a change restarts the unit)     Exit (how the attempt ended)
//! ```

pub mod agent;
pub mod bot;
pub mod exit;
pub mod id;
pub mod limits;
pub mod log;
pub mod objects;
pub mod runtime;
pub mod secret;
pub mod status;
pub mod unit;

pub use agent::AgentSpec;
pub use bot::{Bot, BotRevision};
pub use exit::{Cause, Exit};
pub use id::{BotId, Generation, IdError, SegmentId, SpecDigest, UnitId, WorkerId};
pub use limits::{Limits, LimitsError, Network};
pub use log::{LogLine, LogStream};
pub use runtime::{Runtime, UnknownRuntime};
pub use secret::Secret;
pub use status::{BotEvent, BotEventKind, BotPhase, BotStatus};
pub use unit::{CodeRef, UnitKind, UnitSpec};
