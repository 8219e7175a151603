//! Pure: what to do with a running bot when something happens to it, and when.
//!
//! ```text
//! Running ──stop, lease──▶ Stopping ──kill_at──▶ Killing ─┐
//!    └───────────┬────────────┴──────────────────────────┘ main process gone
//!                ▼ others left?                                   none left
//!           Leftovers ──kill_at──▶ LeftoversKilled ──give_up_at──▶ Finished
//! ```
//!
//! Times are milliseconds of `CLOCK_BOOTTIME`.

use crate::lease::{LeaseFile, Standing};

/// Longest wait for processes the bot left behind, between SIGTERM and SIGKILL.
const LEFTOVERS_MS: u64 = 2_000;
/// Longest wait for a killed leftover; one stuck in the kernel must not keep the end from being recorded.
const GIVE_UP_MS: u64 = 1_000;
/// How often SIGKILL is repeated while the bot's process is still there.
const KILL_AGAIN_MS: u64 = 100;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The agent was asked to stop the bot.
    StopRequested,
    /// The lease was read.
    Lease(LeaseFile),
    /// Children were looked at: whether the bot's process ended, and whether any process is left at all.
    Looked {
        /// How the bot's own process ended, if it did since the last look.
        main: Option<Ended>,
        /// Whether any descendant is left.
        any_left: bool,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask everything of the bot to end (SIGTERM).
    Terminate,
    /// End everything of the bot (SIGKILL).
    Kill,
}

/// Who ended the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody: it ended by itself.
    Nobody,
    /// We asked and it ended in time.
    Requested,
    /// We asked and had to kill it.
    Forced,
    /// The lease ran out.
    Fenced(LeaseFile),
}

/// The end of the bot's own process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// How the process ended.
    pub(crate) ended: Ended,
    /// Who ended it.
    pub(crate) stop: Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Stopping { kill_at: u64 },
    Killing { again_at: u64 },
    Leftovers { ending: Ending, kill_at: u64 },
    LeftoversKilled { ending: Ending, give_up_at: u64 },
    Finished { ending: Ending },
}

/// Decides what happens to one bot's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Supervisor {
    stop_grace_ms: u64,
    lease: Option<LeaseFile>,
    fenced: Option<LeaseFile>,
    stage: Stage,
}

impl Supervisor {
    /// Starts with the bot's process just started.
    pub(crate) const fn new(stop_grace_ms: u64, lease: Option<LeaseFile>) -> Self {
        Self { stop_grace_ms, lease, fenced: None, stage: Stage::Running }
    }

    /// Takes in what happened at `now` and says what to do, in order.
    pub(crate) fn handle(&mut self, event: Event, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::StopRequested => self.stop(now, &mut actions),
            Event::Lease(lease) => self.lease = Some(lease),
            Event::Looked { main, any_left } => self.looked(main, any_left, now, &mut actions),
        }
        self.check_lease(now, &mut actions);
        self.check_time(now, &mut actions);
        actions
    }

    /// When it wants to be handed an event at the latest, whatever happened. `None` while nothing is waited for.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let lease = self.lease.filter(|_| self.fenced.is_none()).map(|lease| lease.deadline_boottime_ms);
        let stage = match self.stage {
            Stage::Running => None,
            Stage::Stopping { kill_at } | Stage::Leftovers { kill_at, .. } => Some(kill_at),
            Stage::Killing { again_at } => Some(again_at),
            Stage::LeftoversKilled { give_up_at, .. } => Some(give_up_at),
            Stage::Finished { .. } => return None,
        };
        stage.into_iter().chain(lease).min()
    }

    /// How it ended, once there is nothing left to do.
    pub(crate) const fn finished(&self) -> Option<Ending> {
        match self.stage {
            Stage::Finished { ending } => Some(ending),
            Stage::Running
            | Stage::Stopping { .. }
            | Stage::Killing { .. }
            | Stage::Leftovers { .. }
            | Stage::LeftoversKilled { .. } => None,
        }
    }

    /// A second request changes nothing: the first one's time runs.
    fn stop(&mut self, now: u64, actions: &mut Vec<Action>) {
        if self.stage == Stage::Running {
            self.stage = Stage::Stopping { kill_at: now.saturating_add(self.stop_grace_ms) };
            actions.push(Action::Terminate);
        }
    }

    fn looked(&mut self, main: Option<Ended>, any_left: bool, now: u64, actions: &mut Vec<Action>) {
        if let Some(ended) = main {
            let ending = Ending { ended, stop: self.who() };
            match self.stage {
                Stage::Running => {
                    self.stage = Stage::Leftovers { ending, kill_at: now.saturating_add(LEFTOVERS_MS) };
                    actions.push(Action::Terminate);
                }
                // Asked already; the rest has what is left of the grace, but not for long.
                Stage::Stopping { kill_at } => {
                    let kill_at = kill_at.min(now.saturating_add(LEFTOVERS_MS));
                    self.stage = Stage::Leftovers { ending, kill_at };
                    actions.push(Action::Terminate);
                }
                Stage::Killing { .. } => self.kill_leftovers(ending, now, actions),
                Stage::Leftovers { .. } | Stage::LeftoversKilled { .. } | Stage::Finished { .. } => {}
            }
        }
        if let (false, Stage::Leftovers { ending, .. } | Stage::LeftoversKilled { ending, .. }) =
            (any_left, self.stage)
        {
            self.stage = Stage::Finished { ending };
            actions.clear();
        }
    }

    fn who(&self) -> Stop {
        match (self.fenced, self.stage) {
            (Some(lease), _) => Stop::Fenced(lease),
            (None, Stage::Killing { .. }) => Stop::Forced,
            (None, Stage::Stopping { .. }) => Stop::Requested,
            (None, _) => Stop::Nobody,
        }
    }

    /// A lease that ran out once stays so: the bot was told to go, and a later renewal does not untell it.
    fn check_lease(&mut self, now: u64, actions: &mut Vec<Action>) {
        let Some(lease) = self.lease.filter(|lease| lease.standing(now) != Standing::Held) else { return };
        if self.fenced.is_some() {
            return;
        }
        let limit = lease.kill_at_ms();
        match &mut self.stage {
            Stage::Running => {
                self.stage = Stage::Stopping { kill_at: limit };
                actions.push(Action::Terminate);
            }
            Stage::Stopping { kill_at } | Stage::Leftovers { kill_at, .. } => *kill_at = limit.min(*kill_at),
            Stage::Killing { .. } | Stage::LeftoversKilled { .. } | Stage::Finished { .. } => {}
        }
        self.fenced = Some(lease);
    }

    fn check_time(&mut self, now: u64, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Stopping { kill_at: at } | Stage::Killing { again_at: at } if now >= at => {
                self.stage = Stage::Killing { again_at: now.saturating_add(KILL_AGAIN_MS) };
                actions.push(Action::Kill);
            }
            Stage::Leftovers { ending, kill_at } if now >= kill_at => {
                self.kill_leftovers(ending, now, actions);
            }
            Stage::LeftoversKilled { ending, give_up_at } if now >= give_up_at => {
                self.stage = Stage::Finished { ending };
            }
            Stage::Running
            | Stage::Stopping { .. }
            | Stage::Killing { .. }
            | Stage::Leftovers { .. }
            | Stage::LeftoversKilled { .. }
            | Stage::Finished { .. } => {}
        }
    }

    fn kill_leftovers(&mut self, ending: Ending, now: u64, actions: &mut Vec<Action>) {
        self.stage = Stage::LeftoversKilled { ending, give_up_at: now.saturating_add(GIVE_UP_MS) };
        actions.push(Action::Kill);
    }
}

#[cfg(test)]
mod tests;
