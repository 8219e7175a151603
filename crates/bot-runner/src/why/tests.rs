use serde_json::json;
use the0_core::fakes;
use the0_model::{BotId, Generation, SegmentId, SpecDigest, UnitId, WorkerId};

use super::*;

#[test]
fn an_oom_is_told_with_limit_peak_and_what_comes_next() {
    let exit = Exit {
        peak_memory_bytes: Some(64 * 1024 * 1024),
        last_lines: (0..9).map(|n| format!("line {n}")).collect(),
        ..fakes::exit(Cause::OutOfMemory, at(0), 3_249)
    };
    let status = BotStatus { failures: 3, not_before: Some(at(4)), restarts: 2, ..ended_with(exit) };
    let why =
        of(&bot(&json!({"limits": Limits { memory_bytes: 64 << 20, ..Limits::default() }})), &status, at(1));
    assert_eq!(
        why.summary,
        "b is not running: the kernel killed it (or a child of it) at its memory limit of 64.0 MiB, peak 64.0 MiB, \
         after 3.2s; it waits before it is tried again."
    );
    let details = why.details.join("\n");
    assert!(
        details.contains("ended 1s ago") && details.contains("in 3s (after 3 failures in a row"),
        "{details}"
    );
    assert!(details.contains("line 4\n  line 5") && !details.contains("line 3"), "{details}");
    assert!(details.contains("restarted 2 times"), "{details}");
    assert!(why.advice.iter().any(|line| line.contains("limits.memory_bytes")), "{:?}", why.advice);
    assert!(why.advice.iter().any(|line| line.contains("runtime bots restart b")), "{:?}", why.advice);
}

#[test]
fn every_cause_reads_as_a_sentence() {
    for (cause, says) in [
        (Cause::Failed, "it failed with exit code 1 after 1.0s: ValueError: no price"),
        (Cause::Killed, "it was killed by SIGKILL after 1.0s"),
        (Cause::Completed, "it returned normally after 1.0s"),
        (Cause::Stopped, "because it was asked to stop"),
        (Cause::StoppedByForce, "did not within its grace"),
        (Cause::Fenced, "its worker's lease ran out"),
        (Cause::NotStarted, "its program could not be started"),
        (Cause::Lost, "its supervisor vanished"),
    ] {
        let message = (cause == Cause::Failed).then(|| "ValueError: no price.\n".to_owned());
        let exit = Exit { message, ..fakes::exit(cause, at(0), 1_000) };
        let why = of(&bot(&json!({})), &ended_with(exit), at(60));
        assert!(why.summary.contains(says), "{}", why.summary);
        assert!(why.details[0].contains("1m 0s ago"), "{:?}", why.details);
        assert!(why.summary.ends_with('.') && !why.summary.contains(".."), "{}", why.summary);
    }
}

#[test]
fn a_refused_a_disabled_and_a_running_bot_say_so() {
    let refused = BotStatus {
        phase: BotPhase::Refused,
        reason: "main.py is not in the bundle".into(),
        failures: 1,
        not_before: Some(at(1)),
        ..BotStatus::default()
    };
    let why = of(&bot(&json!({})), &refused, at(0));
    assert_eq!(why.summary, "b cannot be started: main.py is not in the bundle.");
    assert!(why.details[0].contains("after 1 failure;"), "{:?}", why.details);

    let mut off = bot(&json!({}));
    off.enabled = Some(false);
    let why = of(&off, &BotStatus { phase: BotPhase::Stopped, ..BotStatus::default() }, at(0));
    assert_eq!(why.summary, "b is stopped because it is disabled.");
    assert_eq!(why.advice, ["Start it with `runtime bots start b`."]);

    let running = BotStatus {
        phase: BotPhase::Running,
        attempt: 4,
        started_at: Some(at(0)),
        last_exit: Some(fakes::exit(Cause::Failed, at(-9), 1)),
        ..BotStatus::default()
    };
    let why = of(&bot(&json!({})), &running, at(90_061));
    assert_eq!(why.summary, "b is running, for 1d 1h (attempt 4).");
    assert!(why.details[0].contains("does not see it"), "{:?}", why.details);
    assert!(why.advice.iter().all(|line| !line.contains("without waiting")), "{:?}", why.advice);
}

#[test]
fn what_the_executor_sees_is_set_beside_what_was_reported() {
    let unit = |phase| UnitStatus {
        id: UnitId::new("bot/b").unwrap(),
        digest: SpecDigest([0; 32]),
        owner: std::sync::Arc::new(the0_core::Owner {
            service: "bot-runner".into(),
            segment: SegmentId(1),
            worker: WorkerId::new("w").unwrap(),
            generation: Generation::default(),
        }),
        attempt: 1,
        phase,
        started_at: None,
        pid: Some(4711),
    };
    let exit = fakes::exit(Cause::Killed, at(0), 1);
    let running = BotStatus { phase: BotPhase::Running, ..ended_with(exit.clone()) };
    let mut ended_since = exit.clone();
    ended_since.ran_ms = 99;
    for (unit, status, says) in [
        (Ok(Some(unit(Phase::Running))), &running, Some("running, process 4711")),
        (Ok(Some(unit(Phase::Running))), &ended_with(exit.clone()), Some("next pass will note")),
        (Ok(Some(unit(Phase::Starting))), &ended_with(exit.clone()), Some("creating it")),
        (Ok(Some(unit(Phase::Exited(Box::new(ended_since))))), &running, Some("sees that it ended")),
        (Ok(Some(unit(Phase::Exited(Box::new(exit.clone()))))), &ended_with(exit.clone()), None),
        (Ok(None), &ended_with(exit.clone()), None),
        (
            Err("docker does not answer".to_owned()),
            &running,
            Some("could not be asked: docker does not answer"),
        ),
    ] {
        let bot = bot(&json!({}));
        let unit = unit.as_ref().map(Option::as_ref).map_err(Clone::clone);
        let why = explain(&Facts { bot: &bot, status, unit, executor: &executor(), now: at(1) });
        match says {
            Some(says) => assert!(why.details[0].contains(says), "{says}: {:?}", why.details),
            None => assert!(why.details[0].starts_with("Its last attempt"), "{:?}", why.details),
        }
    }
}

fn of(bot: &Bot, status: &BotStatus, now: Timestamp) -> Explanation {
    explain(&Facts { bot, status, unit: Ok(None), executor: &executor(), now })
}

fn executor() -> Description {
    Description { kind: "fake", version: String::new(), protections: vec![] }
}

fn ended_with(exit: Exit) -> BotStatus {
    BotStatus { phase: BotPhase::BackingOff, attempt: 1, last_exit: Some(exit), ..BotStatus::default() }
}

fn bot(runtime: &serde_json::Value) -> Bot {
    let id = BotId::new("b").unwrap();
    serde_json::from_value(json!({
        "id": id, "segment_id": 1, "config": {}, "runtime": runtime, "custom": {"config": {"runtime": "python3.11"}}
    }))
    .unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}
