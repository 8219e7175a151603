//! Tasks with a name, an owner and an end; signals; health.

mod health;
pub mod signals;
mod tasks;

pub use health::{Health, Reasons};
pub use tasks::{OnError, Tasks};
