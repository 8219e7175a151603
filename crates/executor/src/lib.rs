//! Runs units: Docker and the sandbox behind the engine's [`Executor`](the0_core::Executor).
//!
//! Both lay out the same folders, show a unit the same paths and read its output from the same files, so that a unit
//! cannot tell which of them runs it, and neither can whoever asks for its logs.
//!
//! ```text
//! UnitSpec ──▶ provision (code, state, an attempt's folders) ──▶ docker | sandbox ──▶ agent ──▶ bot
//!                                                                                      │
//! logs ◀── journal (CRI records, followed by inotify) ◀── units/<unit>/attempts/<n> ◀──┘
//! ```

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod docker;
pub mod journal;
pub mod labels;
pub mod launch;
pub mod locks;
pub mod provision;
mod remove;
pub mod sandbox;
pub mod units;

pub use provision::{AgentOptions, Prepared, Provision, RunAs};
pub use units::{AttemptDir, UnitDir, UnitsDir};
