//! Ends a unit and removes it.

use std::{io, time::Duration};

use rustix::process::Signal;
use the0_core::ExecutorError;
use the0_model::{Cause, Exit, UnitId};
use tokio::time::timeout;

use super::{
    SandboxExecutor, blocking, failed,
    process::{Held, ProcessId, boot},
    registry::{self, LaunchDir},
};

/// What the agent gets on top of the grace, to kill the bot and write how it ended.
const AGENT_GRACE: Duration = Duration::from_secs(2);
/// Longest wait for the kernel to end what was killed.
const DEATH_WITHIN: Duration = Duration::from_secs(10);

impl SandboxExecutor {
    /// Stops a unit. The caller holds its turn.
    pub(super) async fn stop_unit(
        &self,
        unit: &UnitId,
        grace: Duration,
    ) -> Result<Option<Exit>, ExecutorError> {
        let dir = self.units().unit(unit);
        let Some(entry) = registry::read(&dir) else { return Ok(None) };
        let attempt = dir.attempt(entry.attempt);
        let this_boot = entry.boot == boot();
        let agent = entry.agent.filter(|_| this_boot);
        let mut forced = None;
        if let Some(held) =
            agent.map(ProcessId::hold).transpose().map_err(|error| failed("stop", &error))?.flatten()
        {
            held.signal(Signal::TERM).map_err(|error| failed("stop", &error))?;
            if timeout(grace + AGENT_GRACE, held.ended()).await.is_err() {
                forced = Some(Cause::StoppedByForce);
                kill_and_wait(&held).await.map_err(|error| failed("stop", &error))?;
            }
        }
        let launch = LaunchDir::of(&attempt);
        if this_boot {
            self.kill(&launch).await;
        }
        // Read before the control group goes: its counters may be the only ones to know.
        let (this, known, ended) = (self.clone(), entry.clone(), attempt.clone());
        let exit = blocking(move || {
            let exit = ended.exit().unwrap_or_else(|| this.lost(&known, &ended, forced));
            // Where the agent and the bot are one user, the bot can keep its end from being recorded, but not from coming.
            if let Err(error) = ended.record_exit(&exit) {
                tracing::warn!(unit = %known.unit, %error, "could not record how it ended");
            }
            Ok(exit)
        })
        .await?;
        let group = self.0.cgroups.group(&unit.slug());
        group.remove().await.map_err(|error| failed("remove the control group", &error))?;
        blocking(move || {
            attempt
                .forget_input()
                .and_then(|()| launch.remove())
                .and_then(|()| registry::remove(&dir))
                .map_err(|error| failed("remove the unit", &error))
        })
        .await?;
        Ok(Some(exit))
    }

    /// Kills what is left of a launch: the agent, and bubblewrap, which otherwise ends right after it.
    pub(super) async fn kill(&self, launch: &LaunchDir) {
        for process in [launch.agent(), launch.launcher()].into_iter().flatten() {
            let killed = match process.hold() {
                Ok(Some(held)) => kill_and_wait(&held).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = killed {
                tracing::warn!(pid = process.pid, %error, "could not kill what is left of a unit");
            }
        }
    }
}

async fn kill_and_wait(held: &Held) -> io::Result<()> {
    held.signal(Signal::KILL)?;
    timeout(DEATH_WITHIN, held.ended()).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("was killed and has not ended in {DEATH_WITHIN:?}"))
    })?
}
