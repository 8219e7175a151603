//! A service that wants what it is told, and backs off as a service should.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::bail;
use async_trait::async_trait;
use jiff::Timestamp;
use the0_model::{SegmentId, UnitId, UnitKind, UnitSpec};

use crate::{
    clock::Clock,
    reconcile::{Backoff, Desired, DesiredState, Outcome, StopReason, Wanted, plan::after},
    scope::Scope,
    wake::Wake,
};

/// A service held in memory. Clones are the same service.
#[derive(Debug, Clone)]
pub struct FakeDesired {
    clock: Arc<dyn Clock>,
    wake: Wake,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    failures: BTreeMap<UnitId, u32>,
    reports: Vec<(UnitId, Outcome)>,
    asked: u64,
    silent: bool,
    slow: Duration,
    refuse_reports: u32,
}

impl FakeDesired {
    /// A service that wants nothing yet. It rings `wake` when that changes.
    pub fn new(clock: Arc<dyn Clock>, wake: Wake) -> Self {
        Self { clock, wake, state: Arc::default() }
    }

    /// Wants a unit in segment 1, or wants it changed.
    pub fn want(&self, spec: UnitSpec) {
        self.want_in(SegmentId(1), spec);
    }

    /// Wants a unit in a segment.
    pub fn want_in(&self, segment: SegmentId, spec: UnitSpec) {
        let mut state = self.state();
        let (id, digest) = (spec.id.clone(), spec.digest());
        state.failures.remove(&id);
        let desired = Desired { digest, spec: Arc::new(spec), segment, not_before: None };
        Arc::make_mut(&mut state.wanted).insert(id, desired);
        self.wake.ring();
    }

    /// Wants a unit no more.
    pub fn forget(&self, unit: &UnitId) {
        Arc::make_mut(&mut self.state().wanted).remove(unit);
        self.wake.ring();
    }

    /// Replaces all that is wanted, and returns what was.
    pub fn replace(&self, wanted: Wanted) -> Wanted {
        self.wake.ring();
        std::mem::replace(&mut self.state().wanted, wanted)
    }

    /// Puts the next start of a unit off.
    pub fn put_off(&self, unit: &UnitId, not_before: Option<Timestamp>) {
        if let Some(desired) = Arc::make_mut(&mut self.state().wanted).get_mut(unit) {
            desired.not_before = not_before;
        }
        self.wake.ring();
    }

    /// Whether it answers errors in place of what it wants.
    pub fn set_silent(&self, silent: bool) {
        self.state().silent = silent;
        self.wake.ring();
    }

    /// How long it takes to say what it wants.
    pub fn set_slow(&self, takes: Duration) {
        self.state().slow = takes;
    }

    /// Does not record the next so many outcomes.
    pub fn refuse_reports(&self, count: u32) {
        self.state().refuse_reports = count;
    }

    /// What it wants of a unit.
    pub fn wanted(&self, unit: &UnitId) -> Option<Desired> {
        self.state().wanted.get(unit).cloned()
    }

    /// Every outcome recorded, oldest first.
    pub fn reports(&self) -> Vec<(UnitId, Outcome)> {
        self.state().reports.clone()
    }

    /// Outcomes recorded since this was last asked.
    pub fn take_reports(&self) -> Vec<(UnitId, Outcome)> {
        std::mem::take(&mut self.state().reports)
    }

    /// How often it was asked what it wants.
    pub fn asked(&self) -> u64 {
        self.state().asked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes note of a failure: the next start is put off.
    fn fail(&mut self, unit: &UnitId, ran_for: Duration, now: Timestamp) {
        let failures = self.failures.entry(unit.clone()).or_default();
        let (count, wait) = Backoff::UNITS.next(*failures, ran_for);
        *failures = count;
        if let Some(desired) = Arc::make_mut(&mut self.wanted).get_mut(unit) {
            desired.not_before = Some(after(now, wait));
        }
    }

    fn is_job(&self, unit: &UnitId) -> bool {
        self.wanted.get(unit).is_some_and(|desired| matches!(desired.spec.kind, UnitKind::Job { .. }))
    }
}

#[async_trait]
impl DesiredState for FakeDesired {
    fn service(&self) -> &'static str {
        "fake-runner"
    }

    async fn desired(&self, scope: &Scope) -> anyhow::Result<Wanted> {
        let slow = self.state().slow;
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        let mut state = self.state();
        state.asked += 1;
        if state.silent {
            bail!("the store does not answer");
        }
        if state.wanted.values().all(|desired| scope.contains(desired.segment)) {
            return Ok(state.wanted.clone());
        }
        let ours = state.wanted.iter().filter(|(_, desired)| scope.contains(desired.segment));
        Ok(Arc::new(ours.map(|(id, desired)| (id.clone(), desired.clone())).collect()))
    }

    async fn report(&self, unit: &UnitId, outcome: Outcome) -> anyhow::Result<()> {
        let now = self.clock.now();
        let mut state = self.state();
        if state.refuse_reports > 0 {
            state.refuse_reports -= 1;
            bail!("the store does not answer");
        }
        match &outcome {
            Outcome::Finished { .. } | Outcome::Stopped { reason: StopReason::Overdue, .. }
                if state.is_job(unit) =>
            {
                Arc::make_mut(&mut state.wanted).remove(unit);
            }
            Outcome::Finished { exit, .. } => state.fail(unit, Duration::from_millis(exit.ran_ms), now),
            Outcome::Refused { .. } => state.fail(unit, Duration::ZERO, now),
            Outcome::Starting | Outcome::Started { .. } | Outcome::Stopping(_) | Outcome::Stopped { .. } => {}
        }
        state.reports.push((unit.clone(), outcome));
        Ok(())
    }
}
