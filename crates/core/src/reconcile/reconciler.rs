//! The loop: hears a bell, looks at everything, decides, and lets tasks act.

use std::{borrow::Cow, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use jiff::Timestamp;
use the0_model::{UnitId, WorkerId};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::{
    Backoff, DesiredState, PassStatus, ReconcilerConfig, Wanted,
    act::Hands,
    guard::{Guard, Verdict},
    inflight::{Done, InFlight},
    plan::{Memory, World, ours, plan},
};
use crate::{
    clock::Clock,
    executor::{Executor, Phase, UnitStatus},
    scope::Scope,
    wake::Wake,
};

/// A pass over thousands of units may use a fifth of the time; a ring waits that long at most.
const SETTLE_MAX: Duration = Duration::from_millis(200);

/// Drives an executor until what runs is what a service wants.
pub struct Reconciler {
    hands: Arc<Hands>,
    scope: watch::Receiver<Scope>,
    clock: Arc<dyn Clock>,
    wake: Wake,
    config: ReconcilerConfig,
    status: watch::Sender<PassStatus>,
    changes: Option<BoxStream<'static, ()>>,
    tasks: JoinSet<(UnitId, Done)>,
    in_flight: InFlight,
    guard: Guard,
    memory: Memory,
    /// What `memory` was learned from.
    learned: Wanted,
    /// Scope of the last complete pass.
    known: Option<Scope>,
    /// When the next pass is due; `None` until something rings.
    due: Option<Instant>,
    /// No ring makes a pass due before.
    not_before: Instant,
    failures: u32,
}

impl Reconciler {
    /// A reconciler that has not looked yet. Its first pass comes as soon as it runs.
    ///
    /// The scope stays as it last was when its sender is dropped.
    pub fn new(
        executor: Arc<dyn Executor>,
        desired: Arc<dyn DesiredState>,
        scope: watch::Receiver<Scope>,
        me: WorkerId,
        clock: Arc<dyn Clock>,
        wake: Wake,
        config: ReconcilerConfig,
    ) -> Self {
        let service = desired.service().into();
        let hands = Hands { executor, desired, scope: scope.clone(), service, me, timeouts: config.timeouts };
        let now = Instant::now();
        Self {
            hands: Arc::new(hands),
            scope,
            clock,
            wake,
            status: watch::Sender::default(),
            changes: None,
            tasks: JoinSet::new(),
            in_flight: InFlight::new(config.width),
            guard: Guard::new(config.guard_more_than, config.guard_wait),
            memory: Memory::default(),
            learned: Wanted::default(),
            known: None,
            due: Some(now),
            not_before: now,
            failures: 0,
            config,
        }
    }

    /// What the last pass saw and decided.
    pub fn status(&self) -> watch::Receiver<PassStatus> {
        self.status.subscribe()
    }

    /// Reconciles until cancelled; then lets running actions end, and leaves the units running. A service that must stop
    /// them empties its scope first.
    pub async fn run(mut self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut scoped = true;
        loop {
            // The pass stands before the bells, so that a bell that never stops cannot keep it from happening.
            tokio::select! {
                biased;
                () = cancelled.cancelled() => break,
                () = until(self.due) => {
                    if cancelled.run_until_cancelled(self.pass()).await.is_none() {
                        break;
                    }
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                changed = self.scope.changed(), if scoped => {
                    scoped = changed.is_ok();
                    // A lost grant waits for nothing, not even for the end of a failing executor's backoff.
                    self.due = Some(Instant::now());
                }
                () = self.wake.rung() => self.ring(),
                change = next(&mut self.changes) => match change {
                    Some(()) => self.ring(),
                    None => self.lose_changes(),
                },
            }
        }
        self.drain().await;
        Ok(())
    }

    /// One look at everything: decides, and starts acting. Returns without waiting for the actions.
    pub async fn pass(&mut self) {
        let began = Instant::now();
        self.due = None;
        // Before looking, so that what changes after the look rings.
        self.changes.get_or_insert_with(|| self.hands.executor.changes());
        // One scope for the whole pass: what was asked for must be what is decided on. If it changes meanwhile, the next
        // pass follows at once, and no start is made without asking again.
        let scope = self.scope.borrow_and_update().clone();
        let (wanted, observed) = tokio::join!(self.hands.wanted(&scope), self.hands.observed());
        let busy = self.in_flight.busy(began.into_std());
        let mut status = PassStatus {
            number: self.status.borrow().number + 1,
            at: Some(self.clock.now()),
            busy: busy.len(),
            ..PassStatus::default()
        };
        match observed {
            Ok(observed) => {
                let observed = ours(observed, &scope, &self.hands.me);
                status.running =
                    observed.iter().filter(|unit| !matches!(unit.phase, Phase::Exited(_))).count();
                let failed = wanted.as_ref().err().cloned();
                let wanted = wanted.unwrap_or_default();
                status.wanted = wanted.len();
                status.error.clone_from(&failed);
                if failed.is_none() {
                    self.learn(&wanted, &observed);
                }
                let known = self.known.as_ref();
                let (now, memory) = (self.clock.now(), &self.memory);
                let world = World {
                    wanted: &wanted,
                    observed: &observed,
                    scope: &scope,
                    known,
                    busy: &busy,
                    memory,
                    now,
                };
                let mut plan = plan(&world);
                if failed.is_some() {
                    plan = plan.only_not_ours();
                } else {
                    status.held = self.hold(&mut plan, status.running, now);
                    self.memory.promised = std::mem::take(&mut plan.promised);
                    self.known = Some(scope);
                }
                status.plan = match (plan.actions.is_empty(), plan.waiting.is_empty()) {
                    (true, true) => Cow::Borrowed("nothing to do"),
                    _ => plan.to_string().into(),
                };
                if plan.actions.is_empty() {
                    debug!(pass = status.number, "{}", status.plan);
                } else {
                    info!(pass = status.number, "{}", status.plan);
                }
                self.due = plan.look_again.map(|moment| self.instant(moment));
                self.in_flight.replace(plan.actions, began.into_std());
                self.launch();
            }
            Err(unknown) => {
                let errors = [wanted.err(), Some(unknown)].into_iter().flatten().collect::<Vec<_>>();
                status.error = Some(errors.join("; "));
            }
        }
        self.conclude(status, began);
    }

    /// Waits until no action runs or waits for a free hand. With [`pass`](Self::pass), for those who need no loop.
    pub async fn settle(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended);
        }
    }

    /// Fixes when the next pass comes, and publishes this one.
    fn conclude(&mut self, mut status: PassStatus, began: Instant) {
        let now = Instant::now();
        status.took = now - began;
        if let Some(error) = &status.error {
            warn!(pass = status.number, error, "pass could not see everything");
            self.failures = self.failures.saturating_add(1);
            self.due = Some(now + Backoff::RETRIES.delay(self.failures));
            self.not_before = now + Backoff::RETRIES.first;
        } else {
            self.failures = 0;
            self.not_before = now + (status.took * 4).min(SETTLE_MAX);
            let rested = self.in_flight.next_rested(now.into_std()).map(Instant::from_std);
            let resync = self.config.resync.map(|period| now + period);
            self.due = [self.due, rested, resync].into_iter().flatten().min();
        }
        self.status.send_replace(status);
    }

    fn hold(&mut self, plan: &mut super::Plan, running: usize, now: Timestamp) -> Option<String> {
        let verdict = self.guard.check(plan, running, now);
        match verdict {
            Verdict::Clear => return None,
            Verdict::Held { .. } => error!("{verdict}"),
            Verdict::Confirmed { .. } => warn!("{verdict}"),
        }
        Some(verdict.to_string())
    }

    fn learn(&mut self, wanted: &Wanted, observed: &[UnitStatus]) {
        if !Arc::ptr_eq(wanted, &self.learned) {
            self.memory.learn(wanted, observed);
            self.learned = wanted.clone();
        }
    }

    /// Starts tasks while there are free hands.
    fn launch(&mut self) {
        while let Some(task) = self.in_flight.next() {
            let (hands, unit) = (self.hands.clone(), task.unit.clone());
            let span = info_span!("unit", %unit, service = %hands.service);
            let work = async move {
                // A unit whose task panicked would stay busy for ever.
                let done = AssertUnwindSafe(hands.perform(task)).catch_unwind().await;
                (unit, done.unwrap_or(Done::Failed))
            };
            self.tasks.spawn(work.instrument(span));
        }
    }

    fn ended(&mut self, ended: Result<(UnitId, Done), tokio::task::JoinError>) {
        if let Ok((unit, done)) = ended {
            if let Some(outcome) = self.in_flight.finished(&unit, done, Instant::now().into_std()) {
                error!(%unit, ?outcome, "the service does not record this outcome; it is given up");
            }
            self.launch();
            self.ring();
        }
    }

    /// Something may have changed.
    fn ring(&mut self) {
        let moment = (Instant::now() + self.config.debounce).max(self.not_before);
        self.due = Some(self.due.map_or(moment, |due| due.min(moment)));
    }

    /// The executor's bell is gone: the next pass asks for a new one.
    fn lose_changes(&mut self) {
        self.changes = None;
        self.not_before = self.not_before.max(Instant::now() + Backoff::RETRIES.first);
        self.ring();
    }

    /// The moment on the clock that timers follow.
    fn instant(&self, moment: Timestamp) -> Instant {
        let wait = Duration::try_from(moment.duration_since(self.clock.now())).unwrap_or(Duration::ZERO);
        // Timers are exact to a millisecond; a pass just before the moment would be for nothing.
        Instant::now() + wait.min(Backoff::UNITS.most) + Duration::from_millis(1)
    }

    /// Lets running actions end.
    async fn drain(mut self) {
        self.in_flight.clear();
        let ended = timeout(self.config.drain, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok((unit, done)) = ended {
                    self.in_flight.finished(&unit, done, Instant::now().into_std());
                }
            }
        });
        if ended.await.is_err() {
            let units: Vec<&UnitId> = self.in_flight.running().collect();
            warn!(?units, "actions did not end in time and are broken off");
        }
    }
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler")
            .field("hands", &self.hands)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn next(changes: &mut Option<BoxStream<'static, ()>>) -> Option<()> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
