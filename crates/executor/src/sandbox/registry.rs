//! What is known of each unit, in a file beside its state: how any process finds the units again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use the0_core::Owner;
use the0_model::{Network, SpecDigest, UnitId};

use super::{
    launcher::{INFO, LAUNCHER, ORDER},
    process::ProcessId,
};
use crate::units::{AttemptDir, SANDBOX_ENTRY as FILE, UnitDir, absent_is_fine, read_json, write_atomically};

/// One unit that was started and not yet removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What it is.
    pub(super) unit: UnitId,
    /// Digest of its specification, as text.
    pub(super) digest: String,
    /// Who answers for it.
    pub(super) owner: Arc<Owner>,
    /// Number of the attempt.
    pub(super) attempt: u64,
    /// When it was started.
    pub(super) started_at: Timestamp,
    /// What it may reach.
    pub(super) network: Network,
    /// The boot of the machine it was started in.
    pub(super) boot: String,
    /// Its agent. Absent while it is being started.
    pub(super) agent: Option<ProcessId>,
}

impl Entry {
    /// The digest of its specification.
    pub(super) fn spec_digest(&self) -> Option<SpecDigest> {
        SpecDigest::from_str(&self.digest).ok()
    }
}

/// The entry of a unit, if it has one.
pub(super) fn read(unit: &UnitDir) -> Option<Entry> {
    read_json(&unit.path().join(FILE))
}

/// Writes a unit's entry.
pub(super) fn write(unit: &UnitDir, entry: &Entry) -> io::Result<()> {
    write_atomically(&unit.path().join(FILE), &serde_json::to_vec(entry)?, 0o600)
}

/// Removes a unit's entry. Does nothing if there is none.
pub(super) fn remove(unit: &UnitDir) -> io::Result<()> {
    absent_is_fine(fs::remove_file(unit.path().join(FILE)))
}

/// What passes between the service and the launcher of one attempt.
#[derive(Debug, Clone)]
pub(super) struct LaunchDir(PathBuf);

impl LaunchDir {
    /// That of an attempt.
    pub(super) fn of(attempt: &AttemptDir) -> Self {
        Self(attempt.path().join("launch"))
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the order is.
    pub(super) fn order(&self) -> PathBuf {
        self.0.join(ORDER)
    }

    /// Takes an order back. True if no launcher has acted on it, and none will.
    pub(super) fn take_back(&self) -> bool {
        match fs::rename(self.order(), self.0.join("order.void.json")) {
            Ok(()) => true,
            // Neither an order nor a launcher: the order was never given.
            Err(_) => self.launcher().is_none(),
        }
    }

    /// The launcher, which became bubblewrap.
    pub(super) fn launcher(&self) -> Option<ProcessId> {
        read_json(&self.0.join(LAUNCHER))
    }

    /// The agent, once bubblewrap has started it. `None` if it has already ended.
    pub(super) fn agent(&self) -> Option<ProcessId> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(rename = "child-pid")]
            child: i32,
        }
        ProcessId::of(read_json::<Info>(&self.0.join(INFO))?.child)
    }

    /// Removes the folder. Does nothing if it is absent.
    pub(super) fn remove(&self) -> io::Result<()> {
        absent_is_fine(fs::remove_dir_all(&self.0))
    }
}
