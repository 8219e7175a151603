//! A reconciler between a fake service and a fake executor.
#![allow(dead_code, clippy::unwrap_used, reason = "test helpers, of which each test binary uses a part")]

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use the0_core::{
    PassStatus, Reconciler, ReconcilerConfig, Scope, Wake,
    fakes::{self, FakeDesired, FakeExecutor, ManualClock},
};
use the0_model::{BotId, Generation, UnitId, UnitKind, UnitSpec, WorkerId};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

pub(crate) struct Stage {
    pub(crate) clock: ManualClock,
    pub(crate) wake: Wake,
    pub(crate) desired: FakeDesired,
    pub(crate) executor: FakeExecutor,
    pub(crate) scope: watch::Sender<Scope>,
    pub(crate) config: ReconcilerConfig,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

impl Stage {
    /// A stage on which nothing runs yet. Without a resync: what happens, happens because something rang.
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let wake = Wake::new();
        Self {
            desired: FakeDesired::new(Arc::new(clock.clone()), wake.clone()),
            executor: FakeExecutor::new(Arc::new(clock.clone())),
            scope: watch::Sender::new(Scope::All { generation: Generation::default() }),
            config: ReconcilerConfig { resync: None, ..ReconcilerConfig::default() },
            clock,
            wake,
            running: None,
        }
    }

    pub(crate) fn reconciler(&self) -> Reconciler {
        Reconciler::new(
            Arc::new(self.executor.clone()),
            Arc::new(self.desired.clone()),
            self.scope.subscribe(),
            WorkerId::new("w1").unwrap(),
            Arc::new(self.clock.clone()),
            self.wake.clone(),
            self.config.clone(),
        )
    }

    /// Starts a reconciler, as a new process would.
    pub(crate) fn start(&mut self) -> watch::Receiver<PassStatus> {
        let (reconciler, cancelled) = (self.reconciler(), CancellationToken::new());
        let status = reconciler.status();
        #[expect(clippy::disallowed_methods, reason = "the test owns it")]
        let task = tokio::spawn(reconciler.run(cancelled.clone()));
        self.running = Some((cancelled, task));
        status
    }

    /// Ends the reconciler in order.
    pub(crate) async fn stop(&mut self) {
        if let Some((cancelled, task)) = self.running.take() {
            cancelled.cancel();
            task.await.unwrap().unwrap();
        }
    }

    /// Ends it as kill -9 would.
    pub(crate) fn kill(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
    }
}

/// Lets everything that does not wait for time happen. The clock is paused, so this takes no real time.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(20)).await;
}

pub(crate) fn unit(number: u32) -> UnitId {
    UnitId::bot(&BotId::new(number.to_string()).unwrap())
}

pub(crate) fn service(number: u32) -> UnitSpec {
    fakes::spec(&unit(number), UnitKind::Service)
}

pub(crate) fn job(number: u32, deadline: Duration) -> UnitSpec {
    let deadline_ms = u64::try_from(deadline.as_millis()).unwrap();
    fakes::spec(&unit(number), UnitKind::Job { deadline_ms })
}

pub(crate) fn seconds(moment: Timestamp, earlier: Timestamp) -> f64 {
    moment.duration_since(earlier).as_secs_f64()
}
