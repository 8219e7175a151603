//! Tasks with a name, an owner and an end; signals; health.

mod tasks;

pub use tasks::{OnError, Tasks};
