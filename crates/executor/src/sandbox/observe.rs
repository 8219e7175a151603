//! What is there: entries, processes and records of ends, read anew each time.

use std::fs;

use jiff::Timestamp;
use the0_core::{ExecutorError, Phase, UnitStatus, executor::UnitStats};
use the0_model::{Cause, Exit, UnitId, exit::LAST_LINES_MAX};

use super::{
    SandboxExecutor, failed,
    process::boot,
    registry::{self, Entry},
};
use crate::{
    journal,
    provision::unwitnessed_exit,
    units::{AttemptDir, UnitDir},
};

/// Whether a unit's agent runs.
pub(super) fn is_alive(entry: &Entry) -> bool {
    entry.agent.is_some_and(|agent| entry.boot == boot() && agent.is_alive())
}

impl SandboxExecutor {
    /// Every unit of `service`, ordered by id. Blocking.
    pub(super) fn observe_all(&self, service: &str) -> Result<Vec<UnitStatus>, ExecutorError> {
        let folders = self.units().list().map_err(|error| failed("list units", &error))?;
        let boot = boot();
        let mut found: Vec<UnitStatus> = folders
            .iter()
            .filter_map(|unit| Some((unit, registry::read(unit)?)))
            .filter(|(_, entry)| &*entry.owner.service == service)
            .filter_map(|(unit, entry)| self.observe(unit, entry, &boot))
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    fn observe(&self, unit: &UnitDir, entry: Entry, boot: &str) -> Option<UnitStatus> {
        let running = entry.agent.filter(|agent| entry.boot == boot && agent.is_alive());
        let attempt = unit.attempt(entry.attempt);
        let phase = match (entry.agent, attempt.exit()) {
            (_, Some(exit)) => Phase::Exited(Box::new(exit)),
            (None, None) => Phase::Starting,
            (Some(_), None) if running.is_some() => Phase::Running,
            (Some(_), None) => {
                // Written between the two looks, or never.
                let exit = attempt.exit().unwrap_or_else(|| self.lost(&entry, &attempt, None));
                // Whoever holds the unit's turn (a stop) knows better why it ended, and records it itself.
                if let Some(_turn) = self.0.locks.try_lock(&entry.unit)
                    && let Err(error) = attempt.record_exit(&exit)
                {
                    tracing::warn!(unit = %entry.unit, %error, "could not record how it ended");
                }
                Phase::Exited(Box::new(exit))
            }
        };
        let pid =
            running.filter(|_| matches!(phase, Phase::Running)).and_then(|id| u32::try_from(id.pid).ok());
        Some(UnitStatus {
            digest: entry.spec_digest()?,
            id: entry.unit,
            owner: entry.owner,
            attempt: entry.attempt,
            phase,
            started_at: Some(entry.started_at),
            pid,
        })
    }

    /// How a unit ended whose agent did not say: `cause` if it is known, else what the kernel's counters tell.
    pub(super) fn lost(&self, entry: &Entry, attempt: &AttemptDir, cause: Option<Cause>) -> Exit {
        let now = self.0.config.clock.now();
        let (cause, message) = match cause {
            Some(cause) => (cause, "it did not end within its grace and was killed"),
            None if self.0.cgroups.group(&entry.unit.slug()).kills_at_limit() > 0 => {
                (Cause::OutOfMemory, "the kernel killed it at its memory limit")
            }
            None => (Cause::Lost, "the agent vanished: killed from outside, or the machine was restarted"),
        };
        let last = journal::last_lines(attempt, LAST_LINES_MAX);
        unwitnessed_exit(cause, message, now, millis_between(entry.started_at, now), &last)
    }

    /// What a unit uses. Blocking.
    pub(super) fn measure(&self, unit: &UnitId) -> Option<UnitStats> {
        let entry = registry::read(&self.units().unit(unit)).filter(is_alive)?;
        let counted = self.0.cgroups.group(&unit.slug()).stats();
        counted.or_else(|| entry.agent.map(|agent| by_processes(agent.pid)))
    }
}

/// Adds up the processes of the unit's namespace, where no control group counts them.
fn by_processes(agent: i32) -> UnitStats {
    let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid_for_children")).ok();
    let Some(unit) = space(agent) else { return UnitStats::default() };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let members = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| space(*pid).as_ref() == Some(&unit));
    members.fold(UnitStats::default(), |sum, pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_ascii_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        let field = |number: usize| fields.get(number - 4).copied().unwrap_or(0);
        // User and system time in ticks of 10 ms; threads; resident pages of 4 KiB.
        UnitStats {
            cpu_micros: sum.cpu_micros + (field(14) + field(15)) * 10_000,
            pids: sum.pids + field(20),
            memory_bytes: sum.memory_bytes + field(24) * 4096,
        }
    })
}

fn millis_between(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_millisecond() - start.as_millisecond()).unwrap_or(0)
}
