//! In-memory stand-ins for the ports, for tests: an executor, a service, a clock.

mod clock;
mod desired;
mod executor;
mod logs;

pub use clock::ManualClock;
pub use desired::FakeDesired;
pub use executor::{Event, FakeExecutor, What};

use std::collections::BTreeMap;

use jiff::Timestamp;
use the0_model::{Cause, CodeRef, Exit, Limits, Network, Runtime, Secret, UnitId, UnitKind, UnitSpec};

/// A specification with defaults throughout. Change a field to change its digest.
pub fn spec(id: &UnitId, kind: UnitKind) -> UnitSpec {
    UnitSpec {
        id: id.clone(),
        kind,
        runtime: Runtime::Python311,
        entrypoint: "main.py".into(),
        code: CodeRef { location: "fake/1.0.0".into(), version: "1.0.0".into(), digest: None },
        config: Secret::new(serde_json::json!({})),
        env: BTreeMap::new(),
        limits: Limits::default(),
        network: Network::Outside,
        image: None,
        stop_grace_ms: 30_000,
        restarts_requested: 0,
    }
}

/// An exit with nothing but a cause and the exit code that goes with it.
pub fn exit(cause: Cause, at: Timestamp, ran_ms: u64) -> Exit {
    let (code, signal) = match cause {
        Cause::Completed | Cause::Stopped => (Some(0), None),
        Cause::Failed | Cause::NotStarted => (Some(1), None),
        Cause::Killed | Cause::OutOfMemory | Cause::StoppedByForce | Cause::Fenced => (None, Some(9)),
        Cause::Lost => (None, None),
    };
    Exit {
        cause,
        code,
        signal,
        message: None,
        result: None,
        at,
        ran_ms,
        peak_memory_bytes: None,
        last_lines: Vec::new(),
    }
}
