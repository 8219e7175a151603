//! Pure: what must be done, from what is wanted and what is there. No policy is left to whoever does it.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use the0_model::{Exit, SegmentId, UnitId, UnitKind, UnitSpec, WorkerId, bot::STOP_GRACE_MS_DEFAULT};

use super::{Backoff, Desired, StopReason};
use crate::{
    executor::{Phase, UnitStatus},
    scope::Scope,
};

/// Most units named per kind of action when a plan is shown.
const SHOWN_MAX: usize = 20;

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// What should run in `scope`.
    pub wanted: &'a BTreeMap<UnitId, Desired>,
    /// What is there and [`ours`], ordered by id.
    pub observed: &'a [UnitStatus],
    /// What `wanted` was asked for.
    pub scope: &'a Scope,
    /// The scope of the last complete pass. Units found running beyond it are adopted.
    pub known: Option<&'a Scope>,
    /// Units that are being acted on, or rest after a failed action. They are left alone.
    pub busy: &'a BTreeSet<UnitId>,
    /// What earlier passes left behind.
    pub memory: &'a Memory,
    /// The time.
    pub now: Timestamp,
}

/// What a pass remembers for the next one. Losing it makes nothing wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Stop graces that are not the default: a unit that is wanted no longer has no specification to ask.
    pub graces: BTreeMap<UnitId, Duration>,
    /// Starts that were put off to a moment nearer than their `not_before`.
    pub promised: BTreeMap<UnitId, Timestamp>,
}

/// What must be done now, and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Independent of each other, at most one for each unit.
    pub actions: Vec<Action>,
    /// Starts that are put off.
    pub waiting: Vec<(UnitId, Timestamp)>,
    /// Those of `waiting` whose `not_before` was too far away to be true. Goes into the next [`Memory`].
    pub promised: BTreeMap<UnitId, Timestamp>,
    /// The next moment at which time alone changes the plan.
    pub look_again: Option<Timestamp>,
}

/// One thing to do with one unit.
#[derive(Debug, Clone)]
pub struct Action {
    /// The unit.
    pub unit: UnitId,
    /// What.
    pub work: Work,
}

/// What to do with a unit.
#[derive(Debug, Clone)]
pub enum Work {
    /// Start it, if its segment is still ours then.
    Start {
        /// How.
        spec: Arc<UnitSpec>,
        /// Its shard.
        segment: SegmentId,
    },
    /// It was found running as wanted: tell the service.
    Adopt {
        /// Number of the attempt that runs.
        attempt: u64,
    },
    /// Stop and remove it.
    Stop {
        /// Why.
        reason: StopReason,
        /// Time between SIGTERM and SIGKILL.
        grace: Duration,
    },
    /// It ended: report that, then remove it.
    Collect {
        /// Number of the attempt that ended.
        attempt: u64,
        /// How it ended.
        exit: Box<Exit>,
    },
}

/// Of what was found: what this process answers for, ordered by id. That is what belongs to its scope, and what it
/// started itself; neighbours on the same executor are left alone.
pub fn ours(mut observed: Vec<UnitStatus>, scope: &Scope, me: &WorkerId) -> Vec<UnitStatus> {
    match scope {
        Scope::All { .. } => {}
        Scope::Segments(_) => {
            observed.retain(|unit| scope.contains(unit.owner.segment) || unit.owner.worker == *me);
        }
    }
    if !observed.is_sorted_by(|a, b| a.id < b.id) {
        observed.sort_by(|a, b| a.id.cmp(&b.id));
        observed.dedup_by(|a, b| a.id == b.id);
    }
    observed
}

/// Decides what must be done. Walks both sides once, side by side; copies nothing of units that are as they should be.
pub fn plan(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = world.wanted.iter().peekable();
    let mut observed = world.observed.iter().peekable();
    loop {
        let order = match (wanted.peek(), observed.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((id, _)), Some(unit)) => (*id).cmp(&unit.id),
        };
        match order {
            Ordering::Less => {
                if let Some((id, desired)) = wanted.next() {
                    absent(world, id, desired, &mut plan);
                }
            }
            Ordering::Greater => {
                if let Some(unit) = observed.next() {
                    unwanted(world, unit, &mut plan);
                }
            }
            Ordering::Equal => {
                if let (Some((_, desired)), Some(unit)) = (wanted.next(), observed.next()) {
                    both(world, desired, unit, &mut plan);
                }
            }
        }
    }
    plan
}

/// Wanted and not there.
fn absent(world: &World<'_>, id: &UnitId, desired: &Desired, plan: &mut Plan) {
    if world.busy.contains(id) || !world.scope.contains(desired.segment) {
        return;
    }
    match put_off(world, id, desired.not_before) {
        Some((until, promised)) => {
            if promised {
                plan.promised.insert(id.clone(), until);
            }
            plan.waiting.push((id.clone(), until));
            plan.look_by(until);
        }
        None => plan.push(id, start(desired)),
    }
}

/// Until when a start is put off, if it is, and whether that moment is ours rather than the service's.
///
/// No backoff is longer than the cap, so a moment further away was written before the clock was stepped back. The start
/// is then promised for one cap from now, and the promise is kept however far `not_before` stays away.
fn put_off(world: &World<'_>, id: &UnitId, not_before: Option<Timestamp>) -> Option<(Timestamp, bool)> {
    let not_before = not_before.filter(|moment| *moment > world.now)?;
    let furthest = after(world.now, Backoff::UNITS.most);
    if not_before <= furthest {
        return Some((not_before, false));
    }
    let promised = world.memory.promised.get(id).map_or(furthest, |earlier| furthest.min(*earlier));
    (promised > world.now).then_some((promised, true))
}

/// There, and wanted by nobody.
fn unwanted(world: &World<'_>, unit: &UnitStatus, plan: &mut Plan) {
    if world.busy.contains(&unit.id) {
        return;
    }
    let ours = world.scope.contains(unit.owner.segment);
    let work = match &unit.phase {
        Phase::Exited(exit) if ours => Work::Collect { attempt: unit.attempt, exit: exit.clone() },
        Phase::Exited(_) | Phase::Starting | Phase::Running => Work::Stop {
            reason: if ours { StopReason::NotWanted } else { StopReason::NotOurs },
            grace: remembered_grace(world, &unit.id),
        },
    };
    plan.push(&unit.id, work);
}

/// Wanted and there.
fn both(world: &World<'_>, desired: &Desired, unit: &UnitStatus, plan: &mut Plan) {
    if !world.scope.contains(desired.segment) {
        return unwanted(world, unit, plan);
    }
    let grace = Duration::from_millis(desired.spec.stop_grace_ms);
    let work = match (&unit.phase, desired.spec.kind) {
        (Phase::Exited(exit), _) => Work::Collect { attempt: unit.attempt, exit: exit.clone() },
        (Phase::Starting | Phase::Running, UnitKind::Service) if unit.digest != desired.digest => {
            Work::Stop { reason: StopReason::Changed, grace }
        }
        // Nobody is starting it (it would be busy): an earlier process died half way. Starting is idempotent.
        (Phase::Starting, _) => start(desired),
        (Phase::Running, kind) => match deadline(kind, unit.started_at) {
            Some(deadline) if deadline <= world.now => Work::Stop { reason: StopReason::Overdue, grace },
            deadline => {
                if let Some(deadline) = deadline {
                    plan.look_by(deadline);
                }
                if world.known.is_some_and(|known| known.contains(desired.segment)) {
                    return;
                }
                Work::Adopt { attempt: unit.attempt }
            }
        },
    };
    if !world.busy.contains(&unit.id) {
        plan.push(&unit.id, work);
    }
}

fn start(desired: &Desired) -> Work {
    Work::Start { spec: desired.spec.clone(), segment: desired.segment }
}

fn deadline(kind: UnitKind, started_at: Option<Timestamp>) -> Option<Timestamp> {
    match kind {
        UnitKind::Service => None,
        UnitKind::Job { deadline_ms } => Some(after(started_at?, Duration::from_millis(deadline_ms))),
    }
}

fn remembered_grace(world: &World<'_>, id: &UnitId) -> Duration {
    world.memory.graces.get(id).copied().unwrap_or(Duration::from_millis(STOP_GRACE_MS_DEFAULT))
}

/// `moment` plus `wait`, or the end of time.
pub(crate) fn after(moment: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| moment.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

impl Plan {
    fn push(&mut self, unit: &UnitId, work: Work) {
        self.actions.push(Action { unit: unit.clone(), work });
    }

    /// Makes `look_again` no later than `moment`.
    pub fn look_by(&mut self, moment: Timestamp) {
        self.look_again = Some(self.look_again.map_or(moment, |other| other.min(moment)));
    }

    /// Keeps only what must happen even when nobody can say what is wanted: stops of units of segments that are not ours
    /// any more.
    #[must_use]
    pub fn only_not_ours(mut self) -> Self {
        self.actions.retain(|action| matches!(action.work, Work::Stop { reason: StopReason::NotOurs, .. }));
        Self { actions: self.actions, ..Self::default() }
    }
}

impl Memory {
    /// Brings the remembered graces up to date and forgets units that are neither wanted nor there.
    pub fn learn(&mut self, wanted: &BTreeMap<UnitId, Desired>, observed: &[UnitStatus]) {
        for (id, desired) in wanted {
            if desired.spec.stop_grace_ms != STOP_GRACE_MS_DEFAULT {
                self.graces.insert(id.clone(), Duration::from_millis(desired.spec.stop_grace_ms));
            }
        }
        self.graces.retain(|id, _| match wanted.get(id) {
            Some(desired) => desired.spec.stop_grace_ms != STOP_GRACE_MS_DEFAULT,
            None => observed.binary_search_by(|unit| unit.id.cmp(id)).is_ok(),
        });
    }
}

impl fmt::Display for Plan {
    /// One line: `starts=[bot/a] stops=[bot/b(changed)] collects=[bot/c(failed)] waiting=[bot/d until …]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() && self.waiting.is_empty() {
            return f.write_str("nothing to do");
        }
        let mut shown: [(&str, Vec<String>); 5] =
            ["starts", "adopts", "stops", "collects", "waiting"].map(|name| (name, Vec::new()));
        for Action { unit, work } in &self.actions {
            let (place, text) = match work {
                Work::Start { .. } => (0, unit.to_string()),
                Work::Adopt { .. } => (1, unit.to_string()),
                Work::Stop { reason, .. } => (2, format!("{unit}({reason})")),
                Work::Collect { exit, .. } => (3, format!("{unit}({})", exit.cause)),
            };
            shown[place].1.push(text);
        }
        shown[4].1.extend(self.waiting.iter().map(|(unit, until)| format!("{unit} until {until}")));
        let mut gap = "";
        for (name, units) in shown.iter().filter(|(_, units)| !units.is_empty()) {
            let head = &units[..units.len().min(SHOWN_MAX)];
            write!(f, "{gap}{name}=[{}", head.join(", "))?;
            if units.len() > SHOWN_MAX {
                write!(f, ", and {} more", units.len() - SHOWN_MAX)?;
            }
            f.write_str("]")?;
            gap = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
