//! Bots, statuses and scopes to put into a store.

use jiff::Timestamp;
use serde_json::{Value, json};
use the0_core::{Grant, Scope};
use the0_model::{
    Bot, BotEvent, BotEventKind, BotId, BotPhase, BotStatus, Exit, Generation, SegmentId, exit::Cause,
};

pub(super) fn id(text: &str) -> BotId {
    BotId::new(text).unwrap()
}

pub(super) fn bot(name: &str) -> Bot {
    with_config(name, &json!({"threshold": 0.95}))
}

pub(super) fn with_config(name: &str, config: &Value) -> Bot {
    serde_json::from_value(json!({
        "id": name, "segment_id": 0, "config": config,
        "custom": {"version": "1.0.0", "filePath": "user/bot/1.0.0",
                   "config": {"name": "bot", "runtime": "python3.11", "entrypoints": {"bot": "main.py"}}}
    }))
    .unwrap()
}

pub(super) fn status(attempt: u64) -> BotStatus {
    BotStatus {
        phase: BotPhase::BackingOff,
        reason: "failed".into(),
        attempt,
        failures: 2,
        spec_digest: Some("ab".into()),
        restarts: 1,
        not_before: Some("2026-01-02T03:04:05.678901Z".parse().unwrap()),
        started_at: None,
        last_exit: Some(Exit {
            cause: Cause::Failed,
            code: Some(1),
            signal: None,
            message: Some("ValueError: ☂".into()),
            result: Some(json!({"pnl": -0.1})),
            at: "2026-01-02T03:04:04Z".parse().unwrap(),
            ran_ms: 1234,
            peak_memory_bytes: Some(u64::MAX),
            last_lines: vec!["a".into(), "b".into()],
        }),
        generation: Generation { term: 1, step: 0 },
        events: Vec::new(),
    }
}

pub(super) fn event(n: u64) -> BotEvent {
    BotEvent { at: Timestamp::UNIX_EPOCH, kind: BotEventKind::Started, attempt: n, reason: "because".into() }
}

pub(super) fn all() -> Scope {
    Scope::All { generation: Generation::default() }
}

pub(super) fn segments(numbers: &[i32]) -> Scope {
    let grant = |n: &i32| Grant { segment: SegmentId(*n), generation: Generation::default() };
    Scope::Segments(numbers.iter().map(grant).collect())
}
