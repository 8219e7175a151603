// Deliberate breakages; each makes a test below fail:
// `at.now` in place of `ended` in `finished` · no `attempt < status.attempt` · no `is_known` · failures kept by `stopped` ·
// no `note_digest` in `starting` · `restarts` counted for every start · `not_before` kept by `started`.
use proptest::prelude::*;
use serde_json::json;
use the0_model::status::EVENTS_MAX;

use super::*;

#[test]
fn a_killed_bot_is_tried_again_a_second_after_its_end_not_after_its_report() {
    let mut bot = Life::new();
    bot.report(&Outcome::Starting);
    bot.report(&Outcome::Started { attempt: 1 });
    bot.now = at(100);
    bot.report(&finished(1, exit(Cause::Killed, 97, 5_000)));
    assert_eq!(bot.status.phase, BotPhase::BackingOff);
    assert_eq!((bot.status.failures, bot.status.not_before), (1, Some(at(98))));
    assert_eq!(bot.status.started_at, None);
    bot.report(&Outcome::Starting);
    bot.report(&Outcome::Started { attempt: 2 });
    assert_eq!((bot.status.restarts, bot.status.not_before), (1, None));
    assert_eq!(bot.kinds(), [BotEventKind::Started, BotEventKind::Exited, BotEventKind::Started]);
}

#[test]
fn an_end_that_is_said_to_come_before_its_start_does_not_shorten_the_wait() {
    let mut bot = Life::new();
    bot.now = at(1_000);
    bot.report(&Outcome::Starting);
    bot.report(&Outcome::Started { attempt: 1 });
    bot.report(&finished(1, exit(Cause::Failed, 5, 1)));
    assert_eq!(bot.status.not_before, Some(at(1_001)));
}

#[test]
fn crashes_and_failed_starts_count_alike_and_health_or_a_change_starts_over() {
    let mut bot = Life::new();
    bot.report(&refused("no such image"));
    bot.report(&finished(1, exit(Cause::Failed, 10, 100)));
    bot.now = at(11);
    bot.report(&refused("no such image"));
    assert_eq!((bot.status.phase, bot.status.failures), (BotPhase::Refused, 3));
    assert_eq!(bot.status.not_before, Some(at(15)), "4 s after the third");
    bot.report(&finished(2, exit(Cause::OutOfMemory, 20, 600_000)));
    assert_eq!(bot.status.failures, 1, "ten minutes of health");
    bot.report(&finished(3, exit(Cause::Failed, 30, 1)));
    assert_eq!(bot.status.failures, 2);
    bot.digest = SpecDigest([9; 32]);
    bot.report(&Outcome::Starting);
    assert_eq!((bot.status.failures, bot.status.not_before), (0, None), "a change");
    bot.report(&finished(4, exit(Cause::Failed, 40, 1)));
    bot.report(&Outcome::Stopped { reason: StopReason::NotWanted, exit: None });
    assert_eq!((bot.status.failures, bot.status.not_before), (0, None), "an operator's stop");
}

#[test]
fn a_failure_counts_against_the_specification_it_ran_with() {
    let mut bot = Life::new();
    bot.report(&Outcome::Starting);
    let ran_with = bot.status.spec_digest.clone();
    bot.digest = SpecDigest([9; 32]);
    bot.report(&finished(1, exit(Cause::Failed, 1, 1)));
    assert_eq!(bot.status.spec_digest, ran_with);
}

#[test]
fn an_end_without_failure_is_followed_by_a_start_but_not_by_a_spin() {
    for (cause, ran_ms, wait) in [
        (Cause::Completed, 100, Some(29)),
        (Cause::Completed, 29_500, Some(1)),
        (Cause::Completed, 3_600_000, Some(1)),
        (Cause::Stopped, 60_000, Some(1)),
        (Cause::Fenced, 60_000, None),
    ] {
        let mut bot = Life::new();
        bot.report(&finished(1, exit(Cause::Failed, 5, 1)));
        bot.now = at(50);
        bot.report(&finished(2, exit(cause, 50, ran_ms)));
        assert_eq!((bot.status.phase, bot.status.failures), (BotPhase::Pending, 0), "{cause}");
        let waits = bot.status.not_before.map(|moment| moment.duration_since(at(50)).as_secs());
        assert_eq!(waits, wait, "{cause} after {ran_ms} ms");
    }
}

#[test]
fn what_is_reported_twice_is_recorded_once() {
    let mut bot = Life::new();
    let outcomes = [
        Outcome::Starting,
        Outcome::Started { attempt: 1 },
        finished(1, exit(Cause::Failed, 3, 100)),
        Outcome::Started { attempt: 2 },
        Outcome::Stopping(StopReason::Changed),
        Outcome::Stopped { reason: StopReason::Changed, exit: Some(Box::new(exit(Cause::Stopped, 9, 100))) },
        Outcome::Stopped { reason: StopReason::NotWanted, exit: None },
    ];
    for outcome in outcomes {
        bot.report(&outcome);
        let once = bot.status.clone();
        bot.now = later(bot.now, Duration::from_secs(7));
        bot.report(&outcome);
        assert_eq!(bot.status, once, "{outcome:?}");
    }
    bot.report(&finished(1, exit(Cause::Failed, 3, 100)));
    assert_eq!(bot.status.phase, BotPhase::Stopped, "an old attempt says nothing about now");
}

#[test]
fn a_repeated_refusal_does_not_push_out_what_led_to_it() {
    let mut bot = Life::new();
    bot.report(&Outcome::Started { attempt: 1 });
    for _ in 0..EVENTS_MAX * 2 {
        bot.report(&refused("no such image"));
    }
    assert_eq!(bot.kinds(), [BotEventKind::Started, BotEventKind::Refused]);
    assert_eq!(bot.status.not_before, Some(later(bot.now, Duration::from_mins(5))));
    bot.report(&refused("something else"));
    assert_eq!(bot.kinds().len(), 3);
}

#[test]
fn a_bot_that_cannot_become_a_unit_is_refused_once_it_has_none() {
    let mut bot = Life::new();
    bot.report(&Outcome::Started { attempt: 1 });
    let circumstances =
        Circumstances { now: at(1), generation: GENERATION, digest: None, backoff: &Backoff::UNITS };
    let running = unfit(&bot.status, "runtime \"cobol\" is not known", &circumstances);
    assert_eq!(running, Applied { status: bot.status.clone(), event: None });
    bot.report(&Outcome::Stopped { reason: StopReason::NotWanted, exit: None });
    let stopped = unfit(&bot.status, "runtime \"cobol\" is not known", &circumstances);
    assert_eq!(stopped.status.phase, BotPhase::Refused);
    assert!(stopped.event.is_some());
    assert_eq!(unfit(&stopped.status, "runtime \"cobol\" is not known", &circumstances).event, None);
}

#[test]
fn what_nobody_reports_is_corrected_when_it_is_shown() {
    let mut bot: Bot = serde_json::from_value(json!({
        "id": "b", "segment_id": 1, "config": {}, "custom": {"config": {"runtime": "python3.11"}}
    }))
    .unwrap();
    let digest = bot.unit_spec().unwrap().digest().to_string();
    let waits = BotStatus {
        phase: BotPhase::BackingOff,
        reason: "failed".into(),
        failures: 4,
        not_before: Some(at(60)),
        spec_digest: Some(digest),
        ..BotStatus::default()
    };
    assert_eq!(shown(&bot, waits.clone()), waits);
    let stopped = BotStatus { phase: BotPhase::Stopped, ..waits.clone() };
    assert_eq!(shown(&bot, stopped).phase, BotPhase::Pending);
    bot.runtime.restarts_requested += 1;
    let changed = shown(&bot, waits.clone());
    assert_eq!((changed.phase, changed.failures, changed.not_before), (BotPhase::Pending, 0, None));
    bot.enabled = Some(false);
    let disabled = shown(&bot, waits.clone());
    assert_eq!((disabled.phase, disabled.reason.as_str()), (BotPhase::Stopped, "disabled"));
    let running = BotStatus { phase: BotPhase::Running, ..waits.clone() };
    assert_eq!(shown(&bot, running.clone()), running, "until it is gone");
    bot.enabled = None;
    bot.custom.config.runtime = "cobol".into();
    let unfit = shown(&bot, waits);
    assert_eq!(unfit.phase, BotPhase::Refused);
    assert!(unfit.reason.contains("cobol"));
}

proptest! {
    #[test]
    fn whatever_is_reported_the_record_makes_sense(steps in prop::collection::vec(step(), 1..120)) {
        let mut bot = Life::new();
        for (wait_s, outcome) in steps {
            bot.now = later(bot.now, Duration::from_secs(wait_s));
            let before = bot.status.clone();
            bot.report(&outcome);
            let status = &bot.status;
            prop_assert!(status.events.len() <= EVENTS_MAX);
            prop_assert!(status.failures <= before.failures + 1 && status.restarts >= before.restarts);
            let is_start = matches!(outcome, Outcome::Started { attempt } if attempt == status.attempt);
            prop_assert!(status.attempt >= before.attempt || is_start);
            prop_assert_eq!(status.phase == BotPhase::BackingOff && status.failures == 0, false);
            if let Some(moment) = status.not_before {
                let wait = moment.duration_since(bot.now).as_secs();
                prop_assert!(wait <= 300, "at most five minutes, {}", wait);
                prop_assert!(!has_unit(status.phase) || before.not_before == Some(moment));
            }
            if status.phase == BotPhase::Running {
                prop_assert!(status.started_at.is_some() && status.attempt > 0);
            }
            if matches!(status.phase, BotPhase::BackingOff | BotPhase::Refused | BotPhase::Stopped) {
                prop_assert_eq!(status.started_at, None);
                prop_assert!(!status.reason.is_empty());
            }
            prop_assert!(status.generation >= before.generation);
        }
    }
}

fn step() -> impl Strategy<Value = (u64, Outcome)> {
    let cause = prop::sample::select(vec![
        Cause::Completed,
        Cause::Failed,
        Cause::Killed,
        Cause::OutOfMemory,
        Cause::Stopped,
        Cause::Fenced,
        Cause::NotStarted,
        Cause::Lost,
    ]);
    let reason = prop::sample::select(vec![StopReason::Changed, StopReason::NotWanted, StopReason::NotOurs]);
    let outcome = prop_oneof![
        Just(Outcome::Starting),
        (1_u64..6).prop_map(|attempt| Outcome::Started { attempt }),
        reason.clone().prop_map(Outcome::Stopping),
        reason.prop_map(|reason| Outcome::Stopped { reason, exit: None }),
        (1_u64..6, cause, 0_i64..2_000, 0_u64..1_000_000)
            .prop_map(|(attempt, cause, ended, ran_ms)| finished(attempt, exit(cause, ended, ran_ms))),
        any::<bool>().prop_map(|permanent| Outcome::Refused { reason: "no".into(), permanent }),
    ];
    (0_u64..30, outcome)
}

const GENERATION: Generation = Generation { term: 1, step: 0 };

/// A bot and what is known of it.
struct Life {
    status: BotStatus,
    digest: SpecDigest,
    now: Timestamp,
}

impl Life {
    fn new() -> Self {
        Self { status: BotStatus::default(), digest: SpecDigest([1; 32]), now: at(0) }
    }

    fn report(&mut self, outcome: &Outcome) {
        let digest = Some(self.digest);
        let circumstances =
            Circumstances { now: self.now, generation: GENERATION, digest, backoff: &Backoff::UNITS };
        let Applied { status, event } = apply(&self.status, outcome, &circumstances);
        assert_eq!(status.events, self.status.events, "events are appended by the store");
        self.status = status;
        if let Some(event) = event {
            self.status.push(event);
        }
    }

    fn kinds(&self) -> Vec<BotEventKind> {
        self.status.events.iter().map(|event| event.kind).collect()
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused { reason: reason.into(), permanent: true }
}

fn finished(attempt: u64, exit: Exit) -> Outcome {
    Outcome::Finished { attempt, exit: Box::new(exit) }
}

fn exit(cause: Cause, ended: i64, ran_ms: u64) -> Exit {
    Exit {
        cause,
        code: None,
        signal: None,
        message: None,
        result: None,
        at: at(ended),
        ran_ms,
        peak_memory_bytes: None,
        last_lines: vec![],
    }
}
