//! Takes over what an earlier service started, and clears away what it left unfinished.

use std::{collections::BTreeSet, io, time::Duration};

use super::{
    SandboxExecutor,
    process::boot,
    registry::{self, Entry, LaunchDir},
};
use crate::units::UnitDir;

/// How often to look whether a launch that is under way has come to its agent, and how long between two looks.
const LOOKS: (u32, Duration) = (200, Duration::from_millis(10));

impl SandboxExecutor {
    /// Attends to the units that run, finishes starts that were cut short, removes control groups of units that are gone.
    pub(super) async fn take_over(&self) -> io::Result<()> {
        let mut known = BTreeSet::new();
        for unit in self.units().list()? {
            let Some(mut entry) = registry::read(&unit) else { continue };
            if entry.agent.is_none() && !self.finish_start(&unit, &mut entry).await? {
                continue;
            }
            known.insert(entry.unit.slug());
            if entry.boot == boot() {
                self.attend(&entry, None);
            }
        }
        self.0.cgroups.sweep(&known);
        Ok(())
    }

    /// A start that a crash cut short: kept if its agent runs, else undone. True if it is kept.
    async fn finish_start(&self, unit: &UnitDir, entry: &mut Entry) -> io::Result<bool> {
        let attempt = unit.attempt(entry.attempt);
        let launch = LaunchDir::of(&attempt);
        if entry.boot == boot() && !launch.take_back() {
            for _ in 0..LOOKS.0 {
                entry.agent = launch.agent();
                let under_way = launch.launcher().is_some_and(super::process::ProcessId::is_alive);
                if entry.agent.is_some() || !under_way {
                    break;
                }
                // Bubblewrap is between its start and its child's; this takes a millisecond, once after a crash.
                tokio::time::sleep(LOOKS.1).await;
            }
        }
        if entry.agent.is_some() || attempt.exit().is_some() {
            registry::write(unit, entry)?;
            return Ok(true);
        }
        self.kill(&launch).await;
        self.0.cgroups.group(&entry.unit.slug()).remove().await?;
        registry::remove(unit)?;
        attempt.remove()?;
        Ok(false)
    }
}
