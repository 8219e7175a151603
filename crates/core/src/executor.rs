//! The seam to whatever runs units: Docker, the sandbox, a fake.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use the0_model::{Exit, Generation, LogLine, SegmentId, SpecDigest, UnitId, UnitSpec, WorkerId};

/// Runs units.
///
/// Every implementation passes one contract suite (`the0-executor`'s `contract`). Units outlive the process that started
/// them; they are found again by [`list`](Executor::list).
#[async_trait]
pub trait Executor: Send + Sync + fmt::Debug + 'static {
    /// Makes the unit run. Does nothing if it already runs with the same digest. An ended unit of the same id must have
    /// been removed by [`stop`](Executor::stop) before.
    ///
    /// Leaves nothing behind when it fails. Concurrent calls for one unit start it once.
    async fn start(&self, spec: &UnitSpec, owner: &Owner) -> Result<Started, ExecutorError>;

    /// Stops the unit, by force after `grace`, and removes it. Does nothing if it is absent. The unit's state and the
    /// records of its attempts stay. Returns how it ended, if a running process was stopped or an ended one removed.
    async fn stop(&self, unit: &UnitId, grace: Duration) -> Result<Option<Exit>, ExecutorError>;

    /// Lists every unit of `service`, ended ones included, whichever process started it, ordered by id.
    async fn list(&self, service: &str) -> Result<Vec<UnitStatus>, ExecutorError>;

    /// Reads the output of an attempt; with `follow`, goes on until the unit is gone or the stream is dropped, over
    /// restarts of the unit.
    async fn logs(
        &self,
        unit: &UnitId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogRecord, ExecutorError>>, ExecutorError>;

    /// What the unit uses right now. `None` if it does not run.
    async fn stats(&self, unit: &UnitId) -> Result<Option<UnitStats>, ExecutorError>;

    /// Where a port of the unit can be reached from here. `None` if it does not run or has no network.
    async fn address(&self, unit: &UnitId, port: u16) -> Result<Option<SocketAddr>, ExecutorError>;

    /// Removes what the unit leaves behind when it is deleted for good: state and records of attempts.
    async fn purge(&self, unit: &UnitId) -> Result<(), ExecutorError>;

    /// Rings whenever something may have changed. Losing a ring is harmless; a lost connection to the executor rings
    /// when it is back.
    fn changes(&self) -> BoxStream<'static, ()>;

    /// What it is and how well it isolates on this machine.
    fn describe(&self) -> Description;
}

/// What an executor is and what protection it gives here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// `docker`, `sandbox` or `fake`.
    pub kind: &'static str,
    /// Version of what is behind it.
    pub version: String,
    /// Each protection, active or not, with the reason.
    pub protections: Vec<Protection>,
}

/// One protection of a unit from its neighbours, or of the machine from a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// Short name: `memory limit`, `process namespace`.
    pub name: &'static str,
    /// Whether it is in force.
    pub active: bool,
    /// How it is done, or why it is not.
    pub detail: String,
}

/// Who answers for a unit. Stored with the unit (labels).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Service that wants it: `bot-runner`.
    pub service: Arc<str>,
    /// Shard it belongs to.
    pub segment: SegmentId,
    /// Process that started it.
    pub worker: WorkerId,
    /// Grant under which it was started.
    pub generation: Generation,
}

/// A unit that was made to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Number of the attempt, from 1.
    pub attempt: u64,
    /// False if it already ran with the same digest and nothing was done.
    pub fresh: bool,
}

/// A unit, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatus {
    /// What it is.
    pub id: UnitId,
    /// Specification it was started with.
    pub digest: SpecDigest,
    /// Who answers for it.
    pub owner: Arc<Owner>,
    /// Number of the attempt.
    pub attempt: u64,
    /// Where it is.
    pub phase: Phase,
    /// When this attempt was started.
    pub started_at: Option<Timestamp>,
    /// Process id of the agent on this machine, while it runs.
    pub pid: Option<u32>,
}

/// Where a unit is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Being made: created, not running yet.
    Starting,
    /// Its process runs.
    Running,
    /// Ended by itself or by a signal; waits to be removed.
    Exited(Box<Exit>),
}

/// Which output to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Of which attempt.
    pub attempt: AttemptRef,
    /// Only the last so many lines of what is there; `None` for all.
    pub tail: Option<usize>,
    /// Whether to wait for more.
    pub follow: bool,
}

/// Which attempt is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AttemptRef {
    /// The newest.
    #[default]
    Latest,
    /// The one before the newest.
    Previous,
    /// This one.
    Number(u64),
}

/// One line of output and the attempt that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The attempt.
    pub attempt: u64,
    /// The line.
    pub line: LogLine,
}

/// What a unit uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UnitStats {
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// CPU time used since the attempt started, in microseconds.
    pub cpu_micros: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Why an executor could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// What runs the units does not answer. Says nothing about the units themselves: they may well be running.
    #[error("{executor} does not answer: {reason}")]
    Unreachable {
        /// Name of the executor.
        executor: &'static str,
        /// What happened.
        reason: String,
    },
    /// The unit cannot run as specified; trying again changes nothing.
    #[error("{reason}")]
    Refused {
        /// What is wrong and what would mend it.
        reason: String,
    },
    /// It failed this time; another try may succeed.
    #[error("{action} failed: {reason}")]
    Failed {
        /// What was tried: `create container`.
        action: &'static str,
        /// What happened.
        reason: String,
    },
    /// There is no such unit, or no such attempt of it.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for.
        what: String,
    },
}

impl ExecutorError {
    /// Whether trying again without a change is pointless.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotFound { .. })
    }
}
