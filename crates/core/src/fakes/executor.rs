//! An executor that runs nothing, keeps the contract, and misbehaves on request.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use the0_model::{Cause, Exit, LogLine, LogStream, Network, UnitId, UnitSpec};
use tokio::{sync::watch, time::sleep};

use super::logs::Reader;
use crate::{
    clock::Clock,
    executor::{
        AttemptRef, Description, Executor, ExecutorError, LogQuery, LogRecord, Owner, Phase, Started,
        UnitStats, UnitStatus,
    },
};

/// What happened to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To which unit.
    pub unit: UnitId,
    /// What.
    pub what: What,
}

/// What can happen to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An attempt began to run.
    Started(u64),
    /// A running attempt was stopped, and the unit removed.
    Stopped(u64),
    /// An attempt ended by itself.
    Ended(u64),
    /// An ended unit was removed.
    Removed(u64),
}

/// Keeps units in memory. Clones are the same executor, as two processes on one machine see the same Docker.
#[derive(Debug, Clone)]
pub struct FakeExecutor {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    units: BTreeMap<UnitId, Unit>,
    records: BTreeMap<UnitId, BTreeMap<u64, Vec<LogLine>>>,
    history: Vec<Event>,
    fail_starts: BTreeMap<UnitId, Vec<ExecutorError>>,
    slow_starts: BTreeMap<UnitId, Duration>,
    slow_stops: BTreeMap<UnitId, Duration>,
    unreachable: bool,
    listed: u64,
}

#[derive(Debug)]
struct Unit {
    status: UnitStatus,
    network: Network,
}

impl FakeExecutor {
    /// An executor without units.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default(), version: watch::Sender::new(0) }
    }

    /// Makes the next start of a unit fail. Several calls add up.
    pub fn fail_next_start(&self, unit: &UnitId, error: ExecutorError) {
        self.state().fail_starts.entry(unit.clone()).or_default().push(error);
    }

    /// Makes every start of a unit take so long.
    pub fn slow_start(&self, unit: &UnitId, takes: Duration) {
        self.state().slow_starts.insert(unit.clone(), takes);
    }

    /// Makes every stop of a unit take so long.
    pub fn slow_stop(&self, unit: &UnitId, takes: Duration) {
        self.state().slow_stops.insert(unit.clone(), takes);
    }

    /// Makes every call fail, as when the daemon is down. The units run on.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
        self.changed();
    }

    /// Ends a running unit by itself. Returns false if it does not run.
    pub fn end(&self, unit: &UnitId, cause: Cause) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(status) = state.units.get_mut(unit).map(|unit| &mut unit.status) else { return false };
        if status.phase != Phase::Running {
            return false;
        }
        let attempt = status.attempt;
        let exit = super::exit(cause, now, ran_ms(status, now));
        (status.phase, status.pid) = (Phase::Exited(Box::new(exit)), None);
        state.note(now, unit, What::Ended(attempt));
        drop(state);
        self.changed();
        true
    }

    /// Leaves a unit half started, as a process that died between create and start does.
    pub fn half_start(&self, spec: &UnitSpec, owner: &Owner) {
        self.state().create(spec, owner);
        self.changed();
    }

    /// Adds a line to the output of a unit's newest attempt.
    pub fn print(&self, unit: &UnitId, text: &str) {
        let at = self.clock.now();
        if let Some(mut newest) = self.state().records.get_mut(unit).and_then(BTreeMap::last_entry) {
            newest.get_mut().push(LogLine {
                at,
                stream: LogStream::Stdout,
                partial: false,
                text: text.into(),
            });
        }
        self.changed();
    }

    /// Units that run, with the number of their attempt.
    pub fn running(&self) -> BTreeMap<UnitId, u64> {
        let state = self.state();
        let running = state.units.values().filter(|unit| unit.status.phase == Phase::Running);
        running.map(|unit| (unit.status.id.clone(), unit.status.attempt)).collect()
    }

    /// Every unit there is.
    pub fn units(&self) -> Vec<UnitStatus> {
        self.state().units.values().map(|unit| unit.status.clone()).collect()
    }

    /// All that ever happened, oldest first.
    pub fn history(&self) -> Vec<Event> {
        self.state().history.clone()
    }

    /// How often its units were listed.
    pub fn listed(&self) -> u64 {
        self.state().listed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are records of such a unit: it ran and was not purged.
    pub(super) fn has(&self, unit: &UnitId) -> bool {
        self.state().records.contains_key(unit)
    }

    /// The line at a place of an attempt, or else, if `onwards`, the first line of the attempt after it.
    pub(super) fn line(
        &self,
        unit: &UnitId,
        attempt: u64,
        place: usize,
        onwards: bool,
    ) -> Option<(u64, usize, LogLine)> {
        let state = self.state();
        let records = state.records.get(unit)?;
        let here = records
            .get(&attempt)
            .and_then(|lines| lines.get(place))
            .map(|line| (attempt, place, line.clone()));
        let later = || {
            let mut later = records.range(attempt + 1..).filter(|_| onwards);
            later.find_map(|(number, lines)| Some((*number, 0, lines.first()?.clone())))
        };
        here.or_else(later)
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, ExecutorError> {
        let state = self.state();
        if state.unreachable {
            return Err(ExecutorError::Unreachable { executor: "fake", reason: "switched off".into() });
        }
        Ok(state)
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

impl State {
    fn note(&mut self, at: Timestamp, unit: &UnitId, what: What) {
        self.history.push(Event { at, unit: unit.clone(), what });
    }

    /// What a start finds: `Some` if the unit runs already, `None` if there is something to do.
    fn present(&self, spec: &UnitSpec) -> Result<Option<Started>, ExecutorError> {
        let Some(unit) = self.units.get(&spec.id) else { return Ok(None) };
        let failed = |reason: &str| Err(ExecutorError::Failed { action: "start", reason: reason.into() });
        match &unit.status.phase {
            Phase::Exited(_) => failed("the ended unit of this id was not removed"),
            Phase::Starting | Phase::Running if unit.status.digest != spec.digest() => {
                failed("it runs with another specification")
            }
            Phase::Running => Ok(Some(Started { attempt: unit.status.attempt, fresh: false })),
            Phase::Starting => Ok(None),
        }
    }

    fn create(&mut self, spec: &UnitSpec, owner: &Owner) {
        let records = self.records.entry(spec.id.clone()).or_default();
        let status = UnitStatus {
            id: spec.id.clone(),
            digest: spec.digest(),
            owner: Arc::new(owner.clone()),
            attempt: records.last_key_value().map_or(1, |(last, _)| last + 1),
            phase: Phase::Starting,
            started_at: None,
            pid: None,
        };
        self.units.insert(spec.id.clone(), Unit { status, network: spec.network });
    }
}

/// Removes a unit whose start is broken off.
struct Undo<'a> {
    executor: &'a FakeExecutor,
    unit: Option<&'a UnitId>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(unit) = self.unit {
            self.executor.state().units.remove(unit);
            self.executor.changed();
        }
    }
}

#[async_trait]
impl Executor for FakeExecutor {
    async fn start(&self, spec: &UnitSpec, owner: &Owner) -> Result<Started, ExecutorError> {
        let (slow, created) = {
            let mut state = self.reach()?;
            if let Some(started) = state.present(spec)? {
                return Ok(started);
            }
            let created = !state.units.contains_key(&spec.id);
            if created {
                state.create(spec, owner);
            }
            (state.slow_starts.get(&spec.id).copied(), created)
        };
        self.changed();
        let mut undo = Undo { executor: self, unit: created.then_some(&spec.id) };
        if let Some(takes) = slow {
            sleep(takes).await;
        }
        let now = self.clock.now();
        let mut state = self.reach()?;
        if let Some(error) = state.fail_starts.get_mut(&spec.id).filter(|errors| !errors.is_empty()) {
            let error = error.remove(0);
            drop(state);
            return Err(error);
        }
        let Some(unit) = state.units.get_mut(&spec.id) else {
            return Err(ExecutorError::Failed { action: "start", reason: "it was removed meanwhile".into() });
        };
        let attempt = unit.status.attempt;
        let fresh = unit.status.phase == Phase::Starting;
        if fresh {
            unit.status.phase = Phase::Running;
            (unit.status.started_at, unit.status.pid) = (Some(now), Some(4_711));
            state.records.entry(spec.id.clone()).or_default().insert(attempt, Vec::new());
            state.note(now, &spec.id, What::Started(attempt));
        }
        undo.unit = None;
        drop(state);
        self.changed();
        Ok(Started { attempt, fresh })
    }

    async fn stop(&self, unit: &UnitId, _grace: Duration) -> Result<Option<Exit>, ExecutorError> {
        let slow = self.reach()?.slow_stops.get(unit).copied();
        if let Some(takes) = slow {
            sleep(takes).await;
        }
        let now = self.clock.now();
        let mut state = self.reach()?;
        let Some(Unit { status, .. }) = state.units.remove(unit) else { return Ok(None) };
        let exit = match &status.phase {
            Phase::Starting => None,
            Phase::Running => {
                state.note(now, unit, What::Stopped(status.attempt));
                Some(super::exit(Cause::Stopped, now, ran_ms(&status, now)))
            }
            Phase::Exited(exit) => {
                state.note(now, unit, What::Removed(status.attempt));
                Some((**exit).clone())
            }
        };
        drop(state);
        self.changed();
        Ok(exit)
    }

    async fn list(&self, service: &str) -> Result<Vec<UnitStatus>, ExecutorError> {
        let mut state = self.reach()?;
        state.listed += 1;
        let units = state.units.values().map(|unit| &unit.status);
        Ok(units.filter(|status| &*status.owner.service == service).cloned().collect())
    }

    async fn logs(
        &self,
        unit: &UnitId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogRecord, ExecutorError>>, ExecutorError> {
        let state = self.reach()?;
        let missing = || ExecutorError::NotFound { what: format!("the output of {unit}") };
        let records = state.records.get(unit).ok_or_else(missing)?;
        let attempt = match query.attempt {
            AttemptRef::Latest => records.keys().next_back().copied(),
            AttemptRef::Previous => records.keys().rev().nth(1).copied(),
            AttemptRef::Number(number) => records.contains_key(&number).then_some(number),
        };
        let attempt = attempt.ok_or_else(missing)?;
        let there = records.get(&attempt).map_or(0, Vec::len);
        let from = query.tail.map_or(0, |tail| there.saturating_sub(tail));
        let reader =
            Reader { executor: self.clone(), unit: unit.clone(), attempt, from, follow: query.follow };
        Ok(reader.lines(self.version.subscribe()))
    }

    async fn stats(&self, unit: &UnitId) -> Result<Option<UnitStats>, ExecutorError> {
        let state = self.reach()?;
        let running = state.units.get(unit).is_some_and(|unit| unit.status.phase == Phase::Running);
        Ok(running.then_some(UnitStats { memory_bytes: 8 * 1024 * 1024, cpu_micros: 1_000, pids: 2 }))
    }

    async fn address(&self, unit: &UnitId, port: u16) -> Result<Option<SocketAddr>, ExecutorError> {
        let state = self.reach()?;
        let reachable = state
            .units
            .get(unit)
            .is_some_and(|unit| unit.status.phase == Phase::Running && unit.network != Network::None);
        Ok(reachable.then_some((Ipv4Addr::LOCALHOST, port).into()))
    }

    async fn purge(&self, unit: &UnitId) -> Result<(), ExecutorError> {
        self.reach()?.records.remove(unit);
        self.changed();
        Ok(())
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let seen = self.version.subscribe();
        stream::unfold(seen, |mut seen| async move {
            seen.changed().await.ok()?;
            Some(((), seen))
        })
        .boxed()
    }

    fn describe(&self) -> Description {
        Description { kind: "fake", version: "1".into(), protections: Vec::new() }
    }
}

fn ran_ms(status: &UnitStatus, now: Timestamp) -> u64 {
    let ran = status.started_at.map_or(0, |started| now.duration_since(started).as_millis());
    u64::try_from(ran).unwrap_or(0)
}
