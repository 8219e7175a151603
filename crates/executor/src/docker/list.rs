//! One listing → every unit of a service.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use the0_core::{ExecutorError, Phase, UnitStatus};
use tracing::warn;

use super::{
    DockerExecutor,
    observe::{self, Found, State},
};
use crate::labels::name as label;

/// Containers looked at one by one, at once. Only those met for the first time, and those that ended without a word.
const INSPECT_WIDTH: usize = 8;

/// What a listing does not show of a running container.
#[derive(Debug, Clone)]
pub(super) struct Known {
    service: Arc<str>,
    pid: Option<u32>,
    started_at: Option<Timestamp>,
}

impl DockerExecutor {
    pub(super) async fn list_units(&self, service: &str) -> Result<Vec<UnitStatus>, ExecutorError> {
        let labels = vec![self.data_label(), format!("{}={service}", label::SERVICE)];
        let mut found = Vec::new();
        for summary in self.client.list(labels).await? {
            let names = summary.names.clone().unwrap_or_default();
            match observe::found(summary) {
                Ok(unit) => found.push(unit),
                Err(error) => warn!(?names, %error, "a container carries our mark and cannot be read"),
            }
        }
        let present: BTreeSet<_> = found.iter().map(|unit| unit.container.clone()).collect();
        self.known().retain(|container, known| *known.service != *service || present.contains(container));
        // Only of those that were listed: what is told of others belongs to other services or is gone.
        self.died().retain(|container| present.contains(container));
        let statuses = stream::iter(found).map(|unit| self.status(unit)).buffer_unordered(INSPECT_WIDTH);
        let mut units: Vec<UnitStatus> = statuses.try_filter_map(async |unit| Ok(unit)).try_collect().await?;
        units.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(units)
    }

    /// Forgets what was known of a container.
    pub(super) fn forget(&self, container: &str) {
        self.known().remove(container);
    }

    /// `None` if the container went away since it was listed.
    async fn status(&self, found: Found) -> Result<Option<UnitStatus>, ExecutorError> {
        match found.state {
            State::Running => {
                let known = self.known().get(&found.container).cloned();
                match known {
                    // A look waits for Docker to be done with the container, so it shows the truth.
                    Some(_) if self.died().contains(&found.container) => self.look(found).await,
                    Some(known) => Ok(Some(running(found, &known))),
                    None => self.look(found).await,
                }
            }
            // Whoever starts holds the unit's turn. So this one is under way, or what became of it can be seen.
            State::Created if self.turns.is_taken(&found.labels.unit) => {
                let (pid, started_at) = (None, None);
                Ok(Some(status(found, Phase::Starting, pid, started_at)))
            }
            State::Created => self.look(found).await,
            State::Ended => {
                self.forget(&found.container);
                let units = self.provision.units();
                match units.unit(&found.labels.unit).attempt(found.labels.attempt).exit() {
                    Some(exit) => {
                        let started_at = found.created_at;
                        Ok(Some(status(found, Phase::Exited(Box::new(exit)), None, started_at)))
                    }
                    None => self.look(found).await,
                }
            }
        }
    }

    async fn look(&self, found: Found) -> Result<Option<UnitStatus>, ExecutorError> {
        let Some(inspected) = self.client.inspect(&found.container).await? else { return Ok(None) };
        let state = inspected.state.unwrap_or_default();
        let started_at = observe::started_at(&state);
        if observe::inspected_state(&state) == State::Running {
            let pid = state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
            let known = Known { service: found.labels.owner.service.clone(), pid, started_at };
            self.known().insert(found.container.clone(), known.clone());
            return Ok(Some(running(found, &known)));
        }
        let exit = self.exit_of(&found.labels, &found.container, &state, found.created_at).await;
        Ok(Some(status(found, Phase::Exited(Box::new(exit)), None, started_at)))
    }

    fn died(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.died.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn running(found: Found, known: &Known) -> UnitStatus {
    status(found, Phase::Running, known.pid, known.started_at)
}

fn status(found: Found, phase: Phase, pid: Option<u32>, started_at: Option<Timestamp>) -> UnitStatus {
    UnitStatus {
        id: found.labels.unit,
        digest: found.labels.digest,
        owner: Arc::new(found.labels.owner),
        attempt: found.labels.attempt,
        phase,
        started_at,
        pid,
    }
}
