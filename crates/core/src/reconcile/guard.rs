//! Pure: an answer that would stop most of what runs is not believed at once.
//!
//! A store that comes back empty, a wrong database name, a filter that went wrong: each says "nothing is wanted", and
//! each would stop every bot. Such an answer must be given twice.

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::Timestamp;
use the0_model::UnitId;

use super::{
    StopReason,
    plan::{Action, Plan, Work, after},
};

/// Holds mass stops until a second look agrees.
#[derive(Debug, Clone)]
pub struct Guard {
    more_than: usize,
    wait: Duration,
    suspicion: Option<Suspicion>,
}

/// What the first look wanted stopped, and every look since.
#[derive(Debug, Clone)]
struct Suspicion {
    since: Timestamp,
    units: BTreeSet<UnitId>,
}

/// What the guard made of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing unusual.
    Clear,
    /// The stops were taken out of the plan.
    Held {
        /// How many.
        stops: usize,
        /// Out of how many running units.
        running: usize,
        /// When a look that still wants them stopped is believed.
        until: Timestamp,
    },
    /// A second look agreed: they are stopped.
    Confirmed {
        /// How many.
        stops: usize,
        /// Out of how many running units.
        running: usize,
    },
}

impl Default for Guard {
    fn default() -> Self {
        Self::new(10, Duration::from_secs(5))
    }
}

impl Guard {
    /// Watches passes over more than `more_than` running units; the second look comes `wait` after the first.
    pub fn new(more_than: usize, wait: Duration) -> Self {
        Self { more_than, wait, suspicion: None }
    }

    /// Takes unbelievable stops out of `plan`. Only stops of unwanted units are ever held.
    pub fn check(&mut self, plan: &mut Plan, running: usize, now: Timestamp) -> Verdict {
        let stops = plan.actions.iter().filter(|action| is_doubtful(action)).count();
        if running <= self.more_than || stops * 2 <= running {
            self.suspicion = None;
            return Verdict::Clear;
        }
        let units: BTreeSet<UnitId> = plan
            .actions
            .iter()
            .filter(|action| is_doubtful(action))
            .map(|action| action.unit.clone())
            .collect();
        let agreed = self.suspicion.take().map(|earlier| Suspicion {
            // A clock that was stepped back must not hold them for ever.
            since: earlier.since.min(now),
            units: &earlier.units & &units,
        });
        let suspicion =
            agreed.filter(|agreed| !agreed.units.is_empty()).unwrap_or(Suspicion { since: now, units });
        let until = after(suspicion.since, self.wait);
        if now < until {
            plan.actions.retain(|action| !is_doubtful(action));
            plan.look_by(until);
            self.suspicion = Some(suspicion);
            return Verdict::Held { stops, running, until };
        }
        plan.actions.retain(|action| !is_doubtful(action) || suspicion.units.contains(&action.unit));
        Verdict::Confirmed { stops: suspicion.units.len(), running }
    }
}

fn is_doubtful(action: &Action) -> bool {
    matches!(action.work, Work::Stop { reason: StopReason::NotWanted, .. })
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear => f.write_str("clear"),
            Self::Held { stops, running, until } => write!(
                f,
                "{stops} of {running} running units are suddenly not wanted; held until a second look agrees at {until}"
            ),
            Self::Confirmed { stops, running } => {
                write!(f, "a second look agrees: {stops} of {running} running units are not wanted")
            }
        }
    }
}

#[cfg(test)]
mod tests;
