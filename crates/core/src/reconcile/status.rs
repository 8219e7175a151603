//! What the last pass saw and decided, for `/status` and for tests.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

/// The last pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PassStatus {
    /// Its number, from 1; 0 before the first.
    pub number: u64,
    /// When it began.
    pub at: Option<Timestamp>,
    /// How long looking and deciding took, answers of the store and the executor included.
    pub took: Duration,
    /// What it decided, in one line.
    pub plan: Cow<'static, str>,
    /// Stops that wait for a second look, and why.
    pub held: Option<String>,
    /// Why it could not see everything. Nothing was stopped for it.
    pub error: Option<String>,
    /// Units wanted.
    pub wanted: usize,
    /// Units found running or being started.
    pub running: usize,
    /// Units that were being acted on when it began, or rested after a failed action.
    pub busy: usize,
}
