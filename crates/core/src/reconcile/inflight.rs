//! Pure: which actions run, which wait for a free hand, and which units rest after a failure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use the0_model::UnitId;

use super::{
    Backoff, Outcome, StopReason,
    plan::{Action, Work},
};

/// Times an outcome is offered to a service that does not take it, before it is dropped.
const OFFERS_MAX: u32 = 12;

/// Something to do with a unit, by a hand of its own.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) unit: UnitId,
    pub(super) job: Job,
}

#[derive(Debug)]
pub(super) enum Job {
    /// From the plan.
    Act(Work),
    /// Report an outcome that the service did not take the first time.
    Report(Outcome),
}

/// How a task ended.
#[derive(Debug)]
pub(super) enum Done {
    /// As it should.
    Well,
    /// There was nothing to do.
    Nothing,
    /// The unit could not be started, and the service knows; it decides when to try again.
    Refused,
    /// It did not work; the next pass tries again.
    Failed,
    /// It worked, but the service could not be told.
    Untold(Outcome),
}

/// Starts may take minutes (an image is pulled); they must not keep stops waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Starts,
    Others,
}

#[derive(Debug)]
struct Rest {
    failures: u32,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct InFlight {
    /// Most tasks at once in each lane.
    width: usize,
    running: BTreeMap<UnitId, Lane>,
    /// Replaced by every pass; holds at most two tasks for each unit known.
    queued: VecDeque<Task>,
    resting: BTreeMap<UnitId, Rest>,
    untold: BTreeMap<UnitId, Outcome>,
}

impl InFlight {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width: width.max(1),
            running: BTreeMap::new(),
            queued: VecDeque::new(),
            resting: BTreeMap::new(),
            untold: BTreeMap::new(),
        }
    }

    /// Units to leave alone now.
    pub(super) fn busy(&mut self, now: Instant) -> BTreeSet<UnitId> {
        let untold = &self.untold;
        self.resting.retain(|unit, rest| {
            untold.contains_key(unit) || now.saturating_duration_since(rest.until) < Backoff::RETRIES.healthy
        });
        let resting = self.resting.iter().filter(|(_, rest)| rest.until > now).map(|(unit, _)| unit);
        self.running.keys().chain(resting).cloned().collect()
    }

    /// Tasks that run.
    pub(super) fn running(&self) -> impl ExactSizeIterator<Item = &UnitId> {
        self.running.keys()
    }

    /// Replaces what waits by a newer plan.
    pub(super) fn replace(&mut self, actions: Vec<Action>, now: Instant) {
        self.queued.clear();
        let mut owing: BTreeSet<UnitId> = self
            .untold
            .keys()
            .filter(|unit| !self.running.contains_key(*unit) && !self.rests(unit, now))
            .cloned()
            .collect();
        for Action { unit, work } in actions {
            match work {
                // First the service must know how the last attempt ended, or it may want a job twice.
                Work::Start { .. } if self.untold.contains_key(&unit) => {}
                // Segments that are not ours any more go first: someone else waits for them.
                Work::Stop { reason: StopReason::NotOurs, .. } => {
                    owing.remove(&unit);
                    self.queued.push_front(Task { unit, job: Job::Act(work) });
                }
                Work::Start { .. } | Work::Adopt { .. } | Work::Stop { .. } | Work::Collect { .. } => {
                    owing.remove(&unit);
                    self.queued.push_back(Task { unit, job: Job::Act(work) });
                }
            }
        }
        for unit in owing {
            if let Some(outcome) = self.untold.get(&unit) {
                self.queued.push_back(Task { job: Job::Report(outcome.clone()), unit });
            }
        }
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.queued.clear();
    }

    /// The next task for which there is a free hand. It counts as running from now on.
    pub(super) fn next(&mut self) -> Option<Task> {
        let free = |lane| self.running.values().filter(|other| **other == lane).count() < self.width;
        let (starts, others) = (free(Lane::Starts), free(Lane::Others));
        let place = self.queued.iter().position(|task| match task.lane() {
            Lane::Starts => starts,
            Lane::Others => others,
        })?;
        let task = self.queued.remove(place)?;
        self.running.insert(task.unit.clone(), task.lane());
        Some(task)
    }

    /// Takes note of the end of a task. Returns an outcome that was offered too often and is given up.
    pub(super) fn finished(&mut self, unit: &UnitId, done: Done, now: Instant) -> Option<Outcome> {
        self.running.remove(unit);
        match done {
            Done::Well => {
                self.resting.remove(unit);
                self.untold.remove(unit);
            }
            Done::Nothing | Done::Refused => {
                self.untold.remove(unit);
                let until = now + Backoff::RETRIES.first;
                self.resting.insert(unit.clone(), Rest { failures: 0, until });
            }
            Done::Failed => {
                self.rest(unit, now);
            }
            Done::Untold(outcome) => {
                if self.rest(unit, now) > OFFERS_MAX {
                    self.untold.remove(unit);
                    return Some(outcome);
                }
                self.untold.insert(unit.clone(), outcome);
            }
        }
        None
    }

    /// When the next unit has rested.
    pub(super) fn next_rested(&self, now: Instant) -> Option<Instant> {
        self.resting.values().map(|rest| rest.until).filter(|until| *until > now).min()
    }

    fn rests(&self, unit: &UnitId, now: Instant) -> bool {
        self.resting.get(unit).is_some_and(|rest| rest.until > now)
    }

    /// Lets a unit rest, longer after every failure in a row. Returns their number.
    fn rest(&mut self, unit: &UnitId, now: Instant) -> u32 {
        let (failures, awake) = self
            .resting
            .get(unit)
            .map_or((0, Duration::ZERO), |rest| (rest.failures, now.saturating_duration_since(rest.until)));
        let (failures, wait) = Backoff::RETRIES.next(failures, awake);
        self.resting.insert(unit.clone(), Rest { failures, until: now + wait });
        failures
    }
}

impl Task {
    fn lane(&self) -> Lane {
        match &self.job {
            Job::Act(Work::Start { .. }) => Lane::Starts,
            Job::Act(Work::Adopt { .. } | Work::Stop { .. } | Work::Collect { .. }) | Job::Report(_) => {
                Lane::Others
            }
        }
    }
}

#[cfg(test)]
mod tests;
