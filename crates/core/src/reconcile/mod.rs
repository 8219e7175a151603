//! From what is wanted and what is there to what must be done.

mod act;
pub mod backoff;
mod config;
pub mod guard;
mod inflight;
pub mod plan;
pub mod reconciler;
pub mod status;

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use the0_model::{Exit, SegmentId, SpecDigest, UnitId, UnitSpec};

pub use self::{
    backoff::Backoff,
    config::{ReconcilerConfig, Timeouts},
    guard::{Guard, Verdict},
    plan::{Action, Memory, Plan, Work, World, ours, plan},
    reconciler::Reconciler,
    status::PassStatus,
};
use crate::scope::Scope;

/// Everything a service wants to run. Shared, so that a pass without changes copies nothing.
pub type Wanted = Arc<BTreeMap<UnitId, Desired>>;

/// The only thing a service must supply to be reconciled.
#[async_trait]
pub trait DesiredState: Send + Sync + fmt::Debug + 'static {
    /// Name of the service, stored with its units: `bot-runner`.
    fn service(&self) -> &'static str;

    /// Everything that should run in `scope`, complete to the last detail. An error means "not known", and stops nothing.
    async fn desired(&self, scope: &Scope) -> anyhow::Result<Wanted>;

    /// Records an outcome. May see the same one twice.
    async fn report(&self, unit: &UnitId, outcome: Outcome) -> anyhow::Result<()>;
}

/// A unit that should run.
#[derive(Debug, Clone)]
pub struct Desired {
    /// How.
    pub spec: Arc<UnitSpec>,
    /// Digest of `spec`, computed once.
    pub digest: SpecDigest,
    /// Shard it belongs to.
    pub segment: SegmentId,
    /// Not to be started before this moment: the restart backoff.
    pub not_before: Option<Timestamp>,
}

/// What came of a unit.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Is being started.
    Starting,
    /// Runs now.
    Started {
        /// Number of the attempt.
        attempt: u64,
    },
    /// Is being stopped.
    Stopping(StopReason),
    /// Was stopped by us.
    Stopped {
        /// Why.
        reason: StopReason,
        /// How it ended, where that is known.
        exit: Option<Box<Exit>>,
    },
    /// Ended by itself. Reported before the unit is removed, so that a crash in between repeats it and loses nothing.
    Finished {
        /// Number of the attempt.
        attempt: u64,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// Could not be started.
    Refused {
        /// What happened and what would mend it.
        reason: String,
        /// Whether trying again without a change is pointless.
        permanent: bool,
    },
}

/// Why a unit is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// Its specification changed; it starts again with the new one.
    Changed,
    /// Nobody wants it any more: disabled or deleted.
    NotWanted,
    /// It belongs to a segment that is not ours any more.
    NotOurs,
    /// A job ran past its deadline.
    Overdue,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::NotWanted => "not wanted",
            Self::NotOurs => "not ours",
            Self::Overdue => "overdue",
        })
    }
}
