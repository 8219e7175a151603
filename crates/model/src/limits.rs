//! Pure: how much of the machine a unit may use, and what it may reach.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Resource limits of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes, swap included.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads together.
    pub pids: u32,
    /// Open files per process.
    pub open_files: u32,
    /// Size of the private `/tmp`, in bytes; it counts as memory.
    pub tmp_bytes: u64,
    /// Output kept per attempt, in bytes; beyond it the oldest goes.
    pub log_bytes: u64,
    /// Largest single file the unit may write, in bytes.
    pub file_bytes: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 * MIB,
            cpu_millis: 500,
            pids: 256,
            open_files: 1024,
            tmp_bytes: 64 * MIB,
            log_bytes: 32 * MIB,
            file_bytes: 1024 * MIB,
        }
    }
}

/// A limit that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, outside {least} to {most}")]
pub struct LimitsError {
    /// The name of the field, as in [`Limits`].
    pub field: &'static str,
    /// What was given.
    pub value: u64,
    /// The least accepted.
    pub least: u64,
    /// The most accepted.
    pub most: u64,
}

impl Limits {
    /// Checks every field and reports all that are out of range.
    pub fn check(&self) -> Result<(), Vec<LimitsError>> {
        let rules: [(&'static str, u64, u64, u64); 7] = [
            ("memory_bytes", self.memory_bytes, 8 * MIB, 1024 * 1024 * MIB),
            ("cpu_millis", self.cpu_millis.into(), 10, 1_000_000),
            ("pids", self.pids.into(), 4, 100_000),
            ("open_files", self.open_files.into(), 16, 1_048_576),
            ("tmp_bytes", self.tmp_bytes, 0, 64 * 1024 * MIB),
            ("log_bytes", self.log_bytes, 64 * 1024, 64 * 1024 * MIB),
            ("file_bytes", self.file_bytes, MIB, 1024 * 1024 * MIB),
        ];
        let faults: Vec<_> = rules
            .into_iter()
            .filter(|(_, value, least, most)| value < least || value > most)
            .map(|(field, value, least, most)| LimitsError { field, value, least, most })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// What a unit may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing at all, its own loopback excepted.
    None,
    /// The outside world: a bridge in Docker, the machine's own network in the sandbox. Live bots talk to exchanges.
    #[default]
    Outside,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Outside => "outside",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_accepted_and_nonsense_is_named() {
        Limits::default().check().unwrap();
        let faults = Limits { memory_bytes: 1, pids: 0, ..Limits::default() }.check().unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["memory_bytes", "pids"]);
    }
}
