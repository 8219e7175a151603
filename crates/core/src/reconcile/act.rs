//! Does what was planned, one unit at a time. Decides nothing.

use std::{future::Future, sync::Arc, time::Duration};

use the0_model::{Exit, SegmentId, UnitId, UnitSpec, WorkerId};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};

use super::{
    DesiredState, Outcome, StopReason, Timeouts, Wanted,
    inflight::{Done, Job, Task},
    plan::Work,
};
use crate::{
    executor::{Executor, ExecutorError, Owner, UnitStatus},
    scope::Scope,
};

/// All that is needed to look and to act. Shared by the tasks.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) desired: Arc<dyn DesiredState>,
    pub(super) scope: watch::Receiver<Scope>,
    pub(super) service: Arc<str>,
    pub(super) me: WorkerId,
    pub(super) timeouts: Timeouts,
}

impl Hands {
    /// Asks what is wanted in `scope`. Of an empty scope nothing is, and nobody need be asked: that is what stops the
    /// units of a lost lease while the store is away.
    pub(super) async fn wanted(&self, scope: &Scope) -> Result<Wanted, String> {
        if matches!(scope, Scope::Segments(grants) if grants.is_empty()) {
            return Ok(Wanted::default());
        }
        match timeout(self.timeouts.desired, self.desired.desired(scope)).await {
            Ok(Ok(wanted)) => Ok(wanted),
            Ok(Err(error)) => Err(format!("what should run is not known: {error:#}")),
            Err(_) => {
                Err(format!("what should run is not known: no answer within {:?}", self.timeouts.desired))
            }
        }
    }

    /// Asks what is there.
    pub(super) async fn observed(&self) -> Result<Vec<UnitStatus>, String> {
        match timeout(self.timeouts.list, self.executor.list(&self.service)).await {
            Ok(Ok(units)) => Ok(units),
            Ok(Err(error)) => Err(format!("what runs is not known: {error}")),
            Err(_) => Err(format!("what runs is not known: no answer within {:?}", self.timeouts.list)),
        }
    }

    /// Does one task.
    pub(super) async fn perform(&self, task: Task) -> Done {
        let Task { unit, job } = task;
        match job {
            Job::Report(outcome) => self.tell(&unit, outcome).await,
            Job::Act(Work::Adopt { attempt }) => self.tell(&unit, Outcome::Started { attempt }).await,
            Job::Act(Work::Start { spec, segment }) => self.start(&unit, &spec, segment).await,
            Job::Act(Work::Stop { reason, grace }) => self.stop(&unit, reason, grace).await,
            Job::Act(Work::Collect { attempt, exit }) => self.collect(&unit, attempt, exit).await,
        }
    }

    async fn start(&self, unit: &UnitId, spec: &UnitSpec, segment: SegmentId) -> Done {
        if self.scope.borrow().contains(segment) {
            self.mention(unit, Outcome::Starting).await;
        }
        // Asked at the last moment: the grant may have gone while the task waited or the store was slow.
        let Some(generation) = self.scope.borrow().generation_of(segment) else {
            debug!(%segment, "not started: the segment is not ours any more");
            return Done::Nothing;
        };
        let owner = Owner { service: self.service.clone(), segment, worker: self.me.clone(), generation };
        let error =
            match bounded("start the unit", self.timeouts.start, self.executor.start(spec, &owner)).await {
                Ok(started) => {
                    info!(attempt = started.attempt, fresh = started.fresh, "started");
                    let told = self.tell(unit, Outcome::Started { attempt: started.attempt }).await;
                    // If it is still listed as not running, the next pass must not start it again at once.
                    return if matches!(told, Done::Well) && !started.fresh { Done::Nothing } else { told };
                }
                Err(error) => error,
            };
        warn!(%error, permanent = error.is_permanent(), "not started");
        let refused = Outcome::Refused { reason: error.to_string(), permanent: error.is_permanent() };
        let told = self.tell(unit, refused).await;
        if matches!(told, Done::Well) { Done::Refused } else { told }
    }

    async fn stop(&self, unit: &UnitId, reason: StopReason, grace: Duration) -> Done {
        let told = self.tell(unit, Outcome::Stopping(reason)).await;
        // A job that ended without anyone knowing is run again. Other stops wait for nobody.
        if reason == StopReason::Overdue && !matches!(told, Done::Well) {
            return Done::Failed;
        }
        match self.remove(unit, grace).await {
            Ok(exit) => {
                info!(%reason, exit = exit.as_ref().map(tracing::field::display), "stopped");
                self.tell(unit, Outcome::Stopped { reason, exit: exit.map(Box::new) }).await
            }
            Err(error) => {
                warn!(%reason, %error, "not stopped");
                Done::Failed
            }
        }
    }

    async fn collect(&self, unit: &UnitId, attempt: u64, exit: Box<Exit>) -> Done {
        info!(attempt, %exit, "ended");
        // Removed only once its end is recorded; until then every pass comes here again.
        if !matches!(self.tell(unit, Outcome::Finished { attempt, exit }).await, Done::Well) {
            return Done::Failed;
        }
        match self.remove(unit, Duration::ZERO).await {
            Ok(_) => Done::Well,
            Err(error) => {
                warn!(%error, "not removed");
                Done::Failed
            }
        }
    }

    async fn remove(&self, unit: &UnitId, grace: Duration) -> Result<Option<Exit>, ExecutorError> {
        let patience = grace.saturating_add(self.timeouts.stop_beyond_grace);
        bounded("stop the unit", patience, self.executor.stop(unit, grace)).await
    }

    /// Reports an outcome that matters.
    async fn tell(&self, unit: &UnitId, outcome: Outcome) -> Done {
        let refusal = match timeout(self.timeouts.report, self.desired.report(unit, outcome.clone())).await {
            Ok(Ok(())) => return Done::Well,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {:?}", self.timeouts.report),
        };
        warn!(error = refusal, ?outcome, "outcome was not recorded; it is reported again");
        Done::Untold(outcome)
    }

    /// Reports an outcome that another one will follow.
    async fn mention(&self, unit: &UnitId, outcome: Outcome) {
        let answer = timeout(self.timeouts.report, self.desired.report(unit, outcome)).await;
        if !matches!(answer, Ok(Ok(()))) {
            debug!("the coming start was not recorded");
        }
    }
}

async fn bounded<T>(
    action: &'static str,
    patience: Duration,
    work: impl Future<Output = Result<T, ExecutorError>>,
) -> Result<T, ExecutorError> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        Err(ExecutorError::Failed { action, reason: format!("no answer within {patience:?}") })
    })
}
