//! Ending a container, making sure of it, and removing it.

use std::time::Duration;

use bollard::models::ContainerState;
use jiff::Timestamp;
use the0_core::ExecutorError;
use the0_model::{Exit, UnitId, exit::LAST_LINES_MAX};
use tracing::warn;

use super::{
    DockerExecutor,
    observe::{self, State},
};
use crate::{journal, labels::Labels};

/// The agent ends the bot within its grace; Docker ends the agent only after that and this, in seconds.
const AGENT_EXTRA_SECS: u64 = 2;
/// Between two looks at a removal that is under way.
const LOOK: Duration = Duration::from_millis(50);

impl DockerExecutor {
    pub(super) async fn stop_unit(
        &self,
        unit: &UnitId,
        grace: Duration,
    ) -> Result<Option<Exit>, ExecutorError> {
        let _turn = self.turns.take(unit).await?;
        let Some((found, labels)) = self.container(unit).await? else { return Ok(None) };
        let container = found.id.unwrap_or_default();
        let mut state = found.state.unwrap_or_default();
        let ran = observe::inspected_state(&state) == State::Running;
        if ran {
            state = self.end(&container, grace, state).await?;
        }
        let attempt = self.provision.units().unit(unit).attempt(labels.attempt);
        let mut exit = self.exit_of(&labels, &container, &state, None).await;
        if ran && attempt.exit().is_none() {
            exit = observe::ended_by_us(exit);
        }
        self.remove(&container).await?;
        self.forget(&container);
        // A bot can keep its end from being recorded, but not its keys on disk.
        for finished in [attempt.record_exit(&exit), attempt.forget_input()] {
            if let Err(error) = finished {
                warn!(%unit, %error, "could not finish the records of an attempt");
            }
        }
        Ok(Some(exit))
    }

    pub(super) async fn purge_unit(&self, unit: &UnitId) -> Result<(), ExecutorError> {
        let _turn = self.turns.take(unit).await?;
        if self.container(unit).await?.is_some() {
            let reason = format!("{unit} is still there; stop it first");
            return Err(ExecutorError::Failed { action: "purge unit", reason });
        }
        let folder = self.provision.units().unit(unit);
        let purged = tokio::task::spawn_blocking(move || folder.purge()).await;
        purged.map_err(std::io::Error::other).flatten().map_err(|error| ExecutorError::Failed {
            action: "purge unit",
            reason: format!("{unit}: {error}"),
        })
    }

    /// How an attempt ended: the agent's word, or Docker's where the agent had none.
    pub(super) async fn exit_of(
        &self,
        labels: &Labels,
        container: &str,
        state: &ContainerState,
        created_at: Option<Timestamp>,
    ) -> Exit {
        let attempt = self.provision.units().unit(&labels.unit).attempt(labels.attempt);
        if let Some(exit) = attempt.exit() {
            return exit;
        }
        let printed =
            tokio::task::spawn_blocking(move || journal::last_lines(&attempt, LAST_LINES_MAX)).await;
        let mut words = observe::words(&printed.unwrap_or_default());
        if words.is_empty() {
            words = self.client.last_words(container).await;
        }
        observe::exit(state, created_at.unwrap_or(Timestamp::UNIX_EPOCH), words)
    }

    /// Ends it and makes sure: a container that still runs afterwards is an error, never taken for stopped.
    async fn end(
        &self,
        container: &str,
        grace: Duration,
        before: ContainerState,
    ) -> Result<ContainerState, ExecutorError> {
        let whole = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let secs = u32::try_from(whole.saturating_add(AGENT_EXTRA_SECS)).unwrap_or(u32::MAX);
        match self.client.stop(container, secs).await {
            Ok(()) => {}
            // Removed by someone else meanwhile, and removal ends it.
            Err(error) if error.is(404) => return Ok(before),
            Err(error) => return Err(error.into()),
        }
        let Some(found) = self.client.inspect(container).await? else { return Ok(before) };
        let state = found.state.unwrap_or_default();
        if observe::inspected_state(&state) == State::Running {
            let reason = "docker says it was stopped, and it runs still".to_owned();
            return Err(ExecutorError::Failed { action: "stop container", reason });
        }
        Ok(state)
    }

    /// Removes it, and waits for a removal that was under way already.
    async fn remove(&self, container: &str) -> Result<(), ExecutorError> {
        if self.client.remove(container).await? {
            return Ok(());
        }
        let gone = async {
            while self.client.inspect(container).await?.is_some() {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(self.config.timeouts.call, gone).await.unwrap_or_else(|_| {
            let reason = "it is still there; see Docker's log".to_owned();
            Err(ExecutorError::Failed { action: "remove container", reason })
        })
    }
}
