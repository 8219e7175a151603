//! The loop, under everything that may happen around it. Time is paused: waiting costs nothing and is exact.
//!
//! Deliberate breakages; each was seen to make a test here fail: a pass on every ring (no debounce) · a resync in place
//! of none · the ring of a failing executor not limited · the retry not backed off · removal before the report · the
//! grant not asked before a start · an outcome that was not recorded forgotten · a start before it is recorded · desired
//! asked for an empty scope · an error taken for "nothing wanted" · no guard · starts and stops in one lane · tasks broken
//! off at shutdown.

mod common;

use std::time::Duration;

use common::{Stage, job, seconds, service, settle, unit};
use the0_core::{Clock, ExecutorError, Grant, Outcome, Owner, Scope, StopReason, fakes::What};
use the0_model::{Cause, Generation, SegmentId, UnitSpec, WorkerId};
use tokio::time::sleep;

fn generation(step: u64) -> Generation {
    Generation { term: 1, step }
}

fn segments(numbers: &[i32]) -> Scope {
    let grant = |segment: &i32| Grant { segment: SegmentId(*segment), generation: generation(7) };
    Scope::Segments(numbers.iter().map(grant).collect())
}

fn what_happened(stage: &Stage) -> Vec<What> {
    stage.executor.history().into_iter().map(|event| event.what).collect()
}

#[tokio::test(start_paused = true)]
async fn while_nothing_rings_no_pass_happens() {
    let mut stage = Stage::new();
    for number in 0..50 {
        stage.desired.want(service(number));
    }
    let status = stage.start();
    settle().await;
    assert_eq!(stage.executor.running().len(), 50);
    let (passes, asked, listed) = (status.borrow().number, stage.desired.asked(), stage.executor.listed());
    sleep(Duration::from_mins(10)).await;
    assert_eq!(
        (status.borrow().number, stage.desired.asked(), stage.executor.listed()),
        (passes, asked, listed)
    );
    stage.wake.ring();
    settle().await;
    assert_eq!(status.borrow().number, passes + 1, "it was listening all the time");
    assert_eq!(status.borrow().plan, "nothing to do");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_rings_is_one_pass() {
    let mut stage = Stage::new();
    let status = stage.start();
    settle().await;
    let passes = status.borrow().number;
    for _ in 0..100 {
        stage.wake.ring();
        stage.executor.print(&unit(1), "x");
        tokio::task::yield_now().await;
    }
    settle().await;
    let more = status.borrow().number - passes;
    assert!((1..=2).contains(&more), "{more} passes for 100 rings");
}

#[tokio::test(start_paused = true)]
async fn a_resync_finds_what_no_bell_told() {
    let mut stage = Stage::new();
    stage.config.resync = Some(Duration::from_secs(30));
    let status = stage.start();
    sleep(Duration::from_secs(95)).await;
    assert_eq!(status.borrow().number, 4, "one at once and three by the period");
}

#[tokio::test(start_paused = true)]
async fn a_crashed_unit_is_back_after_its_backoff_and_every_end_is_reported_once() {
    let mut stage = Stage::new();
    stage.desired.want(service(1));
    stage.start();
    settle().await;
    for _ in 0..4 {
        assert!(stage.executor.end(&unit(1), Cause::Failed));
        sleep(Duration::from_secs(10)).await;
    }
    let history = stage.executor.history();
    let gap = |end: u64| {
        let at = |what| history.iter().find(|event| event.what == what).unwrap().at;
        seconds(at(What::Started(end + 1)), at(What::Ended(end)))
    };
    for (attempt, wait) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0)] {
        assert!((wait..wait + 0.05).contains(&gap(attempt)), "attempt {attempt}: {}", gap(attempt));
    }
    let finished =
        stage.desired.reports().iter().filter(|(_, it)| matches!(it, Outcome::Finished { .. })).count();
    assert_eq!(finished, 4);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_not_lost_when_it_cannot_be_recorded() {
    let mut stage = Stage::new();
    stage.desired.want(service(1));
    stage.start();
    settle().await;
    stage.desired.refuse_reports(2);
    stage.executor.end(&unit(1), Cause::OutOfMemory);
    sleep(Duration::from_millis(2_900)).await;
    assert_eq!(
        what_happened(&stage),
        [What::Started(1), What::Ended(1)],
        "it stays until its end is recorded"
    );
    sleep(Duration::from_secs(3)).await;
    assert!(stage.desired.reports().iter().any(|(_, outcome)| {
        matches!(outcome, Outcome::Finished { attempt: 1, exit } if exit.cause == Cause::OutOfMemory)
    }));
    assert_eq!(what_happened(&stage), [What::Started(1), What::Ended(1), What::Removed(1), What::Started(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_be_recorded_is_recorded_later() {
    let mut stage = Stage::new();
    stage.desired.refuse_reports(3);
    stage.desired.want(service(1));
    stage.start();
    sleep(Duration::from_secs(10)).await;
    let outcomes = stage.desired.reports();
    assert!(matches!(&outcomes[..], [(_, Outcome::Started { attempt: 1 })]), "{outcomes:?}");
    assert_eq!(what_happened(&stage), [What::Started(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_is_not_started_again() {
    let mut stage = Stage::new();
    stage.desired.want(job(1, Duration::from_mins(1)));
    stage.desired.want(job(2, Duration::from_mins(1)));
    stage.start();
    settle().await;
    stage.executor.end(&unit(1), Cause::Completed);
    sleep(Duration::from_mins(2)).await;
    let started = what_happened(&stage).iter().filter(|what| matches!(what, What::Started(_))).count();
    assert_eq!((started, stage.executor.units().len()), (2, 0), "one ended, one was stopped at its deadline");
    let overdue = |(id, outcome): &(_, _)| {
        *id == unit(2) && matches!(outcome, Outcome::Stopped { reason: StopReason::Overdue, exit: Some(_) })
    };
    assert!(stage.desired.reports().iter().any(overdue));
}

#[tokio::test(start_paused = true)]
async fn a_new_process_adopts_what_runs() {
    let mut stage = Stage::new();
    stage.desired.want(service(1));
    stage.start();
    settle().await;
    let before = stage.executor.units();
    stage.kill();
    stage.desired.take_reports();
    let status = stage.start();
    settle().await;
    assert_eq!(stage.executor.units(), before, "untouched");
    assert!(matches!(&stage.desired.take_reports()[..], [(_, Outcome::Started { attempt: 1 })]));
    stage.wake.ring();
    settle().await;
    assert!(stage.desired.take_reports().is_empty(), "it is told once");
    assert_eq!(status.borrow().plan, "nothing to do");
}

#[tokio::test(start_paused = true)]
async fn a_half_started_unit_is_completed() {
    let mut stage = Stage::new();
    let owner = Owner {
        service: "fake-runner".into(),
        segment: SegmentId(1),
        worker: WorkerId::new("w0").unwrap(),
        generation: generation(1),
    };
    stage.executor.half_start(&service(1), &owner);
    stage.desired.want(service(1));
    stage.start();
    settle().await;
    assert_eq!(stage.executor.running().get(&unit(1)), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn errors_stop_nothing_and_are_retried_without_haste() {
    let mut stage = Stage::new();
    for number in 0..20 {
        stage.desired.want(service(number));
    }
    let status = stage.start();
    settle().await;
    stage.desired.put_off(&unit(0), Some(stage.clock.now()));
    stage.executor.end(&unit(0), Cause::Failed);
    stage.desired.set_silent(true);
    let asked = stage.desired.asked();
    for _ in 0..600 {
        stage.wake.ring();
        sleep(Duration::from_millis(100)).await;
    }
    let tries = stage.desired.asked() - asked;
    assert!((30..=62).contains(&tries), "{tries} tries in a minute of rings, at most one each second");
    assert!(status.borrow().error.as_ref().unwrap().contains("the store does not answer"));
    sleep(Duration::from_mins(10)).await;
    let calm = stage.desired.asked() - asked - tries;
    assert!((18..=24).contains(&calm), "{calm} tries in ten minutes without a ring, one every 30 s");
    assert_eq!(stage.executor.running().len(), 19, "nothing else was stopped");
    stage.desired.set_silent(false);
    sleep(Duration::from_secs(3)).await;
    assert_eq!((stage.executor.running().len(), status.borrow().error.clone()), (20, None));
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_is_away_changes_nothing() {
    let mut stage = Stage::new();
    stage.desired.want(service(1));
    let status = stage.start();
    settle().await;
    stage.executor.set_unreachable(true);
    stage.desired.want(service(2));
    sleep(Duration::from_secs(100)).await;
    assert!(status.borrow().error.as_ref().unwrap().contains("fake does not answer"), "{status:?}");
    stage.executor.set_unreachable(false);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        stage.executor.running().into_values().collect::<Vec<_>>(),
        [1, 1],
        "the same attempt, and the new one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_cannot_start_does_not_hold_up_the_others() {
    let mut stage = Stage::new();
    stage.config.width = 2;
    stage.executor.slow_start(&unit(1), Duration::from_mins(5));
    let refused = ExecutorError::Refused { reason: "entrypoint main.py is missing".into() };
    stage.executor.fail_next_start(&unit(2), refused);
    for number in 1..9 {
        stage.desired.want(service(number));
    }
    stage.start();
    settle().await;
    assert_eq!(stage.executor.running().len(), 6, "all but the slow and the broken one");
    let refused = |outcome: &Outcome| match outcome {
        Outcome::Refused { reason, permanent } => *permanent && reason.contains("main.py"),
        Outcome::Starting
        | Outcome::Started { .. }
        | Outcome::Stopping(_)
        | Outcome::Stopped { .. }
        | Outcome::Finished { .. } => false,
    };
    assert!(stage.desired.reports().iter().any(|(id, outcome)| *id == unit(2) && refused(outcome)));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.executor.running().len(), 7, "tried again after its backoff");
    sleep(Duration::from_mins(5)).await;
    assert_eq!(stage.executor.running().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_broken_off_and_said() {
    let mut stage = Stage::new();
    stage.executor.slow_start(&unit(1), Duration::from_hours(30));
    stage.desired.want(service(1));
    stage.start();
    sleep(Duration::from_secs(601)).await;
    let said = stage.desired.reports().into_iter().any(|(_, outcome)| {
        matches!(outcome, Outcome::Refused { reason, permanent: false } if reason.contains("no answer within 600s"))
    });
    assert!(said && stage.executor.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_grant_stops_its_units_even_while_the_store_is_away() {
    let mut stage = Stage::new();
    stage.scope.send_replace(segments(&[1, 2]));
    stage.desired.want_in(SegmentId(1), service(1));
    stage.desired.want_in(SegmentId(2), service(2));
    stage.start();
    settle().await;
    assert_eq!(stage.executor.running().len(), 2);
    assert!(stage.executor.units().iter().all(|unit| unit.owner.generation == generation(7)));
    stage.desired.set_silent(true);
    sleep(Duration::from_secs(100)).await;
    stage.scope.send_replace(segments(&[2]));
    settle().await;
    assert_eq!(stage.executor.running().into_keys().collect::<Vec<_>>(), [unit(2)]);
    stage.scope.send_replace(segments(&[]));
    settle().await;
    assert!(stage.executor.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_under_a_grant_that_went_while_it_was_decided() {
    let mut stage = Stage::new();
    stage.scope.send_replace(segments(&[1]));
    stage.desired.want(service(1));
    stage.desired.set_slow(Duration::from_secs(2));
    stage.start();
    sleep(Duration::from_secs(1)).await;
    stage.scope.send_replace(segments(&[]));
    sleep(Duration::from_mins(1)).await;
    assert!(what_happened(&stage).is_empty());
    assert!(stage.desired.reports().is_empty(), "nothing is said of a unit that is not ours");
}

#[tokio::test(start_paused = true)]
async fn an_overdue_job_is_stopped_once_that_is_recorded() {
    let mut stage = Stage::new();
    stage.desired.want(job(1, Duration::from_mins(1)));
    stage.start();
    settle().await;
    stage.desired.refuse_reports(1);
    sleep(Duration::from_millis(60_500)).await;
    assert_eq!(stage.executor.running().len(), 1, "or it would be wanted again after a crash of the service");
    sleep(Duration::from_secs(2)).await;
    assert!(stage.executor.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_mass_stop_waits_for_a_second_look() {
    let mut stage = Stage::new();
    for number in 0..12 {
        stage.desired.want(service(number));
    }
    let status = stage.start();
    settle().await;
    let wanted = stage.desired.replace(std::sync::Arc::default());
    sleep(Duration::from_secs(4)).await;
    assert!(
        status.borrow().held.as_ref().unwrap().contains("12 of 12 running units are suddenly not wanted")
    );
    stage.desired.replace(wanted);
    sleep(Duration::from_mins(1)).await;
    assert_eq!((stage.executor.running().len(), status.borrow().held.clone()), (12, None));
    stage.desired.replace(std::sync::Arc::default());
    sleep(Duration::from_secs(6)).await;
    assert!(stage.executor.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn shutdown_keeps_units_and_lets_actions_end() {
    let mut stage = Stage::new();
    stage.desired.want(service(1));
    stage.desired.want(service(2));
    stage.start();
    settle().await;
    stage.executor.slow_stop(&unit(1), Duration::from_secs(20));
    stage.desired.want(UnitSpec { restarts_requested: 1, ..service(1) });
    settle().await;
    stage.stop().await;
    let last = stage.desired.reports().pop().unwrap();
    assert!(matches!(last, (id, Outcome::Stopped { reason: StopReason::Changed, .. }) if id == unit(1)));
    assert_eq!(stage.executor.running().into_keys().collect::<Vec<_>>(), [unit(2)], "no new start, no stop");
}
