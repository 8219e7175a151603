//! SQLite: one file for all services of a single host.
//!
//! ```text
//! store (async) ──write(closure)──▶ bounded queue ──▶ one thread, one connection ──▶ runtime.db + runtime.db-wal
//!               ◀──── reply ──────
//! ```
//!
//! One thread does one thing after the other, so writes of this process never contend with each other. Another process
//! (an operator's `sqlite3`, a second handle) is waited for, up to the busy timeout.

mod database;
mod error;
mod open;
mod schema;
pub mod segments;
pub mod terms;

pub use database::{Abort, Database};
pub use error::DatabaseError;
pub use open::Options;
pub use rusqlite;

#[cfg(test)]
mod tests;
