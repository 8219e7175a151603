//! The stand-in for an executor behaves as a real one would, as far as this crate can ask; the whole contract suite runs on
//! it where the real ones are.

mod common;

use std::time::Duration;

use common::{Stage, service, settle, unit};
use futures::StreamExt;
use the0_core::{
    Executor, ExecutorError, Owner,
    executor::{AttemptRef, LogQuery},
    fakes,
};
use the0_model::{Cause, Generation, SegmentId, UnitKind, UnitSpec, WorkerId};

#[tokio::test(start_paused = true)]
async fn the_executor_keeps_its_contract() {
    let stage = Stage::new();
    let owner = Owner {
        service: "s".into(),
        segment: SegmentId(1),
        worker: WorkerId::new("w").unwrap(),
        generation: Generation { term: 1, step: 1 },
    };
    let (executor, spec) = (&stage.executor, fakes::spec(&unit(1), UnitKind::Service));
    executor.slow_start(&unit(1), Duration::from_secs(1));
    let (first, second) = tokio::join!(executor.start(&spec, &owner), executor.start(&spec, &owner));
    assert_eq!([first.unwrap().fresh, second.unwrap().fresh].iter().filter(|fresh| **fresh).count(), 1);
    assert!(executor.list("other").await.unwrap().is_empty());
    executor.end(&unit(1), Cause::Failed);
    assert!(executor.start(&spec, &owner).await.is_err(), "the ended one must be removed first");
    assert_eq!(executor.stop(&unit(1), Duration::ZERO).await.unwrap().unwrap().cause, Cause::Failed);
    assert_eq!(executor.stop(&unit(1), Duration::ZERO).await.unwrap(), None);
    executor.fail_next_start(&unit(1), ExecutorError::Failed { action: "create", reason: "no".into() });
    assert!(executor.start(&spec, &owner).await.is_err());
    assert!(executor.units().is_empty(), "a failed start leaves nothing");
    assert_eq!(executor.start(&spec, &owner).await.unwrap().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn followed_output_goes_on_over_restarts_until_the_unit_is_purged() {
    let mut stage = Stage::new();
    stage.desired.want(service(1));
    stage.start();
    settle().await;
    stage.executor.print(&unit(1), "one");
    stage.executor.print(&unit(1), "two");
    let query = LogQuery { attempt: AttemptRef::Latest, tail: Some(1), follow: true };
    let lines = stage.executor.logs(&unit(1), query).await.unwrap();
    let act = async {
        stage.desired.want(UnitSpec { restarts_requested: 1, ..service(1) });
        settle().await;
        stage.executor.print(&unit(1), "three");
        settle().await;
        stage.desired.forget(&unit(1));
        settle().await;
        stage.executor.purge(&unit(1)).await.unwrap();
    };
    let (lines, ()) = tokio::join!(lines.map(|line| line.unwrap()).collect::<Vec<_>>(), act);
    let lines: Vec<_> = lines.iter().map(|it| (it.attempt, String::from_utf8_lossy(&it.line.text))).collect();
    assert_eq!(lines, [(1, "two".into()), (2, "three".into())]);
}
