//! A pass in which nothing changed, over 1,000 and 10,000 units. Aim: at most 5 ms of CPU for 10,000.

use std::{collections::BTreeMap, sync::Arc};

use divan::Bencher;
use jiff::Timestamp;
use the0_core::{
    Clock, Executor, Owner, Reconciler, ReconcilerConfig, Scope, SystemClock, Wake,
    fakes::{self, FakeDesired, FakeExecutor, ManualClock},
};
use the0_model::{BotId, Generation, SegmentId, UnitId, UnitKind, WorkerId};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

fn main() {
    divan::main();
}

/// Everything wanted runs already.
fn settled(units: usize) -> (Runtime, Reconciler) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let reconciler = runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let (desired, executor) = (FakeDesired::new(clock.clone(), Wake::new()), FakeExecutor::new(clock));
        let worker = WorkerId::new("w1").expect("a worker id");
        let owner = Owner {
            service: "fake-runner".into(),
            segment: SegmentId(1),
            worker: worker.clone(),
            generation: Generation::default(),
        };
        let mut wanted = BTreeMap::new();
        for number in 0..units {
            let id = UnitId::bot(&BotId::new(format!("bot-{number:06}")).expect("a bot id"));
            let spec = fakes::spec(&id, UnitKind::Service);
            executor.start(&spec, &owner).await.expect("a start");
            let desired = the0_core::Desired {
                digest: spec.digest(),
                spec: Arc::new(spec),
                segment: SegmentId(1),
                not_before: None,
            };
            wanted.insert(id, desired);
        }
        desired.replace(Arc::new(wanted));
        let scope = watch::Sender::new(Scope::All { generation: Generation::default() });
        let mut reconciler = Reconciler::new(
            Arc::new(executor),
            Arc::new(desired),
            scope.subscribe(),
            worker,
            Arc::new(SystemClock),
            Wake::new(),
            ReconcilerConfig::default(),
        );
        // The first pass adopts; the measured ones must have nothing to do.
        reconciler.pass().await;
        reconciler.settle().await;
        reconciler.pass().await;
        assert_eq!(reconciler.status().borrow().plan, "nothing to do");
        reconciler
    });
    (runtime, reconciler)
}

#[divan::bench(args = [1_000, 10_000])]
fn pass_without_changes(bencher: Bencher<'_, '_>, units: usize) {
    let (runtime, mut reconciler) = settled(units);
    bencher.bench_local(|| runtime.block_on(reconciler.pass()));
}
