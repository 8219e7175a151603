//! Live bots: what is stored of them, what should run, what became of it, and what an operator may do about it.
//!
//! ```text
//! operator ─▶ BotCommands ─▶ BotStore ◀── Bots (DesiredState) ◀──▶ core's reconciler ◀──▶ Executor
//!                 └── Wake rings ─────────────────────────────────────▲
//! ```
//!
//! A verb never starts or stops anything: it changes the stored bot and rings. The reconcile pass looks at everything that
//! is stored and acts; what comes of it is reported back, turned into a [`BotStatus`](the0_model::BotStatus) by
//! [`history`], stored, and told to watchers as a [`Notice`].
//!
//! This crate has never heard of Docker or Kubernetes.

pub mod bots;
pub mod commands;
pub mod desired;
pub mod fields;
pub mod grpc;
pub mod history;
pub mod notice;
mod progress;
pub mod store;
pub mod why;

pub use bots::Bots;
pub use commands::{BotCommands, BotView, CommandError, DeployBot, Deployed};
pub use fields::FieldFault;
pub use notice::{Notice, Notices};
pub use store::{BotStore, SqliteBotStore, StoreError};
pub use why::Explanation;

/// Name of the service, stored with its units.
pub const SERVICE: &str = "bot-runner";
