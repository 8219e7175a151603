//! The engine: decides what must start and stop, and drives an executor until the world looks like that.
//!
//! A service needs to know two things it cannot know by itself: which part of the world is its own ([`Scope`]) and how to
//! run something ([`Executor`]). Everything else (what should run, what that means for storage) is the service
//! ([`DesiredState`]). The deployment modes differ only in what is plugged in here.
//!
//! ```text
//! DesiredState::desired(scope) ─┐
//! Executor::list(service) ──────┴─▶ ours ─▶ plan ─▶ guard ─▶ actions ─▶ Executor::{start,stop} ─▶ DesiredState::report
//!        ▲                                                                      │
//!        └───────────────────────── Wake: something may have changed ◀──────────┘
//! ```
//!
//! This crate has never heard of bots, databases, Docker or Kubernetes.

pub mod clock;
pub mod executor;
#[cfg(any(test, feature = "fakes"))]
pub mod fakes;
pub mod lifecycle;
pub mod reconcile;
pub mod scope;
pub mod wake;

pub use clock::{Clock, SystemClock};
pub use executor::{Executor, ExecutorError, Owner, Phase, UnitStatus};
pub use lifecycle::{Health, OnError, Tasks};
pub use reconcile::{
    Backoff, Desired, DesiredState, Outcome, PassStatus, Plan, Reconciler, ReconcilerConfig, StopReason,
};
pub use scope::{Grant, Scope};
pub use wake::Wake;
